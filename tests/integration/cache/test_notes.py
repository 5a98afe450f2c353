"""Deletions and notes between pods on a real Redis: who stores late, a full server, and what feedback needs to know."""

from __future__ import annotations

import asyncio

import pytest

from fakes.cache_pods import eventually, make_entry, make_key
from stratarouter_runtime.cache import notes
from stratarouter_runtime.cache.store import StoreUnavailable
from stratarouter_runtime.model.cache import Hit, Note

NOTE = Note("t", "r", "m", "exact", keep=60.0)


async def test_a_pod_that_stores_late_brings_nothing_back(pods, redis_url, scope):
    """Not for itself, not for others, whichever of them deleted; what it answers from then on is stored again."""
    one, two = await pods(redis_url, scope), await pods(redis_url, scope)
    key = make_key(since=one.moment())
    await two.delete(key.exact)
    assert not await one.store(key, make_entry(key))
    for pod in (one, two):
        assert not isinstance(await pod.lookup_exact(key), Hit)
        assert pod.stats()["indexed"] == 0
    async def stored():
        fresh = make_key(since=one.moment())
        return await one.store(fresh, make_entry(fresh))
    await eventually(stored)
    assert isinstance(await two.lookup_exact(key), Hit)


async def test_a_store_and_a_deletion_at_once_leave_nothing(pods, redis_url, scope):
    """In either order: both commands are on their way."""
    one, two = await pods(redis_url, scope), await pods(redis_url, scope)
    for number in range(50):
        key = make_key(f"question {number}", since=one.moment())
        await asyncio.gather(one.store(key, make_entry(key)), two.delete(key.exact))
        assert not isinstance(await two.lookup_exact(key), Hit)
        async def gone(key=key):
            found = [await pod.lookup_semantic(key) for pod in (one, two)]
            return not any(isinstance(each, Hit) for each in found)
        await eventually(gone)


async def test_a_pod_that_cannot_hear_of_deletions_stores_none_of_what_was_deleted(pods, redis_server, scope):
    """It goes by what it knew when the request began."""
    one, two = await pods(redis_server.url, scope), await pods(redis_server.url, scope)
    await one._store._tail.aclose()
    key, other = (make_key(text, since=one.moment()) for text in ("deleted", "untouched"))
    await two.delete(key.exact)
    later = make_key("deleted", since=one.moment())
    assert not await one.store(later, make_entry(later))
    assert await one.store(other, make_entry(other))


async def test_a_full_server_still_deletes(pods, redis_server, scope):
    """Wrong answers must leave it, whatever its memory."""
    one, two = await pods(redis_server.url, scope), await pods(redis_server.url, scope)
    key = make_key(since=one.moment())
    await one.store(key, make_entry(key))
    redis_server.command("CONFIG", "SET", "maxmemory", "1")
    assert await two.delete(key.exact)
    assert not isinstance(await one.lookup_exact(key), Hit)
    redis_server.command("CONFIG", "SET", "maxmemory", "0")
    assert not await one.store(key, make_entry(key))


async def test_marks_and_streams_of_deletions_end(pods, redis_server, scope):
    """Nothing stays for ever."""
    pod = await pods(redis_server.url, scope)
    await pod.delete("K")
    for name, least in ((pod._store._marks + "K", 3_700_000), (pod._store._stream, 3_700_000)):
        assert int(redis_server.command("PTTL", name).strip(b":\r\n")) > least


async def test_a_replica_that_refuses_to_write_counts_as_down(pods, redis_server, scope):
    """As before a master that was demoted: nobody is told that something was deleted."""
    pod = await pods(redis_server.url, scope)
    redis_server.command("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(StoreUnavailable):
        await pod.delete("K")
    assert pod._store._failures == 1
    redis_server.command("REPLICAOF", "NO", "ONE")


async def test_a_note_is_read_on_the_other_pod(pods, redis_server, scope):
    """Whole, soon, and with an end; in another scope it is unknown."""
    one, two, other = await pods(redis_server.url, scope), await pods(redis_server.url, scope), await pods(redis_server.url, scope + "x")
    one.note("exec-1", NOTE)
    async def read():
        found = await two.recall("exec-1")
        return found is not None and (found.tenant, found.route, found.model, found.exact) == ("t", "r", "m", "exact")
    await eventually(read)
    assert await other.recall("exec-1") is None
    assert 0 < int(redis_server.command("PTTL", one._store.notes._key("exec-1")).strip(b":\r\n")) <= 60_000


async def test_many_notes_travel_together(pods, redis_server, scope):
    """A command for each would cost as much as answering from the cache."""
    one, two = await pods(redis_server.url, scope), await pods(redis_server.url, scope)
    for number in range(1_000):
        one.note(f"exec-{number}", NOTE)
    async def read():
        return await two.recall("exec-999") is not None
    await eventually(read)
    assert await two.recall("exec-0") is not None
    calls = redis_server.command("INFO", "commandstats").decode()
    count = int(calls.partition("cmdstat_eval:calls=")[2].partition(",")[0])
    assert count <= 1_000 / notes.BATCH + 2


async def test_a_claim_is_the_first_pods(pods, redis_url, scope):
    """Of many at once; another verdict is another claim."""
    one, two = await pods(redis_url, scope), await pods(redis_url, scope)
    assert not await two.claimed("exec-1", "wrong")
    claims = await asyncio.gather(*(pod.claim("exec-1", "wrong") for pod in (one, two) * 10))
    assert sum(claims) == 1
    assert await two.claimed("exec-1", "wrong")
    assert await two.claim("exec-1", "correct")


async def test_values_that_are_no_notes_are_absent(pods, redis_server, scope):
    """Of another version, damaged, or somebody else's."""
    pod = await pods(redis_server.url, scope)
    for number, value in enumerate(("", "no json", "[]", '["t","r","m"]', '["t","r","m",1]', '{"a":1}')):
        redis_server.command("SET", pod._store.notes._key(f"exec-{number}"), value)
        assert await pod.recall(f"exec-{number}") is None


async def test_what_waits_is_bounded_and_sent_at_the_end(pods, redis_server, scope, monkeypatch):
    """The oldest are given up; closing sends what is left."""
    monkeypatch.setattr(notes, "WAITING", 5)
    one, two = await pods(redis_server.url, scope), await pods(redis_server.url, scope)
    for number in range(20):
        one.note(f"exec-{number}", NOTE)
    assert len(one._store.notes._waiting) == 5
    await one.aclose()
    found = [await two.recall(f"exec-{number}") is not None for number in range(20)]
    assert found == [False] * 15 + [True] * 5


async def test_notes_are_no_burden_while_the_server_is_away(pods, redis_server, scope):
    """Writing never fails; reading says that nobody can tell; no task is left."""
    pod = await pods(redis_server.url, scope)
    redis_server.stop()
    for number in range(100):
        pod.note(f"exec-{number}", NOTE)
        await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable):
        await pod.recall("unknown")
    await pod.aclose()
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "cache-notes"]
