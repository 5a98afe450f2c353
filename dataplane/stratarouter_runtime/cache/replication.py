"""Following the shared stream: what one pod puts, every pod's index knows.

Invariants: records are applied in the stream's order, from the last id seen, so a disconnect loses nothing; if the
server lost the stream, everything is told again from its start; a record that cannot be read is skipped; one task,
owned by ``Tail``, that gives requests a turn every few records and never ends by itself.
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
from .tasks import ended

logger = logging.getLogger(__name__)

CHUNK = 500
"""Records read at once: about 1 MB of vectors."""
BREATH = 16
"""Records applied before requests get a turn: a graph takes about a millisecond for each."""
BLOCK_MS = 5_000
READ_SECONDS = 8.0
"""More than a blocking read takes: beyond it the connection is taken for dead."""
PAUSES = (0.1, 0.5, 1.0, 2.0, 5.0)
START = "0-0"

Fields = Mapping[bytes, bytes]


def put_record(entry: CacheEntry, vector: Vector) -> dict[str, bytes | str]:
    """A put as fields of a stream record; the vector as little-endian float32."""
    return {"op": "put", "x": entry.exact, "p": entry.partition, "e": repr(entry.expires()),
            "v": np.ascontiguousarray(vector, dtype="<f4").tobytes(), "t": entry.text or ""}


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

    @property
    def position(self) -> str:
        """The id of the last record applied."""
        return self._last

    async def aclose(self) -> None:
        """Stop, and close the connection."""
        if self._task is not None:
            await ended(self._task)
        with suppress(RedisError, OSError):
            await self._client.aclose(close_connection_pool=True)

    async def _run(self, follower: Follower) -> None:
        failures = 0
        while True:
            try:
                await self._resume(follower)
                while True:
                    await self._read(follower)
                    failures = 0
            except Exception as error:  # noqa: BLE001 (whatever happens, following goes on)
                if failures == 0:
                    logger.warning("following the shared cache was interrupted", extra={"error": type(error).__name__})
                await self._sleep(PAUSES[min(failures, len(PAUSES) - 1)])
                failures += 1

    async def _resume(self, follower: Follower) -> None:
        """Start over where the stream is gone or behind what was read: the server lost its data, or is a replica that did.

        A stream that was only trimmed past the last id needs nothing: all that is left of it comes after that id, and an
        entry whose deletion was trimmed is found missing at its first hit.
        """
        if self._last == START:
            return
        async with asyncio.timeout(READ_SECONDS):
            newest = cast("list[Any]", await self._client.xrevrange(self._stream, count=1))
        if not newest or position(newest[0][0]) < position(self._last):
            logger.info("the shared cache's stream was lost or replaced; reading it anew")
            follower.cleared()
            self._last = START

    async def _read(self, follower: Follower) -> None:
        block = BLOCK_MS if self.caught_up.is_set() else 1
        async with asyncio.timeout(READ_SECONDS):
            answer = cast("list[Any] | dict[Any, Any] | None",
                          await self._client.xread({self._stream: self._last}, count=CHUNK, block=block))
        records = _records(answer)
        for number, (identity, fields) in enumerate(records, start=1):
            _apply(fields, follower)
            self._last = identity.decode()
            if number % BREATH == 0:
                await asyncio.sleep(0)
        if len(records) < CHUNK:
            self.caught_up.set()


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
        if fields[b"op"] == b"drop":
            follower.dropped(fields[b"p"].decode())
            return
        exact = fields[b"x"].decode()
        if fields[b"op"] == b"del":
            follower.removed(exact)
            return
        raw = fields[b"v"]
        if not raw or len(raw) % array("f").itemsize:
            return
        vector = np.frombuffer(raw, dtype="<f4").astype(np.float32)
        follower.added(fields[b"p"].decode(), exact, vector, float(fields[b"e"]), fields[b"t"].decode())
    except (KeyError, ValueError, UnicodeDecodeError):
        # Written by another version or by nobody of ours.
        logger.debug("a record of the shared cache cannot be read")


def position(identity: bytes | str) -> tuple[int, int]:
    """A record's id as figures that compare in the stream's order."""
    text = identity.decode() if isinstance(identity, bytes) else identity
    milliseconds, _, sequence = text.partition("-")
    return int(milliseconds), int(sequence or 0)
