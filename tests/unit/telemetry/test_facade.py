"""Every request is counted, traced and logged once, however it ends, and every attempt is booked."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from decimal import Decimal

import pytest
from prometheus_client.parser import text_string_to_metric_families

from stratarouter_runtime.config import Snapshot
from stratarouter_runtime.model.cache import CacheEntry, Hit, Miss
from stratarouter_runtime.model.errors import ExecutionError, Failure, Phase, ProviderError
from stratarouter_runtime.model.execution import Execution
from stratarouter_runtime.model.plan import Attempt, Candidate, Plan, Rate
from stratarouter_runtime.model.request import Caller, ChatRequest, Directives
from stratarouter_runtime.model.response import Usage
from stratarouter_runtime.model.support import Unsupported
from stratarouter_runtime.model.verdict import Verdict
from stratarouter_runtime.telemetry import Telemetry, names
from stratarouter_runtime.telemetry.logs import JsonFormatter

EU = Candidate("chat", "openai-eu", "gpt-4o", "gpt-4o-2024-11-20", "eu", rate=Rate(Decimal("2.5"), Decimal(10)))
LOCAL = Candidate("chat", "local", "llama3", "llama3:8b", rate=None)
REQUEST = ChatRequest({"model": "billing", "messages": [{"role": "user", "content": "where is my invoice"}], "stream": True})
SNAPSHOT = Snapshot.build(
    {"apiVersion": "stratarouter.io/v1alpha1", "kind": "RuntimeConfig", "metadata": {"name": "assistant", "generation": 3},
     "spec": {"cache": {"backend": "redis", "redis": {"urlSecretRef": {"name": "redis", "key": "url"}}},
              "defaultRoute": {"pools": [{"name": "chat"}]}, "routes": [{"name": "billing", "pools": [{"name": "chat"}]}]}},
    [{"apiVersion": "stratarouter.io/v1alpha1", "kind": "ProviderPool", "metadata": {"name": "chat"}, "spec": {"providers": [
        {"name": "openai-eu", "type": "openai", "endpoint": "https://eu.example/v1", "models": [{"name": "gpt-4o"}]},
        {"name": "local", "type": "ollama", "endpoint": "http://ollama:11434/v1", "models": [{"name": "llama3"}]}]}}],
)


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def telemetry(clock):
    made = Telemetry(clock=clock, wall=lambda: 1_700_000_000.0)
    async with made.running():
        await made.configure(SNAPSHOT)
        yield made


@pytest.fixture
def lines(caplog):
    """The decoded lines of the access log."""
    caplog.set_level(logging.INFO, "stratarouter_runtime")
    return lambda: [json.loads(JsonFormatter().format(record)) for record in caplog.records
                    if record.name == "stratarouter_runtime.access"]


def execution(**known):
    plan = Plan("billing", "chat", REQUEST, "acme", (EU, LOCAL), 60, 4, 0.1)
    return Execution(id="exec-1", request_id="req-1", started=99.5, caller=Caller("acme"), directives=Directives(),
                     **{"plan": plan, "request": REQUEST, **known})


ORDER = ["rule", "effect", "provider", "tier", "model", "hash", "type", "outcome", "reason", "stage", "backend", "generation", "route", "status"]


def figures(telemetry, *prefixes):
    """The samples whose names begin so, by name and label values."""
    body, _ = telemetry.render()
    return {
        (sample.name.removeprefix(names.PREFIX), *(sample.labels[name] for name in sorted(sample.labels, key=ORDER.index))): sample.value
        for family in text_string_to_metric_families(body.decode()) for sample in family.samples
        if sample.name.removeprefix(names.PREFIX).startswith(prefixes) and not sample.name.endswith("_bucket")}


class TestRequest:
    async def test_an_answer_of_a_provider(self, telemetry, lines):
        """Provider, route and status; duration from the beginning; stages; tokens and money on the line."""
        done = execution(candidate=EU, attempts=(Attempt(1, LOCAL, 0.1, Failure.TIMEOUT), Attempt(2, EU, 0.3)), usage=Usage(12, 30),
                         cost=Decimal("0.00033"), cached=Miss("absent"), stages={"parse": 0.001, "upstream-ttfb": 0.2, "upstream": 0.4})
        with telemetry.request(done, {}, "chat") as scope:
            assert figures(telemetry, "requests_in_flight") == {("requests_in_flight",): 1}
            scope.status = 200
        assert figures(telemetry, "requests_", "request_", "cache_miss", "cache_hit", "cost_saved", "errors") == {
            ("requests_in_flight",): 0, ("requests_total", "openai-eu", "billing", "200"): 1,
            ("request_duration_seconds_sum", "openai-eu", "billing"): 0.5, ("request_duration_seconds_count", "openai-eu", "billing"): 1,
            ("cache_misses_total", "absent", "billing"): 1}
        assert figures(telemetry, "stage_duration_seconds_sum") == {
            ("stage_duration_seconds_sum", "parse"): 0.001, ("stage_duration_seconds_sum", "upstream-ttfb"): 0.2,
            ("stage_duration_seconds_sum", "upstream"): 0.4}
        (line,) = lines()
        line.pop("ts")
        assert line == {
            "level": "info", "logger": "stratarouter_runtime.access", "message": "request", "method": "POST",
            "path": "/v1/chat/completions", "status": 200, "route": "billing", "provider": "openai-eu", "model": "gpt-4o",
            "tenant": "acme", "stream": True, "attempts": 2, "cache": "absent", "input_tokens": 12, "output_tokens": 30,
            "cost_usd": 0.00033, "duration_ms": 500.0, "upstream_ms": 400.0, "first_token_ms": 200.0}

    async def test_a_lines_fields_are_the_documented_ones(self, telemetry, lines):
        """No field without a meaning, no meaning without a field."""
        failed = execution(candidate=EU, usage=Usage(1, 1), cost=Decimal(1), cached=Miss("absent"),
                           error=ExecutionError("AllFailed", "x", status=502), stages={"upstream-ttfb": 0.1, "upstream": 0.2})
        failed.plan = replace(failed.plan, metadata={"team": "billing"}, losses=((EU, (Unsupported("store", "x", hint=True),)),), policy=(Verdict("allowedRegions", "us", ["eu"], effect="leftOut"),))
        with telemetry.request(failed, {}, "chat"):
            pass
        assert figures(telemetry, "policy") == {("policy_violations_total", "allowedRegions", "leftOut", "billing"): 1}
        assert lines()[0].keys() >= {term.name for term in names.LOG_FIELDS if term.where == names.ACCESS}

    async def test_an_answer_of_the_cache(self, telemetry, lines):
        """No provider's request, a hit, and what it saved; the line says who had answered."""
        entry = CacheEntry("p", "e", b"{}", "chat", "openai-eu", "gpt-4o", "eu", created=0, ttl=60)
        done = execution(cached=Hit(entry, "semantic", 0.97, 12), cost=Decimal(0), saved=Decimal("0.00033"))
        with telemetry.request(done, {}, "chat") as scope:
            scope.status = 200
        assert figures(telemetry, "requests_total", "cache_hits", "cache_misses", "cost_saved") == {
            ("requests_total", "none", "billing", "200"): 1, ("cache_hits_total", "semantic", "billing"): 1,
            ("cost_saved_usd_total", "cache"): 0.00033}
        (line,) = lines()
        assert (line["provider"], line["cache"], line["cost_usd"], line["attempts"]) == ("openai-eu", "semantic", 0.0, 0)
        assert "input_tokens" not in line

    @pytest.mark.parametrize("reason", ["bypass", "disabled", "ineligible"])
    async def test_what_was_not_looked_up_is_no_miss(self, telemetry, reason):
        """A hit rate speaks of look-ups."""
        with telemetry.request(execution(cached=Miss(reason)), {}, "chat"):
            pass
        assert figures(telemetry, "cache_misses") == {}

    async def test_a_refusal(self, telemetry, lines):
        """Before there is a route: `none`, with the reason as error and on the line."""
        refused = execution(plan=None, request=None, error=ExecutionError("NotConfigured", "x", status=503))
        with telemetry.request(refused, {}, "chat") as scope:
            scope.status = 503
        assert figures(telemetry, "requests_total", "errors") == {
            ("requests_total", "none", "none", "503"): 1, ("errors_total", "none", "NotConfigured"): 1}
        assert lines()[0]["error"] == "NotConfigured"

    async def test_an_exception_that_nobody_answered_is_a_500(self, telemetry):
        """And goes on to whoever called."""
        with pytest.raises(RuntimeError, match="bug"), telemetry.request(execution(), {}, "chat"):
            raise RuntimeError("bug")
        assert figures(telemetry, "requests_") == {("requests_in_flight",): 0, ("requests_total", "none", "billing", "500"): 1}

    async def test_an_operation_that_nobody_knows(self, telemetry):
        """Is counted like any other."""
        with telemetry.request(execution(plan=None, request=None), {}, "what"):
            pass
        assert figures(telemetry, "requests_total") == {("requests_total", "none", "none", "500"): 1}

    async def test_a_defect_in_telemetry_fails_no_request(self, telemetry, caplog):
        """It is logged."""
        broken = execution(stages={"parse": "soon"})
        with telemetry.request(broken, {}, "chat") as scope:
            scope.status = 200
        (record,) = [record for record in caplog.records if record.message == "a request could not be told"]
        assert record.reason == "TypeError"
        assert "telemetry/" in record.where

    async def test_lines_in_a_request_carry_its_ids_and_lines_after_it_do_not(self, telemetry, caplog):
        """Also the caller's trace, whether or not it is recorded."""
        log = logging.getLogger("stratarouter_runtime.engine")
        caller = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
        told = []
        for _ in range(2):
            with telemetry.request(execution(), caller, "chat"):
                told.append(json.loads(JsonFormatter().format(log.makeRecord("x", logging.INFO, "", 0, "x", (), None))))
        after = json.loads(JsonFormatter().format(log.makeRecord("x", logging.INFO, "", 0, "x", (), None)))
        assert {(line["request_id"], line["execution_id"], line["trace_id"]) for line in told} == {
            ("req-1", "exec-1", "0af7651916cd43dd8448eb211c80319c")}
        assert not {"request_id", "execution_id", "trace_id"} & after.keys()


