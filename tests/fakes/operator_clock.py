"""Time in the hand of the test."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


async def settle() -> None:
    """Let everything run that can run without time going on."""
    for _ in range(60):
        await asyncio.sleep(0)


class FakeClock:
    """A clock that moves when told to, and wakes its sleepers in order."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def monotonic(self) -> float:
        return 1000.0 + self.elapsed

    def now(self) -> datetime:
        return START + timedelta(seconds=self.elapsed)

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waits: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.elapsed + seconds, waits))
        await waits

    async def advance(self, seconds: float) -> None:
        """Go on by so much, stopping at each sleeper's moment until nothing moves any more."""
        await settle()
        end = self.elapsed + seconds
        while True:
            self._sleepers = [each for each in self._sleepers if not each[1].done()]
            due = min((when for when, _ in self._sleepers), default=end + 1)
            if due > end + 1e-9:
                break
            self.elapsed = max(self.elapsed, due)
            for when, waits in self._sleepers:
                if when <= self.elapsed + 1e-9 and not waits.done():
                    waits.set_result(None)
            await settle()
        self.elapsed = end
        await settle()
