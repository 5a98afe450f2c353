"""What the engine tells, as figures and CLIENT spans of the request it works for.

Invariant: an attempt's end is booked once, and what a provider reported as used is booked even where the caller has
gone away.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Final
from urllib.parse import urlsplit

from stratarouter_runtime.config import DEFAULT_ENDPOINTS, Provider, Snapshot
from stratarouter_runtime.model.errors import Failure, ProviderError
from stratarouter_runtime.model.plan import Candidate
from stratarouter_runtime.model.request import Family
from stratarouter_runtime.model.response import Usage

from . import names
from .metrics import Metrics
from .tracing import AttemptSpan, Attribute, RequestSpan, Silent

Peers = Mapping[tuple[str, str], Mapping[str, Attribute]]
"""What a CLIENT span says of a provider, by (pool, provider)."""

current_span: Final[ContextVar[RequestSpan]] = ContextVar("strata_request_span", default=Silent(None))  # noqa: B039 (it never changes)
"""The span of the request that this task works for."""


def peers(snapshot: Snapshot) -> Peers:
    """What spans say of the providers of a snapshot."""
    return {(pool, provider.name): _peer(provider) for pool, provider in snapshot.providers()}


def _peer(provider: Provider) -> Mapping[str, Attribute]:
    url = urlsplit(provider.endpoint or DEFAULT_ENDPOINTS.get(provider.type, ""))
    told: dict[str, Attribute] = {names.PROVIDER_NAME: names.VENDORS.get(provider.type, provider.type)}
    if url.hostname:
        told[names.SERVER_ADDRESS] = url.hostname
        told[names.SERVER_PORT] = url.port or (443 if url.scheme == "https" else 80)
    return told


class Observer:
    """Observes the engine for all requests: the one that an attempt belongs to is its task's."""

    def __init__(self, metrics: Metrics, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._metrics = metrics
        self._clock = clock
        self.peers: Peers = {}

    def attempt(self, candidate: Candidate, number: int, family: Family, *, retry: bool) -> Attempt:
        """An attempt begins."""
        if retry:
            self._metrics.retry(candidate.provider)
        elif number > 1:
            self._metrics.failover()
        return Attempt(self._metrics, candidate, self._span(candidate, number, family), self._clock)

    def skipped(self, candidate: Candidate, reason: str) -> None:
        """A candidate was passed over without an attempt."""
        self._metrics.skip(candidate.provider, candidate.model, reason)
        current_span.get().event(names.SKIPPED_EVENT, {names.STRATA_CANDIDATE: str(candidate), names.STRATA_REASON: reason})

    def breaker(self, candidate: Candidate, state: str) -> None:
        """A breaker changed."""
        self._metrics.breaker(candidate.provider, candidate.model, state)

    def feedback(self, route: str, model: str, verdict: str) -> None:
        """A caller judged an answer."""
        self._metrics.feedback(route, model, verdict)

    def _span(self, candidate: Candidate, number: int, family: Family) -> AttemptSpan:
        request = current_span.get()
        if not request.recording:
            return request.attempt(family, candidate.upstream_model, {})
        attributes: dict[str, Attribute] = {
            **self.peers.get(candidate.provider_key, {}), names.STRATA_POOL: candidate.pool, names.STRATA_PROVIDER: candidate.provider,
            names.STRATA_MODEL: candidate.model, names.STRATA_ATTEMPT: number}
        if candidate.region:
            attributes[names.STRATA_REGION] = candidate.region
        return request.attempt(family, candidate.upstream_model, attributes)


class Attempt:
    """One attempt; see ``model.provider.AttemptScope``."""

    __slots__ = ("_candidate", "_clock", "_metrics", "_span", "_started")

    def __init__(self, metrics: Metrics, candidate: Candidate, span: AttemptSpan, clock: Callable[[], float]) -> None:
        self._metrics = metrics
        self._candidate = candidate
        self._span = span
        self._clock = clock
        self._started = clock()

    @property
    def headers(self) -> Mapping[str, str]:
        """Trace context for the provider."""
        return self._span.headers

    def first_token(self, seconds: float) -> None:
        """The first content of a stream came after so long."""
        self._metrics.first_token(self._candidate.provider, self._candidate.model, seconds)
        if self._span.recording:
            self._span.set({names.FIRST_CHUNK: seconds, names.REQUEST_STREAM: True})
            self._span.event(names.FIRST_CONTENT_EVENT)

    def succeeded(self, *, model: str, finish_reason: str | None, usage: Usage | None) -> None:
        """It is over and answered."""
        self._book(names.SUCCESS, usage)
        if self._span.recording:
            told: dict[str, Attribute] = {names.RESPONSE_MODEL: model} if model else {}
            if finish_reason:
                told[names.FINISH_REASONS] = (finish_reason,)
            self._span.set(told)
        self._span.end()

    def failed(self, error: ProviderError) -> None:
        """It is over and failed."""
        provider = self._candidate.provider
        self._book(error.reason, None)
        self._metrics.error(error.reason, provider)
        if error.failure is Failure.TIMEOUT:
            self._metrics.timeout(provider)
        if self._span.recording:
            self._span.set({names.HTTP_STATUS: error.status})
        self._span.end(error=error.reason)

    def cancelled(self, usage: Usage | None = None) -> None:
        """It is over because the caller went away."""
        self._book(names.CANCELLED, usage)
        self._span.end(error=names.CANCELLED)

    def _book(self, outcome: str, usage: Usage | None) -> None:
        candidate = self._candidate
        self._metrics.attempt(candidate.provider, candidate.model, outcome, self._clock() - self._started)
        if usage is None:
            return
        self._metrics.tokens(candidate.provider, candidate.model, usage.input, usage.output)
        if candidate.rate is not None:
            self._metrics.cost(candidate.provider, candidate.rate.cost(usage))
        if self._span.recording:
            self._span.set(_usage(usage))


def _usage(usage: Usage) -> dict[str, Attribute]:
    told: dict[str, Attribute] = {names.INPUT_TOKENS: usage.input, names.OUTPUT_TOKENS: usage.output}
    if usage.cached:
        told[names.CACHED_TOKENS] = usage.cached
    return told
