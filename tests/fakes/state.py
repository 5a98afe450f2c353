"""Executions, and stores and clocks whose misfortunes a test decides, for the tests of the state room."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from stratarouter_runtime.model.decision import RoutingDecision
from stratarouter_runtime.model.errors import ExecutionError, Failure
from stratarouter_runtime.model.execution import Execution
from stratarouter_runtime.model.plan import Attempt, Candidate, Plan, Rate
from stratarouter_runtime.model.request import Caller, ChatRequest, Directives
from stratarouter_runtime.model.response import Usage
from stratarouter_runtime.state import ExecutionRecord, StateUnavailable
from stratarouter_runtime.state.memory import MemoryStore
from stratarouter_runtime.state.records import Record

NOW = 1_700_000_000.25
PROMPT = "my secret question"
VECTOR = (0.123456789, 0.5)
KEY = "sk-the-key-of-somebody"
RATE = Rate(Decimal("2.50"), Decimal("10.00"))
DECISION = RoutingDecision("billing", 0.875, {"billing": 0.875, "other": 0.25}, query=PROMPT, embedding=VECTOR,
                           metadata={"note": PROMPT, "api_key": KEY})


def candidate(provider: str = "primary", *, rate: Rate | None = RATE) -> Candidate:
    """One of pool ``chat``."""
    return Candidate("chat", provider, "gpt-4o", "gpt-4o-2024", region="eu", rate=rate)


def execution(identity: str = "exec-1", *, usage: Usage | None = None, error: ExecutionError | None = None,
              message: str = "") -> Execution:
    """A failover: the primary failed and the fallback answered, or (``error``) nobody did. Its request and decision hold ``PROMPT`` and ``KEY``."""
    first, second = candidate(), candidate("fallback")
    request = ChatRequest({"model": "gpt-4o", "messages": [{"role": "user", "content": PROMPT}], "api_key": KEY})
    usage = usage or Usage(1_000, 20, 5)
    attempts = (Attempt(1, first, 0.25, Failure.SERVER_ERROR, 500, message),
                Attempt(2, second, 0.5, None if error is None else Failure.TIMEOUT, 200, first_token=0.125))
    plan = Plan(route="billing", family="chat", request=request, tenant="acme", candidates=(first, second), timeout=60.0,
                max_attempts=4, retry_delay=0.1, decision=DECISION)
    return Execution(id=identity, request_id="req-1", started=12.5, caller=Caller(tenant="acme"), directives=Directives(vector=VECTOR),
                     request=request, decision=DECISION, plan=plan, candidate=None if error else second, attempts=attempts, model="gpt-4o-2024",
                     finish_reason="stop", usage=usage, cost=RATE.cost(usage), error=error)


def made(identity: str = "exec-1", **fields: Any) -> ExecutionRecord:
    """A record without the execution behind it."""
    values = {"id": identity, "request_id": "req-1", "tenant": "acme", "family": "chat", "route": "billing", "started_at": NOW,
              "duration": 1.5, "outcome": "Success", "status": 200, "cost_usd": Decimal("0.0027"), **fields}
    return ExecutionRecord(**values)


class FakeClock:
    """Time that only ``advance`` moves. ``clock()`` is Unix seconds."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Until ``advance`` has passed ``seconds``."""
        self._count += 1
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, self._count, woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Let time pass, waking in order who is due, and let them act."""
        await settle()  # who is about to sleep sleeps from now on
        until = self.now + seconds
        while self._sleepers and self._sleepers[0][0] <= until:
            self.now, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)
            await settle()
        self.now = until
        await settle()


async def settle() -> None:
    """Let everything that can run without waiting do so."""
    for _ in range(20):
        await asyncio.sleep(0)


class TroubledStore(MemoryStore):
    """A memory store that fails as it is told. ``batches`` are those that held anything.

    ``down``: every write fails before anything is stored; ``forgetful``: it stores and then says that it failed, as when a
    connection breaks after the commit; ``refused``: ids that it will never take; ``gate``: when set, writes wait for it.
    """

    def __init__(self) -> None:
        super().__init__(max_executions=100_000)
        self.down = False
        self.forgetful = False
        self.refused: set[str] = set()
        self.gate: asyncio.Event | None = None
        self.attempts = 0
        self.batches: list[list[Record]] = []

    async def write(self, records: Sequence[Record]) -> None:
        self.attempts += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.down:
            raise StateUnavailable("down")
        if any(getattr(each, "id", None) in self.refused for each in records):
            raise TypeError("a value that no column holds")
        if records:
            self.batches.append(list(records))
        await super().write(records)
        if self.forgetful:
            raise StateUnavailable("the connection broke")

    def stored(self) -> list[str]:
        """Ids of the executions, in the order of their writing."""
        return list(self._executions)


def begun_record() -> ExecutionRecord:
    """Of an execution that has not ended."""
    return made(outcome="", duration=None, status=None, cost_usd=None)
