"""Traces: a SERVER span for each request, a CLIENT span for each call to a provider, and the headers between services.

A request whose caller decided is traced as the caller decided; otherwise by chance (``samplePercent``). A request that
is not traced costs two or three microseconds, because the SDK is not asked; its trace context is passed on all the same.

Invariants: there is no global tracer provider; a request's spans are ended on the event loop's thread; a pipeline is
closed only when its last span has ended or ``LINGER`` has passed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    Tracer,
    TraceState,
    get_current_span,
    set_span_in_context,
)

from stratarouter_runtime._version import __version__
from stratarouter_runtime.config import TracingConfig

from . import names
from .export import Pipeline
from .propagation import RANDOM, TraceParent, parse

LINGER = 60.0
"""Seconds that requests which began under an older configuration have to end their spans there."""
MAX_RETIRING = 4
"""Older configurations that linger at once; one more and the oldest is closed."""
CLOSE_TIMEOUT = 5.0
"""Seconds to send the last spans."""

_LIMITS = SpanLimits(max_span_attributes=64, max_events=32, max_links=8, max_event_attributes=8, max_attribute_length=512)
_ROOT = Context()

Attribute = str | int | float | bool | Sequence[str]
Attributes = Mapping[str, Attribute]

_log = logging.getLogger(__name__)


class AttemptSpan(Protocol):
    """The CLIENT span of a call to a provider."""

    @property
    def recording(self) -> bool:
        """Whether attributes are kept: if not, do not gather them."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Trace context for the provider."""

    def set(self, attributes: Attributes) -> None:
        """Add attributes."""

    def event(self, name: str, attributes: Attributes | None = None) -> None:
        """Something happened now."""

    def end(self, *, error: str = "") -> None:
        """The call is over; ``error`` is the reason of its failure."""


class RequestSpan(Protocol):
    """The SERVER span of a request; ids are hex, and empty where there is no trace."""

    @property
    def recording(self) -> bool:
        """Whether attributes are kept: if not, do not gather them."""

    @property
    def trace_id(self) -> str:
        """The trace."""

    @property
    def span_id(self) -> str:
        """The span that the next service or a log line belongs to."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Trace context for whatever is called on behalf of the request."""

    def set(self, attributes: Attributes) -> None:
        """Add attributes."""

    def event(self, name: str, attributes: Attributes | None = None) -> None:
        """Something happened now."""

    def attempt(self, operation: str, model: str, attributes: Attributes) -> AttemptSpan:
        """Begin the span of a call; ``attributes`` beside operation and model."""

    def finish(self, status: int, *, error: str = "") -> None:
        """The request is over with this HTTP status; ``error`` is the reason of its failure."""


class Silent:
    """A request that is not traced, and its calls: only the trace context is passed on."""

    __slots__ = ("_parent",)

    recording = False

    def __init__(self, parent: TraceParent | None) -> None:
        self._parent = parent

    @property
    def trace_id(self) -> str:
        """The caller's trace."""
        return self._parent.trace_id if self._parent else ""

    @property
    def span_id(self) -> str:
        """The caller's span."""
        return self._parent.span_id if self._parent else ""

    @property
    def headers(self) -> Mapping[str, str]:
        """As they came."""
        return self._parent.headers() if self._parent else {}

    def set(self, attributes: Attributes) -> None:
        """Forget."""

    def event(self, name: str, attributes: Attributes | None = None) -> None:
        """Forget."""

    def attempt(self, operation: str, model: str, attributes: Attributes) -> Silent:  # noqa: ARG002 (the protocol's)
        """Itself: the provider's parent is the caller."""
        return self

    def end(self, *, error: str = "") -> None:
        """Forget."""

    def finish(self, status: int, *, error: str = "") -> None:
        """Forget."""


