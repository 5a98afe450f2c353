"""Telemetry as the rest of the runtime uses it: one object, told of configurations, requests and attempts.

Invariants: a request is counted, traced and logged exactly once, however it ends; telemetry never fails a request.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import Token
from types import TracebackType
from typing import Any, Self

from stratarouter_runtime.config import Snapshot
from stratarouter_runtime.model.cache import Hit, Miss
from stratarouter_runtime.model.decision import RoutingDecision
from stratarouter_runtime.model.execution import Execution
from stratarouter_runtime.model.verdict import PolicyError, Verdict, summary

from . import logs, names
from .logs import LogContext
from .metrics import Metrics
from .observer import Observer, current_span, peers
from .series import Vocabulary
from .tracing import Attribute, RequestSpan, Tracing
from .watch import owned, watch_loop, watch_process

_log = logging.getLogger(__name__)

NOT_LOOKED_UP = frozenset({"bypass", "disabled", "ineligible"})
"""Reasons of a miss for which the cache was not asked: they say nothing of how good it is."""


class Telemetry:
    """Metrics, traces and the access log of one runtime. ``clock`` is the one of ``Execution.started``, in seconds.

    ``embedded``: the process is somebody else's: it is not watched, and its logging stays as it is, except that a level
    that was configured expressly is set for our own loggers.
    """

    def __init__(self, *, embedded: bool = False, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time,
                 environ: Mapping[str, str] = os.environ) -> None:
        self.metrics = Metrics()
        self.tracing = Tracing(self.metrics.spans)
        self.observer = Observer(self.metrics)
        self._cache_figures = CacheFigures(self.metrics)
        self._state_figures = StateFigures(self.metrics)
        self._embedded = embedded
        self._clock = clock
        self._wall = wall
        self._environ = environ
        self._instance = environ.get("POD_UID") or str(uuid.uuid4())
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Watch the process where it is ours; on leaving, send the last spans (for a few seconds at most)."""
        async with AsyncExitStack() as stack:
            if not self._embedded:
                process_log = logs.installed()
                if process_log is not None:
                    process_log.on_drop = self.metrics.log_dropped
                await stack.enter_async_context(owned(watch_loop(self.metrics.loop_lag), "watch-loop"))
                await stack.enter_async_context(owned(watch_process(self.metrics.refresh_process), "watch-process"))
            try:
                yield
            finally:
                await self.aclose()

    async def aclose(self) -> None:
        """Send the last spans (for a few seconds at most); for those who do not use ``running``."""
        await asyncio.gather(*self._tasks)
        await self.tracing.aclose()

    def configure(self, snapshot: Snapshot) -> asyncio.Task[None]:
        """Take over a snapshot. Await the task to know that its tracing is in force; one need not."""
        observability = snapshot.runtime.observability
        self.metrics.config_loaded(snapshot.digest, snapshot.generation, Vocabulary.of(snapshot), self._wall())
        self.metrics.breakers((provider.name, model.name) for _, provider in snapshot.providers() for model in provider.models)
        self.observer.peers = peers(snapshot)
        cache = snapshot.runtime.cache
        self._cache_figures.backend = "redis" if cache.enabled and cache.backend == "redis" else ""
        if not self._embedded or "log_level" in observability.model_fields_set:
            logs.set_level(observability.log_level)
        task = asyncio.create_task(self.tracing.configure(observability.tracing, self._resource(snapshot)), name="configure-tracing")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def reloaded(self, success: bool) -> None:
        """A changed configuration was taken over, or refused."""
        self.metrics.config_reload(success=success)

    def request(self, execution: Execution, headers: Mapping[str, str], operation: str) -> RequestScope:
        """A request's telemetry, as a context manager around all of its work; ``operation`` is one of ``names.OPERATIONS``."""
        return RequestScope(self, execution, headers, operation)

    def state_dropped(self, count: int) -> None:
        """State could not keep so many records."""
        self.metrics.state_dropped(count)

    def render(self, accept: str = "", *, cache: Mapping[str, Any] | None = None, state: Mapping[str, Any] | None = None) -> tuple[bytes, str]:
        """The scrape and its content type; ``cache`` and ``state`` are their ``stats()``."""
        self._cache_figures.take(cache or {})
        self._state_figures.take(state or {})
        return self.metrics.render(accept)

    def now(self) -> float:
        """Seconds on the clock of ``Execution.started``."""
        return self._clock()

    def _resource(self, snapshot: Snapshot) -> dict[str, str]:
        told = {
            names.SERVICE_NAMESPACE: snapshot.namespace, names.STRATA_CONFIG: snapshot.name, names.SERVICE_INSTANCE: self._instance,
            names.K8S_POD: self._environ.get("POD_NAME", ""), names.K8S_NAMESPACE: self._environ.get("POD_NAMESPACE", "")}
        return {name: value for name, value in told.items() if value}


