"""Checkpoints of a running stream, so that one that was interrupted can be inspected and, later, resumed.

Invariants: adding a chunk costs an append and a comparison; each checkpoint carries only what came since the one before,
so that a stream is stored once, not once per checkpoint; what a full queue does not take goes into the next checkpoint,
so the texts that are stored, put together, are always a beginning of the answer without a gap.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from .records import ExecutionRecord, Record, StreamCheckpoint, clean, moment

MAX_STREAM_TEXT = 65_536
"""Characters of one stream that are kept."""
MAX_STREAM_CHECKPOINTS = 1_000
"""Checkpoints of one stream."""


class StreamCheckpoints:
    """Follows one stream: a checkpoint every ``interval`` chunks, given to ``put``.

    ``begun`` makes the record of the execution that goes before the first checkpoint, so that something is known of an
    execution whose process died; its final record replaces it. ``clock`` tells Unix seconds.
    """

    def __init__(self, put: Callable[[Record], bool], execution_id: str, *, interval: int,
                 begun: Callable[[], ExecutionRecord] | None = None, clock: Callable[[], float] = time.time) -> None:
        self._put = put
        self._id = execution_id
        self._interval = interval
        self._begun = begun
        self._clock = clock
        self._chunks = 0
        self._stored = 0
        self._made = 0
        self._parts: list[str] = []
        self._room = MAX_STREAM_TEXT
        self._truncated = False

    def add(self, text: str) -> None:
        """One chunk; ``text`` is empty for one that says nothing, as a tool call's."""
        self._chunks += 1
        if text:
            self._keep(text)
        if self._chunks % self._interval == 0:
            self._checkpoint()

    def interrupted(self) -> None:
        """The stream broke off: what came since the last checkpoint is kept too."""
        if self._chunks > self._stored:
            self._checkpoint()

    def _keep(self, text: str) -> None:
        if len(text) > self._room:
            self._truncated = True
            text = text[:self._room]
        self._room -= len(text)
        if text:
            self._parts.append(text)

    def _checkpoint(self) -> None:
        if self._made >= MAX_STREAM_CHECKPOINTS:
            return
        if self._begun is not None:
            self._put(self._begun())
            self._begun = None
        text = clean("".join(self._parts), MAX_STREAM_TEXT)
        if self._put(StreamCheckpoint(self._id, self._chunks, text, moment(self._clock()), self._truncated)):
            self._made += 1
            self._stored = self._chunks
            self._parts.clear()
