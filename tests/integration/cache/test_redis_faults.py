"""A Redis that is slow, gone, full or strange: look-ups stay quick, nothing raises, and the store heals by itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time

import pytest

from fakes.cache_pods import eventually, make_entry, make_key
from fakes.listeners import CERTIFICATES
from stratarouter_runtime.cache.redis_store import FAILURES, RedisStore
from stratarouter_runtime.cache.store import StoreUnavailable
from stratarouter_runtime.config import ConfigError

COMMAND_SECONDS = 0.2
"""What a look-up may wait here: several times the product's limit, because the machines of tests are busy."""


@pytest.fixture
async def stores(scope):
    """A factory of stores with short patience and quick probes."""
    opened = []

    def open_store(url, **options):
        options = {"command_seconds": COMMAND_SECONDS, "store_seconds": 5.0, **options}
        store = RedisStore(url, scope=scope, embedder="e", max_entries=100, **options)
        opened.append(store)
        return store

    yield open_store
    for store in opened:
        await store.aclose()


class Silent:
    """A follower that does nothing."""

    def added(self, partition, exact, vector, expires, text):
        pass

    def removed(self, exact):
        pass

    def dropped(self, partition):
        pass

    def cleared(self):
        pass


async def _is_refused(store):
    try:
        await store.get("anything")
    except StoreUnavailable:
        return True
    return False


async def _answers(store):
    return not await _is_refused(store)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "redis//nothing", "127.0.0.1:6379", "redis://h:port/0"])
def test_a_url_that_is_none_is_told_without_its_password(url):
    """As a configuration error, at once."""
    with pytest.raises(ConfigError) as caught:
        RedisStore(url.replace("://", "://user:s3cret@"), scope="s", embedder="e", max_entries=1)
    assert caught.value.reason == "InvalidRedisUrl"
    assert "s3cret" not in str(caught.value)


async def test_a_server_that_was_never_there_is_a_refusal_each_time(stores, unused_tcp_port):
    """From the first call on; after a few failures nothing is asked any more."""
    store = stores(f"redis://127.0.0.1:{unused_tcp_port}/0")
    for _ in range(FAILURES + 5):
        with pytest.raises(StoreUnavailable):
            await store.get("k")
    assert not store.up
    assert store.errors == FAILURES
    with pytest.raises(StoreUnavailable):
        await store.put(make_entry(make_key()), None)
    with pytest.raises(StoreUnavailable):
        await store.delete("k")


async def test_a_server_that_comes_later_is_found(stores, redis_server):
    """The probe runs in the background; no caller waits for it."""
    redis_server.stop()
    store = stores(redis_server.url)
    while store.up:
        assert await _is_refused(store)
    redis_server.start()
    await eventually(lambda: _answers(store))
    assert store.up


async def test_a_server_that_hangs_costs_a_bounded_wait_and_then_none(stores, redis_server, caplog):
    """Connections stay open and nothing answers: the worst a Redis can do."""
    store = stores(redis_server.url)
    entry = make_entry(make_key())
    await store.put(entry, None)
    redis_server.pause()
    waits = []
    with caplog.at_level(logging.WARNING):
        while store.up:
            began = time.monotonic()
            assert await _is_refused(store)
            waits.append(time.monotonic() - began)
            assert len(waits) < 20
    # The first waits its time, the ones after it a part of that.
    assert sum(waits) < 3 * COMMAND_SECONDS + 1.0
    began = time.monotonic()
    for _ in range(100):
        assert await _is_refused(store)
    assert time.monotonic() - began < 0.5
    assert "redis does not answer" in caplog.text
    redis_server.resume()
    async def whole():
        return not await _is_refused(store) and await store.get(entry.exact) == entry
    await eventually(whole)


async def test_a_server_that_hangs_from_the_start_costs_no_more(stores, redis_server):
    """Connections are accepted by the kernel and never greeted."""
    redis_server.pause()
    store = stores(redis_server.url)
    began = time.monotonic()
    while store.up:
        assert await _is_refused(store)
    assert time.monotonic() - began < 3 * COMMAND_SECONDS + 1.0
    redis_server.resume()
    await eventually(lambda: _answers(store))


async def test_it_can_be_closed_at_any_moment(redis_server, scope):
    """Also while it connects, where a cancellation is easily lost."""
    for turns in range(40):
        store = RedisStore(redis_server.url, scope=scope, embedder="e", max_entries=9)
        await store.start(Silent())
        reading = asyncio.ensure_future(store.get("k"))
        for _ in range(turns):
            await asyncio.sleep(0)
        began = time.monotonic()
        await store.aclose()
        assert time.monotonic() - began < 1.0
        await asyncio.gather(reading, return_exceptions=True)


async def test_replies_that_come_too_late_are_never_taken_for_others(stores, redis_server):
    """A connection whose caller gave up must not hand its reply to the next one."""
    store = stores(redis_server.url, command_seconds=0.1)
    entries = [make_entry(make_key(f"q{number}"), body=f"{number}".encode()) for number in range(20)]
    for entry in entries:
        await store.put(entry, None)
    redis_server.pause()
    await asyncio.gather(*(store.get(entry.exact) for entry in entries), return_exceptions=True)
    redis_server.resume()
    await eventually(lambda: _answers(store))
    for _ in range(5):
        for entry in entries:
            try:
                got = await store.get(entry.exact)
            except StoreUnavailable:
                continue
            assert got == entry