class TestAttempts:
    async def test_a_success_is_counted_with_tokens_and_cost(self, telemetry):
        """By provider and model, at the candidate's price."""
        attempt = telemetry.observer.attempt(EU, 1, "chat", retry=False)
        attempt.first_token(0.2)
        attempt.succeeded(model="gpt-4o-2024-11-20", finish_reason="stop", usage=Usage(1_000, 100, cached=500))
        assert figures(telemetry, "attempts_", "tokens", "cost_usd", "time_to_first_token_seconds_sum", "retries", "failovers") == {
            ("attempts_total", "openai-eu", "gpt-4o", "success"): 1, ("tokens_used_total", "openai-eu", "gpt-4o", "input"): 1000,
            ("tokens_used_total", "openai-eu", "gpt-4o", "output"): 100, ("cost_usd_total", "openai-eu"): 0.0035,
            ("time_to_first_token_seconds_sum", "openai-eu", "gpt-4o"): 0.2, ("failovers_total",): 0}

    async def test_an_unknown_price_is_no_cost(self, telemetry):
        """Nothing is invented."""
        telemetry.observer.attempt(LOCAL, 1, "chat", retry=False).succeeded(model="llama3", finish_reason="stop", usage=Usage(1, 1))
        assert figures(telemetry, "cost_usd") == {}

    async def test_failures_have_their_reason_and_timeouts_a_figure_of_their_own(self, telemetry):
        """As outcome of the attempt and as error of the provider."""
        for failure in (Failure.TIMEOUT, Failure.RATE_LIMITED):
            attempt = telemetry.observer.attempt(EU, 1, "chat", retry=False)
            attempt.failed(ProviderError(failure, "x", phase=Phase.HEADERS, status=504))
        assert figures(telemetry, "attempts_", "errors", "timeouts") == {
            ("attempts_total", "openai-eu", "gpt-4o", "Timeout"): 1, ("attempts_total", "openai-eu", "gpt-4o", "RateLimited"): 1,
            ("errors_total", "openai-eu", "Timeout"): 1, ("errors_total", "openai-eu", "RateLimited"): 1,
            ("timeouts_total", "openai-eu"): 1}

    async def test_a_caller_who_went_away_still_pays(self, telemetry):
        """What was used is booked; it is no error of the provider."""
        telemetry.observer.attempt(EU, 1, "chat", retry=False).cancelled(Usage(1_000, 100))
        telemetry.observer.attempt(EU, 1, "chat", retry=False).cancelled()
        assert figures(telemetry, "attempts_", "errors", "cost_usd") == {
            ("attempts_total", "openai-eu", "gpt-4o", "cancelled"): 2, ("cost_usd_total", "openai-eu"): 0.0035}

    async def test_retries_and_failovers_are_different_things(self, telemetry):
        """The first attempt is neither."""
        telemetry.observer.attempt(EU, 1, "chat", retry=False)
        telemetry.observer.attempt(LOCAL, 2, "chat", retry=False)
        telemetry.observer.attempt(LOCAL, 3, "chat", retry=True)
        assert figures(telemetry, "retries", "failovers") == {("retries_total", "local"): 1, ("failovers_total",): 1}

    async def test_skips_and_breakers(self, telemetry):
        """Whoever is passed over, and why."""
        telemetry.observer.skipped(EU, "BreakerOpen")
        telemetry.observer.breaker(EU, "open")
        assert figures(telemetry, "candidates", "breaker") == {
            ("candidates_skipped_total", "openai-eu", "gpt-4o", "BreakerOpen"): 1, ("breaker_state", "openai-eu", "gpt-4o"): 2,
            ("breaker_state", "local", "llama3"): 0}

    async def test_trace_context_reaches_the_provider(self, telemetry):
        """With tracing off it is the caller's own; outside of a request there is none."""
        caller = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=1"}
        with telemetry.request(execution(), caller, "chat"):
            assert telemetry.observer.attempt(EU, 1, "chat", retry=False).headers == caller
        assert telemetry.observer.attempt(EU, 1, "chat", retry=False).headers == {}


