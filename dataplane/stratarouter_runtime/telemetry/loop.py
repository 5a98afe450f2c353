"""How late the event loop is: whatever blocks it delays every stream of the pod at once.

Invariant: one task, owned by whoever entered the ``LoopMonitor``, and cancelled with it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

INTERVAL = 0.5
"""Seconds between two looks."""
WINDOW = 30
"""Looks whose worst is reported: 15 seconds, a usual interval of scrapes, so that none misses a short stall."""


class LoopMonitor:
    """Reports the event loop's longest delay of the last 15 seconds to ``record``, twice a second."""

    def __init__(self, record: Callable[[float], None], *, clock: Callable[[], float] = time.perf_counter,
                 sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._record = record
        self._clock = clock
        self._sleep = sleep
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.run(), name="event-loop-monitor")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def run(self) -> None:
        """Look until cancelled."""
        recent: deque[float] = deque(maxlen=WINDOW)
        while True:
            before = self._clock()
            await self._sleep(INTERVAL)
            recent.append(max(0.0, self._clock() - before - INTERVAL))
            self._record(max(recent))
