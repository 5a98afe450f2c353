"""Records in this process. Invariant: bounded by executions and by bytes; what was written longest ago goes first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Generic, TypeVar

from .records import Checkpoint, ExecutionRecord, Record, Step, StreamCheckpoint
from .store import MAX_HISTORY

StepT = TypeVar("StepT", StreamCheckpoint, Checkpoint)

MAX_EXECUTIONS = 2_000
MAX_BYTES = 32 * 1024 * 1024
"""Bytes of texts and of apps' states."""


class MemoryStore:
    """A ``StateStore`` that ends with its process."""

    def __init__(self, *, max_executions: int = MAX_EXECUTIONS, max_bytes: int = MAX_BYTES) -> None:
        self._max = max_executions
        self._executions: OrderedDict[str, ExecutionRecord] = OrderedDict()
        self._streams: _Steps[StreamCheckpoint] = _Steps(max_executions, max_bytes // 2)
        self._apps: _Steps[Checkpoint] = _Steps(max_executions, max_bytes // 2)

    async def write(self, records: Sequence[Record]) -> None:
        for each in records:
            if isinstance(each, StreamCheckpoint):
                self._streams.put(each, len(each.text))
                continue
            self._executions[each.id] = each
            self._executions.move_to_end(each.id)
            if len(self._executions) > self._max:
                self._executions.popitem(last=False)

    async def execution(self, execution_id: str) -> ExecutionRecord | None:
        return self._executions.get(execution_id)

    async def stream(self, execution_id: str) -> list[StreamCheckpoint]:
        return self._streams.of(execution_id)

    async def put(self, checkpoint: Checkpoint) -> None:
        self._apps.put(checkpoint, len(checkpoint.encoded))

    async def append(self, execution_id: str, encoded: str, created_at: float) -> Checkpoint:
        known = self._apps.of(execution_id)
        appended = Checkpoint(execution_id, known[-1].step + 1 if known else 0, encoded, created_at)
        await self.put(appended)
        return appended

    async def checkpoints(self, execution_id: str, limit: int = MAX_HISTORY) -> list[Checkpoint]:
        known = self._apps.of(execution_id)
        return known[max(0, len(known) - limit):]

    async def steps(self, execution_id: str) -> list[Step]:
        return [Step(each.step, len(each.encoded), each.created_at) for each in self._apps.of(execution_id)]

    async def delete(self, execution_id: str) -> int:
        return self._apps.delete(execution_id)

    async def purge(self, before: float, limit: int) -> int:
        old = [each.id for each in self._executions.values() if each.started_at < before][:limit]
        for each in old:
            del self._executions[each]
        return len(old) + self._streams.purge(before, limit)

    async def aclose(self) -> None:
        """Nothing to close."""


class _Steps(Generic[StepT]):
    """Checkpoints by execution and step."""

    def __init__(self, max_executions: int, max_bytes: int) -> None:
        self._max_executions = max_executions
        self._max_bytes = max_bytes
        self._bytes = 0
        self._known: OrderedDict[str, dict[int, tuple[StepT, int]]] = OrderedDict()

    def of(self, execution_id: str) -> list[StepT]:
        """By step."""
        return [step for _, (step, _) in sorted(self._known.get(execution_id, {}).items())]

    def put(self, step: StepT, size: int) -> None:
        """Keep or replace a step of ``size`` bytes."""
        steps = self._known.setdefault(step.execution_id, {})
        self._known.move_to_end(step.execution_id)
        self._bytes += size - steps.get(step.step, (step, 0))[1]
        steps[step.step] = step, size
        if len(steps) > MAX_HISTORY:
            self._forget(steps, min(steps))
        while len(self._known) > self._max_executions or (self._bytes > self._max_bytes and len(self._known) > 1):
            self.delete(next(iter(self._known)))
        while self._bytes > self._max_bytes and len(steps) > 1:
            self._forget(steps, min(steps))

    def delete(self, execution_id: str) -> int:
        """Drop all of an execution's steps; how many there were."""
        steps = self._known.pop(execution_id, {})
        self._bytes -= sum(size for _, size in steps.values())
        return len(steps)

    def purge(self, before: float, limit: int) -> int:
        """Drop up to ``limit`` steps from before a Unix time."""
        old = [(name, number) for name, steps in self._known.items() for number, (step, _) in steps.items()
               if step.created_at < before][:limit]
        for name, number in old:
            self._forget(self._known[name], number)
            if not self._known[name]:
                del self._known[name]
        return len(old)

    def _forget(self, steps: dict[int, tuple[StepT, int]], number: int) -> None:
        self._bytes -= steps.pop(number)[1]
