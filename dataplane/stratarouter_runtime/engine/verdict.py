"""What the caller is told when no candidate answered: a pure function of what was tried and passed over.

Invariants: a provider's own refusal (401, 403, 404) is never the caller's error; 429 and 503 always say when to come
back; messages name candidates and reasons, never what a vendor wrote.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stratarouter_runtime.model.errors import ExecutionError, Failure, ProviderError, StrataError
from stratarouter_runtime.model.plan import Attempt, Candidate

from .health import Refusal, Why
from .record import RECHECK_SECONDS

MIN_RETRY_AFTER = 1.0
"""Seconds a caller is sent away for at least: sooner, nothing will have changed."""
MAX_NAMED = 16


@dataclass(frozen=True, slots=True)
class Failed:
    """A candidate's failure, and when its vendor wants to be asked again."""

    error: ProviderError
    limited_until: float


def verdict(*, now: float, late: bool, attempts: tuple[Attempt, ...], failures: Sequence[Failed],
            refusals: Sequence[tuple[Candidate, Refusal]]) -> StrataError:
    """The error of a request that nobody answered. ``late``: its deadline has passed."""
    for failed in failures:
        if failed.error.treatment.client:
            failed.error.attempts = attempts
            return failed.error
    told = _told(attempts, refusals)
    if late:
        return ExecutionError("DeadlineExceeded", f"The deadline passed before a provider answered{told}.", status=504,
                              attempts=attempts)
    if failures:
        if all(failed.error.failure is Failure.RATE_LIMITED for failed in failures):
            return _limited(told, attempts, _wait(now, [*_ends_of(failures, now), *_dues(refusals)]))
        return ExecutionError("AllAttemptsFailed", f"No provider answered{told}.", status=502, attempts=attempts)
    usable = [refusal for _, refusal in refusals if refusal.why is not Why.ABSENT]
    if usable and all(_is_rate_limit(refusal) for refusal in usable):
        return _limited(told, attempts, _wait(now, [refusal.due for refusal in usable]))
    wait = _wait(now, [refusal.due for refusal in usable]) if usable else RECHECK_SECONDS
    return ExecutionError("NoProviderAvailable", f"No provider can be called now{told}.", status=503, retry_after=wait,
                          attempts=attempts)


def _limited(told: str, attempts: tuple[Attempt, ...], wait: float) -> ExecutionError:
    return ExecutionError("RateLimited", f"All providers are limited{told}.", status=429, retry_after=wait, attempts=attempts)


def _is_rate_limit(refusal: Refusal) -> bool:
    return refusal.why is Why.LIMITED and refusal.reason == Failure.RATE_LIMITED


def _ends_of(failures: Sequence[Failed], now: float) -> Iterator[float]:
    for failed in failures:
        yield max(failed.limited_until, now)


def _dues(refusals: Sequence[tuple[Candidate, Refusal]]) -> Iterator[float]:
    return (refusal.due for _, refusal in refusals if _is_rate_limit(refusal))


def _wait(now: float, ends: Sequence[float]) -> float:
    earliest = min(ends, default=math.inf)
    return MIN_RETRY_AFTER if math.isinf(earliest) else max(earliest - now, MIN_RETRY_AFTER)


def _told(attempts: Sequence[Attempt], refusals: Sequence[tuple[Candidate, Refusal]]) -> str:
    """What became of each candidate, for a message."""
    parts = [f"{each.candidate}: {each.failure}" + (f" (status {each.status})" if each.status else "") for each in attempts]
    parts += [f"{candidate}: skipped, {refusal.reason}" for candidate, refusal in refusals]
    if not parts:
        return ""
    more = f", and {len(parts) - MAX_NAMED} more" if len(parts) > MAX_NAMED else ""
    return " (" + "; ".join(parts[:MAX_NAMED]) + more + ")"
