"""Traces arrive at a real OTLP endpoint, over gRPC and over HTTP, and trouble there is nobody's trouble here."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time
from collections import Counter
from decimal import Decimal

import pytest

from fakes.otlp import grpc_collector, http_collector
from stratarouter_runtime._version import __version__
from stratarouter_runtime.config import Snapshot, TracingConfig
from stratarouter_runtime.model.cache import Miss
from stratarouter_runtime.model.errors import Failure, Phase, ProviderError
from stratarouter_runtime.model.execution import Execution
from stratarouter_runtime.model.plan import Candidate, Plan
from stratarouter_runtime.model.request import Caller, ChatRequest, Directives
from stratarouter_runtime.model.response import Usage
from stratarouter_runtime.telemetry import Telemetry, export, names
from stratarouter_runtime.telemetry import tracing as tracing_module
from stratarouter_runtime.telemetry.tracing import MAX_RETIRING, Tracing

COLLECTORS = {"grpc": grpc_collector, "http": http_collector}
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(params=COLLECTORS)
async def protocol(request):
    return request.param


@pytest.fixture
async def collector(protocol):
    async with COLLECTORS[protocol]() as running:
        yield running


@pytest.fixture
def fates():
    return Counter()


@pytest.fixture
async def tracing(collector, protocol, fates):
    made = Tracing(lambda fate, spans: fates.update({fate: spans}))
    await made.configure(config(collector, protocol), {names.STRATA_CONFIG: "assistant"})
    yield made
    await made.aclose()


def config(collector, protocol, **changes):
    return TracingConfig(**{
        "enabled": True, "otlp_endpoint": collector.endpoint, "protocol": protocol, "sample_percent": 100, **changes})


def answer(tracing, headers=None):
    """One request with a failed and a successful call; the headers that went upstream with the second."""
    span = tracing.request(headers or {}, method="POST", route="/v1/chat/completions")
    span.set({names.STRATA_ROUTE: "billing", names.STRATA_ATTEMPTS: 2})
    first = span.attempt("chat", "gpt-4o-2024-11-20", {names.PROVIDER_NAME: "openai", names.SERVER_ADDRESS: "eu.example"})
    first.end(error="RateLimited")
    second = span.attempt("chat", "llama3", {names.PROVIDER_NAME: "ollama", names.SERVER_PORT: 11434})
    second.event(names.FIRST_CONTENT_EVENT)
    second.set({names.INPUT_TOKENS: 12, names.FINISH_REASONS: ("stop",), names.FIRST_CHUNK: 0.25, names.REQUEST_STREAM: True})
    second.end()
    span.finish(200)
    return span, second


async def until(condition):
    """Threads are at work: look again for ten seconds at most."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 (threads set no asyncio events)
            await asyncio.sleep(0.01)


