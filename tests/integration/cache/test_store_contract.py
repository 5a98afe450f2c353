"""What every store promises, run against memory and against a real Redis."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import numpy as np
import pytest

from fakes.cache_pods import eventually, make_entry, make_key
from stratarouter_runtime.cache import MemoryStore
from stratarouter_runtime.cache.codec import MAX_ENTRY_BYTES
from stratarouter_runtime.cache.redis_store import RedisStore


class Follower:
    """Holds what an index would hold."""

    def __init__(self):
        self.known = {}

    def added(self, partition, exact, vector, expires, text):
        self.known[exact] = (partition, np.asarray(vector), expires, text)

    def removed(self, exact):
        self.known.pop(exact, None)

    def dropped(self, partition):
        self.known = {exact: told for exact, told in self.known.items() if told[0] != partition}

    def cleared(self):
        self.known.clear()


@pytest.fixture(params=["memory", "redis"])
async def store(request, scope):
    if request.param == "memory":
        made = MemoryStore(max_entries=100)
    else:
        made = RedisStore(request.getfixturevalue("redis_url"), scope=scope, embedder="e", max_entries=100,
                          command_seconds=10, store_seconds=10)
    yield made
    await made.aclose()


@pytest.fixture
async def follower(store):
    made = Follower()
    await store.start(made)
    return made


VECTOR = np.array([0.6, 0.8], dtype=np.float32)


async def test_what_was_never_put_is_absent(store):
    """No error, no entry."""
    assert await store.get("nothing") is None
    await store.delete("nothing")
    assert store.up
    assert store.errors == 0


async def test_an_entry_comes_back_whole(store):
    """Every field, bytes as they were."""
    entry = make_entry(make_key(), body=b'{"a":"\xc3\xa4\\n"}\n\n', input_tokens=3, output_tokens=4, cost_usd="0.0001", tenant="t")
    assert await store.put(entry, None)
    assert await store.get(entry.exact) == entry


async def test_a_large_entry_comes_back_whole_and_a_huge_one_is_refused(store):
    """Compression is invisible; the bound is told, not raised."""
    entry = make_entry(make_key(), body=b"x" * 100_000)
    assert await store.put(entry, None)
    assert await store.get(entry.exact) == entry
    assert not await store.put(replace(entry, exact="huge", body=b"x" * (MAX_ENTRY_BYTES + 1)), None)
    assert await store.get("huge") is None


async def test_the_newest_put_wins(store):
    """Under the same key."""
    entry = make_entry(make_key())
    await store.put(entry, None)
    await store.put(replace(entry, body=b"newer"), None)
    assert (await store.get(entry.exact)).body == b"newer"


async def test_a_deleted_entry_is_absent(store):
    """At once."""
    entry = make_entry(make_key())
    await store.put(entry, None)
    await store.delete(entry.exact)
    assert await store.get(entry.exact) is None


async def test_an_entry_ends_with_its_time_to_live(store):
    """Measured from the put, by the store's own clock."""
    entry = make_entry(make_key(), created=time.time(), ttl=0.05)
    await store.put(entry, None)
    async def gone():
        return await store.get(entry.exact) is None
    assert await eventually(gone) < 2.0


async def test_followers_hear_of_puts_with_their_vectors_and_of_deletes(store, follower):
    """That is what an index lives on."""
    entry = make_entry(make_key())
    await store.put(entry, VECTOR)
    async def heard():
        return entry.exact in follower.known
    await eventually(heard)
    partition, vector, expires, text = follower.known[entry.exact]
    assert (partition, text) == (entry.partition, entry.text)
    assert vector.tolist() == VECTOR.tolist()
    assert expires == entry.expires()
    await store.delete(entry.exact)
    async def forgotten():
        return entry.exact not in follower.known
    await eventually(forgotten)


async def test_followers_do_not_hear_of_entries_without_a_vector(store, follower):
    """The exact tier needs no index."""
    quiet, loud = make_entry(make_key("quiet")), make_entry(make_key("loud"))
    await store.put(quiet, None)
    await store.put(loud, VECTOR)
    async def heard():
        return loud.exact in follower.known
    await eventually(heard)
    assert quiet.exact not in follower.known


async def test_many_at_once_do_not_disturb_each_other(store):
    """A hundred writers and readers."""
    entries = [make_entry(make_key(f"question {number}"), body=f"{number}".encode()) for number in range(100)]
    assert all(await asyncio.gather(*(store.put(entry, None) for entry in entries)))
    got = await asyncio.gather(*(store.get(entry.exact) for entry in entries))
    assert [each.body for each in got] == [entry.body for entry in entries]


async def test_closing_twice_is_closing_once(store, follower):
    """No task or connection is left, none is missed."""
    await store.aclose()
    await store.aclose()


async def test_a_deletion_says_whether_there_was_anything(store):
    """Once."""
    entry = make_entry(make_key())
    await store.put(entry, None)
    assert await store.delete(entry.exact) is True
    assert await store.delete(entry.exact) is False


async def test_an_answer_that_was_deleted_before_it_was_stored_is_not_stored(store, follower):
    """However late it comes, with a vector or without; nobody hears of it."""
    entry, marker, since = make_entry(make_key()), make_entry(make_key("marker")), store.moment()
    assert not await store.delete(entry.exact)
    assert not await store.put(entry, None, since=since)
    assert not await store.put(entry, VECTOR, since=since)
    assert await store.get(entry.exact) is None
    await store.put(marker, VECTOR, since=since)
    async def heard():
        return marker.exact in follower.known
    await eventually(heard)
    assert entry.exact not in follower.known


async def test_an_answer_to_a_request_that_began_after_the_deletion_is_stored(store, follower):
    """On the pod that deleted at once, after a second deletion not any more."""
    entry = make_entry(make_key())
    await store.put(entry, None, since=store.moment())
    await store.delete(entry.exact)
    fresh = store.moment()
    assert await store.put(entry, None, since=fresh)
    assert await store.get(entry.exact) == entry
    await store.delete(entry.exact)
    assert not await store.put(entry, None, since=fresh)


async def test_who_does_not_say_when_it_began_may_store(store):
    """A program that sets an entry means what it says."""
    entry = make_entry(make_key())
    await store.delete(entry.exact)
    assert await store.put(entry, None)
    assert await store.get(entry.exact) == entry


@pytest.mark.parametrize("what", [{"partition": "one"}, {"tenant": "a"}])
async def test_a_partition_or_a_tenant_is_dropped_with_all_its_entries(store, follower, what):
    """Others stay; what began before is not stored; what begins now is."""
    gone = [make_entry(make_key(f"q{number}", "one"), tenant="a") for number in range(30)]
    kept = make_entry(make_key("kept", "two"), tenant="b")
    exact_only = make_entry(make_key("exact only", "one"), tenant="a")
    for entry in (*gone, kept):
        await store.put(entry, VECTOR)
    await store.put(exact_only, None)
    since = store.moment()
    assert await store.drop(**what) == 31
    assert await store.drop(**what) == 0
    assert [await store.get(entry.exact) for entry in (*gone, exact_only)] == [None] * 31
    assert await store.get(kept.exact) == kept
    async def told():
        return list(follower.known) == [kept.exact]
    await eventually(told)
    assert not await store.put(gone[0], VECTOR, since=since)
    assert await store.put(kept, VECTOR, since=since)
    assert await store.put(gone[0], VECTOR, since=store.moment())
