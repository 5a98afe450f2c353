"""The runtime's own use of state: records go in without waiting, an execution comes out as a document."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from .document import document
from .manager import StateManager, open_store
from .records import ExecutionRecord, Record, valid_id
from .retention import RETENTION_DAYS, Retention
from .store import MissingStore, StateStore, StateUnavailable
from .streams import StreamCheckpoints
from .writer import MAX_QUEUED, StateWriter

Backend = Literal["memory", "postgresql"]


class StateService:
    """Everything that is known of executions. Made by ``open_state``; ``start`` it in the event loop, ``aclose`` it in the end.

    ``manager`` is for an app's own steps in the same back end.
    """

    def __init__(self, backend: Backend, store: StateStore, writer: StateWriter, retention: Retention, *,
                 clock: Callable[[], float]) -> None:
        self._backend = backend
        self._store = store
        self._writer = writer
        self._retention = retention
        self._clock = clock
        self.manager = StateManager(store=store, clock=clock)

    def start(self) -> None:
        """Begin writing what is put, and deleting what is old."""
        self._writer.start()
        self._retention.start()

    def put(self, record: Record) -> bool:
        """Keep a record; never waits, never raises. False where there is no room, which is counted."""
        return self._writer.put(record)

    def follow(self, execution_id: str, *, interval: int, begun: Callable[[], ExecutionRecord] | None = None) -> StreamCheckpoints:
        """What makes a checkpoint of a stream every ``interval`` chunks."""
        return StreamCheckpoints(self.put, execution_id, interval=interval, begun=begun, clock=self._clock)

    async def find(self, execution_id: str) -> dict[str, Any] | None:
        """An execution as JSON, what still waits in this process included; None where nothing is known of it.

        Raises ``StateUnavailable`` where only the back end could tell and does not answer.
        """
        if not valid_id(execution_id):
            return None
        # Asked before the store, so that what is written meanwhile is seen there.
        execution, waiting = self._writer.pending(execution_id)
        stored = execution is None and not waiting
        stream = {each.step: each for each in waiting}
        steps = []
        try:
            execution = execution or await self._store.execution(execution_id)
            stream = {each.step: each for each in await self._store.stream(execution_id)} | stream
            steps = await self._store.steps(execution_id)
        except StateUnavailable:
            if stored:
                raise
        if execution is None and not stream and not steps:
            return None
        return document(execution_id, execution, [stream[step] for step in sorted(stream)], steps, stored=stored)

    def stats(self) -> dict[str, Any]:
        """``backend``, ``queued`` records that wait, ``lost`` since the start, ``available``: whether the last write went well,
        ``errors``: how many did not.
        """
        return {"backend": self._backend, "queued": self._writer.queued, "lost": self._writer.lost,
                "available": self._writer.available, "errors": self._writer.errors}

    async def aclose(self) -> None:
        """Write what is left, for a few seconds at most, count what could not be, and close the connections."""
        try:
            await self._retention.aclose()
            await self._writer.aclose()
        finally:
            await self._store.aclose()


def open_state(backend: Backend, dsn: str | None = None, *, dropped: Callable[[int], None] = lambda _: None,
               retention_days: float = RETENTION_DAYS, max_queued: int = MAX_QUEUED, clock: Callable[[], float] = time.time,
               sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> StateService:
    """State in a back end; nothing is connected before ``start``.

    ``dsn`` None with ``postgresql``: its Secret is missing, and all is dropped and counted. ``dropped(count)`` hears of each
    loss and must not raise. ``retention_days``: for how long executions are kept. Raises ``ConfigError`` for what is no DSN.
    """
    if backend == "postgresql" and dsn is None:
        store: StateStore = MissingStore()
        max_queued = 0  # waiting for a database that nobody named helps nobody
    else:
        store = open_store(backend, dsn)
    writer = StateWriter(store, dropped=dropped, max_queued=max_queued, sleep=sleep)
    return StateService(backend, store, writer, Retention(store, days=retention_days, clock=clock, sleep=sleep), clock=clock)
