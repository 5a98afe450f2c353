"""What only the store in memory has: bounds of its own. What all stores share is in the contract tests."""

from __future__ import annotations

from dataclasses import replace

from stratarouter_runtime.cache import MemoryStore
from stratarouter_runtime.cache.memory import OVERHEAD
from stratarouter_runtime.model.cache import CacheEntry


class Recorder:
    """A follower that remembers what it was told."""

    def __init__(self):
        self.told = []

    def added(self, partition, exact, vector, expires, text):
        self.told.append(("added", exact))

    def removed(self, exact):
        self.told.append(("removed", exact))

    def cleared(self):
        self.told.append(("cleared",))


def entry(exact, body=b"{}", created=0.0, ttl=100.0):
    return CacheEntry(partition="p", exact=exact, body=body, pool="c", provider="a", model="m", region="", created=created, ttl=ttl,
                      text="t")


async def test_the_least_recently_used_goes_first():
    """Reading is use."""
    store, recorder = MemoryStore(max_entries=2, clock=lambda: 1.0), Recorder()
    await store.start(recorder)
    await store.put(entry("a"), None)
    await store.put(entry("b"), None)
    await store.get("a")
    await store.put(entry("c"), None)
    assert [await store.get(key) is not None for key in "abc"] == [True, False, True]
    assert ("removed", "b") in recorder.told


async def test_bytes_are_bounded_and_counted():
    """The count returns to zero with the last entry."""
    store = MemoryStore(max_entries=100, max_bytes=3 * (OVERHEAD + 100), clock=lambda: 1.0)
    for key in "abcdef":
        await store.put(entry(key, body=b"x" * 99), None)
    assert store.stats()["entries"] == 3
    assert store.stats()["bytes"] == 3 * (OVERHEAD + 100)
    assert not await store.put(entry("huge", body=b"x" * 4 * OVERHEAD), None)
    for key in "abcdef":
        await store.delete(key)
    assert store.stats() == {"entries": 0, "bytes": 0}


async def test_an_expired_entry_is_forgotten_when_it_is_asked_for():
    """By the injected clock."""
    now = [0.0]
    store, recorder = MemoryStore(max_entries=9, clock=lambda: now[0]), Recorder()
    await store.start(recorder)
    await store.put(entry("a"), [1.0])
    now[0] = 100.0
    assert await store.get("a") is None
    assert store.stats()["entries"] == 0
    assert recorder.told == [("added", "a"), ("removed", "a")]


async def test_replacing_an_entry_does_not_take_it_from_the_index():
    """A graph would have to bury the vector and learn it again."""
    store, recorder = MemoryStore(max_entries=9, clock=lambda: 1.0), Recorder()
    await store.start(recorder)
    await store.put(entry("a"), [1.0])
    await store.put(replace(entry("a"), body=b"{1}"), [1.0])
    assert recorder.told == [("added", "a"), ("added", "a")]
    assert store.stats() == {"entries": 1, "bytes": OVERHEAD + 4}


async def test_deletions_are_remembered_within_bounds(monkeypatch):
    """Who began before one that is forgotten stores nothing: it may have been of that key."""
    monkeypatch.setattr("stratarouter_runtime.cache.memory.DELETIONS", 2)
    store = MemoryStore(max_entries=9, clock=lambda: 1.0)
    before = store.moment()
    for key in "abc":
        await store.delete(key)
    assert len(store._deleted) == 2
    assert not await store.put(entry("a"), None, since=before)
    assert not await store.put(entry("never deleted"), None, since=before)
    assert await store.put(entry("a"), None, since=store.moment())
