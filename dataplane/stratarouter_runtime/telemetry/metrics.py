"""What Prometheus scrapes, as one typed method for each thing that happens.

A ``Metrics`` has a registry of its own, so that several runtimes in one process (and tests) do not share figures.
Methods are called on the request's way: each figure costs a fraction of a microsecond.

Invariants: methods are called on the event loop's thread unless they say otherwise; every metric here is described
in ``names``, and every metric described there is here.
"""

from __future__ import annotations

import platform
import threading
from collections.abc import Iterable
from decimal import Decimal

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client import Metric as Family
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from stratarouter_runtime._version import __version__

from . import names
from .series import Families, Vocabulary

_OPENMETRICS = "application/openmetrics-text"
_OPENMETRICS_TYPE = f"{_OPENMETRICS}; version=1.0.0; charset=utf-8"


class _Process(Collector):
    """What ``/proc`` said of this process when it was last asked."""

    def __init__(self) -> None:
        self._source: ProcessCollector | None = None
        self._families: list[Family] = []

    def refresh(self) -> None:
        """Ask; blocks."""
        if self._source is None:
            self._source = ProcessCollector(namespace=names.PREFIX.removesuffix("_"), registry=None)
        self._families = list(self._source.collect())

    def collect(self) -> list[Family]:
        return self._families


