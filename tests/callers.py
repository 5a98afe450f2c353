"""Clients of the library that call fake vendors."""

from __future__ import annotations

from typing import Any

from fakes.vendor import FakeVendor
from stratarouter_runtime import LLMClientRegistry, OpenAIClient


def openai_client(vendor: FakeVendor, **options: Any) -> OpenAIClient:
    """A client of a fake OpenAI, with its key."""
    return OpenAIClient(api_key=next(iter(vendor.api_keys)), endpoint=vendor.base_url, **options)


def alone(vendor: FakeVendor) -> LLMClientRegistry:
    """A registry of one client, ``openai``."""
    return LLMClientRegistry({"openai": openai_client(vendor)})
