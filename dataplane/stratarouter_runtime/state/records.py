"""What is stored: plain values that every back end stores alike, and how an execution becomes one.

Invariants: an execution's record is made field by field from names, figures and reasons, so no prompt, answer, vendor's
message or key can be in it; money is decimal; times are Unix seconds in whole microseconds; texts are bounded and free of
what PostgreSQL cannot hold (NUL, lone surrogates); an app's state is kept as the JSON it was given as, so that nobody can
change it afterwards.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from stratarouter_runtime.model.cache import Hit, Miss
from stratarouter_runtime.model.decision import RoutingDecision
from stratarouter_runtime.model.execution import Execution
from stratarouter_runtime.model.plan import Attempt, Plan
from stratarouter_runtime.model.verdict import PolicyError, summary

SUCCESS = "Success"
DEFECT = "InternalError"
"""Outcome of an execution that ended by no error of the tree: a defect of ours."""
CALLER_LEFT = 499
CANCELLED = "Cancelled"
"""Outcome of an execution whose caller went away before its end: no error of anybody, and no answer either."""
MAX_TEXT = 200
"""Characters of a name or id that are kept; Kubernetes' longest is 253, ours are at most 63."""
MAX_SCORES = 10
"""Scores of a decision that are kept, the highest first."""
MAX_STATE_BYTES = 4 * 1024 * 1024
"""Bytes of JSON in one checkpoint of an app."""
MAX_STEP = 2**53 - 1
MAX_TOKENS = 2**63 - 1


class StateDataError(ValueError):
    """What an app wants to keep cannot be kept as it is; the message never quotes it."""


@dataclass(frozen=True, slots=True)
class ExecutionRecord:
    """One execution, as it ended or (``outcome`` empty, ``status`` and ``duration`` None) as it began.

    ``started_at`` in Unix seconds, ``duration`` in seconds; ``outcome`` is ``Success``, ``Cancelled`` or the error's reason,
    ``status`` the HTTP status; ``cache`` is ``hit:TIER``, ``joined:identical`` or ``joined:near`` for another
    request's call, ``miss:REASON``, or empty where the cache was not asked; costs in US dollars, None where unknown.
    """

    id: str
    request_id: str
    tenant: str
    family: str
    route: str
    started_at: float
    duration: float | None = None
    outcome: str = ""
    status: int | None = None
    cache: str = ""
    pool: str = ""
    provider: str = ""
    model: str = ""
    finish_reason: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    usage_estimated: bool = False
    cost_usd: Decimal | None = None
    saved_usd: Decimal | None = None
    decision: Mapping[str, Any] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)
    attempts: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class StreamCheckpoint:
    """How far a stream had come after ``step`` chunks: ``text`` is what it said since the checkpoint before.

    The texts in order of their steps are the text so far; ``truncated`` where that is longer than what is kept.
    """

    execution_id: str
    step: int
    text: str
    created_at: float
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of an app's own work after a step; ``encoded`` is the JSON of its ``state_data``."""

    execution_id: str
    step: int
    encoded: str
    created_at: float

    @property
    def state_data(self) -> dict[str, Any]:
        """The state, a fresh copy at each call."""
        data: dict[str, Any] = json.loads(self.encoded)
        return data


@dataclass(frozen=True, slots=True)
class Step:
    """That there is a checkpoint of an app, of ``size`` bytes of JSON, without what is in it."""

    step: int
    size: int
    created_at: float


Record = ExecutionRecord | StreamCheckpoint
"""What the runtime itself writes."""


def record(execution: Execution, *, status: int, started_at: float, duration: float) -> ExecutionRecord:
    """What an execution leaves behind; ``status`` 499 and no error: its caller went away."""
    return _record(execution, started_at, status=status, duration=duration, outcome=_outcome(execution, status))


def begun(execution: Execution, *, started_at: float) -> ExecutionRecord:
    """What is known of an execution that has not ended: should it never end, this remains."""
    return _record(execution, started_at)


def clean(text: str, limit: int = MAX_TEXT) -> str:
    """A text that every back end can hold, cut at ``limit`` characters."""
    if text.isascii() and len(text) <= limit and "\0" not in text:
        return text  # nearly always, and this is called for every name of every execution
    return text[:limit].encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def valid_id(execution_id: str) -> bool:
    """Whether anything can be stored under it: 1 to 200 characters that every back end can hold."""
    return bool(execution_id) and clean(execution_id) == execution_id


def moment(seconds: float) -> float:
    """A time in whole microseconds, which is what PostgreSQL keeps."""
    return round(seconds, 6)


