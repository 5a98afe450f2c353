"""The headers of a reply: what was decided, what the cache did (RFC 9211), where the time went (W3C Server-Timing).

Invariant: values come from the configuration, numbers, or are stripped to what a header may hold.
"""

from __future__ import annotations

import re
from decimal import Decimal

from stratarouter_runtime.model.cache import Hit, Miss
from stratarouter_runtime.model.errors import StrataError
from stratarouter_runtime.model.execution import Execution
from stratarouter_runtime.model.plan import Plan
from stratarouter_runtime.model.support import named
from stratarouter_runtime.model.verdict import PolicyError, summary

PRODUCT = "stratarouter"
"""Names this software in ``Server`` and, as RFC 9211 asks, its cache in ``Cache-Status``."""
_UNSAFE = re.compile(r"[^\x20-\x7e]|[\"\\]")


def of(execution: Execution) -> dict[str, str]:
    """Headers of an answer; a stream's carry what is known when they are sent."""
    headers = {"Server": PRODUCT, "x-request-id": execution.request_id, "x-strata-execution-id": execution.id}
    if execution.plan is not None:
        _add_planned(headers, execution, execution.plan)
    hit = execution.hit
    if hit is not None:
        headers["x-strata-provider"], headers["x-strata-model"] = hit.entry.provider, safe(hit.entry.model)
    elif execution.candidate is not None:
        headers["x-strata-provider"] = execution.candidate.provider
        headers["x-strata-model"] = safe(execution.candidate.model)
    if execution.cost is not None:
        headers["x-strata-cost-usd"] = money(execution.cost)
    if execution.cached is not None:
        headers["Cache-Status"] = cache_status(execution)
    if hit is not None:
        headers["Age"] = str(max(0, int(hit.age)))
    timing = server_timing(execution)
    if timing:
        headers["Server-Timing"] = timing
    return headers


def _add_planned(headers: dict[str, str], execution: Execution, plan: Plan) -> None:
    headers["x-strata-route"] = plan.route
    headers["x-strata-attempts"] = str(len(execution.attempts))
    if plan.confidence is not None:
        headers["x-strata-confidence"] = f"{plan.confidence:g}"
    lost = named(execution.lost) if plan.losses else ""
    # With a confidence the router has decided, and that header says so.
    unrouted = f"not routed: {plan.decision.reason}" if plan.decision and plan.decision.reason and plan.confidence is None else ""
    if warning := "; ".join(filter(None, (lost, unrouted))):
        headers["x-strata-warning"] = safe(warning)
    if plan.policy:
        headers["x-strata-policy"] = safe(plan.policy_summary())


def of_error(execution: Execution, error: StrataError) -> dict[str, str]:
    """Headers of an error: as of an answer, and when to come back."""
    headers = of(execution)
    if isinstance(error, PolicyError):
        headers["x-strata-route"] = error.route
        headers["x-strata-policy"] = safe(summary(error.verdicts))
    return headers | retry_after(error)


def retry_after(error: StrataError) -> dict[str, str]:
    """When to come back, in whole seconds; nothing where that was not said."""
    if error.retry_after is None or error.status not in (429, 503):
        return {}
    return {"Retry-After": str(max(1, -int(-error.retry_after // 1)))}


def cache_status(execution: Execution) -> str:
    """RFC 9211: ``stratarouter; hit; ttl=3599; detail=semantic`` or ``stratarouter; fwd=miss; stored; detail=...``."""
    found = execution.cached
    if isinstance(found, Hit):
        ttl = int(found.entry.ttl - found.age)
        detail = found.tier if found.tier == "exact" else f'"semantic score={found.score:.4f}"'
        return f"{PRODUCT}; hit; ttl={ttl}; detail={detail}"
    if not isinstance(found, Miss):
        return f"{PRODUCT}; fwd=bypass"
    parts = [PRODUCT, "fwd=bypass" if found.reason in ("bypass", "disabled") else "fwd=miss"]
    if execution.stored:
        parts.append("stored")
    if execution.joined:
        parts.append("collapsed")
    detail = " ".join(filter(None, (found.reason, found.detail, "" if found.score is None else f"score={found.score:.4f}")))
    parts.append(f'detail="{safe(detail)}"')
    return "; ".join(parts)


def server_timing(execution: Execution) -> str:
    """Milliseconds of each stage that has passed."""
    return ", ".join(f"{stage};dur={seconds * 1000:.2f}" for stage, seconds in execution.stages.items())


def money(value: Decimal) -> str:
    """A decimal without exponent and without trailing zeros."""
    text = format(value, "f")
    return (text.rstrip("0").rstrip(".") or "0") if "." in text else text


def safe(value: str) -> str:
    """A value reduced to what a header, also inside quotes, may hold."""
    if value.isascii() and value.isprintable() and '"' not in value and "\\" not in value:
        return value[:256]
    return _UNSAFE.sub("_", value)[:256]
