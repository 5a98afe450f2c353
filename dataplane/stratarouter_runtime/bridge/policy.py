"""Policies: an AND of rules, judged before anything is spent.

Rules about the request: ``minConfidence`` (only where there is a confidence), ``requiredMetadata`` (``tenant`` is
there where the caller has one), ``timeWindows``, ``maxInputTokens``. Rules about a candidate: ``allowedRegions``,
``allowedProviders``, ``blockedProviders``, ``allowedModels``, ``maxCostPerRequestUsd``. What is unknown violates: no
region where regions are listed, no price under a cap.

A request may cost: its estimated input at the candidate's price, and its output limit for each of ``n`` answers. A
request without an output limit costs at least one token of each answer, and is then limited to the most that the cap
affords at every candidate that is kept (and that their windows take).

Invariants: pure; what ``judge`` keeps violates no rule, unless the policy is ``dryRun``, which changes nothing; amounts
are exact integers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from typing import Any

from stratarouter_runtime.config.policy import Policy
from stratarouter_runtime.model.plan import Candidate, Rate
from stratarouter_runtime.model.verdict import Effect, Verdict

from .limits import within
from .windows import windows

_UNIT = 10 ** 15
"""Amounts are whole units of 1e-15 dollars: prices have 9 decimals, and are for a million tokens."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules look at. ``input_tokens`` estimates when it is asked; ``output_tokens`` None: not limited."""

    tenant: str
    confidence: float | None
    metadata: Mapping[str, Any]
    input_tokens: Callable[[], int]
    output_tokens: int | None
    answers: int
    generates: bool
    now: Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a policy came to.

    ``violations`` in the order of the rules; ``refused`` whether the request cannot go this way at all; ``kept`` the
    candidates that may be tried and ``left_out`` the others with their rule; ``max_tokens`` the output limit to set.
    """

    refused: bool
    kept: tuple[Candidate, ...]
    left_out: tuple[tuple[Candidate, str], ...] = ()
    violations: tuple[Verdict, ...] = ()
    max_tokens: int | None = None


_Rule = Callable[[Facts], tuple[bool, Any, Any]]
_CandidateRule = Callable[[Candidate, Facts], tuple[bool, Any, Any]]


class Rules:
    """One route's policy, prepared once for a snapshot."""

    def __init__(self, route: str, policy: Policy) -> None:
        self.route = route
        self.on_violation = policy.on_violation
        self.violation_route = policy.violation_route
        self._cap = None if policy.max_cost_per_request_usd is None else _units(policy.max_cost_per_request_usd)
        self._request: list[tuple[str, _Rule]] = list(_request_rules(policy))
        self._identity: list[tuple[str, Callable[[str, str, str], tuple[bool, Any, Any]]]] = list(_identity_rules(policy))
        self._limit = None if policy.max_cost_per_request_usd is None else format(policy.max_cost_per_request_usd, "f")

    @property
    def empty(self) -> bool:
        """Whether there is no rule at all."""
        return not self._request and not self._identity and self._cap is None

    def judge(self, facts: Facts, candidates: Sequence[Candidate], *, everything: list[Verdict] | None = None) -> Judgement:
        """Apply all rules to a request and its candidates, of which there is at least one.

        ``everything`` gets also the verdicts of rules that hold.
        """
        about_request = [verdict for rule, check in self._request
                         if (verdict := self._verdict(rule, None, check(facts), everything)) is not None]
        by_candidate = [self._violated(each, facts, everything) for each in candidates]
        found = [*about_request, *(verdict for violated in by_candidate for verdict in violated)]
        if self.on_violation == "dryRun":
            return Judgement(refused=False, kept=tuple(candidates), violations=_with(found, "reported"))
        kept = tuple(each for each, violated in zip(candidates, by_candidate, strict=True) if not violated)
        if about_request or not kept:
            return Judgement(refused=True, kept=(), violations=_with(found, "refused"))
        left_out = tuple((each, violated[0].rule) for each, violated in zip(candidates, by_candidate, strict=True) if violated)
        return Judgement(refused=False, kept=kept, left_out=left_out, violations=_with(found, "leftOut"),
                         max_tokens=self._affordable(kept, facts))

    def readmits(self, candidate: Candidate) -> Verdict | None:
        """Why what this candidate answered earlier must not be served now; None: it may. A stored answer costs nothing."""
        if self.on_violation == "dryRun":
            return None
        for rule, check in self._identity:
            allowed, value, limit = check(candidate.provider, candidate.model, candidate.region)
            if not allowed:
                return Verdict(rule, value, limit, candidate, allowed=False, effect="refused", route=self.route)
        return None

    def _violated(self, candidate: Candidate, facts: Facts, everything: list[Verdict] | None) -> list[Verdict]:
        found: list[Verdict] = []
        for rule, check in self._identity:
            verdict = self._verdict(rule, candidate, check(candidate.provider, candidate.model, candidate.region), everything)
            if verdict is not None:
                found.append(verdict)
        if self._cap is not None:
            cost = _least_cost(candidate, facts)
            held = cost is not None and cost <= self._cap
            if not held or everything is not None:
                shown = (held, None if cost is None else _dollars(cost), self._limit)
                verdict = self._verdict("maxCostPerRequestUsd", candidate, shown, everything)
                if verdict is not None:
                    found.append(verdict)
        return found

    def _verdict(self, rule: str, candidate: Candidate | None, checked: tuple[bool, Any, Any],
                 everything: list[Verdict] | None) -> Verdict | None:
        """The verdict of a rule that is violated; one of a rule that holds is only noted, where that is wanted."""
        allowed, value, limit = checked
        if not allowed:
            return Verdict(rule, value, limit, candidate, allowed=False, effect="refused", route=self.route)
        if everything is not None:
            everything.append(Verdict(rule, value, limit, candidate, allowed=True, effect="held", route=self.route))
        return None

    def _affordable(self, kept: Sequence[Candidate], facts: Facts) -> int | None:
        """The output limit to set: the smallest that the cap affords among the candidates; None where none is needed."""
        if self._cap is None or facts.output_tokens is not None or not facts.generates:
            return None
        affordable: int | None = None
        for candidate in kept:
            rate = _rate(candidate, facts)
            if rate is None or not (price := _nanos(rate.output) * facts.answers):
                continue
            most = (self._cap - facts.input_tokens() * _nanos(rate.input)) // price
            affordable = most if affordable is None else min(affordable, most)
        if affordable is None:
            return None
        # A vendor refuses a limit beyond its window.
        room = [each.context_tokens - facts.input_tokens() for each in kept if each.context_tokens is not None]
        return max(1, min([affordable, *room]))


