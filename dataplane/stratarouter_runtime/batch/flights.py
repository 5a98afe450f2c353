"""Single flight: identical requests in flight share one call.

Invariants: the call runs in a task of its own, so that whoever asked first may leave; the last to leave cancels it; a
call that failed for its first caller's reasons (deadline, budget) is made again by one of the others, on its own
deadline; the number of flights is bounded, and beyond the bound a request simply flies alone.

Source of the idea: Go's ``golang.org/x/sync/singleflight``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

from stratarouter_runtime.model.errors import ExecutionError, StrataError

MAX_FLIGHTS = 10_000
MAX_JOINS = 2
"""Calls a request waits for in vain before it takes the failure for its own: else each would try what fails for all."""

T = TypeVar("T")


class Flight(Generic[T]):
    """One call and those who wait for it."""

    __slots__ = ("task", "waiting")

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self.task: asyncio.Task[T] = asyncio.get_running_loop().create_task(work)
        self.waiting = 0

    async def wait(self) -> T:
        """The call's outcome; leaving early ends the call when nobody else waits."""
        self.waiting += 1
        try:
            return await asyncio.shield(self.task)
        finally:
            self.waiting -= 1
            if not self.waiting and not self.task.done():
                self.task.cancel()
                # Its end is the caller's business: what it has tried and used is booked with it.
                await asyncio.wait({self.task})


class Flights(Generic[T]):
    """The calls in flight by key."""

    def __init__(self, *, max_flights: int = MAX_FLIGHTS) -> None:
        self._max = max_flights
        self._flights: dict[str, Flight[T]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def get(self, key: str) -> Flight[T] | None:
        """The flight of a key, while it may be joined."""
        flight = self._flights.get(key)
        # A flight that everybody has left is being cancelled: joining it would be cancelled with it.
        return flight if flight is not None and (flight.waiting or flight.task.done()) else None

    async def share(self, key: str, lead: Callable[[], Coroutine[Any, Any, T]], *, deadline: float) -> tuple[T, bool]:
        """The outcome of the call for ``key``, and whether somebody else made it.

        ``lead`` makes the call; ``deadline`` is this caller's own, on the event loop's clock. Raises what the call raised,
        or ``ExecutionError`` 504 at the deadline.
        """
        joins = 0
        while (flight := self.get(key)) is not None:
            joins += 1
            try:
                return await until(flight.wait(), deadline), True
            except StrataError as error:
                if joins == MAX_JOINS or same_for_all(error) or asyncio.get_running_loop().time() >= deadline:
                    raise
        return await self._lead(key, lead), False

    async def _lead(self, key: str, lead: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if len(self._flights) >= self._max or key in self._flights:
            return await lead()
        flight = self._flights[key] = Flight(lead())
        flight.task.add_done_callback(lambda task: self._landed(key, task))
        return await flight.wait()

    def _landed(self, key: str, task: asyncio.Task[T]) -> None:
        self._flights.pop(key, None)
        if not task.cancelled():
            task.exception()  # heard by those who wait; if all have left, by nobody


async def until(work: Awaitable[T], deadline: float) -> T:
    """Wait no longer than ``deadline`` (the event loop's clock); raises ``ExecutionError`` 504 then."""
    try:
        async with asyncio.timeout_at(deadline):
            return await work
    except TimeoutError:
        raise ExecutionError("DeadlineExceeded", "The request's deadline passed before an answer came.", status=504) from None


def same_for_all(error: StrataError) -> bool:
    """Whether the same request would fail the same way again: the caller's own mistake."""
    return 400 <= error.status < 500 and error.status not in (408, 409, 429)
