"""Tasks that watch the process while it serves: how late its event loop is, and what the kernel says of it.

Invariants: a task is owned by whoever entered ``owned`` and is cancelled with it; the event loop does no file I/O.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

LOOP_INTERVAL = 0.5
"""Seconds between two looks at the event loop."""
LOOP_WINDOW = 30
"""Looks whose worst is reported: 15 seconds, a usual interval of scrapes, so that none misses a short stall."""
PROCESS_INTERVAL = 5.0
"""Seconds between two looks at ``/proc``."""

Sleep = Callable[[float], Awaitable[None]]


@asynccontextmanager
async def owned(work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Run ``work`` beside the body, and cancel it at the body's end."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def watch_loop(record: Callable[[float], None], *, clock: Callable[[], float] = time.perf_counter,
                     sleep: Sleep = asyncio.sleep) -> None:
    """Report the event loop's longest delay of the last 15 seconds, twice a second, until cancelled.

    Whatever blocks the loop delays every stream of the pod at once.
    """
    recent: deque[float] = deque(maxlen=LOOP_WINDOW)
    while True:
        before = clock()
        await sleep(LOOP_INTERVAL)
        recent.append(max(0.0, clock() - before - LOOP_INTERVAL))
        record(max(recent))


async def watch_process(refresh: Callable[[], None], *, sleep: Sleep = asyncio.sleep) -> None:
    """Call ``refresh``, which blocks, in a thread every five seconds, until cancelled."""
    while True:
        await asyncio.to_thread(refresh)
        await sleep(PROCESS_INTERVAL)