class _Recorded:
    """What request and call have in common."""

    __slots__ = ("_headers", "_position", "_span")

    recording = True

    def __init__(self, span: Span) -> None:
        self._span = span
        self._position = _position(span.get_span_context())
        self._headers: Mapping[str, str] | None = None

    @property
    def trace_id(self) -> str:
        return self._position.trace_id

    @property
    def span_id(self) -> str:
        return self._position.span_id

    @property
    def headers(self) -> Mapping[str, str]:
        if self._headers is None:
            self._headers = self._position.headers()
        return self._headers

    def set(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def event(self, name: str, attributes: Attributes | None = None) -> None:
        self._span.add_event(name, attributes)

    def _fail(self, error: str, *, status: bool) -> None:
        self._span.set_attribute(names.ERROR_TYPE, error)
        if status:
            self._span.set_status(StatusCode.ERROR)


class _Attempt(_Recorded):
    __slots__ = ()

    def end(self, *, error: str = "") -> None:
        if error:
            self._fail(error, status=True)
        self._span.end()


class _Request(_Recorded):
    __slots__ = ("_tracer",)

    def __init__(self, tracer: Tracer, span: Span) -> None:
        super().__init__(span)
        self._tracer = tracer

    def attempt(self, operation: str, model: str, attributes: Attributes) -> AttemptSpan:
        parent = set_span_in_context(self._span, _ROOT)
        given = {names.OPERATION: operation, names.REQUEST_MODEL: model, **attributes}
        return _Attempt(self._tracer.start_span(f"{operation} {model}", context=parent, kind=SpanKind.CLIENT, attributes=given))

    def finish(self, status: int, *, error: str = "") -> None:
        self._span.set_attribute(names.HTTP_STATUS, status)
        # HTTP conventions: for a server, what the client did wrong is no error of the span.
        broken = status >= 500
        if error or broken:
            self._fail(error or str(status), status=broken)
        self._span.end()


class _Chance(RandomIdGenerator):
    """Draws trace ids, and lets the SDK have those that its ``TraceIdRatioBased`` sampler will take.

    Asking the SDK costs as much as the rest of an untraced request's telemetry together.
    """

    def __init__(self, percent: float) -> None:
        self._bound = TraceIdRatioBased.get_bound_for_rate(percent / 100)
        self._drawn = super().generate_trace_id()

    def draw(self) -> TraceParent | None:
        """A new trace that is not to be recorded; None if it is, and then the next root span is it."""
        trace_id = super().generate_trace_id()
        if trace_id & TraceIdRatioBased.TRACE_ID_LIMIT < self._bound:
            self._drawn = trace_id
            return None
        return TraceParent(f"{trace_id:032x}", f"{self.generate_span_id():016x}", RANDOM)

    def generate_trace_id(self) -> int:
        return self._drawn


class Tracing:
    """Makes the spans of requests, as configured last.

    ``count(fate, spans)`` hears of spans ``exported``, ``failed`` or ``dropped``, from any thread.
    """

    def __init__(self, count: Callable[[str, int], None] | None = None, *, linger: float = LINGER) -> None:
        self._count = count or _ignore
        self._linger = linger
        self._config = TracingConfig()
        self._pipeline: Pipeline | None = None
        self._tracer: Tracer | None = None
        self._chance = _Chance(0)
        self._retiring: dict[asyncio.Task[None], asyncio.Event] = {}
        self._lock = asyncio.Lock()

    async def configure(self, config: TracingConfig, resource: Mapping[str, str] | None = None) -> None:
        """Take over another configuration; never raises for what an endpoint is or does.

        ``resource`` describes this process beside the service's name and version. Requests that have begun end their spans where they began them.
        """
        async with self._lock:
            if config == self._config:
                return
            if _target(config) != _target(self._config):
                await self._swap(config)
            self._config = config
            self._tracer = None
            if self._pipeline is not None:
                self._tracer = self._make_tracer(self._pipeline, config.sample_percent, _resource(resource or {}))

    def request(self, headers: Mapping[str, str], *, method: str, route: str, path: str = "", scheme: str = "http") -> RequestSpan:
        """Begin a request; ``headers`` are the client's, ``route`` the template of ``path`` (default: the same).

        Without a ``method`` it is no HTTP request but a call in-process, named ``route``.
        """
        parent = parse(headers)
        if self._tracer is None:
            return Silent(parent)
        if parent is None:
            if (drawn := self._chance.draw()) is not None:
                return Silent(drawn)
        elif not parent.sampled:
            return Silent(parent)
        context = _ROOT if parent is None else _context(parent)
        if method:
            attributes = {names.HTTP_METHOD: method, names.HTTP_ROUTE: route, names.URL_PATH: path or route, names.URL_SCHEME: scheme}
            span = self._tracer.start_span(f"{method} {route}", context=context, kind=SpanKind.SERVER, attributes=attributes)
        else:  # asked in-process
            span = self._tracer.start_span(route, context=context, kind=SpanKind.INTERNAL)
        return _Request(self._tracer, span) if span.is_recording() else Silent(parent)  # OTEL_SDK_DISABLED

    async def flush(self) -> None:
        """Send what waits."""
        if self._pipeline is not None:
            await asyncio.to_thread(self._pipeline.force_flush)

    async def aclose(self) -> None:
        """Send the last spans, for a few seconds at most."""
        async with self._lock:
            self._tracer = None
            pipeline, self._pipeline = self._pipeline, None
            self._config = TracingConfig()
            if pipeline is not None:
                self._retire(pipeline)
            retiring = dict(self._retiring)
            for hurry in retiring.values():
                hurry.set()
            await asyncio.gather(*retiring)

    async def _swap(self, config: TracingConfig) -> None:
        pipeline = None
        if config.enabled:
            try:
                pipeline = await asyncio.to_thread(Pipeline.to, config.protocol, config.otlp_endpoint, self._count)
            except Exception as error:  # noqa: BLE001 (a bad certificate file must not stop a configuration)
                _log.error("tracing is off: %s", error, extra={names.LOG_ENDPOINT: urlsplit(config.otlp_endpoint).netloc})
        old, self._pipeline = self._pipeline, pipeline
        if old is not None:
            self._retire(old)

    def _make_tracer(self, pipeline: Pipeline, percent: float, resource: Resource) -> Tracer:
        self._chance = _Chance(percent)
        provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(percent / 100)), resource=resource, span_limits=_LIMITS,
            id_generator=self._chance, shutdown_on_exit=False)
        provider.add_span_processor(pipeline)
        return provider.get_tracer("stratarouter_runtime", __version__, names.SCHEMA_URL)

    def _retire(self, pipeline: Pipeline) -> None:
        lingering = [each for each in self._retiring.values() if not each.is_set()]
        if len(lingering) >= MAX_RETIRING:
            lingering[0].set()
        over = asyncio.Event()
        pipeline.when_idle(over.set)
        task = asyncio.create_task(_close(pipeline, over, self._linger), name="spans-last-flush")
        self._retiring[task] = over
        task.add_done_callback(self._retiring.pop)