class TestArrival:
    async def test_a_request_is_one_server_span_with_a_client_span_per_call(self, tracing, collector):
        """Kinds, names, parents and times are what the conventions ask for."""
        answer(tracing)
        await tracing.flush()
        await collector.wait(3)
        server, failed, worked = (collector.named(name) for name in ("POST /v1/chat/completions", "chat gpt-4o-2024-11-20", "chat llama3"))
        assert (server.kind, failed.kind, worked.kind) == ("SERVER", "CLIENT", "CLIENT")
        assert server.parent_id == ""
        assert failed.parent_id == worked.parent_id == server.span_id
        assert {span.trace_id for span in collector.spans} == {server.trace_id}
        assert server.start <= failed.start <= failed.end <= worked.start <= worked.end <= server.end

    async def test_attributes_keep_their_types(self, tracing, collector):
        """Numbers stay numbers, lists stay lists, and sampling sees what is known at the start."""
        answer(tracing)
        await tracing.flush()
        await collector.wait(3)
        assert collector.named("POST /v1/chat/completions").attributes == {
            "http.request.method": "POST", "http.route": "/v1/chat/completions", "url.path": "/v1/chat/completions", "url.scheme": "http",
            "http.response.status_code": 200, "strata.route": "billing", "strata.attempts": 2}
        assert collector.named("chat llama3").attributes == {
            "gen_ai.operation.name": "chat", "gen_ai.request.model": "llama3", "gen_ai.provider.name": "ollama", "server.port": 11434,
            "gen_ai.usage.input_tokens": 12, "gen_ai.response.finish_reasons": ["stop"],
            "gen_ai.response.time_to_first_chunk": 0.25, "gen_ai.request.stream": True}
        assert [name for name, _ in collector.named("chat llama3").events] == ["strata.first_content"]

    async def test_who_sends_and_by_which_conventions_is_told(self, tracing, collector):
        """The resource names the service; the scope names the conventions' version."""
        answer(tracing)
        await tracing.flush()
        (span, *_) = await collector.wait(3)
        assert span.resource.items() >= {
            "service.name": "stratarouter-runtime", "service.version": __version__, "strata.runtimeconfig": "assistant"}.items()
        assert (span.scope, span.schema_url) == ("stratarouter_runtime", "https://opentelemetry.io/schemas/1.41.0")

    async def test_failures_are_errors_of_the_call_not_of_the_request_that_recovered(self, tracing, collector):
        """An error that was handled is not the request's."""
        answer(tracing)
        await tracing.flush()
        await collector.wait(3)
        failed = collector.named("chat gpt-4o-2024-11-20")
        assert (failed.status, failed.attributes["error.type"]) == ("ERROR", "RateLimited")
        assert {collector.named(name).status for name in ("chat llama3", "POST /v1/chat/completions")} == {"UNSET"}

    async def test_a_server_span_is_an_error_from_500_on(self, tracing, collector):
        """What the client did wrong is told, but is no error of the server."""
        for status, error in ((502, "AllFailed"), (504, ""), (400, "InvalidRequest")):
            tracing.request({}, method="POST", route="/v1/embeddings").finish(status, error=error)
        await tracing.flush()
        await collector.wait(3)
        told = {span.attributes["http.response.status_code"]: (span.status, span.attributes["error.type"]) for span in collector.spans}
        assert told == {502: ("ERROR", "AllFailed"), 504: ("ERROR", "504"), 400: ("UNSET", "InvalidRequest")}

    async def test_what_waits_is_sent_on_closing(self, collector, protocol, fates):
        """The last requests of a pod that stops are traced too."""
        tracing = Tracing(lambda fate, spans: fates.update({fate: spans}))
        await tracing.configure(config(collector, protocol))
        answer(tracing)
        await tracing.aclose()
        assert len(collector.spans) == fates["exported"] == 3

    async def test_compression_by_the_sdks_variable(self, protocol, monkeypatch):
        """`OTEL_EXPORTER_OTLP_COMPRESSION=gzip` works as for any OpenTelemetry service."""
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        async with COLLECTORS[protocol]() as collector:
            tracing = Tracing()
            await tracing.configure(config(collector, protocol))
            answer(tracing)
            await tracing.aclose()
            assert len(collector.spans) == 3
            if protocol == "http":
                assert collector.requests[0]["content-encoding"] == "gzip"


