"""Which execution gave which answer, noted in the shared Redis: feedback may reach another pod than the one that answered.

Layout: a string ``strata:{S}:f:EXECUTION`` with an expiry, and ``strata:{S}:v:EXECUTION:VERDICT`` for each verdict that was
claimed. Invariants: writing never waits and never fails its caller; what waits is bounded, and goes out a few milliseconds later as
few commands; a value that cannot be read is an absent note.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

import orjson
from redis.asyncio import Redis

from stratarouter_runtime.model.cache import Note

from . import scripts
from .store import StoreUnavailable
from .tasks import ended

logger = logging.getLogger(__name__)

WAITING = 10_000
"""Notes that may wait; beyond it the oldest are given up."""
BATCH = 256
GATHER_SECONDS = 0.005
"""What a note waits for others to travel with: a command costs some 0.3 ms of CPU, a note within one a tenth of that."""
CLAIM_MS = 24 * 3600 * 1000
"""Milliseconds a claim is kept: no note is older."""
LAST_SECONDS = 0.2
"""What closing waits for the last notes."""

Ask = Callable[[Awaitable[Any]], Awaitable[Any]]


class RedisNotes:
    """``Notes`` in Redis below ``prefix`` (``strata:{S}``). ``ask`` runs a command or raises ``StoreUnavailable``."""

    def __init__(self, client: Redis, prefix: str, ask: Ask) -> None:
        self._client = client
        self._prefix = prefix
        self._ask = ask
        self._waiting: dict[str, Note] = {}
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    def write(self, execution: str, note: Note) -> None:
        if len(self._waiting) >= WAITING:
            del self._waiting[next(iter(self._waiting))]
        self._waiting[execution] = note
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._send(), name="cache-notes")

    async def read(self, execution: str) -> Note | None:
        waiting = self._waiting.get(execution)
        return waiting or _decoded(await self._ask(cast("Awaitable[bytes | None]", self._client.get(self._key(execution)))))

    async def claimed(self, execution: str, verdict: str) -> bool:
        return bool(await self._ask(self._client.exists(self._claim(execution, verdict))))

    async def claim(self, execution: str, verdict: str) -> bool:
        return bool(await self._ask(self._client.set(self._claim(execution, verdict), b"1", nx=True, px=CLAIM_MS)))

    async def aclose(self) -> None:
        """Send what still waits, if that is quick, and stop."""
        self._closing = True
        if self._task is not None:
            await asyncio.wait([self._task], timeout=LAST_SECONDS)
        if self._task is not None:
            await ended(self._task)

    async def _send(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(0 if self._closing else GATHER_SECONDS)
                batch = {execution: self._waiting.pop(execution) for execution in list(self._waiting)[:BATCH]}
                keys = [self._key(execution) for execution in batch]
                values = [value for note in batch.values() for value in (_encoded(note), max(1, int(note.keep * 1000)))]
                try:
                    await self._ask(self._client.eval(scripts.NOTE, len(keys), *keys, *values))
                except StoreUnavailable:
                    logger.debug("notes of executions were lost; only this pod can take feedback on them")
        finally:
            self._task = None

    def _key(self, execution: str) -> str:
        return f"{self._prefix}:f:{execution}"

    def _claim(self, execution: str, verdict: str) -> str:
        return f"{self._prefix}:v:{execution}:{verdict}"


def _encoded(note: Note) -> bytes:
    return orjson.dumps((note.tenant, note.route, note.model, note.exact))


def _decoded(value: bytes | None) -> Note | None:
    try:
        fields = orjson.loads(value) if value else None
    except orjson.JSONDecodeError:
        return None
    if not isinstance(fields, list) or len(fields) != 4 or not all(isinstance(field, str) for field in fields):
        return None
    tenant, route, model, exact = fields
    return Note(tenant, route, model, exact, keep=0)