def _least_cost(candidate: Candidate, facts: Facts) -> int | None:
    """What a request costs at least, and at most where its output is limited; None where the price is unknown."""
    rate = _rate(candidate, facts)
    if rate is None:
        return None
    cost = facts.input_tokens() * _nanos(rate.input)
    if facts.generates:
        cost += (within(facts.output_tokens, candidate.max_output_tokens) or 1) * facts.answers * _nanos(rate.output)
    return cost


def _rate(candidate: Candidate, facts: Facts) -> Rate | None:
    """The rate for an input of the estimated size."""
    rate = candidate.rate
    return rate.at(facts.input_tokens()) if rate is not None and rate.above else rate


def _request_rules(policy: Policy) -> Iterator[tuple[str, _Rule]]:
    if policy.min_confidence is not None:
        least = policy.min_confidence
        yield "minConfidence", lambda facts: (facts.confidence is None or facts.confidence >= least, facts.confidence, least)
    if policy.required_metadata:
        yield "requiredMetadata", _metadata_rule(list(policy.required_metadata))
    if policy.time_windows:
        yield "timeWindows", _time_rule(policy)
    if policy.max_input_tokens is not None:
        most = policy.max_input_tokens
        yield "maxInputTokens", lambda facts: ((tokens := facts.input_tokens()) <= most, tokens, most)


def _metadata_rule(required: list[str]) -> _Rule:
    def check(facts: Facts) -> tuple[bool, Any, Any]:
        there = [key for key in required if _has(facts, key)]
        return len(there) == len(required), there, required
    return check


def _has(facts: Facts, key: str) -> bool:
    return facts.metadata.get(key) not in (None, "") or (key == "tenant" and bool(facts.tenant))


def _time_rule(policy: Policy) -> _Rule:
    opened = windows(policy.time_windows)
    shown = [each.text for each in opened]

    def check(facts: Facts) -> tuple[bool, Any, Any]:
        now = facts.now()
        return any(each.contains(now) for each in opened), now.isoformat(timespec="seconds"), shown
    return check


def _identity_rules(policy: Policy) -> Iterator[tuple[str, Callable[[str, str, str], tuple[bool, Any, Any]]]]:
    """Rules about who answers: (provider, model, region)."""
    if policy.allowed_regions:
        regions = _Listed(policy.allowed_regions)
        yield "allowedRegions", lambda _provider, _model, region: (region in regions.names, region or None, regions.shown)
    if policy.allowed_providers:
        providers = _Listed(policy.allowed_providers)
        yield "allowedProviders", lambda provider, _model, _region: (provider in providers.names, provider, providers.shown)
    if policy.blocked_providers:
        blocked = _Listed(policy.blocked_providers)
        yield "blockedProviders", lambda provider, _model, _region: (provider not in blocked.names, provider, blocked.shown)
    if policy.allowed_models:
        models = _Listed(policy.allowed_models)
        yield "allowedModels", lambda _provider, model, _region: (model in models.names, model, models.shown)


class _Listed:
    """Names to look up and to show."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = frozenset(names)
        self.shown = list(names)


def _with(verdicts: Iterable[Verdict], effect: Effect) -> tuple[Verdict, ...]:
    return tuple(each.with_effect(effect) for each in verdicts)


def _units(dollars: Decimal) -> int:
    return int(dollars.scaleb(15).to_integral_value(ROUND_CEILING))


@lru_cache(maxsize=4_096)
def _nanos(per_million: Decimal) -> int:
    """A price as whole units a token."""
    return int(per_million.scaleb(9).to_integral_value(ROUND_CEILING))


def _dollars(units: int) -> str:
    whole, part = divmod(units, _UNIT)
    return f"{whole}.{part:015d}".rstrip("0").rstrip(".")
