"""A provider that speaks OpenAI's API: chat completions, whole and streamed, and embeddings.

Invariants: one call is one attempt; a stream's events have the vendor's own bytes; a stream that ends without ``DONE``
has raised; between two events the vendor has the configured time, and no more than the call's deadline in all.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from yarl import URL

from stratarouter_runtime.config import Provider
from stratarouter_runtime.model.errors import Phase, ProviderError
from stratarouter_runtime.model.provider import Call
from stratarouter_runtime.model.request import ChatRequest, EmbeddingsRequest
from stratarouter_runtime.model.response import Batch, ChatResponse, EmbeddingsResponse
from stratarouter_runtime.wire import openai_chat, openai_embeddings, openai_stream
from stratarouter_runtime.wire.answers import AnswerError, bad_answer

from .errors import broken
from .http import Upstream, read_all
from .stream_reading import StreamReading


class OpenAIWireProvider(ABC):
    """Base of the vendors that speak OpenAI's API. What differs between them is ``base_url`` and ``authorization``."""

    def __init__(self, config: Provider, *, api_key: str = "", ca_bundle: str | None = None) -> None:
        base = self.base_url(config)
        self._chat_url = URL(f"{base}/chat/completions")
        self._embeddings_url = URL(f"{base}/embeddings")
        timeouts = config.timeouts
        self._first_token, self._idle = timeouts.first_token_ms / 1000, timeouts.idle_ms / 1000
        self._total = timeouts.total_ms / 1000
        self._upstream = Upstream(config, api_key=api_key, authorization=self.authorization(api_key), ca_bundle=ca_bundle)

    @staticmethod
    @abstractmethod
    def base_url(config: Provider) -> str:
        """What the paths are appended to."""

    @staticmethod
    def authorization(api_key: str) -> dict[str, str]:
        """The headers that carry the key; none without one."""
        return {"Authorization": f"Bearer {api_key}"} if api_key else {}

    @staticmethod
    def accepted(request: ChatRequest) -> ChatRequest:
        """The request as the vendor takes it."""
        return request

    async def aclose(self) -> None:
        """Close all connections."""
        await self._upstream.aclose()

    async def chat(self, request: ChatRequest, call: Call) -> ChatResponse:
        """A complete answer."""
        body = openai_chat.upstream_chat(self.accepted(request), model=call.upstream_model, stream=False)
        raw = await self._upstream.exchange(self._chat_url, body, call.headers, due=self._end(call))
        try:
            return openai_chat.read_chat(raw)
        except AnswerError as error:
            raise self._broken(error, Phase.BODY) from None

    async def embed(self, request: EmbeddingsRequest, call: Call) -> EmbeddingsResponse:
        """Vectors for all inputs."""
        body = openai_embeddings.upstream_embeddings(request, model=call.upstream_model)
        raw = await self._upstream.exchange(self._embeddings_url, body, call.headers, due=self._end(call))
        try:
            return openai_embeddings.read_embeddings(raw, request)
        except AnswerError as error:
            raise self._broken(error, Phase.BODY) from None

    async def stream(self, request: ChatRequest, call: Call) -> AsyncIterator[Batch]:
        """The answer as events, a batch a read. Closed after ``DONE`` it gives its connection back, before it closes it."""
        end = self._end(call)
        first = min(asyncio.get_running_loop().time() + self._first_token, end)
        body = openai_chat.upstream_chat(self.accepted(request), model=call.upstream_model, stream=True)
        async with self._upstream.open(self._chat_url, body, {**_STREAM_HEADERS, **call.headers}, due=first) as response:
            if response.content_type.endswith("json"):
                yield await self._unstreamed(response, first)
                return
            if response.content_type == "text/html":
                raise self._broken(bad_answer("the vendor's answer is a web page"), Phase.BODY)
            stream = openai_stream.ChatStream(choices=request.body.get("n") or 1)
            reading = StreamReading(response, stream, first=first, idle=self._idle, end=end, key=self._upstream.key)
            try:
                while (batch := await reading.next()) is not None:
                    yield batch
            finally:
                await reading.close()

    async def _unstreamed(self, response: aiohttp.ClientResponse, first: float) -> Batch:
        """The vendor answered a request for a stream at once: an error inside a 200, or a server that cannot stream.

        Its first content comes with the last byte, so all of it must come by ``first``.
        """
        raw = await read_all(response, first)
        try:
            body = openai_chat.read_chat(raw).body
            return openai_stream.replay(body, id=_text(body.get("id")), created=_number(body.get("created")), include_usage=True)
        except AnswerError as error:
            raise self._broken(error, Phase.BODY) from None

    def _end(self, call: Call) -> float:
        return min(call.deadline, asyncio.get_running_loop().time() + self._total)

    def _broken(self, error: AnswerError, phase: Phase) -> ProviderError:
        return broken(error, phase=phase, key=self._upstream.key)


_STREAM_HEADERS = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
"""Compression would hold events back."""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0
