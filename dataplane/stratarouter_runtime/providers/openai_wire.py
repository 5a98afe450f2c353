"""A provider that speaks OpenAI's API: chat completions, whole and streamed, and embeddings.

Invariant: what goes both ways is the client's and the vendor's own, with only what must change.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from yarl import URL

from stratarouter_runtime.config import Provider
from stratarouter_runtime.model.request import ChatRequest, EmbeddingsRequest
from stratarouter_runtime.model.response import ChatResponse, EmbeddingsResponse
from stratarouter_runtime.wire import openai_chat, openai_embeddings, openai_stream
from stratarouter_runtime.wire.decoder import EventDecoder

from .dialect import DialectProvider, Outgoing


class OpenAIWireProvider(DialectProvider):
    """Base of the vendors that speak OpenAI's API. What differs between them is ``base_url`` and ``fixed_headers``."""

    def __init__(self, config: Provider, *, api_key: str = "", ca_bundle: str | None = None) -> None:
        super().__init__(config, api_key=api_key, ca_bundle=ca_bundle)
        self._base = self.base_url(config)
        self._urls: dict[str, URL] = {}

    @staticmethod
    @abstractmethod
    def base_url(config: Provider) -> str:
        """What the paths are appended to."""

    def url(self, path: str, model: str) -> URL:  # noqa: ARG002 (some vendors have the model in their paths)
        """Where a path of the API is; made once."""
        found = self._urls.get(path)
        if found is None:
            found = self._urls[path] = URL(f"{self._base}{path}")
        return found

    def chat_call(self, request: ChatRequest, model: str, *, stream: bool) -> Outgoing:
        """The client's body, with the model it is known by there."""
        return Outgoing(self.url("/chat/completions", model), openai_chat.upstream_chat(request, model=model, stream=stream))

    def read_chat(self, raw: bytes, request: ChatRequest) -> ChatResponse:  # noqa: ARG002 (the vendor's answer says all)
        """The vendor's body as it is."""
        return openai_chat.read_chat(raw)

    def decoder(self, request: ChatRequest) -> EventDecoder:
        """A stream of as many choices as were asked for."""
        return openai_stream.ChatStream(choices=request.body.get("n") or 1)

    def embedding_calls(self, request: EmbeddingsRequest, model: str) -> Sequence[Outgoing]:
        """All inputs in one call."""
        return [Outgoing(self.url("/embeddings", model), openai_embeddings.upstream_embeddings(request, model=model))]

    def read_embeddings(self, answers: Sequence[bytes], request: EmbeddingsRequest) -> EmbeddingsResponse:
        """The vendor's vectors in the encoding that was asked for."""
        return openai_embeddings.read_embeddings(answers[0], request)
