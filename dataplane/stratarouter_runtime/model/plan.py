"""The plan of a request, and the record of what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Generic, TypeVar

from .decision import RoutingDecision
from .errors import Failure
from .request import Dialect, Family, Request
from .response import Usage
from .support import Unsupported, named
from .verdict import Verdict, summary

_PER_MILLION = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Rate:
    """US dollars per million tokens.

    ``cached_input`` is for input that the vendor read from its cache, ``cache_write`` for what it wrote into it; None: as any other
    input. ``above`` are the rates of all tokens for inputs of more than so many tokens, in ascending order.
    """

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    above: tuple[tuple[int, Rate], ...] = ()

    def at(self, input_tokens: int) -> Rate:
        """The rate for an input of so many tokens."""
        return next((rate for start, rate in reversed(self.above) if input_tokens > start), self)

    def cost(self, usage: Usage) -> Decimal:
        """What a usage costs, exact."""
        rate = self.at(usage.input)
        given, taken = usage.billed or (usage.input, usage.output)
        cached = min(usage.cached, given) if rate.cached_input is not None else 0
        stored = min(usage.stored, given - cached) if rate.cache_write is not None else 0
        cost = rate.input * (given - cached - stored) + rate.output * taken
        return (cost + (rate.cached_input or 0) * cached + (rate.cache_write or 0) * stored) / _PER_MILLION


@dataclass(frozen=True, slots=True)
class Candidate:
    """A (provider, model) that a plan may try.

    ``rate`` is None where the price is unknown, ``capabilities`` None where it can do all that its type can, and
    ``context_tokens`` (input and output together) None where the window is unknown, ``max_output_tokens`` None where only
    the caller limits an answer. ``type`` is its provider's, ``dialects`` those it can be asked in besides OpenAI's chat
    completions.
    """

    pool: str
    provider: str
    model: str
    upstream_model: str
    region: str = ""
    embedding_space: str | None = None
    rate: Rate | None = None
    capabilities: frozenset[str] | None = None
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    type: str = ""
    dialects: frozenset[Dialect] = frozenset()

    @property
    def provider_key(self) -> tuple[str, str]:
        """Names the provider among all pools."""
        return self.pool, self.provider

    @property
    def breaker_key(self) -> tuple[str, str, str, str]:
        """What a breaker is kept for."""
        return self.pool, self.provider, self.model, self.region

    def to_document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"pool": self.pool, "provider": self.provider, "model": self.model, "region": self.region}

    def __str__(self) -> str:
        return f"{self.pool}/{self.provider}/{self.model}"


@dataclass(frozen=True, slots=True)
class CacheTerms:
    """How the cache may serve a plan. ``threshold`` None: the embedder's own."""

    scope: str
    ttl_seconds: float
    max_temperature: float
    threshold: float | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Plan:
    """Everything decided before anything is spent; a value.

    ``timeout`` in seconds is the one deadline; ``max_attempts`` the one budget over all candidates, which are in
    the order to try; ``retry_delay`` in seconds is the base of the backoff. The first candidate is the primary.

    ``request`` is enriched: what is sent, not what was asked. ``metadata`` is for traces and logs. ``policy`` has the
    rules that were violated (of candidates left out, of the route that was left, or only reported), ``left_out`` the
    candidates that are not tried and why: a capability, ``contextTokens``, a policy's rule, or a parameter that they
    have no place for. ``losses`` has what is left out of the request for candidates that are tried.
    """

    route: str
    family: Family
    request: Request
    tenant: str
    candidates: tuple[Candidate, ...]
    timeout: float
    max_attempts: int
    retry_delay: float
    cache: CacheTerms | None = None
    decision: RoutingDecision | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    policy: tuple[Verdict, ...] = ()
    left_out: tuple[tuple[Candidate, str], ...] = ()
    vector: Sequence[float] | None = None
    losses: tuple[tuple[Candidate, tuple[Unsupported, ...]], ...] = ()

    @property
    def primary(self) -> Candidate:
        """The candidate whose answers the cache may hold."""
        return self.candidates[0]

    @property
    def confidence(self) -> float | None:
        """The decision's; None where there is none."""
        return self.decision.confidence if self.decision is not None else None

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """``policy`` under the name that errors and explanations use."""
        return self.policy

    def lost(self, pool: str, provider: str, model: str) -> tuple[Unsupported, ...]:
        """What is left out of the request where this one answers."""
        for each, losses in self.losses:
            if (each.pool, each.provider, each.model) == (pool, provider, model):
                return losses
        return ()

    def policy_summary(self) -> str:
        """``policy`` as ``x-strata-policy`` has it; empty where nothing was violated."""
        return summary(self.policy) if self.policy else ""

    def to_document(self) -> dict[str, Any]:
        """As JSON has it; without prompts, which may be confidential, and vectors, which are long."""
        cache = self.cache
        return {
            "route": self.route,
            "family": self.family,
            "tenant": self.tenant,
            "confidence": self.confidence,
            "decision": self.decision.to_document() if self.decision is not None else None,
            "candidates": [each.to_document() for each in self.candidates],
            "left_out": [{"candidate": each.to_document(), "reason": reason} for each, reason in self.left_out],
            "dropped": [{"candidate": each.to_document(), "parameters": [loss.to_document() for loss in losses]}
                        for each, losses in self.losses],
            "policy": [each.to_document() for each in self.policy],
            "metadata": dict(self.metadata),
            "timeout_seconds": self.timeout,
            "max_attempts": self.max_attempts,
            "retry_delay_ms": round(self.retry_delay * 1000),
            "max_tokens": self.request.body.get("max_completion_tokens") or self.request.body.get("max_tokens"),
            "cache": None if cache is None else {"scope": cache.scope, "ttl_seconds": cache.ttl_seconds, "threshold": cache.threshold},
        }

    def __repr__(self) -> str:
        # The generated one would quote prompts and vectors.
        return f"<Plan route={self.route!r}, {' then '.join(map(str, self.candidates))}, within {self.timeout:g} s>"

    def __str__(self) -> str:
        confidence = f", confidence {self.confidence:g}" if self.confidence is not None else ""
        lines = [f"route {self.route} ({self.family}, tenant {self.tenant}{confidence})"]
        for number, each in enumerate(self.candidates, 1):
            lines.append(f"  {number}. {each}" + (f" in {each.region}" if each.region else ""))
        lines += [f"  out: {each}: {reason}" for each, reason in self.left_out]
        lines += [f"  {named(losses)} for {each}" for each, losses in self.losses]
        lines += [f"  policy: {each}: {each.effect}" for each in self.policy]
        if self.metadata:
            lines.append("  metadata: " + ", ".join(sorted(self.metadata)))
        cached = f"cache {self.cache.scope} for {self.cache.ttl_seconds:g} s" if self.cache is not None else "no cache"
        lines.append(f"  within {self.timeout:g} s, {self.max_attempts} attempts, {cached}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of one candidate. Times in seconds; ``failure`` is None for success, and where the caller left it (``cancelled``)."""

    number: int
    candidate: Candidate
    duration: float
    failure: Failure | None = None
    status: int | None = None
    message: str = ""
    first_token: float | None = None
    cancelled: bool = False

    @property
    def outcome(self) -> str:
        """``Success``, ``Cancelled``, or the reason of the failure."""
        return self.failure.value if self.failure else "Cancelled" if self.cancelled else "Success"


@dataclass(frozen=True, slots=True)
class Skip:
    """A candidate that was passed over without an attempt: ``reason`` is CamelCase (``BreakerOpen``, ``ProviderFull``)."""

    candidate: Candidate
    reason: str


ResponseT = TypeVar("ResponseT")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[ResponseT]):
    """A success: the response, who gave it, and all attempts (the last one is it)."""

    response: ResponseT
    candidate: Candidate
    attempts: tuple[Attempt, ...]


Headers = Mapping[str, str]
