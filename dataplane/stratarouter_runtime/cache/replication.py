"""Following the shared stream: what one pod puts, every pod's index knows.

Invariants: records are applied in the stream's order, from the last id seen, so a disconnect loses nothing; if the
stream was trimmed past that id, everything is told again from its start; a record that cannot be read is skipped; one
task, owned by ``Tail``, that yields to requests between chunks.
"""

from __future__ import annotations

import asyncio
import logging
from array import array
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, cast

import numpy as np
from redis.asyncio import Redis
from redis.exceptions import RedisError

from stratarouter_runtime.model.cache import CacheEntry, Vector

from .store import Follower

logger = logging.getLogger(__name__)

CHUNK = 500
"""Records read at once: about 1 MB of vectors."""
BLOCK_MS = 5_000
READ_SECONDS = 8.0
"""More than a blocking read takes: beyond it the connection is taken for dead."""
PAUSES = (0.1, 0.5, 1.0, 2.0, 5.0)
START = "0-0"

Fields = Mapping[bytes, bytes]


def put_record(entry: CacheEntry, vector: Vector) -> dict[str, bytes | str]:
    """A put as fields of a stream record; the vector as little-endian float32."""
    return {"op": "put", "x": entry.exact, "p": entry.partition, "e": repr(entry.expires()),
            "v": np.ascontiguousarray(vector, dtype="<f4").tobytes()}


def deletion(exact: str) -> dict[str, bytes | str]:
    """A delete as fields of a stream record."""
    return {"op": "del", "x": exact}


class Tail:
    """Tells a follower what a stream says, from its start and then live."""

    def __init__(self, client: Redis, stream: str, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._client = client
        self._stream = stream
        self._sleep = sleep
        self._last = START
        self._task: asyncio.Task[None] | None = None
        self.caught_up = asyncio.Event()

    def start(self, follower: Follower) -> None:
        """Begin to follow."""
        self._task = asyncio.get_running_loop().create_task(self._run(follower), name="cache-replication")

    async def aclose(self) -> None:
        """Stop, and close the connection."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        with suppress(RedisError, OSError):
            await self._client.aclose()

    async def _run(self, follower: Follower) -> None:
        failures = 0
        while True:
            try:
                await self._resume(follower)
                while True:
                    await self._read(follower)
                    failures = 0
            except (RedisError, OSError, TimeoutError) as error:
                if failures == 0:
                    logger.warning("following the shared cache was interrupted", extra={"error": type(error).__name__})
                await self._sleep(PAUSES[min(failures, len(PAUSES) - 1)])
                failures += 1

    async def _resume(self, follower: Follower) -> None:
        """Start over where records between the last id and the stream's oldest one are gone."""
        if self._last == START:
            return
        async with asyncio.timeout(READ_SECONDS):
            oldest = cast("list[Any]", await self._client.xrange(self._stream, count=1))
            newest = cast("list[Any]", await self._client.xrevrange(self._stream, count=1))
        behind = bool(oldest) and _position(oldest[0][0]) > _position(self._last)
        # A server that lost its data may hand out ids that are behind ours.
        ahead = bool(newest) and _position(newest[0][0]) < _position(self._last)
        if behind or ahead or not newest:
            logger.info("the shared cache's stream was trimmed or replaced; reading it anew")
            follower.cleared()
            self._last = START

    async def _read(self, follower: Follower) -> None:
        block = BLOCK_MS if self.caught_up.is_set() else 1
        async with asyncio.timeout(READ_SECONDS):
            answer = cast("list[Any] | dict[Any, Any] | None",
                          await self._client.xread({self._stream: self._last}, count=CHUNK, block=block))
        records = _records(answer)
        for identity, fields in records:
            _apply(fields, follower)
            self._last = identity.decode()
        if len(records) < CHUNK:
            self.caught_up.set()
        else:
            await asyncio.sleep(0)


def _records(answer: list[Any] | dict[Any, Any] | None) -> list[tuple[bytes, Fields]]:
    """The records of the one stream read, in RESP2's or RESP3's form."""
    if not answer:
        return []
    if isinstance(answer, dict):
        chunks = next(iter(answer.values()))
        return [record for chunk in chunks for record in chunk]
    return list(answer[0][1])


def _apply(fields: Fields, follower: Follower) -> None:
    try:
        exact = fields[b"x"].decode()
        if fields[b"op"] == b"del":
            follower.removed(exact)
            return
        raw = fields[b"v"]
        if not raw or len(raw) % array("f").itemsize:
            return
        vector = np.frombuffer(raw, dtype="<f4").astype(np.float32)
        follower.added(fields[b"p"].decode(), exact, vector, float(fields[b"e"]))
    except (KeyError, ValueError, UnicodeDecodeError):
        # Written by another version or by nobody of ours.
        logger.debug("a record of the shared cache cannot be read")


def _position(identity: bytes | str) -> tuple[int, int]:
    text = identity.decode() if isinstance(identity, bytes) else identity
    milliseconds, _, sequence = text.partition("-")
    return int(milliseconds), int(sequence or 0)
