"""What an execution came to, as a value for the library and as documents for both doors.

Invariant: a value of its own: nothing of the request's state is kept beyond what is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from .model.execution import Execution, Stage
from .model.plan import Attempt, Plan
from .model.response import ChatResponse, Usage
from .model.support import Unsupported

SHOWN = 60
"""Characters of an answer that a ``repr`` shows."""


@dataclass(frozen=True, slots=True, repr=False)
class ExecutionResult:
    """An answer, who gave it, and what it cost.

    ``response`` is the answer's text (empty for tool calls), ``completion`` the canonical response in OpenAI's shape (None
    for a stream's answer that was too long to be kept). ``usage`` is the answer's (of a hit: what it had taken), None where the
    vendor told none; ``cost_usd`` is exact,
    0 for a cache hit and None where no price is known. ``attempts`` are all tries, the last of which answered (none for a
    hit), ``provider`` and ``model`` who answered, be it earlier; ``timings`` in seconds by stage; ``warnings`` what was left out
    of the request because who answered has no place for it.
    """

    response: str
    completion: Mapping[str, Any] | None
    execution_id: str
    request_id: str = ""
    route: str = ""
    provider: str = ""
    model: str = ""
    cache_hit: bool = False
    finish_reason: str | None = None
    usage: Usage | None = None
    cost_usd: Decimal | None = None
    attempts: tuple[Attempt, ...] = ()
    timings: Mapping[Stage, float] = field(default_factory=dict)
    warnings: tuple[Unsupported, ...] = ()
    plan: Plan | None = None

    def to_document(self) -> dict[str, Any]:
        """As the JSON of ``POST /v1/execute``."""
        usage, plan = self.usage, self.plan
        document: dict[str, Any] = {
            "execution_id": self.execution_id,
            "request_id": self.request_id,
            "route": self.route,
            "cache_hit": self.cache_hit,
            "provider": self.provider,
            "model": self.model,
            "finish_reason": self.finish_reason,
            "usage": None if usage is None else {
                "input_tokens": usage.input, "output_tokens": usage.output, "total_tokens": usage.total, "estimated": usage.estimated},
            "cost_usd": None if self.cost_usd is None else format(self.cost_usd, "f"),
            "attempts": [attempt_document(each) for each in self.attempts],
            "timings_ms": {stage: round(seconds * 1000, 3) for stage, seconds in self.timings.items()},
            "warnings": [each.to_document() for each in self.warnings],
            "plan": plan.to_document() if plan else None,
            "response": self.response,
        }
        if self.completion is not None:
            document["completion"] = self.completion
        return document

    def __repr__(self) -> str:
        text = self.response if len(self.response) <= SHOWN else self.response[:SHOWN] + "…"
        who = f"{self.provider}/{self.model}" if self.provider else self.model
        told = [repr(text), f"by {who}"]
        told += [f"route {self.route!r}"] if self.route else []
        told += ["from the cache"] if self.cache_hit else [f"{len(self.attempts)} attempt{'s' if len(self.attempts) != 1 else ''}"]
        told += [f"{self.usage.input}+{self.usage.output} tokens"] if self.usage is not None else []
        told += [f"${self.cost_usd:f}"] if self.cost_usd is not None else []
        return f"<ExecutionResult {', '.join(told)}, {self.execution_id}>"


def result_of(execution: Execution, response: ChatResponse | None, text: str | None = None) -> ExecutionResult:
    """The result of an execution that has ended well; ``text`` is what a stream said, where its answer was not kept whole."""
    hit, candidate = execution.hit, execution.candidate
    provider = hit.entry.provider if hit is not None else candidate.provider if candidate is not None else ""
    said = text if text is not None else response.text if response is not None else ""
    return ExecutionResult(
        response=said, completion=None if response is None else response.body, execution_id=execution.id,
        request_id=execution.request_id, route=execution.route, provider=provider, model=execution.model,
        cache_hit=hit is not None, finish_reason=execution.finish_reason or (response.finish_reason if response is not None else None),
        usage=execution.usage or (response.usage if response is not None else None), cost_usd=execution.cost,
        attempts=execution.attempts, timings=dict(execution.stages), warnings=execution.lost, plan=execution.plan)


def attempt_document(attempt: Attempt) -> dict[str, Any]:
    """One try of one candidate."""
    return {"number": attempt.number, "candidate": str(attempt.candidate), "duration_ms": round(attempt.duration * 1000, 3),
            "outcome": attempt.outcome, "status": attempt.status, "message": attempt.message}


def delta_of(body: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """What a chunk adds to the first choice, without the role; empty where that is nothing."""
    choices = (body or {}).get("choices")
    delta = dict(choices[0].get("delta") or {}) if choices else {}
    delta.pop("role", None)
    return delta if any(delta.values()) else {}
