"""The whole path: from `kubectl apply -f examples/kubernetes/` to an answered, cached, streamed and measured call."""

from __future__ import annotations

import time

import pytest
from cluster import ROOT, SYSTEM, Namespace, kubectl, series, setting, wait_for, wait_for_prometheus
from dataplane import DataPlane, answered_from_cache, is_hit

EXAMPLE_REDIS = "examples/kubernetes/05-redis.yaml"
TARGET_SECONDS = 2.0
"""From a change of the RuntimeConfig to its acknowledgement by every pod."""


@pytest.fixture(scope="module")
def assistant(namespace: Namespace) -> DataPlane:
    """The example, applied as it is."""
    namespace.kubectl("apply", "-f", "examples/kubernetes/")
    if setting("E2E_REDIS") != EXAMPLE_REDIS:
        namespace.apply_file(ROOT / setting("E2E_REDIS"))
    plane = DataPlane(namespace)
    namespace.wait("condition=Ready", "runtimeconfig/assistant", 180)
    plane.wait_ready()
    return plane


def test_example_runs_two_pods_that_have_acknowledged_it(assistant):
    status = assistant.status()
    assert status["replicas"] == status["updatedReplicas"] == 2
    assert {assistant.config(pod)["hash"] for pod in assistant.pods()} == {status["configHash"]}
    assert {each["type"]: each["status"] for each in status["conditions"]} == {
        "Accepted": "True", "ResolvedRefs": "True", "Progressing": "False", "Ready": "True", "Degraded": "False"}
    assert status["endpoint"] == f"http://assistant.{assistant.namespace.name}.svc:8080"


