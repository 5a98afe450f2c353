"""Spans on their way to an OTLP endpoint, so that trouble there is nobody's trouble here.

Spans wait in a bounded queue for a thread of the SDK; what does not fit is dropped and counted. The exporter's own
log lines (several per failed batch) are kept back; instead one line a minute says what failed and what was lost.

Invariants: nothing here blocks the event loop but the methods that say so; the exporters are imported only when
one is made (gRPC alone is 15 MB).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Literal
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from . import names

Protocol = Literal["grpc", "http"]

QUEUE = 2_048
"""Spans that may wait, in progress of being sent excluded: a few megabytes."""
BATCH = 512
DELAY_MS = 2_000
"""Milliseconds a span may wait for others to share its batch."""
TIMEOUT = 5
"""Seconds that one batch may take, with its retries."""
QUIET = 60.0
"""Seconds between two log lines about a failing endpoint."""

_SDK_LOGGERS = ("opentelemetry.exporter.otlp.proto.grpc.exporter", "opentelemetry.exporter.otlp.proto.http.trace_exporter")

_log = logging.getLogger(__name__)
_exporting = threading.local()


def endpoint_url(protocol: Protocol, endpoint: str) -> str:
    """Where spans are sent: over HTTP an endpoint without a path gets ``/v1/traces`` (OTLP specification)."""
    if protocol == "http" and urlsplit(endpoint).path in ("", "/"):
        return endpoint.rstrip("/") + "/v1/traces"
    return endpoint


def make_exporter(protocol: Protocol, endpoint: str) -> SpanExporter:
    """The SDK's exporter; blocks for the import. Honours the SDK's ``OTEL_EXPORTER_OTLP_*`` for headers and certificates."""
    url = endpoint_url(protocol, endpoint)
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as Grpc  # noqa: PLC0415

        return Grpc(endpoint=url, insecure=urlsplit(url).scheme == "http", timeout=TIMEOUT)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as Http  # noqa: PLC0415

    return Http(endpoint=url, timeout=TIMEOUT)


class _HoldBack(logging.Filter):
    """Keeps the exporter's lines out of the log, and the last of them as the reason, but only in our own exports."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not getattr(_exporting, "active", False):
            return True
        _exporting.reason = record.getMessage()
        return False


_hold_back = _HoldBack()


def _hold_back_sdk_logs() -> None:
    for name in _SDK_LOGGERS:
        logging.getLogger(name).addFilter(_hold_back)  # adding the same filter twice does nothing


class _Exporter(SpanExporter):
    """Counts what became of spans, never raises, and reports trouble at most once a minute."""

    def __init__(self, inner: SpanExporter, endpoint: str, count: Callable[[str, int], None],
                 clock: Callable[[], float]) -> None:
        self._inner = inner
        self._endpoint = endpoint
        self._count = count
        self._clock = clock
        self._told = -QUIET
        self._lost = 0
        self._closed = threading.Event()
        self.taken = 0

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self.closed:  # the SDK's thread may still be emptying its queue; these spans were counted by ``close``
            return SpanExportResult.FAILURE
        self.taken += len(spans)
        _exporting.active, _exporting.reason = True, "no reason given"
        try:
            result = self._inner.export(spans)
        except Exception as error:  # noqa: BLE001 (whatever an exporter does, spans are not worth a thread)
            result, _exporting.reason = SpanExportResult.FAILURE, f"{type(error).__name__}: {error}"
        finally:
            _exporting.active = False
        if result is SpanExportResult.SUCCESS:
            self._worked(len(spans))
        else:
            self._failed(len(spans), _exporting.reason)
        return result

    def shutdown(self) -> None:
        if not self._closed.is_set():
            self._closed.set()
            self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._inner.force_flush(timeout_millis)

    def _worked(self, spans: int) -> None:
        self._count("exported", spans)
        if self._lost:
            _log.info("spans are accepted again", extra={names.LOG_ENDPOINT: self._endpoint, names.LOG_COUNT: self._lost})
            self._lost, self._told = 0, -QUIET

    def _failed(self, spans: int, reason: str) -> None:
        self._count("failed", spans)
        self._lost += spans
        now = self._clock()
        if now - self._told >= QUIET:
            self._told = now
            _log.warning("spans are lost: %s", reason, extra={names.LOG_ENDPOINT: self._endpoint, names.LOG_COUNT: self._lost})


class Pipeline(SpanProcessor):
    """Takes spans on the event loop's thread and sends them from its own. ``count(fate, spans)`` is called from both."""

    def __init__(self, exporter: SpanExporter, endpoint: str, count: Callable[[str, int], None], *,
                 clock: Callable[[], float] = time.monotonic, queue: int = QUEUE) -> None:
        _hold_back_sdk_logs()
        self._exporter = _Exporter(exporter, urlsplit(endpoint).netloc, count, clock)
        self._batches = BatchSpanProcessor(
            self._exporter, max_queue_size=queue, max_export_batch_size=min(BATCH, queue), schedule_delay_millis=DELAY_MS,
            export_timeout_millis=TIMEOUT * 1_000)
        self._count = count
        self._queue = queue
        self._entered = 0
        self._open = 0
        self._when_idle: Callable[[], None] | None = None

    @classmethod
    def to(cls, protocol: Protocol, endpoint: str, count: Callable[[str, int], None]) -> Pipeline:
        """A pipeline to an OTLP endpoint; blocks while the exporter is imported."""
        return cls(make_exporter(protocol, endpoint), endpoint, count)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 (the SDK's signature)
        self._open += 1

    def on_end(self, span: ReadableSpan) -> None:
        # The bound is kept here, so that the SDK's queue, which logs each span that it drops, is never full.
        if self._entered - self._exporter.taken < self._queue and not self._exporter.closed:
            self._entered += 1
            self._batches.on_end(span)
        else:
            self._count("dropped", 1)
        self._open -= 1
        if not self._open and self._when_idle is not None:
            self._when_idle()

    def when_idle(self, callback: Callable[[], None]) -> None:
        """Call back once no span is open, which may be at once; on the thread that ends the last span."""
        self._when_idle = callback
        if not self._open:
            callback()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what waits; blocks."""
        return self._batches.force_flush(timeout_millis)

    def shutdown(self) -> None:
        """``close`` with the default time."""
        self.close(TIMEOUT)

    def close(self, timeout: float) -> None:
        """Send what waits, for at most about ``timeout`` seconds, and count what is left as dropped; blocks."""
        sender = threading.Thread(target=self._batches.shutdown, name="spans-last-flush", daemon=True)
        sender.start()
        sender.join(timeout)
        self._exporter.shutdown()
        left = self._entered - self._exporter.taken
        if left > 0:
            self._count("dropped", left)
