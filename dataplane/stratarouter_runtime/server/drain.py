"""What is in flight, and how it ends when the pod stops.

Order: readiness off and ``Connection: close`` while endpoints still send traffic here; then the listeners close; then
what is in flight may finish within the grace period; what is left then ends with an error its client can read.
Invariant: a request that was accepted is answered or ended in the shape of its API, never cut silently.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from stratarouter_runtime.model.errors import ExecutionError

PROPAGATION_SECONDS = 5.0
"""How long endpoints may take to learn that this pod is going."""


class Drain:
    """The requests in flight on the client port."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[object]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self.draining = False
        self.aborting = False

    @property
    def in_flight(self) -> int:
        """Requests being worked on."""
        return len(self._tasks)

    @contextmanager
    def request(self) -> Iterator[None]:
        """The current task works on a request."""
        task = asyncio.current_task()
        if task is None:  # pragma: no cover - a handler always runs in a task
            raise RuntimeError("no task")
        self._tasks.add(task)
        self._idle.clear()
        try:
            yield
        finally:
            self._tasks.discard(task)
            if not self._tasks:
                self._idle.set()

    async def wait_idle(self, seconds: float) -> bool:
        """Whether everything in flight ended in time."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def abort(self) -> None:
        """End what is in flight: each handler turns its cancellation into ``shutting_down``."""
        self.aborting = True
        for task in list(self._tasks):
            task.cancel()

    def interrupted(self) -> ExecutionError | None:
        """Called by a handler that was cancelled: the error to end with, or None where the client went away."""
        task = asyncio.current_task()
        if not self.aborting or task is None or not task.cancelling():
            return None
        task.uncancel()
        return ExecutionError("ShuttingDown", "The server is shutting down; send the request again.", status=503, retry_after=1)
