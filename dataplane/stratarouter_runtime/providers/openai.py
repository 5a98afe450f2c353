"""OpenAI: ``https://api.openai.com/v1``, key as a bearer token.

Organisation and project go into the provider's extra headers (``OpenAI-Organization``, ``OpenAI-Project``).
"""

from __future__ import annotations

from stratarouter_runtime.config import Provider

from .endpoints import versioned
from .openai_wire import OpenAIWireProvider


class OpenAIProvider(OpenAIWireProvider):
    """OpenAI's own API, or a gateway that serves it under a path of its own."""

    @staticmethod
    def base_url(config: Provider) -> str:
        """The endpoint with ``/v1`` at its end."""
        return versioned(config.base_url)
