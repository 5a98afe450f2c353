"""A stream that several readers follow: each gets the whole of it, latecomers the buffered beginning first.

Invariants: the source is read by one task, ahead of the fastest reader by a few batches at most, so a vendor is slowed
by slow readers; while a latecomer may come all of it is kept, up to a bound beyond which none may and what every reader
has had is dropped; the last reader to leave ends the source, and waits until it has ended.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Generic, Self, TypeVar

from stratarouter_runtime.model.errors import StrataError
from stratarouter_runtime.model.response import Batch, EventKind

from .flights import MAX_JOINS, same_for_all

AHEAD = 16
"""Batches the source may be ahead of the fastest reader."""
MAX_BUFFERED = 1_048_576
"""Bytes of events kept for latecomers."""
MAX_STREAMS = 10_000

Source = TypeVar("Source", bound=AsyncIterable[Batch])


class SharedStream(Generic[Source]):
    """Runs ``opened`` (a context manager that gives the source) in a task of its own.

    Whoever takes part holds a ``reader``; ``source`` is there once the reader's ``ready`` has returned.
    """

    def __init__(self, opened: Callable[[], AbstractAsyncContextManager[Source]]) -> None:
        self._opened = opened
        self._batches: deque[Batch] = deque()
        self._dropped = 0
        self._bytes = 0
        self._readers: set[Reader[Source]] = set()
        self._furthest = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._room: asyncio.Future[None] | None = None
        self._over = False
        self._error: BaseException | None = None
        self.source: Source | None = None
        self.task = asyncio.get_running_loop().create_task(self._pump(), name="shared-stream")
        self.task.add_done_callback(lambda task: task.cancelled() or task.exception())

    @property
    def joinable(self) -> bool:
        """Whether a latecomer would get all of it: somebody reads it, it has not failed, nothing was dropped."""
        return bool(self._readers) and self._error is None and self._bytes <= MAX_BUFFERED

    def reader(self) -> Reader[Source]:
        """One who follows it from its first batch on; must be closed."""
        reader = Reader(self)
        self._readers.add(reader)
        return reader

    # --- for the readers --------------------------------------------------------------------------------------------
    async def opened(self) -> Source:
        """Wait until the source is there; raises what opening it raised."""
        while self.source is None and not self._over:
            await self._change()
        if self.source is None:
            raise self._error or asyncio.CancelledError
        return self.source

    async def next(self, reader: Reader[Source]) -> Batch | None:
        """The reader's next batch; None at the end. Raises what the source raised."""
        while reader.position >= self._dropped + len(self._batches):
            if self._over:
                if self._error is not None:
                    raise self._error
                return None
            await self._change()
        batch = self._batches[reader.position - self._dropped]
        reader.position += 1
        if reader.position > self._furthest:
            self._furthest = reader.position
            if self._room is not None and not self._room.done():
                self._room.set_result(None)
        if self._bytes > MAX_BUFFERED:
            self._drop()
        return batch

    async def leave(self, reader: Reader[Source]) -> None:
        """The reader goes; the last one ends the source."""
        self._readers.discard(reader)
        if self._readers or self.task.done():
            return
        if not self._over:
            self.task.cancel()
        await asyncio.wait({self.task})

    # --- the source -------------------------------------------------------------------------------------------------
    async def _pump(self) -> None:
        try:
            async with self._opened() as source:
                self.source = source
                self._notify()
                async for batch in source:
                    self._batches.append(batch)
                    self._bytes += sum(len(event.raw) + len(event.native) for event in batch)
                    # Said before the source is closed: who leaves with the last event must not break that off.
                    self._over = batch[-1].kind is EventKind.DONE
                    self._notify()
                    if self._over:
                        break
                    if self._dropped + len(self._batches) - self._furthest >= AHEAD:
                        await self._until_read()
        except BaseException as error:
            self._error = None if self._over else error
            raise
        finally:
            self._over = True
            self._notify()

    async def _until_read(self) -> None:
        self._room = asyncio.get_running_loop().create_future()
        await self._room
        self._room = None

    async def _change(self) -> None:
        change = asyncio.get_running_loop().create_future()
        self._waiting.append(change)
        await change

    def _notify(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.done():
                each.set_result(None)

    def _drop(self) -> None:
        """Too long to be kept for anybody who has not come yet."""
        slowest = min((each.position for each in self._readers), default=self._furthest)
        while self._dropped < slowest:
            self._batches.popleft()
            self._dropped += 1


class Reader(Generic[Source]):
    """An async iterator over all batches of a shared stream."""

    __slots__ = ("_shared", "position")

    def __init__(self, shared: SharedStream[Source]) -> None:
        self._shared = shared
        self.position = 0

    async def ready(self) -> Source:
        """The source, once it is open; raises what opening it raised."""
        return await self._shared.opened()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Batch:
        batch = await self._shared.next(self)
        if batch is None:
            raise StopAsyncIteration
        return batch

    async def aclose(self) -> None:
        """Leave; the last one ends the source and waits for its end."""
        await self._shared.leave(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class SharedStreams(Generic[Source]):
    """The streams in flight that may be joined, by key. Bounded: beyond ``max_streams`` a request's stream is its own."""

    def __init__(self, *, max_streams: int = MAX_STREAMS) -> None:
        self._max = max_streams
        self._streams: dict[str, tuple[SharedStream[Source], float]] = {}

    def __len__(self) -> int:
        return len(self._streams)

    async def follow(self, key: str, opened: Callable[[], AbstractAsyncContextManager[Source]], *,
                     deadline: float) -> tuple[Reader[Source], bool]:
        """A reader of the stream for ``key`` whose source is open, and whether somebody else had begun it.

        ``opened`` begins one, which ends at ``deadline`` (the event loop's clock). Raises what opening raised: what failed for
        others is tried once more on this request's own terms, unless it would fail for everybody.
        """
        joins = 0
        while (stream := self._joinable(key, deadline)) is not None:
            joins += 1
            try:
                return await _ready(stream), True
            except StrataError as error:
                if joins == MAX_JOINS or same_for_all(error):
                    raise
        return await self._lead(key, opened, deadline), False

    async def joined(self, key: str, deadline: float) -> Reader[Source] | None:
        """A reader of the stream for ``key`` that somebody else has begun; None where there is none, or it could not be opened."""
        stream = self._joinable(key, deadline)
        if stream is None:
            return None
        try:
            return await _ready(stream)
        except StrataError:
            return None

    def _joinable(self, key: str, deadline: float) -> SharedStream[Source] | None:
        """One that leaves this request at least half of its own time."""
        stream, ends = self._streams.get(key, (None, 0.0))
        now = asyncio.get_running_loop().time()
        return stream if stream is not None and stream.joinable and ends - now >= (deadline - now) / 2 else None

    async def _lead(self, key: str, opened: Callable[[], AbstractAsyncContextManager[Source]], deadline: float) -> Reader[Source]:
        stream = SharedStream(opened)
        if len(self._streams) < self._max and self._joinable(key, deadline) is None:
            self._streams[key] = stream, deadline
            stream.task.add_done_callback(lambda _: self._ended(key, stream))
        return await _ready(stream)

    def _ended(self, key: str, stream: SharedStream[Source]) -> None:
        if self._streams.get(key, (None, 0.0))[0] is stream:
            del self._streams[key]


async def _ready(stream: SharedStream[Source]) -> Reader[Source]:
    """A reader of a stream that is open; raises what opening it raised."""
    reader = stream.reader()
    try:
        await reader.ready()
    except BaseException:
        await reader.aclose()
        raise
    return reader
