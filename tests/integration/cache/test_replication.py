"""Pods that share a Redis: what one stores the others find by similarity, through every fault of the server."""

from __future__ import annotations

import asyncio
import statistics
import time

import pytest

from fakes.cache_pods import Letters, eventually, make_entry, make_key
from stratarouter_runtime.cache.replication import CHUNK
from stratarouter_runtime.cache.service import SemanticCache
from stratarouter_runtime.model.cache import Hit


async def _store(pod, text, partition="p", **fields):
    key = make_key(text, partition)
    assert await pod.store(key, make_entry(key, **fields))
    return key


def _asked(text, partition="p"):
    """A question that is no exact hit: the same letters, another spelling of the key."""
    key = make_key(text, partition)
    return make_key(text.swapcase(), partition) if text.swapcase() != text else key


def _finds(pod, text, partition="p"):
    async def check():
        return isinstance(await pod.lookup_semantic(_asked(text, partition)), Hit)
    return check


def _misses(pod, text):
    async def check():
        return not isinstance(await pod.lookup_semantic(_asked(text)), Hit)
    return check


async def test_an_entry_of_one_pod_is_a_semantic_hit_on_the_other(pods, redis_url, scope):
    """Soon after it was stored, and gone everywhere soon after it was deleted."""
    one, two = await pods(redis_url, scope), await pods(redis_url, scope)
    took = []
    for number in range(20):
        text = "How do I " + chr(97 + number) * 9
        key = await _store(one, text)
        took.append(await eventually(_finds(two, text)))
        assert await two.delete(key.exact)
        took.append(await eventually(_misses(one, text)))
    assert statistics.median(took) < 0.25


async def test_the_exact_tier_needs_no_stream(pods, redis_url, scope):
    """The entry is there for all when the put returns."""
    one, two = await pods(redis_url, scope), await pods(redis_url, scope)
    key = await _store(one, "How do I pay?")
    found = await two.lookup_exact(key)
    assert isinstance(found, Hit)
    assert found.tier == "exact"


async def test_scopes_and_embedders_on_one_redis_never_meet(pods, redis_url, scope):
    """Two deployments may share a server."""
    one, other = await pods(redis_url, scope), await pods(redis_url, scope + "-other")
    key = await _store(one, "How do I pay?")
    marker = await _store(other, "marker zzz")
    await eventually(_finds(other, "marker zzz"))
    assert not isinstance(await other.lookup_exact(key), Hit)
    assert not isinstance(await other.lookup_semantic(_asked("How do I pay?")), Hit)
    assert not isinstance(await one.lookup_exact(marker), Hit)


async def test_a_pod_that_starts_later_loads_what_exists(pods, redis_url, scope):
    """More than one chunk of it; deleted and expired entries are not brought back."""
    one = await pods(redis_url, scope, max_entries=5_000)
    keys = [make_key(f"{number} " + "abcdefghij"[number % 10] * 5, f"p{number % 50}") for number in range(CHUNK + 100)]
    await asyncio.gather(*(one.store(key, make_entry(key)) for key in keys))
    await one.delete(keys[0].exact)
    short = make_key("short lived", "short")
    await one.store(short, make_entry(short, ttl=0.05))
    await asyncio.sleep(0.06)
    late = await pods(redis_url, scope, max_entries=5_000)
    async def loaded():
        return late.stats()["indexed"] == len(keys) - 1
    await eventually(loaded)
    assert isinstance(await late.lookup_semantic(_asked(keys[-1].text, keys[-1].partition)), Hit)


async def test_an_expired_entry_is_served_by_no_pod(pods, redis_url, scope):
    """By each pod's own clock, whatever Redis has got round to."""
    one, two = await pods(redis_url, scope), await pods(redis_url, scope)
    await _store(one, "How do I pay?", ttl=0.4)
    await eventually(_finds(two, "How do I pay?"))
    await asyncio.sleep(0.4)
    for pod in (one, two):
        assert not isinstance(await pod.lookup_exact(make_key("How do I pay?")), Hit)
        assert not isinstance(await pod.lookup_semantic(_asked("How do I pay?")), Hit)


async def test_pods_agree_again_after_the_server_was_killed_and_came_back_empty(pods, redis_server, scope):
    """Old entries are misses, new ones are shared, ghosts leave the index."""
    one, two = await pods(redis_server.url, scope), await pods(redis_server.url, scope)
    await _store(one, "before the crash")
    await eventually(_finds(two, "before the crash"))
    redis_server.stop()
    for pod in (one, two):
        found = await pod.lookup_semantic(_asked("before the crash"))
        assert not isinstance(found, Hit)
        assert found.reason == "backend"
    assert not await one.store(make_key("lost"), make_entry(make_key("lost")))
    redis_server.start()
    async def stored():
        key = make_key("after the crash")
        return await one.store(key, make_entry(key))
    await eventually(stored, 15)
    await eventually(_finds(two, "after the crash"), 15)
    for pod in (one, two):
        await eventually(_misses(pod, "before the crash"))


async def test_pods_agree_again_after_flushall(pods, redis_server, scope):
    """Somebody empties the server under them, without a disconnect."""
    one, two = await pods(redis_server.url, scope), await pods(redis_server.url, scope)
    await _store(one, "before the flush")
    await eventually(_finds(two, "before the flush"))
    redis_server.command("FLUSHALL")
    for pod in (one, two):
        assert not isinstance(await pod.lookup_semantic(_asked("before the flush")), Hit)
    await _store(one, "after the flush")
    await eventually(_finds(two, "after the flush"))
    assert two.stats()["indexed"] == 1


