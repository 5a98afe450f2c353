"""Each alert's expression and each query of the dashboard, run by the real Prometheus over data that makes them speak."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from cluster import RELEASE, ROOT, Namespace, Object, prometheus, series, setting, wait_for, wait_for_prometheus
from dataplane import DataPlane, provider, provider_pool, runtime_config, secret

ALERTS = ("StrataRouterErrorRate", "StrataRouterLatency", "StrataRouterBreakerOpen", "StrataRouterCacheHitRateDrop",
          "StrataRouterStateDropped", "StrataRouterConfigurationUnacknowledged")
DASHBOARD = json.loads((ROOT / "charts/stratarouter-runtime/dashboards/stratarouter-runtime.json").read_text())
QUERIES = [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
HITS_SECONDS = 25


@pytest.fixture(scope="module")
def watched(namespace: Namespace) -> Iterator[DataPlane]:
    """A data plane that Prometheus scrapes, and all that monitoring is there for: hits and then none of them, slow
    answers, a route whose only provider fails, a failover, feedback, records that a missing database loses, and a pod that
    says nothing."""
    label, _, value = setting("E2E_MONITOR_LABEL").partition("=")
    monitored = {"serviceMonitor": {"interval": "2s", "labels": {label: value}}}
    broken = provider("broken", "vendor-primary:9999", "vendor", circuitBreaker={"consecutiveFailures": 3, "openSeconds": 3600})
    broken["models"][0]["upstreamName"] = "gpt-4o"
    namespace.vendor("vendor-primary:9999").fail("http_500", model="gpt-4o")
    namespace.apply(
        secret("vendor", apiKey="sk-demo-this-key-opens-nothing"),
        provider_pool("chat", provider("primary", "vendor-primary:9999", "vendor")), provider_pool("doomed", broken),
        runtime_config("watched", observability=monitored, state={
            "backend": "postgresql", "dsnSecretRef": {"name": "absent", "key": "dsn"}}, routes=[
            {"name": "doomed", "pools": [{"name": "doomed", "model": "gpt-4o-mini"}]},
            {"name": "hop", "pools": [{"name": "doomed", "model": "gpt-4o-mini"}, {"name": "chat", "model": "gpt-4o-mini"}]}]),
        runtime_config("silent", template={"image": setting("E2E_IMAGE")}, server={"terminationGraceSeconds": 6}))
    plane = DataPlane(namespace, "watched")
    plane.wait_ready()
    wait_for_prometheus("the scrape", lambda: series(f'up{{namespace="{namespace.name}", job="watched-platform"}} == 1'), 240)
    _hits(plane)
    with namespace.load(plane.url, "gpt-4o-mini", 4):  # nothing but misses, every third a slow stream
        yield plane


def _hits(plane: DataPlane) -> None:
    # `hop` and `doomed` share their primary, and so their cache entries: only another prompt makes `doomed` fail.
    asked = [{"base_url": plane.url, "model": model, "prompt": f"The same of {model} again."}
             for model in (*["gpt-4o-mini"] * 20, "hop", "doomed")]
    began = time.monotonic()
    judged: list[Object] = []
    while time.monotonic() - began < HITS_SECONDS:
        first, *_ = plane.namespace.calls(*asked, *judged)
        judged = [{"base_url": plane.url, "feedback": first["headers"]["x-strata-execution-id"], "correct": True}]


def test_prometheus_has_taken_the_rules_and_finds_no_fault_in_them(watched):
    def rules() -> dict[str, str]:
        found = {rule["name"]: rule.get("lastError", "") for group in prometheus("rules")["groups"] for rule in group["rules"]
                 if group["name"] == RELEASE and rule["health"] == "ok"}
        return found if set(found) == set(ALERTS) else {}
    assert set(wait_for_prometheus("the rules", rules, 240).values()) == {""}


@pytest.mark.parametrize("alert", ALERTS)
def test_alert_fires_when_what_it_is_about_is_the_case(watched, alert):
    # An alert that has fired meanwhile and is over has fired.
    expression = f'last_over_time(ALERTS{{alertname="{alert}", alertstate="firing", namespace="{watched.namespace.name}"}}[15m])'
    (found, *_) = wait_for(f"{alert} to fire", lambda: series(expression), 90, every=1)
    print(f"\n  {alert}: { {key: value for key, value in found['metric'].items() if not key.startswith('alert')} }")


@pytest.mark.parametrize(("title", "query"), QUERIES, ids=[title for title, _ in QUERIES])
def test_dashboard_query_returns_data(watched, title, query):
    """With the variables as Grafana would fill them in for this data plane."""
    for name, value in (("$__rate_interval", "1m"), ("$namespace", watched.namespace.name), ("$job", "watched-platform")):
        query = query.replace(name, value)
    found = wait_for(f"data for {title}: {query}", lambda: series(query), 30, every=1)
    assert any(each["value"][1] != "NaN" for each in found)
