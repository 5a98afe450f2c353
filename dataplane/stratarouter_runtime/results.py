"""What an execution came to, as documents for both doors."""

from __future__ import annotations

from typing import Any

from .model.execution import Execution
from .model.plan import Attempt
from .model.response import ChatResponse


def result_document(execution: Execution, response: ChatResponse) -> dict[str, Any]:
    """The result of ``/v1/execute`` and of the library."""
    return {**completion_document(execution, response), "response": response.text, "completion": response.body}


def completion_document(execution: Execution, response: ChatResponse | None) -> dict[str, Any]:
    """What a stream ends with: as ``result_document``, without the completion where it was too long to keep."""
    usage, plan = execution.usage, execution.plan
    document: dict[str, Any] = {
        "execution_id": execution.id,
        "request_id": execution.request_id,
        "route": execution.route,
        "cache_hit": execution.hit is not None,
        "model": execution.model,
        "finish_reason": execution.finish_reason,
        "usage": None if usage is None else {
            "input_tokens": usage.input, "output_tokens": usage.output, "total_tokens": usage.total, "estimated": usage.estimated},
        "cost_usd": None if execution.cost is None else format(execution.cost, "f"),
        "attempts": [attempt_document(each) for each in execution.attempts],
        "timings_ms": {stage: round(seconds * 1000, 3) for stage, seconds in execution.stages.items()},
        "warnings": [each.to_document() for each in execution.lost],
        "plan": plan.to_document() if plan else None,
    }
    if response is not None:
        document |= {"response": response.text, "completion": response.body}
    return document


def attempt_document(attempt: Attempt) -> dict[str, Any]:
    """One try of one candidate."""
    return {"number": attempt.number, "candidate": str(attempt.candidate), "duration_ms": round(attempt.duration * 1000, 3),
            "outcome": attempt.outcome, "status": attempt.status, "message": attempt.message}
