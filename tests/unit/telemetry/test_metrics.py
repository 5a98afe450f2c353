"""What Prometheus reads of what happened, parsed by Prometheus' own parser."""

from __future__ import annotations

from decimal import Decimal

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from stratarouter_runtime.config import Snapshot
from stratarouter_runtime.telemetry import names
from stratarouter_runtime.telemetry.metrics import Metrics
from stratarouter_runtime.telemetry.series import CODE_LIMIT, LIMIT, Vocabulary

VOCABULARY = Vocabulary(
    routes=frozenset({"billing", "default"}), providers=frozenset({"openai-eu", "local"}), models=frozenset({"gpt-4o", "llama3"}))
PROMETHEUS_ACCEPT = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1")


@pytest.fixture
def metrics() -> Metrics:
    made = Metrics()
    made.config_loaded("abc", 1, VOCABULARY, 1_700_000_000.0)
    return made


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    body, _ = metrics.render()
    return {
        (sample.name.removeprefix(names.PREFIX), frozenset(sample.labels.items())): sample.value
        for family in parse_text(body.decode()) for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return samples(metrics).get((name, frozenset(labels.items())))


def label_values(metrics: Metrics, name: str, label: str) -> set[str]:
    return {dict(labels)[label] for sample, labels in samples(metrics) if sample == name}


class TestCardinality:
    def test_names_that_are_not_configured_become_other(self, metrics):
        """A client that invents models or routes cannot make series."""
        for number in range(500):
            metrics.request_finished(f"p{number}", f"r{number}", 200, 0.1)
            metrics.attempt(f"p{number}", f"m{number}", "success", 0.1)
        assert value(metrics, "requests_total", provider="other", route="other", status="200") == 500
        assert label_values(metrics, "attempts_total", "model") == {"other"}

    def test_none_is_allowed_where_nothing_was_asked(self, metrics):
        """A refused request has no provider; that is not `other`."""
        metrics.request_finished("none", "none", 401, 0.001)
        assert value(metrics, "requests_total", provider="none", route="none", status="401") == 1

    @pytest.mark.parametrize("status", [0, 42, 600, 1000])
    def test_impossible_statuses_become_other(self, metrics, status):
        """Only HTTP statuses are statuses."""
        metrics.request_finished("local", "billing", status, 0.1)
        assert label_values(metrics, "requests_total", "status") == {"other"}

    def test_reasons_from_the_code_are_bounded(self, metrics):
        """Even a room that reports free text as a reason makes at most 64 series."""
        for number in range(1000):
            metrics.error(f"Reason{number}", "local")
        assert len(label_values(metrics, "errors_total", "type")) == CODE_LIMIT + 1

    @pytest.mark.parametrize("reason", ["", "a b", "line\nbreak", "x" * 65, "9lives", "ключ"])
    def test_reasons_that_are_no_identifiers_become_other(self, metrics, reason):
        """A vendor's message can never be a label."""
        metrics.error(reason, "local")
        assert label_values(metrics, "errors_total", "type") == {"other"}

    def test_label_sets_of_one_metric_are_bounded(self):
        """However large the configuration, a metric has a largest size, and what exceeds it is still counted."""
        names_ = frozenset(f"n{number}" for number in range(60))
        metrics = Metrics()
        metrics.config_loaded("abc", 1, Vocabulary(routes=names_, providers=names_), 0.0)
        for provider in names_:
            for route in names_:
                metrics.request_finished(provider, route, 200, 0.1)
        counts = {labels: count for (name, labels), count in samples(metrics).items() if name == "requests_total"}
        assert len(counts) == LIMIT + 1
        assert sum(counts.values()) == 3600

    def test_closed_labels_take_only_listed_values(self, metrics):
        """A tier, stage or saving that nobody documented becomes `other`."""
        metrics.cache_hit("psychic", "billing")
        metrics.stages([("naptime", 0.1)])
        metrics.cost_saved("prayer", 1.0)
        assert label_values(metrics, "cache_hits_total", "tier") == {"other"}
        assert label_values(metrics, "stage_duration_seconds_count", "stage") == {"other"}
        assert label_values(metrics, "cost_saved_usd_total", "reason") == {"other"}


class TestReload:
    def test_series_of_names_that_are_gone_are_dropped(self, metrics):
        """A breaker of a provider that was removed must not stay open for ever in Prometheus."""
        metrics.breaker("openai-eu", "gpt-4o", "open")
        metrics.breaker("local", "llama3", "open")
        metrics.config_loaded("def", 2, Vocabulary(providers=frozenset({"local"}), models=frozenset({"llama3"})), 0.0)
        assert label_values(metrics, "breaker_state", "provider") == {"local"}

    def test_series_of_names_that_stay_keep_their_counts(self, metrics):
        """A reload is not a counter reset."""
        metrics.attempt("local", "llama3", "success", 0.1)
        metrics.config_loaded("def", 2, Vocabulary(providers=frozenset({"local"}), models=frozenset({"llama3"})), 0.0)
        metrics.attempt("local", "llama3", "success", 0.1)
        assert value(metrics, "attempts_total", provider="local", model="llama3", outcome="success") == 2

    def test_requests_that_end_after_their_route_is_gone_are_still_counted(self, metrics):
        """In-flight requests finish under the old names."""
        metrics.request_started()
        metrics.config_loaded("def", 2, Vocabulary(), 0.0)
        metrics.request_finished("local", "billing", 200, 0.1)
        assert value(metrics, "requests_total", provider="other", route="other", status="200") == 1
        assert value(metrics, "requests_in_flight") == 0

    def test_only_the_configuration_in_use_has_an_info_series(self, metrics):
        """Two hashes at once would tell the operator's users nothing."""
        metrics.config_loaded("def", 2, VOCABULARY, 1_700_000_100.0)
        assert label_values(metrics, "config_info", "hash") == {"def"}
        assert value(metrics, "config_loaded_timestamp_seconds") == 1_700_000_100.0

    def test_vocabulary_has_all_names_of_a_snapshot(self):
        """Routes (with the default one), providers and models of all pools that are used."""
        snapshot = Snapshot.build(
            {"apiVersion": "stratarouter.io/v1alpha1", "kind": "RuntimeConfig", "metadata": {"name": "a"},
             "spec": {"routes": [{"name": "billing", "pools": [{"name": "chat"}]}], "defaultRoute": {"pools": [{"name": "chat"}]}}},
            [{"apiVersion": "stratarouter.io/v1alpha1", "kind": "ProviderPool", "metadata": {"name": "chat"},
              "spec": {"providers": [{"name": "local", "type": "ollama", "models": [{"name": "llama3"}]}]}}],
        )
        assert Vocabulary.of(snapshot) == Vocabulary(
            frozenset({"billing", "default"}), frozenset({"local"}), frozenset({"llama3"}))


class TestFigures:
    def test_a_request(self, metrics):
        """One request is one count, one duration, and nothing in flight."""
        metrics.request_started()
        assert value(metrics, "requests_in_flight") == 1
        metrics.request_finished("openai-eu", "billing", 200, 0.03)
        assert value(metrics, "requests_in_flight") == 0
        assert value(metrics, "requests_total", provider="openai-eu", route="billing", status="200") == 1
        assert value(metrics, "request_duration_seconds_sum", provider="openai-eu", route="billing") == 0.03
        assert value(metrics, "request_duration_seconds_bucket", provider="openai-eu", route="billing", le="0.025") == 0
        assert value(metrics, "request_duration_seconds_bucket", provider="openai-eu", route="billing", le="0.05") == 1

    def test_tokens_and_money(self, metrics):
        """Input and output are apart, and their sum is the total; money is exact in cents."""
        metrics.tokens("openai-eu", "gpt-4o", 12, 30)
        metrics.cost("openai-eu", Decimal("0.0125"))
        metrics.cost_saved("cache", Decimal("0.5"))
        assert value(metrics, "tokens_used_total", provider="openai-eu", model="gpt-4o", type="input") == 12
        assert value(metrics, "tokens_used_total", provider="openai-eu", model="gpt-4o", type="output") == 30
        assert value(metrics, "cost_usd_total", provider="openai-eu") == 0.0125
        assert value(metrics, "cost_saved_usd_total", reason="cache") == 0.5

    def test_the_rest(self, metrics):
        """Each method reaches its own metric."""
        metrics.first_token("local", "llama3", 0.2)
        metrics.timeout("local")
        metrics.retry("local")
        metrics.failover()
        metrics.skip("local", "llama3", "BreakerOpen")
        metrics.breaker("local", "llama3", "half_open")
        metrics.cache_hit("exact", "billing")
        metrics.cache_miss("below-threshold", "billing")
        metrics.cache_size(7, 4096)
        metrics.embedder_shed()
        metrics.backend_up("redis", False)
        metrics.backend_error("redis")
        metrics.config_reload(success=False)
        metrics.spans("dropped", 3)
        metrics.log_dropped(2)
        metrics.loop_lag(0.25)
        metrics.stages([("parse", 0.0002), ("upstream", 1.5)])
        metrics.routed("below_threshold")
        got = samples(metrics)
        assert got["time_to_first_token_seconds_count", frozenset({("provider", "local"), ("model", "llama3")})] == 1
        assert got["timeouts_total", frozenset({("provider", "local")})] == 1
        assert got["retries_total", frozenset({("provider", "local")})] == 1
        assert got["failovers_total", frozenset()] == 1
        skip = frozenset({("provider", "local"), ("model", "llama3"), ("reason", "BreakerOpen")})
        assert got["candidates_skipped_total", skip] == 1
        assert got["breaker_state", frozenset({("provider", "local"), ("model", "llama3")})] == 1
        assert got["cache_hits_total", frozenset({("tier", "exact"), ("route", "billing")})] == 1
        assert got["cache_misses_total", frozenset({("reason", "below-threshold"), ("route", "billing")})] == 1
        assert got["cache_entries", frozenset()] == 7
        assert got["cache_size_bytes", frozenset()] == 4096
        assert got["embedder_shed_total", frozenset()] == 1
        assert got["backend_up", frozenset({("backend", "redis")})] == 0
        assert got["backend_errors_total", frozenset({("backend", "redis")})] == 1
        assert got["config_reloads_total", frozenset({("outcome", "failure")})] == 1
        assert got["spans_total", frozenset({("outcome", "dropped")})] == 3
        assert got["log_records_dropped_total", frozenset()] == 2
        assert got["event_loop_lag_seconds", frozenset()] == 0.25
        assert got["stage_duration_seconds_sum", frozenset({("stage", "upstream")})] == 1.5
        assert got["routings_total", frozenset({("outcome", "below_threshold")})] == 1

    def test_two_runtimes_in_one_process_do_not_share_figures(self, metrics):
        """There is no global registry."""
        metrics.failover()
        assert value(Metrics(), "failovers_total") == 0


class TestRender:
    @pytest.mark.parametrize("accept", [
        "", "*/*", "text/plain", "text/plain;version=0.0.4", "application/openmetrics-text;version=0.0.1",
        "application/openmetrics-text;q=0", "application/openmetrics-text;version=junk", ";;;,,=",
    ])
    def test_text_is_the_default(self, metrics, accept):
        """Whoever does not ask for OpenMetrics 1.0 gets the text format that everything reads, whatever it sends."""
        body, content_type = metrics.render(accept)
        assert content_type == "text/plain; version=0.0.4; charset=utf-8"
        assert b"# EOF" not in body
        assert list(parse_text(body.decode()))

    @pytest.mark.parametrize("accept", [
        "application/openmetrics-text",
        PROMETHEUS_ACCEPT,
    ])
    def test_openmetrics_for_whoever_asks(self, metrics, accept):
        """What Prometheus 2 and 3 send by default; the strict parser accepts the answer."""
        metrics.request_finished("local", "billing", 200, 0.1)
        body, content_type = metrics.render(accept)
        assert content_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        families = {family.name: family for family in parse_openmetrics(body.decode())}
        assert families["stratarouter_runtime_requests"].type == "counter"

    def test_there_are_no_created_series(self, metrics):
        """They double a scrape and nobody queries them."""
        metrics.request_finished("local", "billing", 200, 0.1)
        for accept in ("", "application/openmetrics-text"):
            assert b"_created" not in metrics.render(accept)[0]

    def test_versions_are_told(self, metrics):
        """Which build runs where is a query, not a guess."""
        import platform

        from stratarouter_runtime._version import __version__

        assert value(metrics, "build_info", version=__version__, python=platform.python_version()) == 1
