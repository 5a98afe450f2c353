"""OpenAI: ``https://api.openai.com/v1``, key as a bearer token.

Organisation and project go into the provider's extra headers (``OpenAI-Organization``, ``OpenAI-Project``). What came in
through the Responses API goes out through it, where the model is served by it.
"""

from __future__ import annotations

from stratarouter_runtime.config import Provider
from stratarouter_runtime.model.provider import Call
from stratarouter_runtime.model.request import ChatRequest
from stratarouter_runtime.model.response import ChatResponse
from stratarouter_runtime.wire import openai_support, responses_native, responses_response
from stratarouter_runtime.wire.decoder import EventDecoder
from stratarouter_runtime.wire.responses_stream import ResponsesStream

from .dialect import Outgoing
from .endpoints import versioned
from .openai_wire import OpenAIWireProvider


class OpenAIProvider(OpenAIWireProvider):
    """OpenAI's own API, or a gateway that serves it under a path of its own."""

    @staticmethod
    def base_url(config: Provider) -> str:
        """The endpoint with ``/v1`` at its end."""
        return versioned(config.base_url)

    def prepared(self, request: ChatRequest, call: Call) -> ChatRequest:
        """As it came, where the model is asked in the caller's dialect; else without what OpenAI refuses, as planners have told."""
        if "responses" in call.dialects and responses_native.carries(request):
            return request
        return ChatRequest(openai_support.accepted(request.body, call.upstream_model, call.model))

    def chat_call(self, request: ChatRequest, model: str, *, stream: bool) -> Outgoing:
        """The client's body, with the model it is known by there."""
        if request.native is not None:
            return Outgoing(self.url("/responses", model), responses_native.upstream(request, model=model, stream=stream))
        return super().chat_call(request, model, stream=stream)

    def read_chat(self, raw: bytes, request: ChatRequest) -> ChatResponse:
        """The vendor's body as it is."""
        return super().read_chat(raw, request) if request.native is None else responses_response.read_response(raw)

    def decoder(self, request: ChatRequest) -> EventDecoder:
        """A stream in the dialect of the request."""
        return super().decoder(request) if request.native is None else ResponsesStream()