def checkpoint(execution_id: str, step: int, state_data: Mapping[str, Any], created_at: float) -> Checkpoint:
    """An app's state after a step; raises ``StateDataError`` for what cannot be kept."""
    if not 0 <= step <= MAX_STEP:
        raise StateDataError(f"step must be from 0 to {MAX_STEP}")
    if not valid_id(execution_id):
        raise StateDataError(f"an execution id has 1 to {MAX_TEXT} characters, without NUL and lone surrogates")
    return Checkpoint(execution_id, step, _encoded(state_data), moment(created_at))


def _encoded(state_data: Mapping[str, Any]) -> str:
    """ASCII JSON: NUL and lone surrogates are escapes in it and so survive any back end."""
    try:
        encoded = json.dumps(dict(state_data), allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise StateDataError(f"state_data must be a mapping that JSON can hold ({type(error).__name__}): text, finite numbers, "
                             "true, false, None, lists and mappings, not nested without end") from None
    if len(encoded) > MAX_STATE_BYTES:
        raise StateDataError(f"state_data takes {len(encoded)} bytes as JSON; at most {MAX_STATE_BYTES} are kept")
    return encoded


def _outcome(execution: Execution, status: int) -> str:
    if execution.error is not None:
        return execution.error.reason
    if status < 400:
        return SUCCESS
    return CANCELLED if status == CALLER_LEFT else DEFECT


def _record(execution: Execution, started_at: float, *, status: int | None = None, duration: float | None = None,
            outcome: str = "") -> ExecutionRecord:
    plan, usage, hit = execution.plan, execution.usage, execution.hit
    source = hit.entry if hit else execution.candidate
    return ExecutionRecord(
        id=execution.id,
        request_id=clean(execution.request_id),
        tenant=clean(execution.caller.tenant),
        family=plan.family if plan else "",
        route=clean(execution.route),
        started_at=moment(started_at),
        duration=None if duration is None else moment(duration),
        outcome=outcome,
        status=status,
        cache=f"joined:{execution.joined}" if execution.joined else _cache(execution.cached),
        pool=clean(source.pool) if source else "",
        provider=clean(source.provider) if source else "",
        model=clean(execution.model),
        finish_reason=clean(execution.finish_reason or ""),
        input_tokens=_tokens(usage.input) if usage else None,
        output_tokens=_tokens(usage.output) if usage else None,
        cached_tokens=_tokens(usage.cached) if usage else None,
        usage_estimated=bool(usage and usage.estimated),
        cost_usd=execution.cost,
        saved_usd=execution.saved,
        decision=_decision(plan.decision if plan and plan.decision else execution.decision),
        plan=_plan(plan) if plan else _refusal(execution),
        attempts=tuple(_attempt(each) for each in execution.attempts),
    )


def _tokens(count: int) -> int:
    """A vendor's figure, whatever it claims, as a number a column can hold."""
    return max(0, min(count, MAX_TOKENS))


def _cache(found: Hit | Miss | None) -> str:
    if found is None:
        return ""
    return f"hit:{found.tier}" if isinstance(found, Hit) else f"miss:{found.reason}"


def _decision(decision: RoutingDecision | None) -> dict[str, Any]:
    """Names and figures of a decision, which nobody may have checked yet; never its query or its vector."""
    if decision is None:
        return {}
    scores = decision.scores if isinstance(decision.scores, Mapping) else {}
    figures = [(clean(str(name)), figure) for name, value in scores.items() if (figure := _figure(value)) is not None]
    told = {"route": clean(decision.route_id) if isinstance(decision.route_id, str) else None,
            "confidence": _figure(decision.confidence),
            "scores": dict(sorted(figures, key=lambda each: -each[1])[:MAX_SCORES])}
    return {**told, "reason": clean(decision.reason)} if isinstance(decision.reason, str) and decision.reason else told


def _figure(value: object) -> float | None:
    try:
        figure = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:  # an int beyond any float
        return None
    return figure if math.isfinite(figure) else None


def _plan(plan: Plan) -> dict[str, Any]:
    told = {"route": plan.route, "family": plan.family, "candidates": [clean(str(each)) for each in plan.candidates],
            "timeoutSeconds": plan.timeout, "maxAttempts": plan.max_attempts}
    return {**told, "policy": summary(plan.policy)} if plan.policy else told


def _refusal(execution: Execution) -> dict[str, Any]:
    """Of an execution without a plan: what the policy found, where it refused."""
    error = execution.error
    return {"route": error.route, "policy": summary(error.verdicts)} if isinstance(error, PolicyError) else {}


def _attempt(attempt: Attempt) -> dict[str, Any]:
    # The vendor's message is left out: it may quote the prompt.
    return {"number": attempt.number, "candidate": clean(str(attempt.candidate)), "region": attempt.candidate.region,
            "outcome": attempt.outcome, "status": attempt.status,
            "seconds": moment(attempt.duration),
            "firstTokenSeconds": None if attempt.first_token is None else moment(attempt.first_token)}
