"""The health of all providers: who may be called now, and what their answers say about later calls.

It survives configuration reloads. Invariants: every admission ends exactly once and gives back its place; state is
kept only for what is configured (and for what is still in flight); nothing here waits.
"""

from __future__ import annotations

import math
import random as randomness
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from stratarouter_runtime.config import CircuitBreaker, Limits, Provider
from stratarouter_runtime.model.errors import Failure, ProviderError
from stratarouter_runtime.model.plan import Candidate
from stratarouter_runtime.model.provider import ExecutionObserver

from .breaker import Grant
from .limiter import Bulkhead
from .record import RECHECK_SECONDS, Record

ProviderKey = tuple[str, str]

MAX_RECORDS = 4_096
"""More (provider, model, region) than a configuration can have use; beyond it a candidate is served without memory."""
EARLY_SHARE = 0.1
"""An opening ends up to a tenth early, at random, so that pods do not probe in step."""

_CREDENTIALS_MISSING: str = Failure.CREDENTIALS_MISSING.value


class Why(Enum):
    """The kinds of refusal, by what may be done about them."""

    ABSENT = "absent"      # cannot be called at all
    LIMITED = "limited"    # inside its Retry-After: worth waiting for
    BREAKER = "breaker"    # open, or half-open with all probes out
    FULL = "full"          # no place is free
    AVOIDED = "avoided"    # may be called, but only where nothing better is there


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a candidate is not called now. ``reason`` is CamelCase; ``due`` is when to ask again, where known."""

    reason: str
    why: Why
    due: float = math.inf


@dataclass(frozen=True, slots=True)
class ProviderState:
    """A provider's health, the worst over its models. ``reason`` is CamelCase and empty for ``Healthy``."""

    pool: str
    provider: str
    state: Literal["Healthy", "Degraded", "Unavailable"]
    reason: str


_STATES: tuple[Literal["Healthy", "Degraded", "Unavailable"], ...] = ("Healthy", "Degraded", "Unavailable")


class Health:
    """Admits calls and learns from how they end.

    ``clock`` gives seconds and is the event loop's where an engine uses it; ``observer`` is told of breakers;
    ``random`` spreads recoveries.
    """

    def __init__(self, *, clock: Callable[[], float], observer: ExecutionObserver | None = None,
                 random: randomness.Random | None = None) -> None:
        self._clock = clock
        self._observer = observer
        self._random = random or randomness.Random()  # noqa: S311 (spreads load, guards nothing)
        self._providers: dict[ProviderKey, Provider] = {}
        self._without_credentials: frozenset[ProviderKey] = frozenset()
        self._records: dict[tuple[str, str, str, str], Record] = {}
        self._bulkheads: dict[ProviderKey, Bulkhead] = {}

    # --- configuration -------------------------------------------------------------------------------------------
    def configure(self, providers: Mapping[ProviderKey, Provider], *, without_credentials: Collection[ProviderKey] = ()) -> None:
        """Go on with these providers: new limits apply to what is known, what is not configured any more is dropped.

        What is known of a candidate is also dropped where its upstream is another one now. ``without_credentials``
        names providers that cannot be called because their Secret is missing.
        """
        for key, record in list(self._records.items()):
            new = providers.get(key[:2])
            if new is None or not _is_same(self._providers.get(key[:2]), new, key[2], key[3]):
                del self._records[key]
            else:
                record.breaker.tune(new.circuit_breaker)
        for name, bulkhead in list(self._bulkheads.items()):
            if name in providers:
                bulkhead.limit = providers[name].limits.max_concurrent_requests
            elif not bulkhead.in_flight:
                del self._bulkheads[name]
        self._providers = dict(providers)
        self._without_credentials = frozenset(without_credentials)

    def forgive(self, provider_key: ProviderKey) -> None:
        """A credential was rotated: let the provider be tried again at once."""
        for key, record in self._records.items():
            if key[:2] == provider_key:
                record.forgive()

    def states(self) -> list[ProviderState]:
        """Every configured provider's health, in the order of the configuration."""
        now = self._clock()
        worst: dict[ProviderKey, tuple[int, str]] = dict.fromkeys(self._providers, (0, ""))
        for key, record in self._records.items():
            severity, reason = record.condition(now)
            if severity > worst.get(key[:2], (3, ""))[0]:
                worst[key[:2]] = severity, reason
        worst.update(dict.fromkeys(self._without_credentials & self._providers.keys(), (2, _CREDENTIALS_MISSING)))
        return [ProviderState(pool, name, _STATES[severity], reason) for (pool, name), (severity, reason) in worst.items()]

    # --- admission -----------------------------------------------------------------------------------------------
    def admit(self, candidate: Candidate, *, insist: bool = False, force: bool = False) -> Permit | Refusal:
        """Ask to call a candidate. A ``Permit`` must be ended.

        ``insist`` takes one that is better avoided; ``force`` asks an open breaker for a probe before its time.
        """
        now = self._clock()
        record = self._records.get(candidate.breaker_key) or self._new_record(candidate)
        breaker = record.breaker
        refusal = _refusal(record, now, insist=insist)
        if refusal is not None:
            return refusal
        bulkhead = self._bulkheads.get(candidate.provider_key) or self._new_bulkhead(candidate)
        if bulkhead.full:
            return Refusal("ProviderFull", Why.FULL)
        before = breaker.state
        grant = breaker.admit(now, force=force)
        if grant is None:
            return Refusal("BreakerOpen", Why.BREAKER, breaker.due if before == "open" else now)
        bulkhead.enter()
        if record.fault is not None:
            record.recheck_at = now + RECHECK_SECONDS  # this call finds out for all
        permit = Permit(self, candidate, record, grant, now)
        if before != "closed":
            permit.tell(before)
        return permit

    def absence(self, candidate: Candidate) -> Refusal:
        """Why there is nothing to call for a candidate."""
        known = candidate.provider_key in self._providers
        return Refusal(_CREDENTIALS_MISSING if known else "ProviderNotConfigured", Why.ABSENT)

    def limited_until(self, candidate: Candidate) -> float:
        """When the vendor's Retry-After for a candidate ends; minus infinity where there was none."""
        record = self._records.get(candidate.breaker_key)
        return record.limited_until if record is not None else -math.inf

    def in_flight(self, provider_key: ProviderKey) -> int:
        """Calls to a provider that have not ended."""
        bulkhead = self._bulkheads.get(provider_key)
        return bulkhead.in_flight if bulkhead is not None else 0

    # --- for permits ---------------------------------------------------------------------------------------------
    def now(self) -> float:
        """The clock."""
        return self._clock()

    def left(self, candidate: Candidate) -> None:
        """A call is over: its place is free; a provider that was removed meanwhile is forgotten with its last call."""
        bulkhead = self._bulkheads[candidate.provider_key]
        bulkhead.leave()
        if not bulkhead.in_flight and candidate.provider_key not in self._providers:
            del self._bulkheads[candidate.provider_key]

    def changed(self, candidate: Candidate, state: str) -> None:
        """A breaker has changed."""
        if self._observer is not None:
            self._observer.breaker(candidate, state)

    # --- state ---------------------------------------------------------------------------------------------------
    def _new_record(self, candidate: Candidate) -> Record:
        provider = self._providers.get(candidate.provider_key)
        record = Record(provider.circuit_breaker if provider else CircuitBreaker(), self._early)
        if provider is not None and len(self._records) < MAX_RECORDS:
            self._records[candidate.breaker_key] = record
        return record

    def _new_bulkhead(self, candidate: Candidate) -> Bulkhead:
        provider = self._providers.get(candidate.provider_key)
        bulkhead = Bulkhead((provider.limits if provider else Limits()).max_concurrent_requests)
        self._bulkheads[candidate.provider_key] = bulkhead
        return bulkhead

    def _early(self) -> float:
        return self._random.uniform(0, EARLY_SHARE)


