"""Traces of a running data plane, received by a real OTLP endpoint: SERVER and CLIENT spans linked, context passed on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from builders import Document, runtime
from fakes import otlp
from fakes.vendor import FakeVendor
from pod import resources, running

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"


def traced(endpoint: str, protocol: str = "grpc", **fields: Any) -> Document:
    """A RuntimeConfig that traces every request."""
    tracing = {"enabled": True, "otlpEndpoint": endpoint, "protocol": protocol, "samplePercent": 100}
    return runtime(execution={"retryDelayMs": 1}, observability={"tracing": {**tracing, **fields}})


@pytest.mark.parametrize("protocol", ["grpc", "http"])
async def test_a_request_is_a_server_span_and_each_attempt_a_client_span_below_it(
        tmp_path: Path, vendor: FakeVendor, second: FakeVendor, protocol: str) -> None:
    """In the caller's trace; what the vendor gets names the CLIENT span as its parent."""
    collector_of = otlp.grpc_collector if protocol == "grpc" else otlp.http_collector
    async with collector_of() as collector, running(tmp_path, *resources(traced(collector.endpoint, protocol), vendor, second)) as pod:
        vendor.script.fail("http_500")
        answer = await pod.chat(headers={"traceparent": SAMPLED, "tracestate": "vendor=x"})
        assert answer.headers["x-strata-attempts"] == "2"
        spans = await collector.wait(3)
        server, = (span for span in spans if span.kind == "SERVER")
        failed, answered = sorted((span for span in spans if span.kind == "CLIENT"), key=lambda span: span.start)
        assert {span.trace_id for span in spans} == {TRACE}
        assert (server.parent_id, failed.parent_id, answered.parent_id) == (PARENT, server.span_id, server.span_id)
        assert server.start <= failed.start <= failed.end <= answered.start <= answered.end <= server.end
        assert (server.status, failed.status, answered.status) == ("UNSET", "ERROR", "UNSET")
        assert server.attributes["http.route"] == "/v1/chat/completions"
        assert server.attributes["http.response.status_code"] == 200
        assert failed.attributes["error.type"] == "ServerError"
        assert answered.attributes["gen_ai.response.model"] == "gpt-4o-2024-11-20"
        assert answered.attributes["gen_ai.usage.input_tokens"] == answer.json["usage"]["prompt_tokens"]
        assert server.resource["service.name"]
        for received, span in ((vendor.record.last, failed), (second.record.last, answered)):
            assert received.headers["traceparent"] == f"00-{TRACE}-{span.span_id}-01"
            assert received.headers["tracestate"] == "vendor=x"


async def test_a_stream_is_traced_to_its_end(tmp_path: Path, vendor: FakeVendor) -> None:
    """With its usage, although the client did not ask for it."""
    async with otlp.grpc_collector() as collector, running(tmp_path, *resources(traced(collector.endpoint), vendor)) as pod:
        await pod.chat(stream=True)
        spans = await collector.wait(2)
        client, = (span for span in spans if span.kind == "CLIENT")
        assert int(client.attributes["gen_ai.usage.output_tokens"]) > 0


async def test_a_hit_has_no_client_span(tmp_path: Path, vendor: FakeVendor) -> None:
    """Nobody was called."""
    async with otlp.grpc_collector() as collector, running(tmp_path, *resources(traced(collector.endpoint), vendor)) as pod:
        await pod.chat()
        await pod.chat()
        spans = await collector.wait(3)
        assert sorted(span.kind for span in spans) == ["CLIENT", "SERVER", "SERVER"]


async def test_a_callers_decision_not_to_trace_is_kept_and_passed_on(tmp_path: Path, vendor: FakeVendor) -> None:
    """No span, the same context upstream."""
    async with otlp.grpc_collector() as collector, running(tmp_path, *resources(traced(collector.endpoint), vendor)) as pod:
        await pod.chat(headers={"traceparent": UNSAMPLED})
        assert vendor.record.last.headers["traceparent"] == UNSAMPLED
        await pod.chat("traced")
        spans = await collector.wait(2)
        assert TRACE not in {span.trace_id for span in spans}


async def test_without_tracing_the_context_is_passed_on_as_it_came(tmp_path: Path, vendor: FakeVendor) -> None:
    """And none is invented."""
    async with running(tmp_path, *resources(runtime(), vendor)) as pod:
        await pod.chat(headers={"traceparent": SAMPLED})
        assert vendor.record.last.headers["traceparent"] == SAMPLED
        await pod.chat("another")
        assert "traceparent" not in vendor.record.last.headers


async def test_no_prompt_and_no_key_is_in_a_span(tmp_path: Path, vendor: FakeVendor) -> None:
    """Nor in its events or the resource."""
    async with otlp.http_collector() as collector, running(tmp_path, *resources(traced(collector.endpoint, "http"), vendor)) as pod:
        await pod.chat("a very private question")
        spans = await collector.wait(2)
        assert "private" not in str(spans)
        assert vendor.api_key not in str(spans)


async def test_a_collector_that_is_gone_costs_no_answer(tmp_path: Path, vendor: FakeVendor) -> None:
    """Requests are answered as fast as ever, and the pod stops without waiting for it long."""
    async with running(tmp_path, *resources(traced("http://127.0.0.1:9", "http"), vendor)) as pod:
        for number in range(5):
            assert (await pod.chat(f"question {number}")).status == 200