class TestConfiguration:
    async def test_the_configuration_in_use_is_told(self, telemetry):
        """Its hash and generation, since when, and how often one was taken or refused."""
        telemetry.reloaded(True)
        telemetry.reloaded(False)
        assert figures(telemetry, "config") == {
            ("config_info", SNAPSHOT.digest, "3"): 1, ("config_loaded_timestamp_seconds",): 1_700_000_000,
            ("config_reloads_total", "success"): 1, ("config_reloads_total", "failure"): 1}

    async def test_the_log_level_follows_the_configuration(self, telemetry, monkeypatch):
        """Without a restart."""
        logger = logging.getLogger("stratarouter_runtime")
        monkeypatch.setattr(logger, "level", logging.NOTSET)
        await telemetry.configure(SNAPSHOT)
        assert logger.level == logging.INFO

    async def test_the_caches_figures_are_those_of_the_moment_of_the_scrape(self, telemetry):
        """As its `stats()` tells them; its totals go on where a new cache begins at nothing."""
        stats = {"entries": 7, "bytes": 4096, "backend": "down", "backendErrors": 5, "embedderShed": 2}
        telemetry.render("", cache=stats)
        telemetry.render("", cache={**stats, "backendErrors": 6})
        telemetry.render("", cache={**stats, "backendErrors": 1, "embedderShed": 0})
        body, _ = telemetry.render("", cache={**stats, "backendErrors": 1, "embedderShed": 0})
        for line in (b"cache_entries 7.0", b"cache_size_bytes 4096.0", b'backend_up{backend="redis"} 0.0',
                     b'backend_errors_total{backend="redis"} 7.0', b"embedder_shed_total 2.0"):
            assert b"\nstratarouter_runtime_" + line in body

    async def test_redis_is_neither_up_nor_down_where_it_is_not_used(self, telemetry):
        """A memory cache is always well, and no alert should ask about a Redis that nobody configured."""
        telemetry.render("", cache={"backend": "up"})
        memory = SNAPSHOT.runtime.model_copy(update={"cache": SNAPSHOT.runtime.cache.model_copy(update={"backend": "memory"})})
        await telemetry.configure(replace(SNAPSHOT, runtime=memory))
        body, _ = telemetry.render("", cache={"backend": "up"})
        assert b"backend_up{" not in body

    async def test_states_figures_are_those_of_the_moment_of_the_scrape(self, telemetry):
        """As its `stats()` tells them; what was dropped is counted when it happens, whichever state it was."""
        stats = {"backend": "postgresql", "queued": 7, "lost": 3, "available": False, "errors": 5}
        telemetry.state_dropped(3)
        telemetry.render("", state=stats)
        telemetry.render("", state={**stats, "errors": 6})
        telemetry.state_dropped(1)
        body, _ = telemetry.render("", state={**stats, "queued": 2, "lost": 1, "errors": 1})
        for line in (b"state_queued_entries 2.0", b"state_dropped_total 4.0", b'backend_up{backend="postgresql"} 0.0',
                     b'backend_errors_total{backend="postgresql"} 7.0'):
            assert b"\nstratarouter_runtime_" + line in body

    async def test_postgresql_is_neither_up_nor_down_where_it_is_not_used(self, telemetry):
        """With state in memory or nowhere; after it was, it is not shown as what it was last."""
        telemetry.render("", state={"backend": "postgresql", "queued": 7, "available": True, "errors": 0})
        for stats in ({"backend": "memory", "queued": 0, "available": True, "errors": 0}, {}):
            body, _ = telemetry.render("", state=stats)
            assert b'backend_up{backend="postgresql"}' not in body
            assert b"\nstratarouter_runtime_state_queued_entries 0.0" in body

    async def test_breakers_are_closed_from_the_start(self, telemetry):
        """A panel that shows breakers shows all of them."""
        assert figures(telemetry, "breaker") == {("breaker_state", "openai-eu", "gpt-4o"): 0, ("breaker_state", "local", "llama3"): 0}

    async def test_nothing_is_left_running(self):
        """What watches the process ends with the telemetry."""
        import asyncio

        before = asyncio.all_tasks()
        async with Telemetry().running():
            pass
        assert asyncio.all_tasks() == before
