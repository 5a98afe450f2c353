"""Writes records off the request's path: a bounded queue, batches, and a count of what had to be dropped.

Invariants: ``put`` never waits and never raises; a record leaves the queue only when it is stored, or when the store
says that it will never take it; a batch that fails is tried again until it is stored; when there is no room the newest
records are dropped and counted (an inquiry starts from the oldest), checkpoints of streams before executions; closing
writes what is left within a bound. So at any time: taken = stored + queued + refused, and lost = not taken + refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import islice

from .records import ExecutionRecord, Record, StreamCheckpoint
from .store import StateStore, StateUnavailable

logger = logging.getLogger(__name__)

MAX_QUEUED = 10_000
"""Records that may wait; streams may take half of it. About a minute of 160 executions a second."""
MAX_QUEUED_TEXT = 8 * 1024 * 1024
"""Characters of streams that may wait."""
MAX_BATCH = 100
"""Records of one transaction: more would hold up the event loop while they are encoded."""
GATHER_SECONDS = 0.5
"""How long records gather for a batch; a crash loses no more than these and what could not be written."""
RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0)
CLOSE_SECONDS = 5.0


class StateWriter:
    """The only one who writes to a store. ``dropped(count)`` hears of what is lost; it must not raise."""

    def __init__(self, store: StateStore, *, dropped: Callable[[int], None] = lambda _: None, max_queued: int = MAX_QUEUED,
                 max_queued_text: int = MAX_QUEUED_TEXT, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._store = store
        self._dropped = dropped
        self._max = max_queued
        self._max_text = max_queued_text
        self._sleep = sleep
        self._queue: deque[Record] = deque()
        self._text = 0
        self._filled = asyncio.Event()
        self._writing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self.lost = 0
        self.errors = 0
        """Attempts to write that failed."""
        self.available = max_queued > 0

    @property
    def queued(self) -> int:
        """Records that wait."""
        return len(self._queue)

    def put(self, record: Record) -> bool:
        """Queue a record; False where there is no room, which is counted."""
        if self._closed or not self._has_room(record):
            self._lose(1)
            return False
        self._queue.append(record)
        self._text += _text(record)
        self._filled.set()
        return True

    def pending(self, execution_id: str) -> tuple[ExecutionRecord | None, list[StreamCheckpoint]]:
        """What waits of one execution: its latest record and its stream's checkpoints."""
        execution, stream = None, []
        for each in self._queue:
            if isinstance(each, StreamCheckpoint):
                if each.execution_id == execution_id:
                    stream.append(each)
            elif each.id == execution_id:
                execution = each
        return execution, stream

    def start(self) -> None:
        """Begin writing."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="state-writer")

    async def aclose(self) -> None:
        """Write what is left, for a few seconds at most; what is left then is counted as lost, and nothing is taken any more."""
        self._closed = True
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                async with self._writing:  # a batch under way ends first
                    await self._stop()
                while self._queue:
                    await self._write()
        except (StateUnavailable, TimeoutError) as error:
            logger.warning("state is lost on closing", extra={"error": type(error).__name__, "count": len(self._queue)})
        finally:
            await self._stop()
            self._lose(len(self._queue))
            self._queue.clear()

    async def _stop(self) -> None:
        if self._task is not None:
            task, self._task = self._task, None
            task.cancel()
            await asyncio.wait({task})

    def _has_room(self, record: Record) -> bool:
        if isinstance(record, ExecutionRecord):
            return len(self._queue) < self._max
        return len(self._queue) < self._max // 2 and self._text + len(record.text) <= self._max_text

    def _lose(self, count: int) -> None:
        if count:
            self.lost += count
            self._dropped(count)

    async def _run(self) -> None:
        failures = 0
        # The first write may be of nothing: so whoever looks is told of a database that cannot be used before it is needed.
        greeted = self._max == 0
        while True:
            if greeted:
                await self._filled.wait()
            gathering = bool(self._queue)
            try:
                async with self._writing:
                    await self._write()
            except StateUnavailable as error:
                self._unavailable(error)
                await self._sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
                failures += 1
                continue
            failures, greeted = 0, True
            if not self.available:
                self.available = True
                logger.info("state is written again", extra={"queued": len(self._queue)})
            if gathering and len(self._queue) < MAX_BATCH:
                await self._sleep(GATHER_SECONDS)

    def _unavailable(self, error: StateUnavailable) -> None:
        self.errors += 1
        if self.available:
            self.available = False
            logger.warning("state cannot be written now and is queued", extra={"error": str(error)})

    async def _write(self, most: int = MAX_BATCH) -> None:
        """Store the oldest records; raises ``StateUnavailable``."""
        batch = list(islice(self._queue, most))
        try:
            await self._store.write(batch)
        except StateUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 (whatever is wrong with one record, the others must get through)
            if len(batch) > 1:
                for _ in batch:
                    await self._write(1)
                return
            logger.warning("a record is refused and dropped", extra={"error": type(error).__name__})
            self._lose(1)
        self._leave(len(batch))

    def _leave(self, count: int) -> None:
        for _ in range(count):
            self._text -= _text(self._queue.popleft())
        if not self._queue:
            self._filled.clear()


def _text(record: Record) -> int:
    return len(record.text) if isinstance(record, StreamCheckpoint) else 0
