"""A byte-exact fake of Google's Gemini API and Vertex AI; see ``server.py``."""

from __future__ import annotations

from .bodies import Reply, call, signature, text, thought
from .faults import FAULTS, Fault
from .server import API_KEY, TOKEN, GeminiVendor

__all__ = ["API_KEY", "FAULTS", "TOKEN", "Fault", "GeminiVendor", "Reply", "call", "signature", "text", "thought"]