class CacheFigures:
    """Figures of the cache's ``stats()``, whose totals begin anew with every cache that is made. ``backend``: what it runs on."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._totals: dict[str, int] = {}
        self.backend = ""

    def take(self, stats: Mapping[str, Any]) -> None:
        """Bring the metrics up to date."""
        self._metrics.cache_size(int(stats.get("entries", 0)), int(stats.get("bytes", 0)))
        self._metrics.embedder_shed(self._since(stats, "embedderShed"))
        errors = self._since(stats, "backendErrors")
        if self.backend and "backend" in stats:
            self._metrics.backend_up(self.backend, stats["backend"] == "up")
            self._metrics.backend_error(self.backend, errors)
        else:
            self._metrics.backend_unused("redis")

    def _since(self, stats: Mapping[str, Any], name: str) -> int:
        total, before = int(stats.get(name, 0)), self._totals.get(name, 0)
        self._totals[name] = total
        return total - before if total >= before else total


class StateFigures:
    """Figures of state's ``stats()``, whose totals begin anew with every state that is opened."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._errors = 0

    def take(self, stats: Mapping[str, Any]) -> None:
        """Bring the metrics up to date."""
        self._metrics.state_queued(int(stats.get("queued", 0)))
        total, before = int(stats.get("errors", 0)), self._errors
        self._errors = total
        if stats.get("backend") != "postgresql":
            self._metrics.backend_unused("postgresql")
            return
        self._metrics.backend_up("postgresql", bool(stats["available"]))
        self._metrics.backend_error("postgresql", total - before if total >= before else total)


