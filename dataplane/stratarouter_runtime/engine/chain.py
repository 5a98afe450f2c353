"""The walk along a plan's candidates: who is called next, what is waited for, and when it is given up.

Invariants: at most ``max_attempts`` attempts; the plan's order is kept; a candidate is tried again only where no other
can be called, and not before its backoff; nobody waits for what comes after the deadline.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
from random import Random

from stratarouter_runtime.model.errors import Failure, ProviderError, StrataError
from stratarouter_runtime.model.plan import Attempt, Candidate, Plan
from stratarouter_runtime.model.provider import ExecutionObserver

from .attempt import Running
from .backoff import full_jitter
from .deadline import Deadline
from .health import Health, Permit, Refusal, Why
from .verdict import Failed, verdict

_SPACE_DIFFERS = Refusal("EmbeddingSpaceDiffers", Why.ABSENT)


class _Step:
    """What this request knows of one candidate."""

    __slots__ = ("candidate", "closed", "error", "ready_at", "refusal", "tries")

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        self.tries = 0
        self.ready_at = -math.inf
        self.closed = False
        """Not to be tried (again) by this request."""
        self.error: ProviderError | None = None
        self.refusal: Refusal | None = None


class Chain:
    """One request's way along its candidates. ``providers`` holds the keys of what can be called, ``attempts`` what became of
    those that were.
    """

    __slots__ = ("_forced", "_health", "_observer", "_providers", "_random", "_spent", "_steps", "attempts", "limit", "plan")

    def __init__(self, plan: Plan, limit: Deadline, attempts: list[Attempt], *, providers: Container[tuple[str, str]], health: Health,
                 observer: ExecutionObserver, random: Random) -> None:
        self.plan = plan
        self.limit = limit
        self.attempts = attempts
        self._providers = providers
        self._health = health
        self._observer = observer
        self._random = random
        self._spent = 0
        self._forced = False
        self._steps: list[_Step] = []
        """The candidates that were come to; most requests come to one."""

    def choose(self) -> Running | float:
        """The next attempt, begun; or the time to ask again. Raises the request's error where neither is left."""
        if self._spent < self.plan.max_attempts and not self.limit.over:
            # One time for all: who was not ready when asked must not count as asked in vain a moment later.
            now = self.limit.now()
            running = self._fresh() or self._avoided() or self._again(now)
            if running is not None:
                return running
            wake = self._wake(now)
            if wake < self.limit.at:
                return wake
            running = self._probe(now)
            if running is not None:
                return running
        raise self._verdict()

    def failed(self, running: Running, error: ProviderError) -> None:
        """Take in a failure. Raises it where no other candidate may be asked."""
        step = next(each for each in self._steps if each.candidate is running.candidate)
        if error.failure is Failure.CREDENTIALS_MISSING:
            # Nothing was sent, so this was no attempt.
            self._spent -= 1
            self._close(step, Refusal(error.reason, Why.ABSENT))
            return
        self.attempts.append(running.record)
        step.error = error.kept()
        step.refusal = None
        step.tries += 1
        if not error.treatment.failover:
            error.attempts = tuple(self.attempts)
            raise error
        if error.treatment.retry:
            step.ready_at = self.limit.now() + full_jitter(self.plan.retry_delay, step.tries, self._random)
        else:
            step.closed = True

    # --- choosing ------------------------------------------------------------------------------------------------
    def _fresh(self) -> Running | None:
        """The first candidate not tried yet that can be called, without those better avoided."""
        avoided: list[_Step] = []
        for step in self._walk():
            running = self._ask(step)
            if running is not None:
                for each in avoided:
                    self._observer.skipped(each.candidate, each.refusal.reason if each.refusal else "")
                return running
            if step.refusal is not None and step.refusal.why is Why.AVOIDED:
                avoided.append(step)
        return None

    def _walk(self) -> Iterator[_Step]:
        """The candidates not tried yet, in the plan's order."""
        for step in self._steps:
            if not step.tries and not step.closed:
                yield step
        for candidate in self.plan.candidates[len(self._steps):]:
            step = _Step(candidate)
            self._steps.append(step)
            yield step

    def _avoided(self) -> Running | None:
        """The first candidate not tried yet that is better avoided: nothing better is there."""
        for step in self._steps:
            if not step.tries and not step.closed and step.refusal is not None and step.refusal.why is Why.AVOIDED:
                running = self._ask(step, insist=True)
                if running is not None:
                    return running
        return None

    def _again(self, now: float) -> Running | None:
        """The candidate tried least whose backoff is over."""
        ready = [step for step in self._steps if step.tries and not step.closed and step.ready_at <= now]
        for step in sorted(ready, key=lambda each: each.tries):
            running = self._ask(step, insist=True)
            if running is not None:
                return running
        return None

    def _wake(self, now: float) -> float:
        """When a candidate that only time keeps away can be called; infinity where there is none in time."""
        return min((self._ready(step, now) for step in self._steps if not step.closed), default=math.inf)

    def _ready(self, step: _Step, now: float) -> float:
        limited = self._health.limited_until(step.candidate)
        if limited > now:
            # Callers that were sent away together must not come back together.
            jittered = limited + self._random.uniform(0, self.plan.retry_delay)
            limited = jittered if jittered < self.limit.at else limited
        ready = max(limited, step.ready_at)
        return ready if ready > now else math.inf

    def _probe(self, now: float) -> Running | None:
        """Where nobody can be called, ask the open breaker due soonest before its time.

        One whose probe is under way is due now, so while it is out nobody gets another.
        """
        opened = [(step.refusal.due, step) for step in self._steps
                  if not step.closed and step.ready_at <= now and step.refusal is not None and step.refusal.why is Why.BREAKER]
        if self._forced or not opened:
            return None
        self._forced = True
        return self._ask(min(opened, key=lambda pair: pair[0])[1], insist=True, force=True)

    def _ask(self, step: _Step, *, insist: bool = False, force: bool = False) -> Running | None:
        absent = self._absence(step.candidate)
        if absent is not None:
            self._close(step, absent)
            return None
        answer = self._health.admit(step.candidate, insist=insist, force=force)
        if isinstance(answer, Permit):
            return self._begin(step, answer)
        self._refused(step, answer)
        return None

    def _absence(self, candidate: Candidate) -> Refusal | None:
        if self.plan.family == "embeddings" and not _same_space(candidate, self.plan.primary):
            return _SPACE_DIFFERS
        return None if candidate.provider_key in self._providers else self._health.absence(candidate)

    def _begin(self, step: _Step, permit: Permit) -> Running:
        self._spent += 1
        step.refusal = None
        try:
            scope = self._observer.attempt(step.candidate, self._spent, self.plan.family, retry=step.tries > 0)
            return Running(permit, scope, self._spent, self.limit)
        except BaseException:
            permit.released()
            raise

    def _close(self, step: _Step, refusal: Refusal) -> None:
        step.closed = True
        self._refused(step, refusal)

    def _refused(self, step: _Step, refusal: Refusal) -> None:
        known, step.refusal = step.refusal, refusal
        # One that is better avoided is passed over only where another is called instead.
        if refusal.why is not Why.AVOIDED and (known is None or known.reason != refusal.reason):
            self._observer.skipped(step.candidate, refusal.reason)

    # --- giving up -----------------------------------------------------------------------------------------------
    def _verdict(self) -> StrataError:
        return verdict(
            now=self.limit.now(), late=self.limit.over, attempts=tuple(self.attempts),
            failures=[Failed(step.error, self._health.limited_until(step.candidate)) for step in self._steps if step.error],
            refusals=[(step.candidate, step.refusal) for step in self._steps if step.refusal])


def _same_space(candidate: Candidate, primary: Candidate) -> bool:
    """Whether vectors of both may be compared: vectors of two models never mix."""
    if candidate.upstream_model == primary.upstream_model:
        return True
    return primary.embedding_space is not None and candidate.embedding_space == primary.embedding_space