class TestContext:
    async def test_the_callers_trace_goes_on(self, tracing, collector):
        """The SERVER span is the caller's child, and providers are children of their CLIENT span; `tracestate` goes along."""
        span, call = answer(tracing, {"traceparent": CALLER, "tracestate": "vendor=1"})
        await tracing.flush()
        await collector.wait(3)
        server, client = collector.named("POST /v1/chat/completions"), collector.named("chat llama3")
        assert (server.trace_id, server.parent_id) == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
        assert (span.trace_id, span.span_id) == (server.trace_id, server.span_id)
        assert call.headers == {"traceparent": f"00-{client.trace_id}-{client.span_id}-01", "tracestate": "vendor=1"}
        assert server.state == client.state == "vendor=1"

    async def test_a_caller_who_does_not_trace_is_obeyed(self, tracing, collector):
        """Nothing is recorded, and the headers go on as they came."""
        caller = {"traceparent": CALLER[:-2] + "00", "tracestate": "vendor=1"}
        span, call = answer(tracing, caller)
        await tracing.flush()
        assert not collector.spans
        assert not span.recording
        assert span.headers == call.headers == caller
        assert span.trace_id == "0af7651916cd43dd8448eb211c80319c"

    async def test_chance_decides_for_callers_who_did_not(self, collector, protocol):
        """At 0 % nothing is recorded, but the decision is passed on, so that all services agree; callers who trace are traced."""
        tracing = Tracing()
        await tracing.configure(config(collector, protocol, sample_percent=0))
        span, _ = answer(tracing)
        assert not span.recording
        assert span.headers["traceparent"].startswith(f"00-{span.trace_id}-")
        assert int(span.headers["traceparent"][-2:], 16) & 1 == 0
        answer(tracing, {"traceparent": CALLER})
        await tracing.aclose()
        assert len(collector.spans) == 3

    async def test_a_share_of_requests_is_traced(self, collector, protocol):
        """At 25 % about a quarter is, calls included."""
        tracing = Tracing()
        await tracing.configure(config(collector, protocol, sample_percent=25))
        traced = sum(answer(tracing)[0].recording for _ in range(400))
        await tracing.aclose()
        assert len(collector.spans) == 3 * traced
        assert 60 <= traced <= 140  # five standard deviations


    async def test_the_sdks_switch_off_is_obeyed(self, collector, protocol, monkeypatch):
        """`OTEL_SDK_DISABLED=true` silences this service as any other, and breaks no trace."""
        monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
        tracing = Tracing()
        await tracing.configure(config(collector, protocol))
        assert answer(tracing)[0].headers == {}
        assert answer(tracing, {"traceparent": CALLER})[1].headers == {"traceparent": CALLER}
        await tracing.aclose()
        assert not collector.spans


class TestReload:
    async def test_requests_that_began_before_end_where_they_began(self, tracing, collector, protocol):
        """A stream that outlives a change of endpoint is not lost."""
        old = tracing.request({}, method="POST", route="/old")
        async with COLLECTORS[protocol]() as other:
            await tracing.configure(config(other, protocol))
            tracing.request({}, method="POST", route="/new").finish(200)
            await tracing.flush()
            await other.wait(1)
            old.finish(200)
            await collector.wait(1)
            assert [span.name for span in collector.spans] == ["POST /old"]
            assert [span.name for span in other.spans] == ["POST /new"]
            await tracing.aclose()

    async def test_a_change_of_share_keeps_the_connection_and_what_waits(self, tracing, collector, protocol):
        """Only the sampler is new."""
        answer(tracing)
        await tracing.configure(config(collector, protocol, sample_percent=0))
        answer(tracing)
        await tracing.flush()
        await collector.wait(3)
        await tracing.aclose()
        assert len(collector.spans) == 3

    async def test_switching_off_sends_what_waits_and_passes_context_on(self, tracing, collector):
        """Off means: nothing recorded, nothing lost, headers as they came."""
        answer(tracing)
        await tracing.configure(TracingConfig())
        await collector.wait(3)
        span, call = answer(tracing, {"traceparent": CALLER})
        assert not span.recording
        assert call.headers == {"traceparent": CALLER}

    async def test_requests_that_never_end_do_not_hold_an_old_endpoint_for_ever(self, collector, protocol, fates):
        """After the time to linger the old endpoint is closed and what comes later is counted as dropped."""
        tracing = Tracing(lambda fate, spans: fates.update({fate: spans}), linger=0)
        await tracing.configure(config(collector, protocol))
        old = tracing.request({}, method="POST", route="/old")
        await tracing.configure(TracingConfig())
        await tracing.aclose()
        old.finish(200)
        assert not collector.spans
        assert fates == {"dropped": 1}

    async def test_many_changes_do_not_pile_up(self, tracing, collector, protocol):
        """Requests still open under many older configurations keep only the last few alive."""
        for number in range(10):
            tracing.request({}, method="POST", route=f"/{number}")
            await tracing.configure(config(collector, protocol, otlp_endpoint=f"{collector.endpoint}/{number}"))
        await until(lambda: len(tracing._retiring) <= MAX_RETIRING)