def test_pods_of_both_images_run_under_the_restricted_level(assistant):
    """Both namespaces enforce it, so a pod that does not meet it would not exist."""
    for namespace in (assistant.namespace, Namespace(SYSTEM)):
        labels = kubectl("get", "namespace", namespace.name, "-o", "jsonpath={.metadata.labels}")
        assert '"pod-security.kubernetes.io/enforce":"restricted"' in labels
    running = [*assistant.pods(), *Namespace(SYSTEM).all("pods", component="operator")]
    assert running
    for pod in running:
        (container,) = pod["spec"]["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert pod["status"]["phase"] == "Running"


def test_sdk_call_through_the_service_is_answered(assistant):
    result = assistant.call("Where is my parcel 17?")
    assert "Where is my parcel 17?" in result["text"]
    assert result["headers"]["x-strata-provider"] == "primary"
    assert not is_hit(result)


def test_same_call_sent_to_the_other_pod_is_a_cache_hit(assistant):
    def ask(attempt):
        call = {"model": "gpt-4o-mini", "prompt": f"How do I return {attempt + 2} pairs of shoes?"}
        return assistant.namespace.calls(*({"base_url": url, **call} for url in assistant.pod_urls()))
    first, second = answered_from_cache(ask)
    assert second["text"] == first["text"]
    print(f"\n  miss on one pod {first['seconds'] * 1000:.0f} ms, hit on the other {second['seconds'] * 1000:.0f} ms (SDK start included)")


def test_paraphrase_sent_to_the_other_pod_is_a_cache_hit_and_another_number_is_not(assistant):
    def ask(attempt):
        one, other = assistant.pod_urls()
        order = 4711 + 10 * attempt
        return assistant.namespace.calls(*({"base_url": url, "model": "gpt-4o-mini", "prompt": prompt} for url, prompt in (
            (one, f"How can I reset my password for order {order}?"),
            (other, f"How do I reset my password for order {order + 1}?"),
            (other, f"How do I reset my password for order {order}?"))))
    first, near, alike = answered_from_cache(ask)
    assert alike["text"] == first["text"]
    assert not is_hit(near)
    assert near["text"] != first["text"]


def test_stream_arrives_as_it_is_made(assistant):
    """The fake vendor sends some thirty frames, 60 ms apart."""
    result = assistant.call("Tell me a story, piece by piece.", stream=True)
    assert result["chunks"] >= 20
    assert result["first"] < result["seconds"] / 2
    print(f"\n  first token after {result['first'] * 1000:.0f} ms, last after {result['seconds'] * 1000:.0f} ms, {result['chunks']} chunks")


def test_prometheus_has_the_request_counters_of_both_pods(assistant):
    names = {pod["metadata"]["name"] for pod in assistant.pods()}
    namespace = assistant.namespace.name
    expression = f'stratarouter_runtime_requests_total{{namespace="{namespace}", job="assistant-platform", status="200"}} > 0'
    wait_for_prometheus("counters of both pods", lambda: {each["metric"]["pod"] for each in series(expression)} == names, 240)


def test_change_is_acknowledged_by_every_pod_in_under_two_seconds_without_a_restart(assistant):
    """Measured from the start of `kubectl patch` to the status that says so."""
    before = assistant.incarnations()
    route = {"name": "fresh", "pools": [{"name": "chat", "model": "gpt-4o"}]}
    kept = assistant.read()["spec"]["routes"]
    changes = [{"cache": {"ttlSeconds": 1800}}, {"execution": {"maxRetries": 2}}, {"server": {"keepaliveSeconds": 10}},
               {"observability": {"logLevel": "warning"}}, {"routes": [*kept, route]}]
    seconds = [assistant.acknowledged(change) for change in changes]
    print(f"\n  acknowledged by both pods after {', '.join(f'{each:.2f}' for each in seconds)} s")
    assert max(seconds) < TARGET_SECONDS
    for url in assistant.pod_urls():
        (result,) = assistant.namespace.calls({"base_url": url, "model": "fresh", "prompt": "Is the new route there?"})
        assert result["headers"]["x-strata-route"] == "fresh"
    assert assistant.incarnations() == before


def test_other_number_of_replicas_keeps_the_running_pods(assistant):
    before = assistant.incarnations()
    assistant.change({"replicas": 3})
    wait_for("three pods", assistant.settled, 90)
    assert before.items() <= assistant.incarnations().items()
    assistant.change({"replicas": 2})
    wait_for("two pods", assistant.settled, 90)


def test_service_that_was_deleted_by_hand_is_made_again(assistant):
    old = assistant.namespace.get("service", "assistant")["metadata"]["uid"]
    began = time.monotonic()
    assistant.namespace.kubectl("delete", "service", "assistant")
    wait_for("the Service", lambda: assistant.namespace.exists("service", "assistant"), 30, every=0.05)
    print(f"\n  repaired {time.monotonic() - began:.2f} s after kubectl delete began")
    assert assistant.namespace.get("service", "assistant")["metadata"]["uid"] != old
    wait_for("an answer", lambda: assistant.call("Is the service back?"), 30)


def test_field_that_was_changed_by_hand_is_put_back(assistant):
    assistant.namespace.patch("service", "assistant", {"spec": {"selector": {"app.kubernetes.io/instance": "nobody"}}})
    wait_for("the selector", lambda: assistant.namespace.get("service", "assistant")["spec"]["selector"]
             ["app.kubernetes.io/instance"] == "assistant", 30)


def test_deleting_the_runtimeconfig_leaves_nothing_behind(assistant):
    """Of every kind that the API server can list, Events aside, which Kubernetes itself lets expire."""
    namespace = assistant.namespace
    kinds = [each for each in kubectl("api-resources", "--namespaced", "--verbs=list", "-o", "name").split()
             if not each.startswith("events") and not each.endswith("metrics.k8s.io")]
    began = time.monotonic()
    namespace.kubectl("delete", "runtimeconfig", "assistant")

    def left() -> list[str]:
        everything = namespace.kubectl("get", ",".join(kinds), "-o", "name").split()
        return [each for each in everything if "assistant" in each]
    wait_for("everything to go", lambda: not left(), 120, every=1)
    assert not namespace.kubectl("get", ",".join(kinds), "-l", "app.kubernetes.io/managed-by=stratarouter-operator", "-o", "name")
    print(f"\n  all gone {time.monotonic() - began:.0f} s after kubectl delete began")
