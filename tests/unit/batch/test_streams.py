"""A shared stream gives every reader all of it, whenever it came."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from stratarouter_runtime.batch import SharedStream
from stratarouter_runtime.batch.streams import AHEAD
from stratarouter_runtime.model.errors import Failure, Phase, ProviderError
from stratarouter_runtime.model.response import ChatEvent, EventKind


def batch(number: int):
    return [ChatEvent(EventKind.CONTENT, f"{number}".encode(), {})]


class Source:
    """A vendor's stream that gives what the test puts."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue = asyncio.Queue()
        self.closed = False
        self.taken = 0

    def __aiter__(self):
        return self

    async def __anext__(self):
        item = await self.queue.get()
        if item is None:
            raise StopAsyncIteration
        if isinstance(item, BaseException):
            raise item
        self.taken += 1
        return item

    @asynccontextmanager
    async def opened(self):
        try:
            yield self
        finally:
            self.closed = True


@pytest.fixture
def source():
    return Source()


async def turns(times: int = 20) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


async def read(shared, into):
    async with shared.reader() as reader:
        async for each in reader:
            into.append(each[0].raw)


async def test_a_latecomer_gets_the_beginning_and_then_the_live_tail(source):
    shared = SharedStream(source.opened)
    early, late = [], []
    first = asyncio.ensure_future(read(shared, early))
    source.queue.put_nowait(batch(0))
    source.queue.put_nowait(batch(1))
    await turns()
    second = asyncio.ensure_future(read(shared, late))
    await turns()
    assert late == [b"0", b"1"]
    source.queue.put_nowait(batch(2))
    source.queue.put_nowait(None)
    await asyncio.gather(first, second)
    assert early == late == [b"0", b"1", b"2"]
    assert source.closed


async def test_the_last_reader_to_leave_ends_the_source(source):
    shared = SharedStream(source.opened)
    readers = [asyncio.ensure_future(read(shared, [])) for _ in range(2)]
    source.queue.put_nowait(batch(0))
    await turns()
    readers[0].cancel()
    await turns()
    assert not source.closed
    assert shared.joinable
    readers[1].cancel()
    await turns()
    assert source.closed
    assert not shared.joinable


async def test_a_failure_reaches_every_reader_after_what_came_before(source):
    shared = SharedStream(source.opened)
    got = []
    reader = asyncio.ensure_future(read(shared, got))
    await turns()
    source.queue.put_nowait(batch(0))
    source.queue.put_nowait(ProviderError(Failure.TRUNCATED, "cut", phase=Phase.STREAM))
    with pytest.raises(ProviderError):
        await reader
    assert got == [b"0"]
    assert not shared.joinable


async def test_the_source_is_read_only_a_little_ahead_of_the_fastest_reader(source):
    shared = SharedStream(source.opened)
    for number in range(10 * AHEAD):
        source.queue.put_nowait(batch(number))
    reader = shared.reader()
    await anext(reader)
    await turns(200)
    assert source.taken <= AHEAD + 1
    for _ in range(5):
        await anext(reader)
    await turns(200)
    assert source.taken <= AHEAD + 6
    await reader.aclose()
    await turns()
    assert source.closed


async def test_opening_that_fails_is_told_to_whoever_waits_for_it():
    @asynccontextmanager
    async def opened():
        raise ProviderError(Failure.CONNECT_FAILED, "no", phase=Phase.CONNECT)
        yield

    shared = SharedStream(opened)
    with pytest.raises(ProviderError):
        await shared.reader().ready()