class Permit:
    """An admitted call. Exactly one of ``succeeded``, ``failed``, ``ran_out`` and ``released`` ends it."""

    __slots__ = ("_grant", "_health", "_record", "candidate", "started")

    def __init__(self, health: Health, candidate: Candidate, record: Record, grant: Grant, started: float) -> None:
        self._health = health
        self._record = record
        self._grant = grant
        self.candidate = candidate
        self.started = started

    def answered(self) -> None:
        """Content has come, and more may follow."""
        breaker = self._record.breaker
        before = breaker.state
        self._record.answered(self._health.now(), began=self.started)
        breaker.answered(self._grant)
        self.tell(before)

    def succeeded(self) -> None:
        """The whole answer has come."""
        now, breaker = self._health.now(), self._record.breaker
        before = breaker.state
        self._record.answered(now, began=self.started)
        breaker.succeeded(self._grant, now)
        self._end(before)

    def failed(self, error: ProviderError) -> None:
        """It failed; ``TREATMENTS`` say what that means."""
        now, breaker = self._health.now(), self._record.breaker
        before = breaker.state
        if error.treatment.client:
            self._record.answered(now, began=self.started)
            breaker.answered(self._grant)
            breaker.released(self._grant)
        else:
            self._record.complained(error, now)
            self._judge(now, unhealthy=error.treatment.unhealthy)
        self._end(before)

    def ran_out(self) -> None:
        """The caller's deadline ended it."""
        now, breaker = self._health.now(), self._record.breaker
        before = breaker.state
        self._judge(now, unhealthy=self._record.hung(now, began=self.started))
        self._end(before)

    def released(self) -> None:
        """The caller went away: neither success nor failure."""
        self._record.breaker.released(self._grant)
        self._health.left(self.candidate)

    def tell(self, before: str) -> None:
        """Tell the observer where the breaker is not what it was."""
        state = self._record.breaker.state
        if state != before:
            self._health.changed(self.candidate, state)

    def _judge(self, now: float, *, unhealthy: bool) -> None:
        if unhealthy:
            self._record.breaker.failed(self._grant, now)
        else:
            self._record.breaker.released(self._grant)

    def _end(self, before: str) -> None:
        self._health.left(self.candidate)
        self.tell(before)


def _refusal(record: Record, now: float, *, insist: bool) -> Refusal | None:
    """Why what is known of a candidate keeps it from being called, before anybody counts calls in flight."""
    if now < record.limited_until:
        return Refusal(record.limited_by, Why.LIMITED, record.limited_until)
    if record.fault is not None and now < record.recheck_at:
        if record.fault == _CREDENTIALS_MISSING:
            return Refusal(record.fault, Why.ABSENT, record.recheck_at)
        if not insist:
            return Refusal(record.fault, Why.AVOIDED, now)
    if not insist and record.breaker.ramping:
        return Refusal("BreakerRecovering", Why.AVOIDED, now)
    return None


def _is_same(old: Provider | None, new: Provider, model: str, region: str) -> bool:
    """Whether what is known of a candidate still concerns what the configuration now means by it."""
    if old is None or region != new.region or _address(old) != _address(new):
        return False
    names = [[each.upstream for each in provider.models if each.name == model] for provider in (old, new)]
    return bool(names[1]) and names[0] == names[1]


def _address(provider: Provider) -> tuple[object, ...]:
    return (provider.type, provider.base_url, provider.vertexai, provider.proxy_url, provider.headers, provider.credentials_secret_ref,
            provider.ca_bundle_secret_ref)
