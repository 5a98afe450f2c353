"""An answer on its way to an app: typed events, or text alone.

The work is done by a task of its own, so that the app may read from any task, stop at any event, and never finds our
context variables among its own. Invariants: nothing begins before the first event is asked for; no more than
``MAX_WAITING`` batches wait for the reader; whoever stops early (``break``, ``aclose``, leaving ``async with``, being
cancelled, or just dropping the stream) ends the provider's call; an answer that broke off never looks like a whole one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Self

from stratarouter_runtime.model.errors import ExecutionError, StrataError
from stratarouter_runtime.results import ExecutionResult

from .events import CompletedEvent, DeltaEvent, ErrorEvent, StreamEvent

MAX_WAITING = 64

Put = Callable[[StreamEvent], Awaitable[None]]
Work = Callable[[Put], Awaitable[None]]


class ExecutionStream:
    """Events of one execution; iterate once. ``async with`` it where the loop may end early."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._channel = _Channel()
        self._task: asyncio.Task[None] | None = None
        self._over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamEvent:
        """The next event. Raises ``StrataError`` where the execution fails before the first one."""
        if self._over:
            raise StopAsyncIteration
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._channel.run(self._work), name="execution-stream")
        try:
            event = await self._channel.next()
        except BaseException:
            self._over = True
            self._task.cancel()
            raise
        self._over = isinstance(event, CompletedEvent | ErrorEvent)
        return event

    async def text(self) -> AsyncIterator[str]:
        """The answer's text, piece by piece; raises ``StrataError`` also where it breaks off."""
        try:
            async for event in self:
                if isinstance(event, DeltaEvent) and event.text:
                    yield event.text
                elif isinstance(event, ErrorEvent):
                    raise event.error
        finally:
            await self.aclose()

    async def result(self) -> ExecutionResult:
        """Read to the end; raises ``StrataError`` where it breaks off or has been closed."""
        try:
            async for event in self:
                if isinstance(event, CompletedEvent):
                    return event.result
                if isinstance(event, ErrorEvent):
                    raise event.error
        finally:
            await self.aclose()
        raise ExecutionError("StreamRead", "The stream has been read or closed before.", status=500)

    async def aclose(self) -> None:
        """End it; returns once the provider's call is over. Again does nothing."""
        self._over = True
        task = self._task
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait({task})

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    def __del__(self) -> None:
        task = self._task
        if task is not None and not task.done() and not task.get_loop().is_closed():
            # Maybe on another thread: that is where garbage is collected.
            task.get_loop().call_soon_threadsafe(task.cancel)


class _Channel:
    """Between the task and the reader. The task must not know the stream, else that would never be dropped."""

    def __init__(self) -> None:
        self._events: deque[StreamEvent] = deque()
        self._last: StreamEvent | BaseException | None = None
        self._begun = self._ended = False
        self._changed = asyncio.Event()
        self._room = asyncio.Event()

    async def run(self, work: Work) -> None:
        """Do the work; how it ends is told after what it gave."""
        try:
            await work(self._put)
        except asyncio.CancelledError:
            self._fail(ExecutionError("Closed", "The stream has been closed.", status=499))
            raise
        except StrataError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 (a defect reaches whoever reads)
            self._last = error
        finally:
            self._ended = True
            self._changed.set()

    async def next(self) -> StreamEvent:
        """What comes next; raises what is no event."""
        while not self._events and not self._ended:
            self._changed.clear()
            await self._changed.wait()
        if self._events:
            self._room.set()
            return self._events.popleft()
        last, self._last = self._last, None
        if last is None:
            raise StopAsyncIteration
        if isinstance(last, BaseException):
            raise last
        return last

    async def _put(self, event: StreamEvent) -> None:
        while len(self._events) >= MAX_WAITING:
            self._room.clear()
            await self._room.wait()
        self._begun = True
        self._events.append(event)
        self._changed.set()

    def _fail(self, error: StrataError) -> None:
        self._last = ErrorEvent(error) if self._begun else error