async def test_a_server_that_dies_and_returns_empty_is_survived(stores, redis_server):
    """Entries are gone, nothing else is."""
    store = stores(redis_server.url)
    entry = make_entry(make_key())
    await store.put(entry, None)
    redis_server.restart()
    await eventually(lambda: _answers(store))
    assert await store.get(entry.exact) is None
    assert await store.put(entry, None)
    assert await store.get(entry.exact) == entry


async def test_a_full_server_refuses_to_store_and_goes_on_answering(stores, redis_server):
    """Out of memory is an answer: reads must not be switched off by it."""
    store = stores(redis_server.url)
    entry = make_entry(make_key())
    await store.put(entry, None)
    redis_server.command("CONFIG", "SET", "maxmemory", "1")
    for _ in range(FAILURES + 2):
        with pytest.raises(StoreUnavailable):
            await store.put(make_entry(make_key("another")), None)
    assert store.up
    assert store.errors == FAILURES + 2
    assert await store.get(entry.exact) == entry


async def test_evicted_entries_are_absent(stores, redis_server):
    """A maxmemory policy may take any of them at any time."""
    redis_server.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    store = stores(redis_server.url, command_seconds=10)
    redis_server.command("CONFIG", "SET", "maxmemory", "3mb")
    entries = [make_entry(make_key(f"q{number}"), body=bytes([number]) * 200 + str(time.time_ns()).encode() * 2_000) for number in range(60)]
    for entry in entries:
        try:
            await store.put(entry, None)
        except StoreUnavailable:
            continue
    got = [await store.get(entry.exact) for entry in entries]
    assert all(found is None or found == entry for found, entry in zip(got, entries, strict=True))
    assert store.up


async def test_foreign_values_are_absent(stores, redis_server):
    """Somebody else's key of another type, or bytes that are no entry: a miss, never an error on the request's path."""
    store = stores(redis_server.url)
    entry = make_entry(make_key("text"))
    await store.put(entry, None)
    prefix = store._prefix
    redis_server.command("SET", prefix + "string", "x")
    redis_server.command("HSET", prefix + "garbage", "entry", "no entry")
    assert await store.get("garbage") is None
    assert await asyncio.gather(store.get("string"), store.get("garbage"), store.get(entry.exact)) == [None, None, entry]
    assert store.up


async def test_a_password_and_an_acl_user_in_the_url_are_used(stores, redis_server, caplog):
    """A wrong one is a refusal that names neither user nor password."""
    redis_server.command("ACL", "SETUSER", "cache", "on", ">s3cret", "~strata:*", "+@all", "-@dangerous")
    redis_server.command("ACL", "SETUSER", "default", "off")
    good = stores(redis_server.url.replace("://", "://cache:s3cret@"), command_seconds=10)
    entry = make_entry(make_key())
    assert await good.put(entry, None)
    assert await good.get(entry.exact) == entry
    bad = stores(redis_server.url.replace("://", "://cache:wr0ng@"), command_seconds=10)
    for _ in range(FAILURES):
        with pytest.raises(StoreUnavailable) as caught:
            await bad.get("k")
    assert "wr0ng" not in str(caught.value) + caplog.text


async def test_tls_is_verified(stores, redis_server):
    """A ``rediss`` URL with the right CA is served; without it, or for another name, nothing is ever sent."""
    def trusting(certificate, host="localhost"):
        return stores(f"rediss://{host}:{port}/0?ssl_ca_certs={CERTIFICATES / certificate}", command_seconds=5)

    async def pipe(reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def relay(reader, writer):
        seen.append(1)
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", redis_server.port)
        await asyncio.gather(pipe(reader, inner_writer), pipe(inner_reader, writer))

    seen = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "server.crt", CERTIFICATES / "server.key")
    async with await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        for store in (trusting("other.crt"), stores(f"rediss://localhost:{port}/0", command_seconds=5)):
            with pytest.raises(StoreUnavailable):
                await store.get("k")
            await store.aclose()
        assert not seen
        store = trusting("server.crt")
        entry = make_entry(make_key())
        assert await store.put(entry, None)
        assert await store.get(entry.exact) == entry
        await store.aclose()


async def test_a_busy_pod_does_not_blame_redis(stores, redis_server):
    """When the event loop itself was late the reply may lie there unread: that is no failure of Redis."""
    store = stores(redis_server.url, command_seconds=0.05)
    await store.put(make_entry(make_key()), None)
    await eventually(lambda: _answers(store))
    for _ in range(FAILURES + 2):
        reading = asyncio.ensure_future(store.get("k"))
        for _ in range(3):
            await asyncio.sleep(0)
        busy_until = time.monotonic() + 0.15
        while time.monotonic() < busy_until:
            pass
        await asyncio.gather(reading, return_exceptions=True)
    assert store.up


async def test_closing_while_it_is_down_leaves_no_task(stores, redis_server):
    """The probe is the store's own."""
    store = stores(redis_server.url)
    redis_server.stop()
    while store.up:
        await _is_refused(store)
    await store.aclose()
    assert not [task for task in asyncio.all_tasks() if task.get_name() in {"redis-probe", "cache-read", "cache-replication"}]
