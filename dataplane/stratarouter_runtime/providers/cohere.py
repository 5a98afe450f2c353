"""Cohere: ``https://api.cohere.com``, version 2 of its API, key as a bearer token."""

from __future__ import annotations

import time
from collections.abc import Sequence

from yarl import URL

from stratarouter_runtime.config import Provider
from stratarouter_runtime.model.request import ChatRequest, EmbeddingsRequest
from stratarouter_runtime.model.response import ChatResponse, EmbeddingsResponse
from stratarouter_runtime.wire import cohere_embeddings, cohere_errors, cohere_request, cohere_response
from stratarouter_runtime.wire.answers import VendorError
from stratarouter_runtime.wire.cohere_stream import CohereStream
from stratarouter_runtime.wire.decoder import EventDecoder

from .dialect import DialectProvider, Outgoing
from .endpoints import of_version
from .errors import cannot_carry


class CohereProvider(DialectProvider):
    """Cohere's own API, or a deployment that serves it."""

    def __init__(self, config: Provider, *, api_key: str = "", ca_bundle: str | None = None) -> None:
        super().__init__(config, api_key=api_key, ca_bundle=ca_bundle)
        base = self.base_url(config)
        self._chat_url = URL(f"{base}/chat")
        self._embed_url = URL(f"{base}/embed")

    @staticmethod
    def base_url(config: Provider) -> str:
        """The endpoint with ``/v2`` at its end."""
        return of_version(config.base_url, "v2")

    @staticmethod
    def parse_error(raw: bytes) -> VendorError:
        """The message, and whether it speaks of a limit that waiting does not lift."""
        return cohere_errors.parse_error(raw)

    def chat_call(self, request: ChatRequest, model: str, *, stream: bool) -> Outgoing:
        """The request in its dialect."""
        return Outgoing(self._chat_url, cohere_request.upstream_chat(request.body, model=model, stream=stream))

    def read_chat(self, raw: bytes, request: ChatRequest) -> ChatResponse:
        """A whole answer, under the model's name that the caller used: the vendor gives none."""
        return cohere_response.read_chat(raw, model=request.model, created=int(time.time()))

    def decoder(self, request: ChatRequest) -> EventDecoder:
        """A stream, under the model's name that the caller used."""
        return CohereStream(model=request.model, created=int(time.time()))

    def embedding_calls(self, request: EmbeddingsRequest, model: str) -> Sequence[Outgoing]:
        """As many calls as its limit of inputs needs."""
        with cannot_carry():
            return [Outgoing(self._embed_url, body) for body in cohere_embeddings.upstream_embeddings(request, model=model)]

    def read_embeddings(self, answers: Sequence[bytes], request: EmbeddingsRequest) -> EmbeddingsResponse:
        """All vectors, and the tokens of all calls."""
        return cohere_embeddings.read_embeddings(answers, request, model=request.model)
