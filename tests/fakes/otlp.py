"""A real OTLP endpoint, over gRPC and over HTTP, that decodes what it is sent and remembers the spans.

It speaks the protocol by the published protobuf definitions: over gRPC through the generated servicer, over HTTP as
``POST /v1/traces`` with ``application/x-protobuf``, gzip included. Both answer as a collector does, or fail on demand.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from aiohttp import web
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as rpc
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """A decoded span: ids in hex, ``kind`` and ``status`` by name, times in nanoseconds."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    state: str
    status: str
    attributes: Mapping[str, Any]
    events: tuple[tuple[str, Mapping[str, Any]], ...]
    resource: Mapping[str, Any]
    scope: str
    schema_url: str
    start: int
    end: int


@dataclass(slots=True)
class Collector:
    """What was received. ``fail`` makes it refuse, as unavailable; ``stall`` makes it never answer until released."""

    endpoint: str
    spans: list[ReceivedSpan] = field(default_factory=list)
    requests: list[Mapping[str, str]] = field(default_factory=list)
    fail: bool = False
    stalled: threading.Event | None = None
    _arrived: threading.Condition = field(default_factory=threading.Condition)

    def accept(self, request: service.ExportTraceServiceRequest, metadata: Mapping[str, str]) -> None:
        """Remember a request and its spans."""
        with self._arrived:
            self.requests.append(metadata)
            self.spans.extend(_decode(request))
            self._arrived.notify_all()

    async def wait(self, count: int, within: float = 10) -> list[ReceivedSpan]:
        """The spans, once there are so many; ``AssertionError`` after ``within`` seconds."""
        def arrived() -> bool:
            with self._arrived:
                return self._arrived.wait_for(lambda: len(self.spans) >= count, within)

        assert await asyncio.to_thread(arrived), f"{len(self.spans)} of {count} spans arrived"
        return self.spans

    def named(self, name: str) -> ReceivedSpan:
        """The one span of that name."""
        (span,) = [each for each in self.spans if each.name == name]
        return span

    def stall(self) -> threading.Event:
        """Hold all requests from now on until the returned event is set."""
        self.stalled = threading.Event()
        return self.stalled

    def hold(self) -> None:
        """Wait while stalled; blocks."""
        if self.stalled is not None:
            self.stalled.wait(30)


class _Servicer(rpc.TraceServiceServicer):
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def Export(self, request: service.ExportTraceServiceRequest, context: grpc.ServicerContext) -> Any:  # noqa: N802 (generated)
        self._collector.hold()
        if self._collector.fail:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the collector is overloaded")
        metadata = {str(key): str(value) for key, value in context.invocation_metadata()}
        self._collector.accept(request, metadata)
        return service.ExportTraceServiceResponse()


@asynccontextmanager
async def grpc_collector() -> AsyncIterator[Collector]:
    """An OTLP/gRPC endpoint on a free port of 127.0.0.1."""
    pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="otlp-grpc")
    server = grpc.server(pool)
    port = server.add_insecure_port("127.0.0.1:0")
    collector = Collector(f"http://127.0.0.1:{port}")
    rpc.add_TraceServiceServicer_to_server(_Servicer(collector), server)
    server.start()
    try:
        yield collector
    finally:
        if collector.stalled is not None:
            collector.stalled.set()
        await asyncio.to_thread(server.stop(None).wait)
        pool.shutdown()


@asynccontextmanager
async def http_collector() -> AsyncIterator[Collector]:
    """An OTLP/HTTP endpoint (protobuf) on a free port of 127.0.0.1."""
    collector = Collector("")

    async def export(request: web.Request) -> web.Response:
        await asyncio.to_thread(collector.hold)
        if collector.fail:
            return web.Response(status=503, text="the collector is overloaded")
        if request.content_type != "application/x-protobuf":
            return web.Response(status=415)
        decoded = service.ExportTraceServiceRequest.FromString(await request.read())
        collector.accept(decoded, {key.lower(): value for key, value in request.headers.items()})
        return web.Response(body=service.ExportTraceServiceResponse().SerializeToString(), content_type="application/x-protobuf")

    app = web.Application()
    app.router.add_post("/v1/traces", export)
    runner = web.AppRunner(app, shutdown_timeout=1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    collector.endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield collector
    finally:
        if collector.stalled is not None:
            collector.stalled.set()
        await runner.cleanup()


def _decode(request: service.ExportTraceServiceRequest) -> list[ReceivedSpan]:
    return [
        _span(span, scope, _attributes(of_resource.resource.attributes))
        for of_resource in request.resource_spans
        for scope in of_resource.scope_spans
        for span in scope.spans
    ]


def _span(span: trace_pb2.Span, scope: trace_pb2.ScopeSpans, resource: Mapping[str, Any]) -> ReceivedSpan:
    return ReceivedSpan(
        name=span.name,
        kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        state=span.trace_state,
        status=trace_pb2.Status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_"),
        attributes=_attributes(span.attributes),
        events=tuple((event.name, _attributes(event.attributes)) for event in span.events),
        resource=resource,
        scope=scope.scope.name,
        schema_url=scope.schema_url,
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs if isinstance(pair, KeyValue)}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind) if kind else None