class RequestScope:
    """One request. Set ``status`` to what was answered before leaving; it is 500 where nobody did."""

    __slots__ = ("_execution", "_log_token", "_operation", "_span_token", "_telemetry", "span", "status")

    def __init__(self, telemetry: Telemetry, execution: Execution, headers: Mapping[str, str], operation: str) -> None:
        self._telemetry = telemetry
        self._execution = execution
        self._operation = names.OPERATIONS.get(operation, names.OPERATIONS["unknown"])
        self._span_token: Token[RequestSpan] | None = None
        self._log_token: Token[LogContext | None] | None = None
        self.span = telemetry.tracing.request(headers, method=self._operation.method, route=self._operation.route)
        self.status = 500

    def __enter__(self) -> Self:
        span, execution = self.span, self._execution
        self._telemetry.metrics.request_started()
        self._span_token = current_span.set(span)
        self._log_token = logs.bind(LogContext(span.trace_id, span.span_id, execution.request_id, execution.id))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._tell(self._telemetry.now() - self._execution.started)
        except Exception as defect:  # noqa: BLE001 (not worth an answer that was already given)
            extra = {names.LOG_REASON: type(defect).__name__, names.LOG_WHERE: logs.where(defect)}
            _log.error("a request could not be told", extra=extra)
        finally:
            if self._log_token is not None and self._span_token is not None:
                logs.unbind(self._log_token)
                current_span.reset(self._span_token)

    def _tell(self, seconds: float) -> None:
        self._count(seconds)
        if logs.logs_requests():
            logs.log_request(self._line(seconds))
        if self.span.recording:
            self.span.set(self._attributes())
        self.span.finish(self.status, error=self._reason)

    @property
    def _reason(self) -> str:
        return self._execution.error.reason if self._execution.error else ""

    @property
    def _cache(self) -> str:
        found = self._execution.cached
        return found.tier if isinstance(found, Hit) else found.reason if isinstance(found, Miss) else ""

    @property
    def _verdicts(self) -> tuple[Verdict, ...]:
        error, plan = self._execution.error, self._execution.plan
        if isinstance(error, PolicyError):
            return error.verdicts
        return plan.policy if plan is not None else ()

    def _count(self, seconds: float) -> None:
        metrics, execution = self._telemetry.metrics, self._execution
        route = execution.route or names.NONE
        # A hit is no provider's doing: counted as one's it would flatter that provider's latency.
        provider = execution.candidate.provider if execution.candidate else names.NONE
        metrics.request_finished(provider, route, self.status, seconds)
        metrics.stages(execution.stages.items())
        if execution.error is not None:
            metrics.error(execution.error.reason)
        if "routing" in execution.stages:
            metrics.routed(_routing_outcome(execution.decision))
        for verdict in self._verdicts:
            metrics.policy_violation(verdict.rule, verdict.effect, verdict.route or route)
        if isinstance(execution.cached, Hit):
            metrics.cache_hit(execution.cached.tier, route)
            if execution.saved:
                metrics.cost_saved("cache", execution.saved)
        elif isinstance(execution.cached, Miss) and execution.cached.reason not in NOT_LOOKED_UP:
            metrics.cache_miss(execution.cached.reason, route)

        if execution.gathered > 1:
            metrics.gathered(route)
        if execution.joined:
            metrics.coalesced(execution.joined, route)
            if execution.saved:
                metrics.cost_saved("coalesce", execution.saved)

    def _who(self) -> tuple[str, str]:
        """Provider and model that answered, be it earlier."""
        if (hit := self._execution.hit) is not None:
            return hit.entry.provider, hit.entry.model
        candidate = self._execution.candidate
        return (candidate.provider, candidate.model) if candidate else ("", "")

    def _line(self, seconds: float) -> dict[str, Any]:
        """The fields of the request's line; what is not known is left out."""
        execution, stages, usage = self._execution, self._execution.stages, self._execution.usage
        line: dict[str, Any] = {
            names.LOG_PATH: self._operation.route, names.LOG_STATUS: self.status,
            names.LOG_TENANT: execution.caller.tenant, names.LOG_ATTEMPTS: len(execution.attempts), names.LOG_DURATION: _ms(seconds),
            names.LOG_STREAM: execution.request is not None and execution.request.stream}
        provider, model = self._who()
        words = ((names.LOG_METHOD, self._operation.method), (names.LOG_ROUTE, execution.route), (names.LOG_PROVIDER, provider), (names.LOG_MODEL, model),
                 (names.LOG_CACHE, self._cache), (names.LOG_ERROR, self._reason))
        line.update((name, value) for name, value in words if value)
        if verdicts := self._verdicts:
            line[names.LOG_POLICY] = summary(verdicts)
        if execution.plan is not None and execution.plan.losses and (lost := execution.lost):
            line[names.LOG_DROPPED] = ", ".join(dict.fromkeys(each.param for each in lost))
        if execution.plan is not None and execution.plan.metadata:
            line[names.LOG_METADATA] = dict(execution.plan.metadata)
        if usage is not None:
            line[names.LOG_TOKENS_IN], line[names.LOG_TOKENS_OUT] = usage.input, usage.output
        if execution.cost is not None:
            line[names.LOG_COST] = float(execution.cost)
        if (upstream := stages.get("upstream")) is not None:
            line[names.LOG_UPSTREAM] = _ms(upstream)
        if (first := stages.get("upstream-ttfb")) is not None:
            line[names.LOG_FIRST_TOKEN] = _ms(first)
        return line

    def _attributes(self) -> dict[str, Attribute]:
        execution = self._execution
        provider, model = self._who()
        told: dict[str, Attribute | None] = {
            names.STRATA_EXECUTION_ID: execution.id, names.STRATA_REQUEST_ID: execution.request_id, names.STRATA_ROUTE: execution.route,
            names.STRATA_TENANT: execution.caller.tenant, names.STRATA_PROVIDER: provider, names.STRATA_MODEL: model,
            names.STRATA_ATTEMPTS: len(execution.attempts), names.STRATA_CACHE: self._cache, names.OPERATION: self._operation.gen_ai,
            names.STRATA_COST: None if execution.cost is None else float(execution.cost)}
        if verdicts := self._verdicts:
            told[names.STRATA_POLICY] = summary(verdicts)
        if execution.plan is not None and execution.plan.metadata:
            told[names.STRATA_METADATA] = [f"{key}={value}" for key, value in execution.plan.metadata.items()]
        if execution.request is not None:
            told[names.REQUEST_MODEL] = execution.request.model
            told[names.REQUEST_STREAM] = execution.request.stream or None
        return {name: value for name, value in told.items() if value is not None and value != ""}


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _routing_outcome(decision: RoutingDecision | None) -> str:
    if decision is None:
        return "undecided"
    if decision.route_id is not None:
        return "matched"
    return "undecided" if decision.confidence is None else "below_threshold"
