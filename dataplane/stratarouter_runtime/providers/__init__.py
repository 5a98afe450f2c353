"""Vendors: endpoint, authentication, errors and connections of each; the wire formats are in ``wire``."""

from .registry import PROVIDERS, create_provider

__all__ = ["PROVIDERS", "create_provider"]
