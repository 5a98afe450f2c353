"""Ollama through its own API: ``http://localhost:11434``, no key of its own.

A key is sent where one is configured: for Ollama's cloud, or a server behind an authenticating proxy. An endpoint that ends in ``/v1`` (as
OpenAI's SDK takes it) or ``/api`` reaches the same server.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence

from yarl import URL

from stratarouter_runtime.config import Provider
from stratarouter_runtime.model.request import ChatRequest, EmbeddingsRequest
from stratarouter_runtime.model.response import ChatResponse, EmbeddingsResponse
from stratarouter_runtime.wire import ollama_request, ollama_response
from stratarouter_runtime.wire.answers import VendorError
from stratarouter_runtime.wire.decoder import EventDecoder

from .dialect import DialectProvider, Outgoing
from .endpoints import root
from .errors import cannot_carry

_LINES = {"Accept": "application/x-ndjson"}


class OllamaProvider(DialectProvider):
    """An Ollama server."""

    def __init__(self, config: Provider, *, api_key: str = "", ca_bundle: str | None = None) -> None:
        super().__init__(config, api_key=api_key, ca_bundle=ca_bundle)
        base = self.base_url(config)
        self._chat_url = URL(f"{base}/chat")
        self._embed_url = URL(f"{base}/embed")

    @staticmethod
    def base_url(config: Provider) -> str:
        """The server's root with ``/api`` at its end."""
        return f"{root(config.base_url)}/api"

    @staticmethod
    def parse_error(raw: bytes) -> VendorError:
        """The message, and whether it speaks of a missing model."""
        return ollama_response.parse_error(raw)

    @staticmethod
    def unstreamed(content_type: str) -> bool:
        """JSON, but not lines of it: those are Ollama's stream."""
        return content_type.endswith("json") and not content_type.endswith("ndjson")

    def chat_call(self, request: ChatRequest, model: str, *, stream: bool) -> Outgoing:
        """The request in its dialect."""
        return Outgoing(self._chat_url, ollama_request.upstream_chat(request.body, model=model, stream=stream), _LINES if stream else {})

    def read_chat(self, raw: bytes, request: ChatRequest) -> ChatResponse:  # noqa: ARG002 (the server's answer says all)
        """A whole answer."""
        return ollama_response.read_chat(raw, identity=secrets.token_hex(12), created=int(time.time()))

    def decoder(self, request: ChatRequest) -> EventDecoder:  # noqa: ARG002 (as above)
        """A stream of lines."""
        return ollama_response.OllamaStream(identity=secrets.token_hex(12), created=int(time.time()))

    def embedding_calls(self, request: EmbeddingsRequest, model: str) -> Sequence[Outgoing]:
        """All inputs in one call."""
        with cannot_carry():
            return [Outgoing(self._embed_url, ollama_request.upstream_embeddings(request, model=model))]

    def read_embeddings(self, answers: Sequence[bytes], request: EmbeddingsRequest) -> EmbeddingsResponse:
        """The server's vectors in the encoding that was asked for."""
        return ollama_response.read_embeddings(answers[0], request)
