"""The answer of a stream as the front doors see it: batches of events, live from a vendor or replayed from the cache.

Invariants: what a client did not ask for (the usage chunk) is not passed on, but is booked; the events of an answer
that may be stored are kept up to a limit, beyond which it is passed on and not stored; only a stream that reached its
end can be stored.
"""

from __future__ import annotations

import secrets as entropy
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

import orjson

from .engine import OpenStream
from .model.cache import CacheEntry
from .model.plan import Attempt
from .model.request import ChatRequest, EmbeddingsRequest, Request
from .model.response import Batch, ChatEvent, ChatResponse, EmbeddingsResponse, EventKind, Response, Usage
from .wire import openai_chat, openai_stream
from .wire.answers import AnswerError

MAX_KEPT_BYTES = 1_048_576
"""A longer answer is passed on but not stored."""
CHARACTERS_PER_TOKEN = 4
"""English prose, for estimates where a stream ended before the vendor could tell."""


class Reply(Protocol):
    """Batches of events, the first of which has content (or ends an answer without any)."""

    def __aiter__(self) -> AsyncIterator[Batch]:
        """Iterate once."""


class LiveReply:
    """A vendor's stream on its way to the client."""

    def __init__(self, source: OpenStream, request: ChatRequest, *, keep: bool) -> None:
        self._source = source
        self._request = request
        self._kept: list[ChatEvent] | None = [] if keep else None
        self._kept_bytes = 0
        self._pieces = 0
        self._reported: Usage | None = None
        self._done = False
        self.model = ""
        self.finish_reason: str | None = None

    async def __aiter__(self) -> AsyncIterator[Batch]:
        drop_usage = not self._request.include_usage
        async for batch in self._source:
            self._note(batch)
            if drop_usage and any(event.kind is EventKind.USAGE for event in batch):
                batch = [event for event in batch if event.kind is not EventKind.USAGE]  # noqa: PLW2901 (a filtered view)
            if batch:
                yield batch
            if self._done:
                return  # the reply is complete; how the vendor closes its connection is no concern of the client

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """All attempts, the last one as it ended."""
        return self._source.attempts

    @property
    def usage(self) -> Usage | None:
        """What the vendor reported; an estimate where it had no chance to."""
        if self._reported is not None or not self._pieces:
            return self._reported
        # Vendors send about a token an event.
        asked = len(orjson.dumps(self._request.body.get("messages", []))) // CHARACTERS_PER_TOKEN
        return Usage(input=asked, output=self._pieces, estimated=True)

    def response(self) -> ChatResponse | None:
        """The whole answer, where it is complete and was kept."""
        if not self._done or not self._kept:
            return None
        try:
            return openai_stream.fold(self._kept)
        except AnswerError:
            return None  # a stream that no completion amounts to is not worth storing

    async def aclose(self) -> None:
        """End the vendor's call at once if it has not ended."""
        await self._source.aclose()

    def _note(self, batch: Batch) -> None:
        for event in batch:
            if event.kind is EventKind.CONTENT:
                self._pieces += 1
            elif event.kind is EventKind.DONE:
                self._done = True
            if event.body is not None and event.kind is not EventKind.CONTENT:
                self._read(event.body)
        if self._kept is not None:
            self._kept_bytes += sum(len(event.raw) for event in batch)
            if self._kept_bytes > MAX_KEPT_BYTES:
                self._kept = None
            else:
                self._kept.extend(batch)

    def _read(self, body: Mapping[str, Any]) -> None:
        self.model = openai_chat.model_of(body) or self.model
        if body.get("usage"):
            self._reported = openai_chat.usage_of(body) or self._reported
        for choice in body.get("choices") or ():
            self.finish_reason = choice.get("finish_reason") or self.finish_reason


class ReplayedReply:
    """A stored answer as a stream."""

    def __init__(self, entry: CacheEntry, request: ChatRequest) -> None:
        self._batch = openai_stream.replay(orjson.loads(entry.body), id=completion_id(), created=int(time.time()),
                                           include_usage=request.include_usage)

    async def __aiter__(self) -> AsyncIterator[Batch]:
        yield self._batch


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
