"""Google's Gemini API: ``https://generativelanguage.googleapis.com``, an API key in ``x-goog-api-key``.

Source: Gemini API reference. Vertex AI speaks the same wire; what differs there is in ``vertexai``.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from yarl import URL

from stratarouter_runtime.config import Provider
from stratarouter_runtime.model.errors import Failure, Phase, ProviderError
from stratarouter_runtime.model.request import ChatRequest, EmbeddingsRequest
from stratarouter_runtime.model.response import ChatResponse, EmbeddingsResponse
from stratarouter_runtime.wire import gemini_embeddings, gemini_errors, gemini_request, gemini_response
from stratarouter_runtime.wire.answers import VendorError
from stratarouter_runtime.wire.decoder import EventDecoder
from stratarouter_runtime.wire.gemini_stream import GeminiStream

from .dialect import DialectProvider, Outgoing
from .endpoints import versioned


class GoogleProvider(DialectProvider):
    """The Gemini API."""

    def __init__(self, config: Provider, *, api_key: str = "", ca_bundle: str | None = None) -> None:
        super().__init__(config, api_key=api_key, ca_bundle=ca_bundle)
        self._base = self.base_url(config)

    @staticmethod
    def base_url(config: Provider) -> str:
        """The endpoint with its version, ``v1beta`` where none is there: what is new is only found there."""
        return versioned(config.base_url, "v1beta")

    @staticmethod
    def fixed_headers(api_key: str) -> Mapping[str, str]:
        """The key; never in the address, which proxies log."""
        return {"x-goog-api-key": api_key} if api_key else {}

    @staticmethod
    def parse_error(raw: bytes) -> VendorError:
        """Google's ``Status``."""
        return gemini_errors.parse_error(raw)

    def resource(self, model: str) -> str:
        """A model's path: names without a collection are ``models/...``."""
        return model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"

    def chat_call(self, request: ChatRequest, model: str, *, stream: bool) -> Outgoing:
        """The translated request; whether it is streamed is the method of the model."""
        url = self._url(model, "streamGenerateContent?alt=sse" if stream else "generateContent")
        return Outgoing(url, gemini_request.upstream_chat(request.body, model=model))

    def read_chat(self, raw: bytes, request: ChatRequest) -> ChatResponse:
        """The translated answer."""
        return gemini_response.read_chat(raw, id=_new_id(), model=request.model, created=int(time.time()), choices=_choices(request))

    def decoder(self, request: ChatRequest) -> EventDecoder:
        """Translates the stream."""
        return GeminiStream(id=_new_id(), model=request.model, created=int(time.time()), choices=_choices(request))

    def embedding_calls(self, request: EmbeddingsRequest, model: str) -> Sequence[Outgoing]:
        """One call for each hundred texts."""
        self._check_texts(request)
        return [Outgoing(self._url(model, call.method), call.body)
                for call in gemini_embeddings.gemini_calls(request, self.resource(model))]

    def read_embeddings(self, answers: Sequence[bytes], request: EmbeddingsRequest) -> EmbeddingsResponse:
        """All vectors as one answer."""
        return gemini_embeddings.read_embeddings(answers, request, model=request.model)

    def _url(self, model: str, method: str) -> URL:
        return URL(f"{self._base}/{quote(self.resource(model), safe='/@')}:{method}", encoded=True)

    @staticmethod
    def _check_texts(request: EmbeddingsRequest) -> None:
        if any(not isinstance(each, str) for each in request.inputs):
            raise ProviderError(Failure.INVALID_REQUEST, "the provider embeds texts, not tokens", phase=Phase.CONNECT, status=400,
                                type="invalid_request_error", param="input")


def _choices(request: ChatRequest) -> int:
    n = request.body.get("n")
    return n if isinstance(n, int) and n > 0 else 1


def _new_id() -> str:
    """For an answer that the vendor gave none."""
    return f"chatcmpl-{secrets.token_hex(12)}"