class TestTrouble:
    @pytest.fixture(autouse=True)
    def _short_timeouts(self, monkeypatch):
        monkeypatch.setattr(export, "TIMEOUT", 0.5)
        monkeypatch.setattr(tracing_module, "CLOSE_TIMEOUT", 1.0)

    async def test_a_refusing_endpoint_loses_spans_and_nothing_else(self, tracing, collector, fates, caplog):
        """One warning that says so, none of the SDK's, the loss counted, and word when it is over."""
        collector.fail = True
        answer(tracing)
        with caplog.at_level(logging.INFO):
            await tracing.flush()
            answer(tracing)
            await tracing.flush()
            collector.fail = False
            answer(tracing)
            await tracing.flush()
        assert fates == {"failed": 6, "exported": 3}
        assert [(record.levelname, record.name) for record in caplog.records] == [
            ("WARNING", "stratarouter_runtime.telemetry.export"), ("INFO", "stratarouter_runtime.telemetry.export")]
        assert caplog.records[1].count == 6
        assert f"127.0.0.1:{collector.endpoint.rpartition(':')[2]}" == caplog.records[0].endpoint

    async def test_a_stalled_endpoint_never_holds_the_event_loop_and_the_queue_is_bounded(self, collector, protocol, fates):
        """Requests go on at full speed; what does not fit is dropped and counted; closing takes a bounded time."""
        tracing = Tracing(lambda fate, spans: fates.update({fate: spans}))
        await tracing.configure(config(collector, protocol))
        release = collector.stall()
        for _ in range(1_000):
            answer(tracing)
        slowest = 0.0
        for _ in range(20):
            before = time.perf_counter()
            answer(tracing)
            slowest = max(slowest, time.perf_counter() - before)
            await asyncio.sleep(0.005)
        assert slowest < 0.5
        assert fates["dropped"] >= 3_060 - export.QUEUE - 2 * export.BATCH
        before = time.perf_counter()
        await tracing.aclose()
        assert time.perf_counter() - before < 3
        release.set()
        await until(lambda: fates.total() == 3_060)

    async def test_nobody_listens(self, protocol, fates):
        """A wrong address is a loss of spans."""
        tracing = Tracing(lambda fate, spans: fates.update({fate: spans}))
        await tracing.configure(TracingConfig(enabled=True, otlp_endpoint="http://127.0.0.1:9", protocol=protocol, sample_percent=100))
        answer(tracing)
        await tracing.aclose()
        assert fates["exported"] == 0
        assert fates["failed"] + fates["dropped"] == 3

    async def test_an_exporter_that_cannot_be_made_switches_tracing_off(self, collector, protocol, caplog, monkeypatch):
        """A broken certificate variable must not stop a configuration from being taken over."""
        def broken(protocol, endpoint):
            raise OSError("no such certificate")

        monkeypatch.setattr(export, "make_exporter", broken)
        tracing = Tracing()
        await tracing.configure(config(collector, protocol))
        span, call = answer(tracing, {"traceparent": CALLER})
        assert not span.recording
        assert call.headers == {"traceparent": CALLER}
        assert [record.message for record in caplog.records] == ["tracing is off: no such certificate"]


@pytest.mark.parametrize(("wanted", "unwanted"), [
    (None, ("grpc", "requests", "opentelemetry.exporter")), ("http", ("grpc",)), ("grpc", ("requests",))])
def test_exporters_are_imported_only_when_one_is_made(wanted, unwanted):
    """A pod that does not trace does not pay for gRPC."""
    make = f"export.make_exporter({wanted!r}, 'http://127.0.0.1:9').shutdown()" if wanted else "tracing.Tracing()"
    code = (f"import sys; from stratarouter_runtime.telemetry import export, tracing; {make}; "
            f"print([m for m in {unwanted!r} if m in sys.modules])")
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.stderr) == ("[]\n", "")


