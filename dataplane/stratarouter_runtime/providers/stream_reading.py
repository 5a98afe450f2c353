"""Reads the events of one stream within its times.

Invariant: until the first content the wait is bounded by ``first``, then each by ``idle`` seconds, all by ``end``; a
comment or a preamble is no sign of life; what came before an error is given out before the error is raised.
"""

from __future__ import annotations

import asyncio

import aiohttp

from stratarouter_runtime.model.errors import Phase
from stratarouter_runtime.model.response import Batch, EventKind
from stratarouter_runtime.wire.answers import AnswerError
from stratarouter_runtime.wire.decoder import EventDecoder

from .connection_errors import NETWORK_ERRORS, not_finished
from .errors import broken
from .read_timer import ReadTimer

END_SECONDS = 0.25
"""How long the end of the body may take after ``[DONE]``: reading it gives the connection back for the next call."""

_COMMITTING = frozenset({EventKind.CONTENT, EventKind.FINISH})


class StreamReading:
    """``next`` until it gives None; ``close`` whatever happens. ``first`` and ``end`` are on the loop's clock."""

    __slots__ = ("_content", "_end", "_error", "_first", "_idle", "_key", "_loop", "_phase", "_stream", "_timer")

    def __init__(self, response: aiohttp.ClientResponse, stream: EventDecoder, *, first: float, idle: float, end: float,
                 key: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._content = response.content
        self._timer = ReadTimer(response)
        self._stream = stream
        self._phase = Phase.BODY
        self._first, self._idle, self._end = first, idle, end
        self._error: AnswerError | None = None
        self._key = key

    async def next(self) -> Batch | None:
        """The events of the next read that completes any; None at the end. Raises ``ProviderError``."""
        try:
            due = self._next_due()
            while self._error is None:
                chunk = await self._timer.read(due)
                if not chunk:
                    return self._stream.end() or None
                batch, self._error = self._stream.feed(chunk)
                if batch:
                    self._note(batch)
                    return batch
            # Raised itself it would hold this reading, and this it: they would wait for the garbage collector with all that was read.
            raise broken(self._error, phase=self._phase, key=self._key)
        except AnswerError as error:
            raise broken(error, phase=self._phase, key=self._key) from None
        except NETWORK_ERRORS as error:
            if self._stream.done:
                return None  # the answer is whole; only its connection is not
            raise not_finished(error, self._phase) from None

    async def close(self) -> None:
        """Nothing more is given out. After ``DONE`` the rest of the body is read, so that the connection can be used again."""
        due = self._loop.time() + END_SECONDS
        try:
            while self._stream.done and not self._content.at_eof():
                await self._timer.read(due)
        except NETWORK_ERRORS:
            return
        finally:
            self._timer.stop()

    def _next_due(self) -> float:
        """Until when the next event must come: what the consumer did meanwhile takes nothing from the vendor's time."""
        now = self._loop.time()
        if self._stream.done:
            return now + END_SECONDS
        if now >= self._end:
            raise TimeoutError
        return self._first if self._phase is Phase.BODY else min(now + self._idle, self._end)

    def _note(self, batch: Batch) -> None:
        if self._phase is Phase.BODY and any(event.kind in _COMMITTING for event in batch):
            self._phase = Phase.STREAM
