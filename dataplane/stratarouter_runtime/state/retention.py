"""Deletes what is older than it need be kept: executions and the checkpoints of streams, never an app's own.

Invariants: off every path, in small batches, one process at a time; a database that does not answer is left alone until
the next round.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from .store import StateStore, StateUnavailable

logger = logging.getLogger(__name__)

RETENTION_DAYS = 30.0
"""How long executions are kept."""
ROUND_SECONDS = 3_600.0
BATCH = 1_000
PAUSE_SECONDS = 0.5
"""Between two batches: a large backlog is worked off without a load that anybody notices."""
DAY_SECONDS = 86_400.0


class Retention:
    """Keeps a store's executions for ``days``; ``clock`` tells Unix seconds."""

    def __init__(self, store: StateStore, *, days: float = RETENTION_DAYS, clock: Callable[[], float] = time.time,
                 sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._store = store
        self._days = days
        self._clock = clock
        self._sleep = sleep
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Delete now, and then once an hour."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="state-retention")

    async def aclose(self) -> None:
        """Stop."""
        if self._task is not None:
            task, self._task = self._task, None
            task.cancel()
            await asyncio.wait({task})

    async def _run(self) -> None:
        while True:
            try:
                await self._round()
            except StateUnavailable:
                pass  # the writer says so, once
            except Exception as error:  # noqa: BLE001 (a round that fails must not be the last one)
                logger.warning("old state could not be deleted", extra={"error": type(error).__name__})
            await self._sleep(ROUND_SECONDS)

    async def _round(self) -> None:
        before = self._clock() - self._days * DAY_SECONDS
        deleted = 0
        while gone := await self._store.purge(before, BATCH):
            deleted += gone
            await self._sleep(PAUSE_SECONDS)
        if deleted:
            logger.info("old state was deleted", extra={"count": deleted})