async def test_a_whole_request_as_the_runtime_tells_it(collector, protocol):
    """Configuration, request, attempts and answer become spans with the conventions' attributes and ours, and no prompt."""
    pool = {"name": "openai-eu", "type": "openai", "endpoint": "https://eu.example/v1", "models": [{"name": "gpt-4o"}]}
    snapshot = Snapshot.build(
        {"apiVersion": "stratarouter.io/v1alpha1", "kind": "RuntimeConfig", "metadata": {"name": "assistant", "namespace": "shop"},
         "spec": {"defaultRoute": {"pools": [{"name": "chat"}]}, "observability": {"tracing": {
             "enabled": True, "otlpEndpoint": collector.endpoint, "protocol": protocol, "samplePercent": 100}}}},
        [{"apiVersion": "stratarouter.io/v1alpha1", "kind": "ProviderPool", "metadata": {"name": "chat"}, "spec": {"providers": [pool]}}])
    candidate = Candidate("chat", "openai-eu", "gpt-4o", "gpt-4o-2024-11-20", "eu")
    request = ChatRequest({"model": "gpt-4o", "messages": [{"role": "user", "content": "where is my invoice"}], "stream": True})
    execution = Execution("exec-1", "req-1", time.monotonic(), Caller("acme"), Directives(), request=request, cached=Miss("absent"))
    execution.plan = Plan("default", "chat", request, "acme", (candidate,), 60, 4, 0.1)
    telemetry = Telemetry(environ={"POD_NAME": "assistant-0", "POD_UID": "uid-1"})
    async with telemetry.running():
        await telemetry.configure(snapshot)
        with telemetry.request(execution, {"traceparent": CALLER}, "chat") as scope:
            telemetry.observer.skipped(candidate, "ProviderFull")
            failed = telemetry.observer.attempt(candidate, 1, "chat", retry=False)
            failed.failed(ProviderError(Failure.RATE_LIMITED, "slow down", phase=Phase.HEADERS, status=429))
            attempt = telemetry.observer.attempt(candidate, 2, "chat", retry=True)
            sent = attempt.headers
            attempt.first_token(0.25)
            attempt.succeeded(model="gpt-4o-2024-11-20", finish_reason="stop", usage=Usage(12, 30, cached=8))
            execution.candidate, execution.cost, scope.status = candidate, Decimal("0.5"), 200
    server = collector.named("POST /v1/chat/completions")
    first, second = (span for span in collector.spans if span.kind == "CLIENT")
    assert server.resource.items() >= {
        "service.namespace": "shop", "strata.runtimeconfig": "assistant", "service.instance.id": "uid-1", "k8s.pod.name": "assistant-0"}.items()
    assert server.attributes == {
        "http.request.method": "POST", "http.route": "/v1/chat/completions", "url.path": "/v1/chat/completions", "url.scheme": "http",
        "http.response.status_code": 200, "gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.request.stream": True,
        "strata.execution.id": "exec-1", "strata.request.id": "req-1", "strata.route": "default", "strata.tenant": "acme",
        "strata.provider": "openai-eu", "strata.model": "gpt-4o", "strata.attempts": 0, "strata.cache": "absent", "strata.cost_usd": 0.5}
    assert server.events == (("strata.candidate_skipped", {
        "strata.candidate": "chat/openai-eu/gpt-4o", "strata.reason": "ProviderFull"}),)
    common = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o-2024-11-20",
        "server.address": "eu.example", "server.port": 443, "strata.pool": "chat", "strata.provider": "openai-eu",
        "strata.model": "gpt-4o", "strata.region": "eu"}
    assert first.attributes == {**common, "strata.attempt": 1, "error.type": "RateLimited", "http.response.status_code": 429}
    assert second.attributes == {
        **common, "strata.attempt": 2, "gen_ai.request.stream": True, "gen_ai.response.time_to_first_chunk": 0.25,
        "gen_ai.response.model": "gpt-4o-2024-11-20", "gen_ai.response.finish_reasons": ["stop"], "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 30, "gen_ai.usage.cache_read.input_tokens": 8}
    assert sent["traceparent"].split("-")[1:3] == [server.trace_id, second.span_id]
    assert {span.parent_id for span in (first, second)} == {server.span_id}
    assert "invoice" not in str(collector.spans)
    known = {term.name for term in (*names.ATTRIBUTES, *names.EVENTS)}
    used = {key for span in collector.spans for key in (*span.attributes, *(name for name, _ in span.events))}
    assert used <= known