async def test_nothing_is_lost_while_a_pod_cannot_listen(pods, redis_server, scope):
    """It reads on from the last record it saw."""
    one, two = await pods(redis_server.url, scope), await pods(redis_server.url, scope)
    await _store(one, "first one")
    await eventually(_finds(two, "first one"))
    for number in range(5):
        redis_server.command("CLIENT", "KILL", "TYPE", "normal")
        await eventually(lambda number=number: one.store(make_key(f"while away {number}"), make_entry(make_key(f"while away {number}"))))
    for number in range(5):
        await eventually(_finds(two, f"while away {number}"), 15)


async def test_a_trimmed_stream_is_survived(pods, redis_server, scope):
    """What is left of it is shared; what was trimmed is at worst a miss."""
    one = await pods(redis_server.url, scope)
    await _store(one, "first one")
    two = await pods(redis_server.url, scope)
    await eventually(_finds(two, "first one"))
    redis_server.command("XTRIM", two._store._stream, "MAXLEN", "0")
    await _store(one, "second one")
    await eventually(_finds(two, "second one"))
    assert await _finds(two, "first one")()
    late = await pods(redis_server.url, scope)
    await eventually(_finds(late, "second one"))
    assert not await _finds(late, "first one")()


async def test_a_stream_of_a_server_that_is_behind_is_read_anew(pods, redis_server, scope):
    """A replica that took over may not have seen the newest records; its ids are then behind the last one read."""
    one, two = await pods(redis_server.url, scope), await pods(redis_server.url, scope)
    await _store(one, "on the old master")
    await eventually(_finds(two, "on the old master"))
    stream = two._store._stream
    redis_server.command("DEL", stream)
    redis_server.command("XADD", stream, "1-1", "op", "del", "x", "nothing")
    redis_server.command("CLIENT", "KILL", "TYPE", "normal")
    async def forgotten():
        return two.stats()["indexed"] == 0
    await eventually(forgotten, 15)


async def test_records_that_cannot_be_read_are_skipped(pods, redis_server, scope):
    """Of another version, damaged, or somebody else's."""
    one = await pods(redis_server.url, scope)
    stream = one._store._stream
    for fields in (["op", "put"], ["x", "k"], ["op", "put", "x", "k", "p", "p", "e", "soon", "v", "abcd", "t", ""],
                   ["op", "put", "x", "k", "p", "p", "e", "9e9", "v", "abc", "t", ""], ["op", "new", "x", "k"],
                   ["op", "put", "x", "k", "p", "p", "e", "nan", "v", "abcdabcd", "t", ""]):
        redis_server.command("XADD", stream, "*", *fields)
    await _store(one, "after the noise")
    two = await pods(redis_server.url, scope)
    await eventually(_finds(two, "after the noise"))
    assert two.stats()["indexed"] == 1


async def test_a_stopped_server_blocks_no_one_and_all_heal(pods, redis_server, scope):
    """SIGSTOP: connections stay, nothing answers; look-ups are misses within their limit."""
    quick = await pods(redis_server.url, scope, command_seconds=0.2)
    other = await pods(redis_server.url, scope)
    await _store(quick, "before the stop")
    await eventually(_finds(other, "before the stop"))
    redis_server.pause()
    began = time.monotonic()
    for _ in range(50):
        assert not isinstance(await quick.lookup_exact(make_key("before the stop")), Hit)
        assert not isinstance(await quick.lookup_semantic(_asked("before the stop")), Hit)
    assert time.monotonic() - began < 3
    redis_server.resume()
    async def healed():
        return isinstance(await quick.lookup_exact(make_key("before the stop")), Hit)
    await eventually(healed)
    await _store(other, "after the stop")
    await eventually(_finds(quick, "after the stop"))


async def test_closing_a_pod_leaves_no_task_and_no_connection(redis_server, scope, pods):
    """Also in the middle of following."""
    pod = await pods(redis_server.url, scope)
    await _store(pod, "anything")
    await pod.aclose()
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith(("cache-", "redis-"))]
    clients = redis_server.command("CLIENT", "LIST").count(b"cmd=")
    assert clients == 1


async def test_the_streams_are_capped(pods, redis_server, scope):
    """Records beyond the entries a pod keeps are of no use to anyone."""
    pod = await pods(redis_server.url, scope, max_entries=200)
    for number in range(600):
        await _store(pod, f"question {number}", f"p{number}")
    length = int(redis_server.command("XLEN", pod._store._stream).strip(b":\r\n"))
    assert 200 <= length <= 400
    assert pod.stats()["indexed"] == 200
    left = int(redis_server.command("PTTL", pod._store._stream).strip(b":\r\n"))
    assert left > 3_600_000


async def test_a_pod_without_an_index_follows_nothing_it_cannot_use(redis_url, scope, pods):
    """Exact tier only: the same store, no vectors."""
    pod = await pods(redis_url, scope)
    plain = SemanticCache(pod._store, None, None)
    key = make_key("exact only")
    assert await plain.store(key, make_entry(key))
    assert isinstance(await plain.lookup_exact(key), Hit)
    assert pod.stats()["indexed"] == 0


@pytest.mark.parametrize("threshold", [0.5, None])
async def test_the_embedders_threshold_applies_unless_another_is_given(pods, redis_url, scope, threshold):
    """Over Redis as in memory."""
    pod = await pods(redis_url, scope)
    await _store(pod, "How do I pay my bill?")
    found = await pod.lookup_semantic(make_key("how can i pay my bill?"), threshold=threshold)
    assert isinstance(found, Hit) == (threshold is not None or found.score >= Letters.threshold)
