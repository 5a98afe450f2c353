"""``StateManager``: an app's own steps, and what is known of an execution.

Invariant: unlike the runtime's own bookkeeping, a call here returns only when the value is stored, and raises when it is
not. An app's steps are apart from the checkpoints of the runtime's streams, and only the app changes them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

from .memory import MemoryStore
from .records import Checkpoint, ExecutionRecord, checkpoint, valid_id
from .store import MAX_HISTORY, StateStore


@dataclass(frozen=True, slots=True)
class ExecutionState:
    """What is known under an execution's id.

    ``step`` and ``state_data`` are the app's latest (None and empty where it kept nothing), ``execution`` the runtime's
    record, ``text`` what the execution's stream had said at its last checkpoint (None where there is none).
    """

    execution_id: str
    step: int | None
    state_data: dict[str, Any]
    execution: ExecutionRecord | None = None
    text: str | None = None


class StateManager:
    """State in memory, or in the PostgreSQL of ``db_url``; connects when first used.

    In memory it is bounded (what was written longest ago goes first) and ends with the process. All calls raise
    ``StateUnavailable`` when the back end does not answer; no call waits for it longer than some seconds.

    An app's steps are kept until it deletes them; executions and their streams for the runtime's retention.
    """

    def __init__(self, backend: Literal["memory", "postgresql"] = "memory", db_url: str | None = None, *,
                 store: StateStore | None = None, clock: Callable[[], float] = time.time) -> None:
        self._store = store or open_store(backend, db_url)
        self._clock = clock

    async def checkpoint(self, execution_id: str, step: int, state_data: Mapping[str, Any]) -> Checkpoint:
        """Store the state after a step; the same step again replaces it.

        ``state_data`` is kept as JSON (tuples come back as lists, keys as text); raises ``StateDataError`` for what JSON
        cannot hold, NaN among it, and for more than 4 MiB of it.
        """
        kept = checkpoint(execution_id, step, state_data, self._clock())
        await self._store.put(kept)
        return kept

    async def save(self, execution_id: str, state_data: Mapping[str, Any]) -> Checkpoint:
        """Store a state as the step after the latest one (0 is the first); of several at once each gets a step of its own."""
        checked = checkpoint(execution_id, 0, state_data, self._clock())
        return await self._store.append(execution_id, checked.encoded, checked.created_at)

    async def load(self, execution_id: str) -> ExecutionState | None:
        """The latest state and the execution's record; None where nothing is known."""
        if not valid_id(execution_id):
            return None
        latest = await self._store.checkpoints(execution_id, 1)
        execution = await self._store.execution(execution_id)
        stream = await self._store.stream(execution_id)
        if not latest and execution is None and not stream:
            return None
        return ExecutionState(execution_id, latest[-1].step if latest else None, latest[-1].state_data if latest else {},
                              execution, "".join(each.text for each in stream) if stream else None)

    async def history(self, execution_id: str, limit: int = MAX_HISTORY) -> list[Checkpoint]:
        """The app's checkpoints by step: the newest ``limit`` of them, 1,000 at most."""
        return await self._store.checkpoints(execution_id, min(max(limit, 0), MAX_HISTORY)) if valid_id(execution_id) else []

    async def delete(self, execution_id: str) -> int:
        """Delete the app's checkpoints; how many there were."""
        return await self._store.delete(execution_id) if valid_id(execution_id) else 0

    async def aclose(self) -> None:
        """Close the connections."""
        await self._store.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()


def open_store(backend: str, dsn: str | None) -> StateStore:
    """The store of a back end. Raises ``ValueError`` for what is none, ``ConfigError`` (one too) for what is no DSN."""
    if backend == "memory":
        return MemoryStore()
    if backend != "postgresql":
        raise ValueError(f"backend must be 'memory' or 'postgresql', not {backend!r}")
    if not dsn:
        raise ValueError("backend 'postgresql' needs db_url, for example postgresql://user:password@host:5432/database")
    # asyncpg takes some 50 ms to import, and only this back end needs it.
    from .postgres import PostgresStore  # noqa: PLC0415

    return PostgresStore(dsn)
