"""A stream that several readers follow: each gets the whole of it, latecomers the buffered beginning first.

Invariants: the source is read by one task, ahead of the fastest reader by a few batches at most, so a vendor is slowed
by slow readers; what is buffered is bounded, and a stream that outgrows the bound takes no more joiners; the last
reader to leave ends the source at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

from stratarouter_runtime.model.response import Batch

AHEAD = 16
"""Batches the source may be ahead of the fastest reader."""
MAX_BUFFERED = 16 * 1024 * 1024
"""Bytes of events kept for latecomers."""

Source = TypeVar("Source", bound=AsyncIterator[Batch])


class SharedStream(Generic[Source]):
    """Runs ``opened`` (a context manager that gives the source) in a task of its own.

    ``source`` is available once ``ready`` has returned.
    """

    def __init__(self, opened: Callable[[], AbstractAsyncContextManager[Source]]) -> None:
        self._opened = opened
        self._batches: list[Batch] = []
        self._bytes = 0
        self._changed = asyncio.Event()
        self._consumed = asyncio.Event()
        self._over = False
        self._error: BaseException | None = None
        self._readers = 0
        self._furthest = 0
        self.source: Source | None = None
        self.task = asyncio.get_running_loop().create_task(self._pump(), name="shared-stream")
        self.task.add_done_callback(lambda task: task.cancelled() or task.exception())

    @property
    def joinable(self) -> bool:
        """Whether a latecomer would get all of it: somebody reads it, it has not failed, nothing was dropped."""
        return self._readers > 0 and self._error is None and self._bytes <= MAX_BUFFERED

    async def read(self) -> AsyncIterator[Batch]:
        """All batches from the first on; raises what the source raised."""
        self._readers += 1
        position = 0
        try:
            while True:
                while position < len(self._batches):
                    batch = self._batches[position]
                    position += 1
                    if position > self._furthest:
                        self._furthest = position
                        self._consumed.set()
                    yield batch
                if self._over:
                    if self._error is not None:
                        raise self._error
                    return
                await self._changed.wait()
        finally:
            self._readers -= 1
            if not self._readers and not self._over:
                self.task.cancel()

    async def ready(self) -> None:
        """Wait until the source is open; raises what opening it raised."""
        self._readers += 1
        try:
            while self.source is None and not self._over:
                await self._changed.wait()
            if self._error is not None and self.source is None:
                raise self._error
        finally:
            self._readers -= 1
            if not self._readers and not self._over and self.source is None:
                self.task.cancel()

    async def _pump(self) -> None:
        try:
            async with self._opened() as source:
                self.source = source
                self._notify()
                async for batch in source:
                    self._batches.append(batch)
                    self._bytes += sum(len(event.raw) for event in batch)
                    self._notify()
                    while len(self._batches) - self._furthest >= AHEAD:
                        self._consumed.clear()
                        await self._consumed.wait()
        except BaseException as error:
            self._error = error
            raise
        finally:
            self._over = True
            self._notify()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
