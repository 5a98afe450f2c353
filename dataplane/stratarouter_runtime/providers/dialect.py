"""A provider, whatever its dialect: one call over HTTP, read as a whole or as events.

A vendor says where to call, with what body, and how its answers read; the codecs are in ``wire``. Invariants: one call is
one attempt; a stream that ends without ``DONE`` has raised; between two events the vendor has the configured time, and no
more than the call's deadline in all; nothing but ``ProviderError`` and cancellation is raised.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from yarl import URL

from stratarouter_runtime.config import Provider
from stratarouter_runtime.model.errors import Failure, Phase, ProviderError
from stratarouter_runtime.model.provider import Call
from stratarouter_runtime.model.request import ChatRequest, EmbeddingsRequest
from stratarouter_runtime.model.response import Batch, ChatResponse, EmbeddingsResponse
from stratarouter_runtime.wire import openai_errors, openai_stream
from stratarouter_runtime.wire.answers import AnswerError, VendorError, bad_answer
from stratarouter_runtime.wire.decoder import EventDecoder

from .errors import broken
from .http import Upstream, read_all
from .stream_reading import StreamReading


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One HTTP request to a vendor."""

    url: URL
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class DialectProvider(ABC):
    """Base of all vendors. ``needs_limit``: the vendor wants to be told how long an answer may be."""

    needs_limit = False

    def __init__(self, config: Provider, *, api_key: str = "", ca_bundle: str | None = None) -> None:
        timeouts = config.timeouts
        self._first_token, self._idle = timeouts.first_token_ms / 1000, timeouts.idle_ms / 1000
        self._total = timeouts.total_ms / 1000
        self._upstream = Upstream(config, key=api_key, headers=self.fixed_headers(api_key), ca_bundle=ca_bundle,
                                  parse_error=self.parse_error)

    # --- what differs between vendors -------------------------------------------------------------------------------
    @staticmethod
    def fixed_headers(api_key: str) -> Mapping[str, str]:
        """Headers of every call: the key, where there is one, and the API's version."""
        return {"Authorization": f"Bearer {api_key}"} if api_key else {}

    async def authorization(self, due: float) -> Mapping[str, str]:  # noqa: ARG002 (for those that fetch a token)
        """Headers that change with time: a token, fetched before ``due`` (the loop's clock). Raises ``ProviderError``."""
        return {}

    @staticmethod
    def parse_error(raw: bytes) -> VendorError:
        """The vendor's words in the body of an error reply."""
        return openai_errors.parse_error(raw)

    def prepared(self, request: ChatRequest, call: Call) -> ChatRequest:  # noqa: ARG002 (see the overrides)
        """The request as this vendor takes it for the call's model; all that follows sees only this."""
        return request

    @staticmethod
    def unstreamed(content_type: str) -> bool:
        """Whether a reply to a request for a stream is a whole answer: one of JSON, of whatever kind."""
        return content_type.endswith("json")

    @abstractmethod
    def chat_call(self, request: ChatRequest, model: str, *, stream: bool) -> Outgoing:
        """The call for a chat answer; raises ``ProviderError`` (``InvalidRequest``) for what the dialect cannot carry."""

    @abstractmethod
    def read_chat(self, raw: bytes, request: ChatRequest) -> ChatResponse:
        """A whole answer. Raises ``AnswerError``."""

    @abstractmethod
    def decoder(self, request: ChatRequest) -> EventDecoder:
        """Reads the answer's stream."""

    def embedding_calls(self, request: EmbeddingsRequest, model: str) -> Sequence[Outgoing]:  # noqa: ARG002 (see the overrides)
        """The calls for all inputs in order, one after another; several where the vendor limits how many inputs it takes."""
        raise _no_embeddings()

    def read_embeddings(self, answers: Sequence[bytes], request: EmbeddingsRequest) -> EmbeddingsResponse:  # noqa: ARG002 (as above)
        """The answers to ``embedding_calls`` as one. Raises ``AnswerError``."""
        raise _no_embeddings()

    # --- what all do ------------------------------------------------------------------------------------------------
    async def aclose(self) -> None:
        """Close all connections."""
        await self._upstream.aclose()

    async def chat(self, request: ChatRequest, call: Call) -> ChatResponse:
        """A complete answer."""
        request = self.prepared(self._limited(request, call), call)
        raw = await self._exchange(self.chat_call(request, call.upstream_model, stream=False), call, self._end(call))
        try:
            return self.read_chat(raw, request)
        except AnswerError as error:
            raise self._broken(error) from None

    async def embed(self, request: EmbeddingsRequest, call: Call) -> EmbeddingsResponse:
        """Vectors for all inputs."""
        end = self._end(call)
        answers = [await self._exchange(each, call, end) for each in self.embedding_calls(request, call.upstream_model)]
        try:
            return self.read_embeddings(answers, request)
        except AnswerError as error:
            raise self._broken(error) from None

    async def stream(self, request: ChatRequest, call: Call) -> AsyncIterator[Batch]:
        """The answer as events, a batch a read. Closed after ``DONE`` it gives its connection back, before it closes it."""
        request = self.prepared(self._limited(request, call), call)
        end = self._end(call)
        first = min(asyncio.get_running_loop().time() + self._first_token, end)
        outgoing = self.chat_call(request, call.upstream_model, stream=True)
        headers = {**_STREAM_HEADERS, **outgoing.headers, **call.headers, **await self.authorization(first)}
        async with self._upstream.open(outgoing.url, outgoing.body, headers, due=first) as response:
            if self.unstreamed(response.content_type):
                yield await self._replayed(response, request, first)
                return
            if response.content_type == "text/html":
                raise self._broken(bad_answer("the vendor's answer is a web page"))
            reading = StreamReading(response, self.decoder(request), first=first, idle=self._idle, end=end, key=self._upstream.key)
            try:
                while (batch := await reading.next()) is not None:
                    yield batch
            finally:
                await reading.close()

    def _limited(self, request: ChatRequest, call: Call) -> ChatRequest:
        """With output limits cut to what the model may write."""
        most = call.max_output_tokens
        if most is None:
            return request
        given = {name: value for name in _LIMITS if type(value := request.body.get(name)) is int}
        changed = {name: most for name, value in given.items() if value > most}
        if not given and self.needs_limit:
            changed = {"max_tokens": most}
        return request.with_body({**request.body, **changed}) if changed else request

    async def _replayed(self, response: aiohttp.ClientResponse, request: ChatRequest, first: float) -> Batch:
        """The vendor answered a request for a stream at once: an error inside a 200, or a server that cannot stream.

        Its first content comes with the last byte, so all of it must come by ``first``.
        """
        raw = await read_all(response, first)
        try:
            body = self.read_chat(raw, request).body
            return openai_stream.replay(body, id=_text(body.get("id")), created=_number(body.get("created")), include_usage=True)
        except AnswerError as error:
            raise self._broken(error) from None

    async def _exchange(self, outgoing: Outgoing, call: Call, end: float) -> bytes:
        headers = {**outgoing.headers, **call.headers, **await self.authorization(end)}
        return await self._upstream.exchange(outgoing.url, outgoing.body, headers, due=end)

    def _end(self, call: Call) -> float:
        return min(call.deadline, asyncio.get_running_loop().time() + self._total)

    def _broken(self, error: AnswerError) -> ProviderError:
        return broken(error, phase=Phase.BODY, key=self._upstream.key)


_LIMITS = ("max_completion_tokens", "max_tokens")

_STREAM_HEADERS = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
"""Compression would hold events back."""


def _no_embeddings() -> ProviderError:
    return ProviderError(Failure.INVALID_REQUEST, "the provider has no embeddings", phase=Phase.CONNECT, status=400)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0
