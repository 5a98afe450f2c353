"""What becomes of spans is counted and told, once a minute at most, whatever the exporter does."""

from __future__ import annotations

import logging
import threading
from collections import Counter

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from stratarouter_runtime.telemetry.export import QUIET, Pipeline, endpoint_url

FAILED, SUCCESS = SpanExportResult.FAILURE, SpanExportResult.SUCCESS


class Exporter(SpanExporter):
    """Does as the script says: a result to return, or an exception to raise."""

    def __init__(self):
        self.script = SUCCESS
        self.gate = threading.Event()
        self.gate.set()
        self.closed = 0

    def export(self, spans):
        self.gate.wait(10)
        if isinstance(self.script, Exception):
            raise self.script
        if self.script is FAILED:
            logging.getLogger("opentelemetry.exporter.otlp.proto.grpc.exporter").error("Failed to export traces: UNAVAILABLE")
        return self.script

    def shutdown(self):
        self.closed += 1
        self.gate.set()


class Rig:
    """A pipeline to a scripted exporter, with a clock that is set by hand."""

    def __init__(self, queue=8):
        self.exporter, self.fates, self.now = Exporter(), Counter(), 0.0
        self.pipeline = Pipeline(self.exporter, "http://otel:4317", lambda fate, spans: self.fates.update({fate: spans}),
                                 clock=lambda: self.now, queue=queue)
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(self.pipeline)
        self.tracer = provider.get_tracer("test")

    def spans(self, count=1):
        for _ in range(count):
            self.tracer.start_span("x").end()

    def send(self, script, count=1):
        self.exporter.script = script
        self.spans(count)
        self.pipeline.force_flush()


@pytest.fixture
def rig(monkeypatch):
    made = Rig()
    yield made
    made.pipeline.close(5)


@pytest.mark.parametrize(("protocol", "endpoint", "url"), [
    ("http", "http://otel:4318", "http://otel:4318/v1/traces"),
    ("http", "http://otel:4318/", "http://otel:4318/v1/traces"),
    ("http", "https://saas.example/otlp/v1/traces", "https://saas.example/otlp/v1/traces"),
    ("grpc", "http://otel:4317", "http://otel:4317"),
])
def test_an_http_endpoint_without_a_path_gets_the_standard_one(protocol, endpoint, url):
    """As the OTLP specification says for a base address."""
    assert endpoint_url(protocol, endpoint) == url


@pytest.mark.parametrize("script", [FAILED, RuntimeError("boom")])
def test_trouble_is_told_once_a_minute_with_what_was_lost_since(rig, caplog, script):
    """A collector that is down for an hour makes sixty lines, not thousands."""
    for _ in range(5):
        rig.send(script)
    rig.now = QUIET - 1
    rig.send(script)
    assert [record.count for record in caplog.records] == [1]
    rig.now = QUIET
    rig.send(script)
    assert [record.count for record in caplog.records] == [1, 7]
    assert rig.fates == {"failed": 7}


def test_the_reason_is_the_exporters_own_and_the_line_is_ours(rig, caplog):
    """The SDK's line is held back, its words are kept."""
    rig.send(FAILED)
    assert [record.getMessage() for record in caplog.records] == ["spans are lost: Failed to export traces: UNAVAILABLE"]


def test_the_sdks_lines_of_other_exporters_are_not_held_back(rig, caplog):
    """An application that embeds the runtime may have an exporter of its own."""
    logging.getLogger("opentelemetry.exporter.otlp.proto.grpc.exporter").error("not ours")
    assert [record.getMessage() for record in caplog.records] == ["not ours"]


def test_recovery_is_told_and_the_next_trouble_again(rig, caplog):
    """Whoever reads the log knows when it began and when it was over."""
    caplog.set_level(logging.INFO)
    rig.send(FAILED, 2)
    rig.send(SUCCESS)
    rig.send(FAILED)
    assert [(record.levelname, record.count) for record in caplog.records] == [("WARNING", 2), ("INFO", 2), ("WARNING", 1)]


def test_more_spans_than_may_wait_are_dropped_and_counted_silently(rig, caplog):
    """The queue is bounded, and being full is a figure, not a line per span."""
    rig.exporter.gate.clear()
    rig.spans(100)
    rig.exporter.gate.set()
    rig.pipeline.force_flush()
    assert rig.fates.total() == 100
    assert rig.fates["dropped"] >= 100 - 2 * 8
    assert not caplog.records


def test_spans_that_end_after_closing_are_counted_as_dropped(rig):
    """Nothing vanishes uncounted."""
    span = rig.tracer.start_span("late")
    rig.pipeline.close(5)
    span.end()
    assert rig.fates == {"dropped": 1}


def test_closing_gives_up_on_an_exporter_that_hangs():
    """A black hole does not keep a pod from stopping, and what waited is counted."""
    rig = Rig()
    rig.exporter.gate.clear()
    rig.exporter.script = FAILED
    rig.spans(3)
    rig.pipeline.close(0.05)
    assert rig.exporter.closed == 1


def test_idle_is_told_when_the_last_open_span_ends(rig):
    """The signal by which an old pipeline knows that it may go."""
    told = []
    first, second = rig.tracer.start_span("a"), rig.tracer.start_span("b")
    rig.pipeline.when_idle(lambda: told.append("idle"))
    first.end()
    assert not told
    second.end()
    assert told == ["idle"]


def test_idle_is_told_at_once_when_nothing_is_open(rig):
    """No request, no waiting."""
    told = []
    rig.pipeline.when_idle(lambda: told.append("idle"))
    assert told == ["idle"]
