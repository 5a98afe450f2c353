"""Something that is opened by its first use, belongs to the event loop of that use, and is closed once.

Connections and locks of asyncio belong to one event loop. Invariants: several first uses at once open it once; a first
use that is cancelled or fails leaves nothing open, and the next one tries again; when the loop it was opened in has been
closed (``asyncio.run`` twice), it is opened anew in the next one, because what belonged to the old loop cannot be used or
even closed any more; while that loop is alive, another one is an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from stratarouter_runtime.model.errors import ExecutionError

T = TypeVar("T")


class Lazily(Generic[T]):
    """``open_`` opens it, ``close`` closes it; ``what`` names it in errors."""

    def __init__(self, what: str, open_: Callable[[], Awaitable[T]], close: Callable[[T], Awaitable[None]]) -> None:
        self._what = what
        self._open = open_
        self._close = close
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = asyncio.Lock()
        self._value: T | None = None
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
                self._value = await self._open()
            return self._value

    async def aclose(self) -> None:
        """Close it for good; again does nothing."""
        if self.closed and self._value is None:
            return
        self.closed = True
        loop = asyncio.get_running_loop()
        if self._loop is not None and self._loop is not loop:
            self._value = None  # it went with its loop
            return
        async with self._lock:
            value, self._value = self._value, None
            if value is not None:
                await self._close(value)

    def _enter(self) -> None:
        self._check()
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        if self._loop is not None and not self._loop.is_closed():
            raise ExecutionError("OtherEventLoop", f"This {self._what} is in use in another event loop; make one for each loop.",
                                 status=500)
        self._loop, self._lock, self._value = loop, asyncio.Lock(), None

    def _check(self) -> None:
        if self.closed:
            raise ExecutionError("Closed", f"This {self._what} has been closed.", status=503)
