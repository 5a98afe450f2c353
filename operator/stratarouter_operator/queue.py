"""The work queue: which keys want attention, and who gives it.

A key is *marked* when something it depends on has changed, and *due* when the work on it asked to be called again.
Invariants: one worker at a time per key; a mark during the work leads to one more pass, however many marks there were;
a failed pass is repeated with backoff and counts as marked; all state is per key that is waiting or being worked on.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, Protocol

from .clock import Clock
from .errors import KubeError, LeadershipLost, OperatorError
from .logs import trace
from .metrics import Metrics

log = logging.getLogger(__name__)

FIRST_BACKOFF = 0.5
LONGEST_BACKOFF = 60.0


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """What is reconciled."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


class Work(Protocol):
    """What is done with a key."""

    async def __call__(self, key: Key, *, marked: bool) -> float | None:
        """Bring ``key`` to its desired state; ``marked`` tells that something has changed since the last good pass.

        Returns the seconds after which to call again without a change; None for never.
        """


class WorkQueue:
    """Calls ``work`` for each marked or due key."""

    def __init__(self, work: Work, *, workers: int, clock: Clock, metrics: Metrics,
                 jitter: Callable[[], float] = random.random) -> None:
        self._work = work
        self._workers = workers
        self._clock = clock
        self._metrics = metrics
        self._jitter = jitter
        self._ready: OrderedDict[Key, bool] = OrderedDict()
        self._active: set[Key] = set()
        self._again: set[Key] = set()
        self._due: dict[Key, tuple[float, bool]] = {}
        self._failures: dict[Key, int] = {}
        self._work_waits = asyncio.Event()
        self._timer_changed = asyncio.Event()

    def mark(self, key: Key) -> None:
        """Something that ``key`` depends on has changed."""
        if key in self._active:
            self._again.add(key)
        else:
            self._enqueue(key, marked=True)

    async def run(self) -> NoReturn:
        """Work until cancelled; raises what a worker could not survive."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._wake_due(), name="queue timer")
            for number in range(self._workers):
                group.create_task(self._worker(), name=f"queue worker {number}")
        raise AssertionError("workers do not return")

    def _enqueue(self, key: Key, *, marked: bool) -> None:
        self._ready[key] = marked or self._ready.get(key, False)
        self._metrics.queue_depth.set(len(self._ready))
        self._work_waits.set()

    def _schedule(self, key: Key, delay: float, *, marked: bool) -> None:
        self._due[key] = (self._clock.monotonic() + delay, marked)
        self._timer_changed.set()

    async def _wake_due(self) -> NoReturn:
        while True:
            self._timer_changed.clear()
            now = self._clock.monotonic()
            for key, (when, marked) in list(self._due.items()):
                if when <= now:
                    del self._due[key]
                    self._enqueue(key, marked=marked)
            earliest = min((when for when, _ in self._due.values()), default=None)
            await self._until(None if earliest is None else earliest - now)

    async def _until(self, seconds: float | None) -> None:
        """Wait for a change of the timer, at most so long."""
        change = asyncio.ensure_future(self._timer_changed.wait())
        waits = [change] if seconds is None else [change, asyncio.ensure_future(self._clock.sleep(seconds))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _worker(self) -> NoReturn:
        while True:
            while not self._ready:
                self._work_waits.clear()
                await self._work_waits.wait()
            key, marked = self._ready.popitem(last=False)
            self._metrics.queue_depth.set(len(self._ready))
            self._due.pop(key, None)
            self._active.add(key)
            try:
                await self._once(key, marked=marked)
            finally:
                self._active.discard(key)
            if key in self._again:
                self._again.discard(key)
                self._enqueue(key, marked=True)

    async def _once(self, key: Key, *, marked: bool) -> None:
        started = self._clock.monotonic()
        outcome = "success"
        try:
            delay = await self._work(key, marked=marked)
        except LeadershipLost:
            raise
        except Exception as error:  # noqa: BLE001  (one key's trouble is not the others')
            outcome = error.reason if isinstance(error, OperatorError) else "InternalError"
            self._retry(key, error)
        else:
            self._failures.pop(key, None)
            if delay is not None:
                self._schedule(key, delay, marked=False)
        self._metrics.reconciles.labels(key.kind, outcome).inc()
        self._metrics.reconcile_seconds.labels(key.kind).observe(self._clock.monotonic() - started)

    def _retry(self, key: Key, error: Exception) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        longest = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** (failures - 1))
        delay = longest * (0.5 + self._jitter() / 2)
        if isinstance(error, KubeError) and error.retry_after:
            delay = max(delay, min(error.retry_after, LONGEST_BACKOFF))
        if isinstance(error, OperatorError):
            log.warning("%s: %s: %s; again in %.1f s", key, error.reason, error.message, delay)
        else:
            log.error("%s: unexpected error; again in %.1f s: %s", key, delay, trace(error))
        self._schedule(key, delay, marked=True)
