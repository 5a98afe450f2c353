"""The plan of a request, and the record of what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Generic, TypeVar

from .errors import Failure
from .request import Family, Request
from .response import Usage

_PER_MILLION = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Rate:
    """US dollars per million tokens."""

    input: Decimal
    output: Decimal

    def cost(self, usage: Usage) -> Decimal:
        """What a usage costs, exact."""
        return (self.input * usage.input + self.output * usage.output) / _PER_MILLION


@dataclass(frozen=True, slots=True)
class Candidate:
    """A (provider, model) that a plan may try. ``rate`` is None where the price is unknown."""

    pool: str
    provider: str
    model: str
    upstream_model: str
    region: str = ""
    embedding_space: str | None = None
    rate: Rate | None = None

    @property
    def provider_key(self) -> tuple[str, str]:
        """Names the provider among all pools."""
        return self.pool, self.provider

    @property
    def breaker_key(self) -> tuple[str, str, str, str]:
        """What a breaker is kept for."""
        return self.pool, self.provider, self.model, self.region

    def __str__(self) -> str:
        return f"{self.pool}/{self.provider}/{self.model}"


@dataclass(frozen=True, slots=True)
class CacheTerms:
    """How the cache may serve a plan. ``threshold`` None: the embedder's own."""

    scope: str
    ttl_seconds: float
    max_temperature: float
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything decided before anything is spent; a value.

    ``timeout`` in seconds is the one deadline; ``max_attempts`` the one budget over all candidates, which are in
    the order to try; ``retry_delay`` in seconds is the base of the backoff. The first candidate is the primary.
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

    @property
    def primary(self) -> Candidate:
        """The candidate whose answers the cache may hold."""
        return self.candidates[0]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of one candidate. Times in seconds; ``failure`` is None for success."""

    number: int
    candidate: Candidate
    duration: float
    failure: Failure | None = None
    status: int | None = None
    message: str = ""
    first_token: float | None = None


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
