"""An execution as JSON, for ``GET /executions/{id}``: pure.

Invariants: money is a decimal string, times are ISO 8601 in UTC, what is unknown is null; an app's own checkpoints are
listed, but what is in them is the app's alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from .records import ExecutionRecord, Step, StreamCheckpoint


def document(execution_id: str, execution: ExecutionRecord | None, stream: Sequence[StreamCheckpoint],
             steps: Sequence[Step], *, stored: bool) -> dict[str, Any]:
    """What is known of an execution.

    ``stored`` is false while some of it waits to be written. ``outcome`` is null where no end is known: it is running, or
    its process died. ``stream`` has what a stream had said at its last checkpoint.
    """
    return {"id": execution_id, **(_execution(execution) if execution else {"outcome": None}),
            "stream": _stream(stream), "checkpoints": _checkpoints(stream, steps), "stored": stored}


def _execution(record: ExecutionRecord) -> dict[str, Any]:
    return {
        "requestId": record.request_id, "tenant": record.tenant, "family": record.family, "route": record.route,
        "startedAt": _time(record.started_at), "durationSeconds": record.duration,
        "outcome": record.outcome or None, "status": record.status, "cache": record.cache or None,
        "pool": record.pool or None, "provider": record.provider or None, "model": record.model or None,
        "finishReason": record.finish_reason or None,
        "usage": None if record.input_tokens is None else {
            "inputTokens": record.input_tokens, "outputTokens": record.output_tokens, "cachedTokens": record.cached_tokens,
            "estimated": record.usage_estimated},
        "costUsd": _money(record.cost_usd), "savedUsd": _money(record.saved_usd),
        "decision": dict(record.decision), "plan": dict(record.plan), "attempts": [dict(each) for each in record.attempts],
    }


def _stream(stream: Sequence[StreamCheckpoint]) -> dict[str, Any] | None:
    if not stream:
        return None
    return {"chunks": stream[-1].step, "text": "".join(each.text for each in stream), "truncated": stream[-1].truncated,
            "at": _time(stream[-1].created_at)}


def _checkpoints(stream: Sequence[StreamCheckpoint], steps: Sequence[Step]) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = []
    characters = 0
    for each in stream:
        characters += len(each.text)
        listed.append({"source": "stream", "step": each.step, "at": _time(each.created_at), "characters": characters})
    listed.extend({"source": "app", "step": each.step, "at": _time(each.created_at), "bytes": each.size}
                  for each in steps)
    return listed


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _money(amount: Decimal | None) -> str | None:
    """Plain digits, never an exponent, without zeros that say nothing."""
    if amount is None:
        return None
    digits = format(amount, "f")
    return digits.rstrip("0").rstrip(".") if "." in digits else digits
