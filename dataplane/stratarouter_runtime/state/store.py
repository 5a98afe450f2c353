"""What a back end can do. Invariants: every call is bounded in time and raises ``StateUnavailable`` or ``StateRefused`` only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn, Protocol

from .records import Checkpoint, ExecutionRecord, Record, Step, StreamCheckpoint

MAX_HISTORY = 1_000
"""Checkpoints of one execution that are told at once, the newest."""


class StateUnavailable(Exception):  # noqa: N818 (says what is the case)
    """The back end does not answer now; the same call may succeed later. Never tells the DSN."""


class StateRefused(Exception):  # noqa: N818 (says what is the case)
    """The back end answers and will never take this value."""


class StateStore(Protocol):
    """Keeps executions, checkpoints of streams, and checkpoints of apps."""

    async def write(self, records: Sequence[Record]) -> None:
        """Store all of them, or none; of two with the same id or step the later stands, so writing again changes nothing."""

    async def execution(self, execution_id: str) -> ExecutionRecord | None:
        """One execution."""

    async def stream(self, execution_id: str) -> list[StreamCheckpoint]:
        """The checkpoints of its stream by step."""

    async def put(self, checkpoint: Checkpoint) -> None:
        """Store an app's checkpoint; the same step again replaces it."""

    async def append(self, execution_id: str, encoded: str, created_at: float) -> Checkpoint:
        """Store an app's state as the step after its latest one, or as step 0; no two calls get the same step."""

    async def checkpoints(self, execution_id: str, limit: int = MAX_HISTORY) -> list[Checkpoint]:
        """An app's checkpoints by step; the newest ``limit`` of them."""

    async def steps(self, execution_id: str) -> list[Step]:
        """What checkpoints an app has, by step; the newest ``MAX_HISTORY`` of them."""

    async def delete(self, execution_id: str) -> int:
        """Delete an app's checkpoints; how many there were."""

    async def purge(self, before: float, limit: int) -> int:
        """Delete up to ``limit`` executions, and as many checkpoints of streams, from before a Unix time.

        Returns how many went; 0 also where another process is doing it now. An app's checkpoints stay.
        """

    async def aclose(self) -> None:
        """Close its connections."""


class MissingStore:
    """Stands where the DSN's Secret is missing: nothing is stored, nothing is known."""

    async def write(self, records: Sequence[Record]) -> None:  # noqa: ARG002 (the protocol's)
        _missing()

    async def execution(self, execution_id: str) -> ExecutionRecord | None:  # noqa: ARG002
        _missing()

    async def stream(self, execution_id: str) -> list[StreamCheckpoint]:  # noqa: ARG002
        _missing()

    async def put(self, checkpoint: Checkpoint) -> None:  # noqa: ARG002
        _missing()

    async def append(self, execution_id: str, encoded: str, created_at: float) -> Checkpoint:  # noqa: ARG002
        _missing()

    async def checkpoints(self, execution_id: str, limit: int = MAX_HISTORY) -> list[Checkpoint]:  # noqa: ARG002
        _missing()

    async def steps(self, execution_id: str) -> list[Step]:  # noqa: ARG002
        _missing()

    async def delete(self, execution_id: str) -> int:  # noqa: ARG002
        _missing()

    async def purge(self, before: float, limit: int) -> int:  # noqa: ARG002
        _missing()

    async def aclose(self) -> None:
        """There is nothing to close."""


def _missing() -> NoReturn:
    raise StateUnavailable("the DSN of PostgreSQL is missing")
