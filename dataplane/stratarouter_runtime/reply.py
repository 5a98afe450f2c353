"""The answer of a stream as the front doors see it: batches of events, live from a vendor or replayed from the cache.

Invariants: what a client did not ask for (the usage chunk) is not passed on, but is booked; the events of an answer
that may be stored are kept up to a limit, beyond which it is passed on and not stored; only a stream that reached its
end can be stored.
"""

from __future__ import annotations

import secrets as entropy
import time
from collections.abc import AsyncIterator
from typing import Protocol

import orjson

from .engine import OpenStream
from .model.cache import CacheEntry
from .model.request import ChatRequest, EmbeddingsRequest, Request
from .model.response import Batch, ChatEvent, ChatResponse, EmbeddingsResponse, EventKind, Response
from .recording import Trail
from .wire import openai_chat, openai_stream
from .wire.answers import AnswerError

MAX_KEPT_BYTES = 1_048_576
"""A longer answer is passed on but not stored."""


class Reply(Protocol):
    """Batches of events, the first of which has content (or ends an answer without any)."""

    def __aiter__(self) -> AsyncIterator[Batch]:
        """Iterate once."""

    def response(self) -> ChatResponse | None:
        """The whole answer, where it is complete and was kept."""


class LiveReply:
    """A vendor's stream on its way to one client; ``batches`` are its own where several follow ``source``.

    ``trail`` follows what it says.
    """

    def __init__(self, source: OpenStream, batches: AsyncIterator[Batch], request: ChatRequest, *, keep: bool,
                 trail: Trail | None = None) -> None:
        self.source = source
        self._batches = batches
        self._trail = trail
        self._complete = False
        self._request = request
        self._kept: list[ChatEvent] | None = [] if keep else None
        self._kept_bytes = 0

    async def __aiter__(self) -> AsyncIterator[Batch]:
        drop_usage = not self._request.include_usage
        async for batch in self._batches:
            self._keep(batch)
            self._complete = batch[-1].kind is EventKind.DONE
            if self._trail is not None:
                self._trail.add(batch)
            if drop_usage and any(event.kind is EventKind.USAGE for event in batch):
                batch = [event for event in batch if event.kind is not EventKind.USAGE]  # noqa: PLW2901 (a filtered view)
            if batch:
                yield batch
            if self._complete:
                return  # the reply is complete; how the vendor closes its connection is no concern of the client

    def response(self) -> ChatResponse | None:
        """The whole answer, where it is complete and was kept."""
        if not self._complete or not self._kept:
            return None
        try:
            return openai_stream.fold(self._kept)
        except AnswerError:
            return None  # a stream that no completion amounts to is not worth storing

    def close(self) -> None:
        """Nothing more is read."""
        if self._trail is not None and not self._complete:
            self._trail.interrupted()

    def _keep(self, batch: Batch) -> None:
        if self._kept is not None:
            self._kept_bytes += sum(len(event.raw) for event in batch)
            if self._kept_bytes > MAX_KEPT_BYTES:
                self._kept = None
            else:
                self._kept.extend(batch)


class ReplayedReply:
    """A stored answer as a stream."""

    def __init__(self, entry: CacheEntry, request: ChatRequest) -> None:
        self._body = orjson.loads(entry.body)
        self._batch = openai_stream.replay(self._body, id=completion_id(), created=int(time.time()),
                                           include_usage=request.include_usage)

    async def __aiter__(self) -> AsyncIterator[Batch]:
        yield self._batch

    def response(self) -> ChatResponse | None:
        """The stored answer."""
        return openai_chat.chat_response(self._body)


def replayed_response(entry: CacheEntry, request: Request) -> Response:
    """A stored answer as a whole one, with an id and a time of its own."""
    body = orjson.loads(entry.body)
    if isinstance(request, EmbeddingsRequest):
        return EmbeddingsResponse(raw=entry.body, body=body, model=openai_chat.model_of(body), usage=openai_chat.usage_of(body))
    raw = openai_chat.refreshed(body, id=completion_id(), created=int(time.time()))
    return openai_chat.chat_response(body, raw)


def completion_id() -> str:
    """An id as OpenAI's look."""
    return f"chatcmpl-{entropy.token_hex(12)}"
