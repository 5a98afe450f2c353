"""A byte-exact fake of an OpenAI-compatible vendor; see ``server.py``."""

from __future__ import annotations

from .answers import Reply
from .faults import ALWAYS, ANY, FAULTS, Fault, Script, fault
from .record import Received, Record
from .server import API_KEY, DEFAULT_MODELS, FakeVendor, fake_vendor

__all__ = ["ALWAYS", "ANY", "API_KEY", "DEFAULT_MODELS", "FAULTS", "FakeVendor", "Fault", "Received", "Record",
           "Reply", "Script", "fake_vendor", "fault"]
