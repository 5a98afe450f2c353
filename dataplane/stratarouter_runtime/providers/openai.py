"""OpenAI: ``https://api.openai.com/v1``, key as a bearer token.

Organisation and project go into the provider's extra headers (``OpenAI-Organization``, ``OpenAI-Project``).
"""

from __future__ import annotations

from stratarouter_runtime.config import Provider
from stratarouter_runtime.model.provider import Call
from stratarouter_runtime.model.request import ChatRequest
from stratarouter_runtime.wire import openai_support

from .endpoints import versioned
from .openai_wire import OpenAIWireProvider


class OpenAIProvider(OpenAIWireProvider):
    """OpenAI's own API, or a gateway that serves it under a path of its own."""

    @staticmethod
    def base_url(config: Provider) -> str:
        """The endpoint with ``/v1`` at its end."""
        return versioned(config.base_url)

    def prepared(self, request: ChatRequest, call: Call) -> ChatRequest:
        """Without what OpenAI refuses, which planners have told the caller."""
        body = openai_support.accepted(request.body, call.upstream_model, call.model)
        return request if body is request.body else request.with_body(body)
