"""Entries in Redis, the truth that all pods of a scope share.

Layout, for a scope's digest S: a hash ``strata:{S}:e:EXACT`` with the encoded entry and an expiry, and one capped stream
``strata:{S}:s:EMBEDDER`` that carries every put (with vector and partition) and every delete; a deletion leaves a mark
``strata:{S}:d:EXACT`` (of a partition ``d:p:...``, of a tenant ``d:t:...``) for as long as a request may take. The braces keep a scope in one slot of a cluster, so that an entry and
its record are written in one step (``scripts``).

Invariants: a command on a request's path takes tens of milliseconds at most; after a few failures in a row nothing is
asked until a probe in the background has been answered; a URL with its password never appears in an error.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ReadOnlyError, RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from stratarouter_runtime.config import ConfigError
from stratarouter_runtime.model.cache import CacheEntry, Vector

from . import scripts
from .batched import BatchedReads
from .codec import decode, encode
from .notes import RedisNotes
from .replication import START, Tail, position, put_record
from .store import Follower, StoreUnavailable
from .tasks import ended

logger = logging.getLogger(__name__)

COMMAND_SECONDS = 0.04
"""What a look-up may wait for Redis: beyond it, a miss serves the caller better."""
SUSPECT = 4
"""The part of that which it may wait while the last command failed."""
LATE_SECONDS = 0.02
"""By how much the event loop itself may be late before a time-out is its fault rather than Redis'."""
STREAM_MS = 24 * 3600 * 1000
"""Milliseconds a stream outlives its last record at least."""
MARK_MS = 2 * 3600 * 1000
"""Milliseconds a deletion is remembered: longer than the longest deadline of a request whose answer might still be stored."""
STORE_SECONDS = 1.0
"""Storing happens after the reply and may take longer."""
PROBE_SECONDS = 2.0
READERS, WRITERS = 4, 8
"""Connections: reads travel together, writes wait for each other after the reply."""
FAILURES = 3
"""Failures in a row after which Redis is left alone."""
PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between probes while it does not answer."""
CLEAR_SECONDS = 30.0
SCANNED = 1_000
"""Keys that are looked through, and removed, at once."""

T = TypeVar("T")


class RedisStore:
    """A ``Store`` in the Redis of ``url`` for one scope and one embedder.

    ``max_entries`` caps the stream; entries themselves end by their own expiry or by Redis' eviction policy.
    ``command_seconds`` is what a look-up waits, ``store_seconds`` what storing waits.
    """

    def __init__(self, url: str, *, scope: str, embedder: str, max_entries: int, command_seconds: float = COMMAND_SECONDS,
                 store_seconds: float = STORE_SECONDS, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        digest = hashlib.sha256(scope.encode()).hexdigest()[:16]
        self._prefix = f"strata:{{{digest}}}:e:"
        self._marks = f"strata:{{{digest}}}:d:"
        self._stream = f"strata:{{{digest}}}:s:{embedder or 'none'}"
        self._max_entries = max_entries
        self._command_seconds = command_seconds
        self._store_seconds = store_seconds
        self._sleep = sleep
        self._readers = _client(url, READERS)
        self._writers = _client(url, WRITERS, wait=store_seconds)
        self._reads = BatchedReads(self._fetch, in_flight=READERS)
        # Who follows must notice each disconnect: the server may be another one afterwards.
        self._tail = Tail(_client(url, 2, retries=0), self._stream, sleep=sleep)
        self.notes = RedisNotes(self._writers, f"strata:{{{digest}}}", lambda command: self._ask(command, store_seconds))
        self._deleted = START
        self._failures = 0
        self._probe: asyncio.Task[None] | None = None
        self.up = True
        self.errors = 0

    async def get(self, exact: str) -> CacheEntry | None:
        if not self.up:
            raise StoreUnavailable("redis is not answering")
        try:
            async with asyncio.timeout(self._command_seconds):
                return await self._reads.get(exact)
        except TimeoutError:
            raise StoreUnavailable("too many reads wait") from None

    def moment(self) -> str:
        # What this pod deleted itself it knows before the stream tells it.
        return max(self._tail.position, self._deleted, key=position)

    async def put(self, entry: CacheEntry, vector: Vector | None, *, since: str = "") -> bool:
        value = encode(entry)
        if value is None:
            return False
        ttl = max(1, int(entry.ttl * 1000))
        record = () if vector is None else (part for field in put_record(entry, vector).items() for part in field)
        # A stream that nobody writes any more (another embedder, a deployment that is gone) ends with its entries.
        marks = self._marks
        keys = (self._prefix + entry.exact, marks + entry.exact, f"{marks}p:{entry.partition}", f"{marks}t:{entry.tenant}", self._stream)
        return bool(await self._run(scripts.PUT, keys, since, value, ttl, self._max_entries, max(ttl, STREAM_MS), entry.partition,
                                    entry.tenant, *record))

    async def delete(self, exact: str) -> bool:
        keys = (self._prefix + exact, self._marks + exact, self._stream)
        count, identity = await self._run(scripts.DELETE, keys, exact, self._max_entries, MARK_MS, STREAM_MS)
        self._deleted = identity.decode()
        return bool(count)

    async def drop(self, *, partition: str = "", tenant: str = "") -> int:
        # First the mark, so that nothing is stored behind the search's back.
        await self._mark(f"t:{tenant}" if tenant else f"p:{partition}", partition)
        count, partitions, cursor = 0, set[str](), 0
        while True:
            cursor, keys = await self._ask(self._writers.scan(cursor, match=f"{self._prefix}*", count=SCANNED), self._store_seconds)
            held = dict(zip(keys, await self._belonging(keys), strict=True))
            found = {key: where for key, (where, whose) in held.items() if where and (whose == tenant if tenant else where == partition)}
            if found:
                count += int(await self._ask(self._writers.unlink(*found), self._store_seconds))
                partitions.update(found.values())
            if not cursor:
                break
        for each in partitions if tenant else ():
            await self._mark(f"p:{each}", each)
        return count

    async def clear(self) -> None:
        await self._ask(self._clear(), CLEAR_SECONDS)

    async def _clear(self) -> None:
        # The stream first: who starts meanwhile learns of no entry that is about to go.
        await self._writers.delete(self._stream)
        keys: list[bytes] = []
        async for key in self._writers.scan_iter(match=f"{self._prefix}*", count=SCANNED):
            keys.append(key)
            if len(keys) >= SCANNED:
                await self._writers.unlink(*keys)
                keys.clear()
        if keys:
            await self._writers.unlink(*keys)

    def stats(self) -> dict[str, int]:
        """Nothing: counting what is shared would mean scanning it."""
        return {}

    async def start(self, follower: Follower) -> None:
        self._tail.start(follower)

    async def aclose(self) -> None:
        """Stop following and probing, close all connections."""
        await self._tail.aclose()
        if self._probe is not None:
            await ended(self._probe)
        await self.notes.aclose()
        await self._reads.aclose()
        for client in (self._readers, self._writers):
            with suppress(RedisError, OSError):
                await client.aclose(close_connection_pool=True)

    async def _fetch(self, exacts: list[str]) -> list[CacheEntry | None]:
        # A request asks more than once: after a failure the next one is not given as much time.
        seconds = self._command_seconds / SUSPECT if self._failures else self._command_seconds
        if len(exacts) == 1:
            return [decode(await self._ask(cast("Awaitable[bytes | None]", self._readers.hget(self._prefix + exacts[0], "entry")), seconds))]
        pipeline = self._readers.pipeline(transaction=False)
        for exact in exacts:
            pipeline.hget(self._prefix + exact, "entry")
        values = await self._ask(pipeline.execute(raise_on_error=False), seconds)
        return [decode(value) if isinstance(value, bytes) else None for value in values]

    async def _mark(self, name: str, partition: str) -> None:
        keys = (self._marks + name, self._stream)
        self._deleted = (await self._run(scripts.DROP, keys, MARK_MS, self._max_entries, STREAM_MS, partition)).decode()

    async def _belonging(self, keys: Sequence[bytes | str]) -> list[tuple[str, str]]:
        """Partition and tenant of each entry; empty where it is gone or of another kind."""
        pipeline = self._writers.pipeline(transaction=False)
        for key in keys:
            pipeline.hmget(key, ["p", "t"])
        values = await self._ask(pipeline.execute(raise_on_error=False), self._store_seconds) if keys else []
        return [(each[0].decode(), (each[1] or b"").decode()) if isinstance(each, list) and each[0] else ("", "") for each in values]

    async def _run(self, script: str, keys: tuple[str, ...], *arguments: bytes | str | float) -> Any:
        return await self._ask(self._writers.eval(script, len(keys), *keys, *cast("Any", arguments)), self._store_seconds)

    async def _ask(self, command: Awaitable[T], seconds: float) -> T:
        if not self.up:
            _discard(command)
            raise StoreUnavailable("redis is not answering")
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        try:
            async with asyncio.timeout_at(due):
                answer = await command
        except (RedisError, OSError, TimeoutError) as error:
            self.errors += 1
            if not _is_ours(error, loop.time() - due):
                self._failed(error)
            raise StoreUnavailable(type(error).__name__) from None
        self._failures = 0
        return answer

    def _failed(self, error: BaseException) -> None:
        self._failures += 1
        if self._failures >= FAILURES and self.up:
            self.up = False
            logger.warning("redis does not answer; look-ups are misses until it does", extra={"error": type(error).__name__})
            self._probe = asyncio.get_running_loop().create_task(self._recover(), name="redis-probe")

    async def _recover(self) -> None:
        attempt = 0
        while True:
            await self._sleep(PAUSES[min(attempt, len(PAUSES) - 1)])
            attempt += 1
            with suppress(RedisError, OSError, TimeoutError):
                async with asyncio.timeout(PROBE_SECONDS):
                    await self._readers.ping()
                break
        self._failures, self.up = 0, True
        logger.info("redis answers again")


def _client(url: str, connections: int, *, retries: int = 1, wait: float = STORE_SECONDS) -> Redis:
    """A client that waits so many seconds for a free connection; a command is tried again at once, because after a restart each kept connection is found dead at its next use."""
    try:
        pool = BlockingConnectionPool.from_url(
            url, max_connections=connections, timeout=wait, retry=Retry(NoBackoff(), retries), health_check_interval=0,
            # The client's own time-outs go through asyncio.wait_for, which in Python 3.11 may swallow a cancellation.
            socket_timeout=None, socket_connect_timeout=PROBE_SECONDS, maint_notifications_config=MaintNotificationsConfig(enabled=False))
    except ValueError:
        raise ConfigError("InvalidRedisUrl", "the Redis URL must be redis://, rediss:// or unix://, with host, port and "
                                             "database as in redis://user:password@host:6379/0") from None
    return Redis(connection_pool=pool)


def _is_ours(error: BaseException, late: float) -> bool:
    """Whether a failure says nothing of Redis' health: it answered with a refusal, or this pod was too busy to hear it."""
    if isinstance(error, TimeoutError):
        return late > LATE_SECONDS
    # Out of memory, no permission, a wrong type: an answer. Not so "read only", from a master that has been demoted.
    # Within a script Redis 6 hides that in its own words.
    return isinstance(error, ResponseError) and not isinstance(error, ReadOnlyError) and "READONLY" not in str(error)


def _discard(command: Awaitable[Any]) -> None:
    """Close a coroutine that will not be awaited, so that Python does not warn of it."""
    close = getattr(command, "close", None)
    if close is not None:
        close()
