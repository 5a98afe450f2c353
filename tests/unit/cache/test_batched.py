"""Reads that travel together: how many fetches there are, and what becomes of those who wait."""

from __future__ import annotations

import asyncio

import pytest

from stratarouter_runtime.cache.batched import BatchedReads
from stratarouter_runtime.cache.store import StoreUnavailable


class Source:
    """Answers each key with its own name, when its gate is open."""

    def __init__(self):
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = []
        self.fails = None

    async def fetch(self, keys):
        self.asked.append(keys)
        await self.gate.wait()
        if self.fails is not None:
            raise self.fails
        return [f"value of {key}" for key in keys]


@pytest.fixture
async def source():
    return Source()


@pytest.fixture
async def reads(source):
    made = BatchedReads(source.fetch, in_flight=2, batch=3, waiting=5)
    yield made
    await made.aclose()


def begin(reads, *keys):
    return [asyncio.ensure_future(reads.get(key)) for key in keys]


async def turn():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_is_asked_in_one_turn_travels_together(reads, source):
    """And every caller gets its own value."""
    assert await asyncio.gather(*begin(reads, "a", "b")) == ["value of a", "value of b"]
    assert source.asked == [["a", "b"]]


async def test_one_key_is_fetched_once_for_all(reads, source):
    """A thousand callers of one answer are one read."""
    assert set(await asyncio.gather(*begin(reads, *["a"] * 50))) == {"value of a"}
    assert source.asked == [["a"]]


async def test_batches_and_fetches_in_flight_are_bounded(reads, source):
    """What comes meanwhile waits for the next; beyond that it is refused."""
    source.gate.clear()
    first = begin(reads, "a", "b", "c", "d")
    await turn()
    assert source.asked == [["a", "b", "c"], ["d"]]
    later = begin(reads, *"efghi")
    await turn()
    assert len(source.asked) == 2
    with pytest.raises(StoreUnavailable):
        await reads.get("one too many")
    source.gate.set()
    assert len(await asyncio.gather(*first, *later)) == 9


async def test_a_failed_fetch_fails_its_callers_alone(reads, source):
    """The next fetch is another chance."""
    source.fails = StoreUnavailable("down")
    results = await asyncio.gather(*begin(reads, "a", "b"), return_exceptions=True)
    assert [type(each) for each in results] == [StoreUnavailable, StoreUnavailable]
    source.fails = None
    assert await reads.get("a") == "value of a"


async def test_a_caller_that_leaves_takes_nothing_from_the_others(reads, source):
    """Nor is a failure that nobody waits for complained of."""
    source.gate.clear()
    leaves, stays = begin(reads, "a", "a")
    await turn()
    leaves.cancel()
    await turn()
    source.gate.set()
    assert await stays == "value of a"
    source.gate.clear()
    (alone,) = begin(reads, "b")
    await turn()
    alone.cancel()
    source.fails = StoreUnavailable("down")
    source.gate.set()
    await turn()


async def test_closing_ends_whoever_waits(reads, source):
    """In flight or not yet; later callers are refused."""
    source.gate.clear()
    waiting = begin(reads, *"abcdefgh")
    await turn()
    await reads.aclose()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(each) for each in results} == {StoreUnavailable}
    with pytest.raises(StoreUnavailable):
        await reads.get("later")