async def _close(pipeline: Pipeline, over: asyncio.Event, linger: float) -> None:
    """Close once ``over``, or after ``linger`` seconds; spans that are open by then are lost."""
    with suppress(TimeoutError):
        async with asyncio.timeout(linger):
            await over.wait()
    await asyncio.to_thread(pipeline.close, CLOSE_TIMEOUT)


def surrounding() -> Mapping[str, str]:
    """The headers that make a request the child of the app's own span; none where the app does not trace with OpenTelemetry."""
    context = get_current_span().get_span_context()
    return _position(context).headers() if context.is_valid else {}


def _resource(given: Mapping[str, str]) -> Resource:
    return Resource.create({names.SERVICE_NAME: "stratarouter-runtime", names.SERVICE_VERSION: __version__, **given})


def _ignore(fate: str, spans: int) -> None:
    """Nobody counts."""


def _target(config: TracingConfig) -> tuple[str, str] | None:
    return (config.protocol, config.otlp_endpoint) if config.enabled else None


def _position(context: SpanContext) -> TraceParent:
    state = context.trace_state.to_header() if context.trace_state else ""
    return TraceParent(f"{context.trace_id:032x}", f"{context.span_id:016x}", int(context.trace_flags), state)


def _context(parent: TraceParent) -> Context:
    return set_span_in_context(NonRecordingSpan(SpanContext(
        trace_id=int(parent.trace_id, 16), span_id=int(parent.span_id, 16), is_remote=True, trace_flags=TraceFlags(parent.flags),
        trace_state=TraceState.from_header([parent.state]) if parent.state else None)), _ROOT)
