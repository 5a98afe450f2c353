"""The one deadline of a request, enforced around everything that a provider does.

``asyncio.timeout`` arms and disarms a timer each time; a stream would pay that for every batch. This arms one timer for
the whole request, which interrupts whatever the request is waiting for inside a ``with`` block at that moment.

Invariants: code inside the block is cancelled at the deadline, again every second in case it swallows that; a
cancellation by anybody else passes through as it is; the timer does not outlive ``disarm``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any

AGAIN_SECONDS = 1.0
"""Between interrupts of code that swallowed the one before."""
SLACK_SECONDS = 0.005
"""Too little to begin anything in; a provider that bounds its waits by the deadline may also end them so early."""


def loop_time() -> float:
    """The running event loop's clock, in seconds."""
    return asyncio.get_running_loop().time()


class Deadline:
    """Interrupts the task inside its ``with`` block when ``at`` (seconds on ``clock``) comes, with ``TimeoutError``."""

    __slots__ = ("_before", "_clock", "_interrupts", "_task", "_timer", "at", "passed")

    def __init__(self, at: float, clock: Callable[[], float]) -> None:
        self.at = at
        self.passed = False
        self._clock = clock
        self._task: asyncio.Task[Any] | None = None
        self._before = 0
        self._interrupts = 0
        self._timer: asyncio.TimerHandle | None = asyncio.get_running_loop().call_later(at - clock(), self._expire)

    def now(self) -> float:
        """The clock that the deadline is on."""
        return self._clock()

    @property
    def over(self) -> bool:
        """Whether there is no time for anything any more."""
        return self.at - self._clock() <= SLACK_SECONDS

    def disarm(self) -> None:
        """The request is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __enter__(self) -> None:
        task = asyncio.current_task()
        if task is None:  # pragma: no cover - coroutines run in tasks
            raise RuntimeError("a deadline needs a task to interrupt")
        self._before = task.cancelling()
        if self.passed:
            raise TimeoutError
        self._task = task

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        task, self._task = self._task, None
        if not self._interrupts or task is None:
            return
        while self._interrupts:
            self._interrupts -= 1
            task.uncancel()
        # Somebody else may have cancelled as well: then that counts.
        if kind is asyncio.CancelledError and task.cancelling() <= self._before:
            raise TimeoutError from error

    def left_by_caller(self) -> bool:
        """Whether the task that was inside has been cancelled by somebody, rather than by what it called."""
        task = asyncio.current_task()
        return task is not None and task.cancelling() > self._before

    def _expire(self) -> None:
        self.passed = True
        if self._task is None:
            self._timer = None
            return
        self._interrupts += 1
        self._task.cancel()
        self._timer = asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._expire)
