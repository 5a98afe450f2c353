"""Dashboard, alerts and the operator's ServiceMonitor: rendered where they can live, and about metrics that exist."""

from __future__ import annotations

import json
import re

import pytest

from stratarouter_operator.metrics import Metrics
from stratarouter_runtime.telemetry import names

PROMETHEUS_OPERATOR = ("monitoring.coreos.com/v1/ServiceMonitor", "monitoring.coreos.com/v1/PrometheusRule")
ALERTS = {"StrataRouterErrorRate", "StrataRouterLatency", "StrataRouterBreakerOpen", "StrataRouterCacheHitRateDrop",
          "StrataRouterConfigurationUnacknowledged", "StrataRouterStateDropped"}
MONITORING_KINDS = {"ServiceMonitor", "PrometheusRule"}


def of_kind(objects, kind):
    return [each for each in objects if each["kind"] == kind]


def known_series():
    """Names of all series that exist: of the data plane and of the operator."""
    known = {name for name, _, _ in names.PROCESS_METRICS}
    for metric in names.METRICS:
        known |= {metric.name} if metric.kind != names.Kind.HISTOGRAM else {metric.name + suffix for suffix in ("_bucket", "_sum", "_count")}
    text = Metrics().expose().decode()
    return known | {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}


def labels_of(series):
    """The labels that a series of the data plane has."""
    metric = next((each for each in names.METRICS if each.name == series or series.startswith(each.name + "_")), None)
    return {label.name for label in metric.labels} if metric else set()


def series_in(expression):
    expression = expression.replace("(hits|misses)", "hits") if "__name__" in expression else expression
    return set(re.findall(r"stratarouter_(?:runtime|operator)_[a-z_]+", expression))


def rules(monitored):
    (rule,) = of_kind(monitored, "PrometheusRule")
    return {each["alert"]: each for group in rule["spec"]["groups"] for each in group["rules"]}


def dashboard(objects):
    (found,) = [each for each in of_kind(objects, "ConfigMap") if "grafana_dashboard" in each["metadata"]["labels"]]
    return json.loads(found["data"]["stratarouter-runtime.json"])


def queries(board):
    return [(panel["title"], target["expr"]) for panel in board["panels"] for target in panel.get("targets", ())]


def test_objects_of_the_prometheus_operator_need_its_api(objects, monitored):
    assert not MONITORING_KINDS & {each["kind"] for each in objects}
    assert {each["kind"] for each in monitored} >= MONITORING_KINDS


def test_each_is_rendered_only_where_its_own_kind_is_known(render):
    made = render(api=PROMETHEUS_OPERATOR[:1])
    assert MONITORING_KINDS & {each["kind"] for each in made} == {"ServiceMonitor"}


def test_objects_of_the_prometheus_operator_can_be_forced(render):
    assert {each["kind"] for each in render("monitoring.force=true")} >= MONITORING_KINDS


@pytest.mark.parametrize(("value", "kind"), [("serviceMonitor", "ServiceMonitor"), ("rules", "PrometheusRule")])
def test_each_can_be_switched_off(render, value, kind):
    made = render(f"monitoring.{value}.enabled=false", api=PROMETHEUS_OPERATOR)
    assert MONITORING_KINDS & {each["kind"] for each in made} == MONITORING_KINDS - {kind}


def test_dashboard_can_be_switched_off(render):
    assert not of_kind(render("monitoring.dashboard.enabled=false"), "ConfigMap")


def test_all_carry_the_labels_by_which_a_prometheus_selects(render):
    for each in render("monitoring.labels.release=kube-prometheus-stack", api=PROMETHEUS_OPERATOR):
        if each["kind"] in MONITORING_KINDS:
            assert each["metadata"]["labels"]["release"] == "kube-prometheus-stack"


def test_the_operators_series_keep_the_namespace_of_the_runtimeconfig(monitored):
    """Without honorLabels Prometheus would put the operator's own namespace over it."""
    (monitor,) = of_kind(monitored, "ServiceMonitor")
    assert monitor["spec"]["endpoints"][0]["honorLabels"] is True


def test_the_operators_service_monitor_selects_its_service(monitored):
    (monitor,) = of_kind(monitored, "ServiceMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    (service,) = [each for each in of_kind(monitored, "Service") if wanted <= each["metadata"]["labels"].items()]
    assert monitor["spec"]["endpoints"][0]["port"] in [port["name"] for port in service["spec"]["ports"]]


def test_there_are_six_alerts_and_each_says_what_is_wrong_and_where_to_look(monitored):
    found = rules(monitored)
    assert set(found) == ALERTS
    for alert in found.values():
        assert alert["labels"]["severity"] in ("warning", "critical")
        assert {"summary", "description"} <= set(alert["annotations"])


def test_alerts_use_series_and_labels_that_exist(monitored):
    scrape = {"namespace", "job", "pod", "runtimeconfig", "le"}
    for alert in rules(monitored).values():
        used = series_in(alert["expr"])
        assert used
        assert used <= known_series()
        available = scrape.union(*(labels_of(series) for series in used))
        grouped = {label.strip() for group in re.findall(r"by \(([^)]*)\)", alert["expr"]) for label in group.split(",")}
        assert grouped <= available, alert["alert"]


def test_thresholds_and_windows_are_values(render):
    made = render("monitoring.rules.errorRate.ratio=0.2", "monitoring.rules.errorRate.window=1m", "monitoring.rules.errorRate.for=3m",
                  api=PROMETHEUS_OPERATOR)
    alert = rules(made)["StrataRouterErrorRate"]
    assert "> 0.2" in alert["expr"]
    assert "[1m]" in alert["expr"]
    assert alert["for"] == "3m"


def test_dashboard_queries_use_series_and_labels_that_exist(objects):
    for title, query in queries(dashboard(objects)):
        used = series_in(query)
        assert used, title
        assert used <= known_series(), title


def test_every_panel_says_what_it_shows_and_uses_the_chosen_data_source(objects):
    for panel in dashboard(objects)["panels"]:
        if panel["type"] != "row":
            assert panel["description"], panel["title"]
            assert panel["datasource"]["uid"] == "${datasource}"


def test_panels_do_not_overlap(objects):
    taken = set()
    for panel in dashboard(objects)["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
