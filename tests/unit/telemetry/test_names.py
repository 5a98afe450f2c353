"""Names are API: prefixes, units and uniqueness hold for all of them, and the code has exactly what is described."""

from __future__ import annotations

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from stratarouter_runtime.telemetry import names
from stratarouter_runtime.telemetry.metrics import Metrics
from stratarouter_runtime.telemetry.names import Kind, Source

UNITS = ("_seconds", "_bytes", "_usd_total", "_total", "_info", "_state", "_up", "_entries", "_in_flight")


@pytest.mark.parametrize("metric", names.METRICS, ids=lambda metric: metric.name)
class TestMetric:
    def test_name_has_prefix_and_ends_with_its_unit(self, metric):
        """Whoever reads a name knows whose it is and what it counts in."""
        assert metric.name.startswith("stratarouter_runtime_")
        assert metric.name.endswith(UNITS)
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)

    def test_help_is_a_sentence(self, metric):
        """The reference page is made of these."""
        assert metric.help.endswith(".")
        assert all(label.help.endswith(".") for label in metric.labels)

    def test_only_histograms_have_buckets_and_they_rise(self, metric):
        """Buckets out of order would be refused by the client library at start, in production."""
        assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM)
        assert list(metric.buckets) == sorted(set(metric.buckets))

    def test_closed_labels_list_their_values_and_others_do_not(self, metric):
        """A closed label without values would turn everything into `other`."""
        for label in metric.labels:
            assert bool(label.values) == (label.source is Source.CLOSED)


def test_no_name_is_given_twice():
    """Two meanings of one name would be merged by whoever reads them."""
    for group in (names.METRICS, names.ATTRIBUTES, names.EVENTS, names.LOG_FIELDS):
        found = [each.name for each in group]
        assert sorted(set(found)) == sorted(found)


def test_scrape_has_exactly_the_described_families():
    """Nothing is measured that is not documented, and the other way round."""
    metrics = Metrics()
    metrics.refresh_process()
    body, _ = metrics.render()
    scraped = {family.name for family in text_string_to_metric_families(body.decode())}
    described = {re.sub("_total$", "", metric.name) for metric in names.METRICS}
    process = {re.sub("_total$", "", name) for name, _, _ in names.PROCESS_METRICS}
    assert scraped - process == described
    assert scraped & process in (process, set())  # the process collector needs /proc


def test_manuals_metrics_are_there_with_their_labels():
    """Dashboards made for the documented names work."""
    labels = {metric.name.removeprefix(names.PREFIX): {label.name for label in metric.labels} for metric in names.METRICS}
    assert labels["requests_total"] == {"provider", "route", "status"}
    assert labels["request_duration_seconds"] == {"provider", "route"}
    assert labels["requests_in_flight"] == set()
    assert {"cache_hits_total", "cache_misses_total", "cache_size_bytes"} <= labels.keys()
    assert labels["cost_usd_total"] == labels["timeouts_total"] == labels["retries_total"] == {"provider"}
    assert labels["tokens_used_total"] >= {"provider", "model"}
    assert labels["errors_total"] == {"type", "provider"}
    assert labels["cost_saved_usd_total"] == {"reason"}


def test_attributes_are_of_the_conventions_or_ours():
    """What is not `strata.*` must be a name of the OpenTelemetry conventions as their package spells it."""
    from opentelemetry.semconv._incubating.attributes import (
        error_attributes,
        gen_ai_attributes,
        http_attributes,
        k8s_attributes,
        server_attributes,
        service_attributes,
        url_attributes,
    )

    modules = (error_attributes, gen_ai_attributes, http_attributes, k8s_attributes, server_attributes, service_attributes,
               url_attributes)
    known = {value for module in modules for value in vars(module).values() if isinstance(value, str)}
    assert {term.name for term in names.ATTRIBUTES if not term.name.startswith("strata.")} <= known


def test_vendors_are_the_conventions_words_where_it_has_them():
    """`gen_ai.provider.name` uses a well-known value wherever one applies."""
    from opentelemetry.semconv._incubating.attributes import gen_ai_attributes

    known = {value.value for value in gen_ai_attributes.GenAiProviderNameValues}
    ours = {"ollama", "vllm", "openai_compatible"}
    assert set(names.VENDORS.values()) - ours <= known
    assert not ours & known
