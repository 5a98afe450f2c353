"""An event loop whose clock jumps: when nothing is ready to run, time moves on to the next timer at once.

Tests of deadlines, backoffs and breakers say ``await asyncio.sleep(60)`` and take no time. Invariants: time never moves
while anything can run; a loop with nothing left to wait for fails instead of hanging.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import Any


class Stuck(Exception):  # noqa: N818 (says what the test is)
    """Nothing will ever happen again: the test waits for something that nobody does."""


class _JumpingSelector(selectors.DefaultSelector):
    """Waits for nothing: the time that would be spent waiting is added to the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise Stuck("every task waits for something that no timer and no task will bring")
        self.now += max(timeout, 0.0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop; its clock starts at 1000 seconds."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Virtual seconds."""
        return self._jumping.now
