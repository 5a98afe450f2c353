"""OpenAI: ``https://api.openai.com/v1``, key as a bearer token.

Organisation and project go into the provider's extra headers (``OpenAI-Organization``, ``OpenAI-Project``).
"""

from __future__ import annotations

from stratarouter_runtime.config import Provider
from stratarouter_runtime.model.request import ChatRequest

from .endpoints import versioned
from .openai_wire import OpenAIWireProvider


class OpenAIProvider(OpenAIWireProvider):
    """OpenAI's own API, or a gateway that serves it under a path of its own."""

    @staticmethod
    def base_url(config: Provider) -> str:
        """The endpoint with ``/v1`` at its end."""
        return versioned(config.base_url)

    @staticmethod
    def accepted(request: ChatRequest) -> ChatRequest:
        """Without ``metadata`` where nothing is stored: OpenAI refuses it without ``store``, and has no use for it."""
        if "metadata" not in request.body or request.body.get("store"):
            return request
        return request.with_body({name: value for name, value in request.body.items() if name != "metadata"})
