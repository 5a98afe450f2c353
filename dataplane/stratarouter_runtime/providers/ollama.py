"""Ollama through its OpenAI-compatible API: ``http://localhost:11434/v1``, no key of its own.

A key is sent where one is configured: for an Ollama behind an authenticating proxy.
"""

from __future__ import annotations

from stratarouter_runtime.config import Provider

from .endpoints import versioned
from .openai_wire import OpenAIWireProvider


class OllamaProvider(OpenAIWireProvider):
    """An Ollama server."""

    @staticmethod
    def base_url(config: Provider) -> str:
        """The endpoint with ``/v1`` at its end."""
        return versioned(config.base_url)
