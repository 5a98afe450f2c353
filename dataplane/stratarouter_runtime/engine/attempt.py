"""One attempt under way, and what its end means to everybody who wants to know.

Invariants: an attempt ends exactly once; its end reaches the health record (which frees its place) before the observer.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from dataclasses import replace

from stratarouter_runtime.model.errors import Failure, Phase, ProviderError
from stratarouter_runtime.model.plan import Attempt, Candidate
from stratarouter_runtime.model.provider import AttemptScope, Call
from stratarouter_runtime.model.response import Usage

from .deadline import Deadline
from .health import Permit

_log = logging.getLogger(__name__)


class Running:
    """An attempt that has begun."""

    __slots__ = ("_first_token", "_permit", "_record", "_scope", "call", "limit", "number")

    def __init__(self, permit: Permit, scope: AttemptScope, number: int, limit: Deadline) -> None:
        self.limit = limit
        self.number = number
        candidate = permit.candidate
        self.call = Call(candidate.upstream_model, limit.at, scope.headers, candidate.model, candidate.dialects,
                         candidate.max_output_tokens)
        self._permit = permit
        self._scope = scope
        self._first_token: float | None = None
        self._record: Attempt | None = None

    @property
    def candidate(self) -> Candidate:
        """Who is tried."""
        return self._permit.candidate

    @property
    def record(self) -> Attempt:
        """The attempt as it stands; final once it has ended."""
        return self._record or self._as_of_now()

    def committed(self) -> None:
        """The first content has come."""
        self._first_token = self.limit.now() - self._permit.started
        self._permit.answered()
        self._scope.first_token(self._first_token)

    def succeeded(self, *, model: str, finish_reason: str | None, usage: Usage | None) -> None:
        """It is over and answered."""
        self._record = self._as_of_now()
        self._permit.succeeded()
        self._scope.succeeded(model=model, finish_reason=finish_reason, usage=usage)

    def failed(self, error: ProviderError) -> None:
        """It is over and failed. What only the caller's deadline has ended says little of the provider."""
        self._record = self._as_of_now(error)
        if error.failure is Failure.TIMEOUT and self.limit.over:
            self._permit.ran_out()
        else:
            self._permit.failed(error)
        self._scope.failed(error)

    def cancelled(self, usage: Usage | None) -> None:
        """The caller went away."""
        self._record = replace(self._as_of_now(), cancelled=True)
        self._permit.released()
        self._scope.cancelled(usage)

    def _as_of_now(self, error: ProviderError | None = None) -> Attempt:
        duration = self.limit.now() - self._permit.started
        if error is None:
            return Attempt(self.number, self.candidate, duration, first_token=self._first_token)
        return Attempt(self.number, self.candidate, duration, error.failure, error.status, error.message, self._first_token)


def failure_in(error: BaseException, limit: Deadline, phase: Phase) -> ProviderError | None:
    """What an exception out of a provider means; None where the caller went away, whatever the provider made of that."""
    if limit.left_by_caller():
        return None
    if isinstance(error, ProviderError):
        return error
    if isinstance(error, asyncio.CancelledError):
        return ProviderError(Failure.CONNECTION_LOST, "the provider gave up the call", phase=phase)
    if isinstance(error, TimeoutError) and limit.passed:
        return ProviderError(Failure.TIMEOUT, "the request's deadline has passed", phase=phase, status=504)
    if isinstance(error, Exception):
        _report(error)
        return ProviderError(Failure.BAD_RESPONSE, "the provider's answer could not be processed", phase=phase)
    return None


def departure(error: BaseException) -> BaseException:
    """What to raise where the caller went away: a provider may have turned its cancellation into something else."""
    return asyncio.CancelledError() if isinstance(error, Exception) else error


def _report(error: Exception) -> None:
    # A provider raises nothing but ProviderError, so this is a defect. Its message may quote a prompt, so it stays out;
    # the lines' text does too, because reading it would block the event loop.
    frames = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), lookup_lines=False)
    where = " < ".join(f"{frame.name} ({frame.filename}:{frame.lineno})" for frame in reversed(frames))
    _log.error("a provider raised %s, which it must not, in %s", type(error).__name__, where)