class Metrics:
    """All metrics of one runtime. Label values that the vocabulary does not have become ``other``."""

    def __init__(self) -> None:
        families = self._families = Families()
        self._requests = families.simple(names.REQUESTS)
        self._request_duration = families.distribution(names.REQUEST_DURATION)
        self._in_flight = families.single(names.REQUESTS_IN_FLIGHT)
        self._attempts = families.simple(names.ATTEMPTS)
        self._attempt_duration = families.distribution(names.ATTEMPT_DURATION)
        self._first_token = families.distribution(names.FIRST_TOKEN)
        self._cache_hits = families.simple(names.CACHE_HITS)
        self._cache_misses = families.simple(names.CACHE_MISSES)
        self._cache_size = families.single(names.CACHE_SIZE)
        self._cache_entries = families.single(names.CACHE_ENTRIES)
        self._gathered = families.simple(names.GATHERED)
        self._coalesced = families.simple(names.COALESCED)
        self._routings = families.simple(names.ROUTINGS)
        self._feedback = families.simple(names.FEEDBACK)
        self._policy_violations = families.simple(names.POLICY_VIOLATIONS)
        self._cost = families.simple(names.COST)
        self._cost_saved = families.simple(names.COST_SAVED)
        self._tokens = families.simple(names.TOKENS)
        self._errors = families.simple(names.ERRORS)
        self._skips = families.simple(names.SKIPS)
        self._timeouts = families.simple(names.TIMEOUTS)
        self._retries = families.simple(names.RETRIES)
        self._failovers = families.single(names.FAILOVERS)
        self._breaker_state = families.simple(names.BREAKER_STATE)
        self._stage_duration = families.distribution(names.STAGE_DURATION)
        self._embedder_shed = families.single(names.EMBEDDER_SHED)
        self._state_queued = families.single(names.STATE_QUEUED)
        self._state_drops = families.single(names.STATE_DROPS)
        self._backend_up = families.simple(names.BACKEND_UP)
        self._backend_errors = families.simple(names.BACKEND_ERRORS)
        self._config_info = families.simple(names.CONFIG_INFO)
        self._config_loaded = families.single(names.CONFIG_LOADED)
        self._config_reloads = families.simple(names.CONFIG_RELOADS)
        self._spans = families.simple(names.SPANS)
        self._log_drops = families.single(names.LOG_DROPS)
        self._loop_lag = families.single(names.LOOP_LAG)
        families.simple(names.BUILD_INFO).child(__version__, platform.python_version()).value = 1
        self._lock = threading.Lock()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(families)
        self._process = _Process()
        self._registry.register(self._process)

    # --- requests ---
    def request_started(self) -> None:
        """A request arrived."""
        self._in_flight.value += 1

    def request_finished(self, provider: str, route: str, status: int, seconds: float) -> None:
        """A request that was started is over; ``provider`` and ``route`` are ``none`` where there was none."""
        self._in_flight.value -= 1
        self._requests.child(provider, route, str(status)).add()
        self._request_duration.child(provider, route).observe(seconds)

    def stages(self, seconds: Iterable[tuple[str, float]]) -> None:
        """How long the parts of a request's way took, by the words of ``names.STAGES``."""
        for stage, duration in seconds:
            self._stage_duration.child(stage).observe(duration)

    def error(self, type_: str, provider: str = names.NONE) -> None:
        """A request failed with this reason, or a call to ``provider`` did."""
        self._errors.child(type_, provider).add()

    def policy_violation(self, rule: str, effect: str, route: str) -> None:
        """A rule of a route's policy was violated."""
        self._policy_violations.child(rule, effect, route).add()

    def routed(self, outcome: str) -> None:
        """The pod routed a request by itself, with an outcome of ``names.ROUTING_OUTCOMES``."""
        self._routings.child(outcome).add()

    def feedback(self, route: str, model: str, verdict: str) -> None:
        """A caller said ``correct`` or ``wrong`` of an answer."""
        self._feedback.child(verdict, route, model).add()

    # --- calls to providers ---
    def attempt(self, provider: str, model: str, outcome: str, seconds: float) -> None:
        """A call to a provider is over."""
        self._attempts.child(provider, model, outcome).add()
        self._attempt_duration.child(provider, model).observe(seconds)

    def first_token(self, provider: str, model: str, seconds: float) -> None:
        """A stream's first content came."""
        self._first_token.child(provider, model).observe(seconds)

    def tokens(self, provider: str, model: str, input_tokens: int, output_tokens: int) -> None:
        """A provider reported what it used."""
        self._tokens.child(provider, model, "input").add(input_tokens)
        self._tokens.child(provider, model, "output").add(output_tokens)

    def cost(self, provider: str, usd: Decimal | float) -> None:
        """Money was spent."""
        self._cost.child(provider).add(float(usd))

    def skip(self, provider: str, model: str, reason: str) -> None:
        """A candidate was passed over without a call."""
        self._skips.child(provider, model, reason).add()

    def timeout(self, provider: str) -> None:
        """A call took too long."""
        self._timeouts.child(provider).add()

    def retry(self, provider: str) -> None:
        """The same provider and model are tried again."""
        self._retries.child(provider).add()

    def failover(self) -> None:
        """Another provider or model is tried."""
        self._failovers.add()

    def breaker(self, provider: str, model: str, state: str) -> None:
        """A breaker is now ``closed``, ``half_open`` or ``open``."""
        self._breaker_state.child(provider, model).value = names.BREAKER_VALUES[state]

    def breakers(self, watched: Iterable[tuple[str, str]]) -> None:
        """These (provider, model) have breakers: closed, where nothing else was told."""
        for provider, model in watched:
            self._breaker_state.child(provider, model)

    # --- cache ---
    def cache_hit(self, tier: str, route: str) -> None:
        """The cache answered."""
        self._cache_hits.child(tier, route).add()

    def cache_miss(self, reason: str, route: str) -> None:
        """The cache was asked and did not answer."""
        self._cache_misses.child(reason, route).add()

    def coalesced(self, likeness: str, route: str) -> None:
        """Another request's call answered this one too."""
        self._coalesced.child(likeness, route).add()

    def gathered(self, route: str) -> None:
        """A request for embeddings travelled together with others."""
        self._gathered.child(route).add()

    def cache_size(self, entries: int, size: int) -> None:
        """What the cache holds; ``size`` in bytes."""
        self._cache_entries.value = entries
        self._cache_size.value = size

    def cost_saved(self, reason: str, usd: Decimal | float) -> None:
        """Money was not spent, thanks to ``cache`` or ``coalesce``."""
        self._cost_saved.child(reason).add(float(usd))

    def embedder_shed(self, count: int = 1) -> None:
        """The local embedder was too busy for lookups."""
        self._embedder_shed.add(count)

    # --- state ---
    def state_queued(self, count: int) -> None:
        """So many records wait to be written."""
        self._state_queued.value = count

    def state_dropped(self, count: int = 1) -> None:
        """Records could not be kept."""
        self._state_drops.add(count)

    # --- back ends, configuration, the process itself ---
    def backend_up(self, backend: str, up: bool) -> None:
        """``redis`` or ``postgresql`` answers, or does not."""
        self._backend_up.child(backend).value = 1 if up else 0

    def backend_unused(self, backend: str) -> None:
        """The configuration does not use it: it is neither up nor down."""
        self._backend_up.drop(backend)

    def backend_error(self, backend: str, count: int = 1) -> None:
        """Commands failed or took too long."""
        self._backend_errors.child(backend).add(count)

    def config_loaded(self, digest: str, generation: int, vocabulary: Vocabulary, at: float) -> None:
        """A configuration is in use since ``at`` (Unix seconds); names that it does not have are ``other`` now."""
        self._families.use(vocabulary)
        self._config_info.reset()
        self._config_info.child(digest, str(generation)).value = 1
        self._config_loaded.value = at

    def config_reload(self, *, success: bool) -> None:
        """A changed configuration was taken over, or refused."""
        self._config_reloads.child("success" if success else "failure").add()

    def spans(self, fate: str, count: int) -> None:
        """Spans were ``exported``, ``failed`` to be, or were ``dropped`` because too many waited. From any thread."""
        with self._lock:
            self._spans.child(fate).add(count)

    def log_dropped(self, count: int = 1) -> None:
        """Log records were dropped. From any thread."""
        with self._lock:
            self._log_drops.add(count)

    def loop_lag(self, seconds: float) -> None:
        """The event loop's longest recent delay."""
        self._loop_lag.value = seconds

    def refresh_process(self) -> None:
        """Read the process's memory, CPU time and descriptors, for scrapes to come; blocks, from any thread."""
        self._process.refresh()

    # --- reply ---
    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The scrape and its content type: OpenMetrics 1.0 where ``Accept`` asks for it, else Prometheus text 0.0.4.

        Costs 5 to 10 microseconds a line, so with thousands of series it is for a thread; it may be called from any.
        """
        if any(_accepts_openmetrics(offer) for offer in accept.split(",")):
            return openmetrics.generate_latest(self._registry), _OPENMETRICS_TYPE  # type: ignore[no-untyped-call]
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4


def _accepts_openmetrics(offer: str) -> bool:
    media, *parameters = (part.strip().lower() for part in offer.split(";"))
    given = dict(parameter.partition("=")[::2] for parameter in parameters)
    return media == _OPENMETRICS and given.get("version", "1.0.0") == "1.0.0" and given.get("q", "1") not in ("0", "0.0")
