"""Something that is opened by its first use, belongs to the event loop of that use, and is closed once.

Connections and locks of asyncio belong to one event loop. Invariants: several first uses at once open it once; a first
use that is cancelled or fails leaves nothing open, and the next one tries again; when its loop ends (``asyncio.run``), or
nobody knows it any more, it is closed there, and another loop opens it anew; while its loop is alive, another one is an error.

The end of the loop is heard of through an asynchronous generator: a loop closes those that are open before it ends
(``loop.shutdown_asyncgens``).
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Generic, TypeVar

from stratarouter_runtime.model.errors import ExecutionError

T = TypeVar("T")

Keeper = AsyncGenerator[None, None]

_kept_open: set[Keeper] = set()
"""What is open, so that it is closed before it becomes garbage: garbage is finalised in any order."""


class Lazily(Generic[T]):
    """``open_`` opens it, ``close`` closes it and knows nothing of who uses it; ``what`` names it in errors."""

    def __init__(self, what: str, open_: Callable[[], Awaitable[T]], close: Callable[[T], Awaitable[None]]) -> None:
        self._what = what
        self._open = open_
        self._close = close
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = asyncio.Lock()
        self._value: T | None = None
        self._keeper: Keeper | None = None
        self.closed = False

    @property
    def value(self) -> T | None:
        """It, where it is open."""
        return self._value

    async def get(self) -> T:
        """It, opened where it is not. Raises ``ExecutionError`` once it is closed, or in a second event loop."""
        self._enter()
        if self._value is not None:
            return self._value
        async with self._lock:
            self._check()
            if self._value is None:
                value = await self._open()
                keeper = self._keeper = _keep(value, self._close)
                _kept_open.add(keeper)
                # Runs to its first yield without waiting; the loop knows it from then on.
                await anext(keeper)
                self._value = value
                weakref.finalize(self, _dropped, asyncio.get_running_loop(), keeper).atexit = False
            return self._value

    async def aclose(self) -> None:
        """Close it for good; again does nothing."""
        self.closed = True
        if self._loop is not None and self._loop is not asyncio.get_running_loop():
            self._value = self._keeper = None  # it went with its loop
            return
        async with self._lock:
            keeper, self._value, self._keeper = self._keeper, None, None
            if keeper is not None:
                await _end(keeper)

    def _enter(self) -> None:
        self._check()
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        if self._loop is not None and not self._loop.is_closed():
            raise ExecutionError("OtherEventLoop", f"This {self._what} is in use in another event loop; make one for each loop.",
                                 status=500)
        self._loop, self._lock, self._value, self._keeper = loop, asyncio.Lock(), None, None

    def _check(self) -> None:
        if self.closed:
            raise ExecutionError("Closed", f"This {self._what} has been closed.", status=503)


async def _keep(value: T, close: Callable[[T], Awaitable[None]]) -> Keeper:
    try:
        yield
    finally:
        await close(value)


async def _end(keeper: Keeper) -> None:
    try:
        await keeper.aclose()
    finally:
        _kept_open.discard(keeper)


def _dropped(loop: asyncio.AbstractEventLoop, keeper: Keeper) -> None:
    """Nobody knows it any more: close it, on its loop. Garbage may be collected on any thread."""
    if loop.is_closed():
        _kept_open.discard(keeper)
    elif keeper in _kept_open:
        loop.call_soon_threadsafe(_spawn, loop, keeper)


_ending: set[asyncio.Task[None]] = set()


def _spawn(loop: asyncio.AbstractEventLoop, keeper: Keeper) -> None:
    task = loop.create_task(_end(keeper), name="close-dropped")
    _ending.add(task)
    task.add_done_callback(_ending.discard)
