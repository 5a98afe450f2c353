"""The real API server takes the CRDs, fills in defaults, and refuses bad resources with the field's name."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from builders import pool, provider, runtime

if not os.environ.get("STRATA_TEST_KUBECONFIG"):
    pytest.skip("STRATA_TEST_KUBECONFIG names no cluster (`make e2e` sets it)", allow_module_level=True)

Kubectl = Callable[..., str]
SECRET = {"name": "openai", "key": "apiKey"}


def refused(kubectl: Kubectl, namespace: str, document: dict[str, Any]) -> str:
    """The API server's words; fails where it accepts."""
    answer = kubectl("--namespace", namespace, "create", "--filename", "-", given=json.dumps(document), check=False)
    assert "created" not in answer
    return answer


def changed(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with the field at ``path`` set, or taken out where ``value`` is None."""
    made = copy.deepcopy(document)
    holder: Any = made
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in parents:
        holder = holder[part] if isinstance(holder, list) else holder.setdefault(part, {})
    if value is None:
        del holder[last]
    else:
        holder[last] = value
    return made


@pytest.mark.parametrize(("path", "value", "named"), [
    ("metadata.name", "a" * 46, "metadata.name must be a DNS-1035 label"),
    ("metadata.name", "1st", "metadata.name must be a DNS-1035 label"),
    ("spec", None, "spec"),
    ("spec.defaultRoute", None, "a defaultRoute or at least one route is required"),
    ("spec.defaultRoute.pools", [], "spec.defaultRoute.pools"),
    ("spec.replicas", -1, "spec.replicas"),
    ("spec.replicas", "many", "spec.replicas"),
    ("spec.execution.timeoutSeconds", 0, "spec.execution.timeoutSeconds"),
    ("spec.execution.unknown", 1, 'unknown field "spec.execution.unknown"'),
    ("spec.cache.backend", "disk", "spec.cache.backend"),
    ("spec.cache.backend", "redis", "redis.urlSecretRef is required for backend redis"),
    ("spec.state.backend", "postgresql", "dsnSecretRef is required for backend postgresql"),
    ("spec.cache.embedder.type", "pool", "pool and model are required for type pool"),
    ("spec.observability.logLevel", "loud", "spec.observability.logLevel"),
    ("spec.observability.serviceMonitor.interval", "often", "spec.observability.serviceMonitor.interval"),
    ("spec.routes", [{"name": "auto", "pools": [{"name": "chat"}]}], "'default' and 'auto' are reserved"),
    ("spec.routes", [{"name": "a", "pools": [{"name": "chat"}]}] * 2, "spec.routes[1]"),
    ("spec.routes", [{"pools": [{"name": "chat"}]}], "spec.routes[0].name"),
    ("spec.routes", [{"name": "a", "utterances": ["x"], "pools": [{"name": "chat"}]}], "routes with utterances need an embedder"),
    ("spec", {"defaultRoute": {"pools": [{"name": "chat"}]}, "routes": [
        {"name": f"a{number}", "utterances": ["x"] * 256, "pools": [{"name": "chat"}]} for number in range(9)]},
     "routes have more than 2048 utterances in all"),
    ("spec.server.terminationGraceSeconds", 1, "spec.server.terminationGraceSeconds"),
])
def test_a_bad_runtimeconfig_is_refused(kubectl: Kubectl, namespace: str, path: str, value: Any, named: str) -> None:
    assert named in refused(kubectl, namespace, changed(runtime("assistant"), path, value))


@pytest.mark.parametrize(("path", "value", "named"), [
    ("spec.providers", [], "spec.providers"),
    ("spec.providers.0.type", "telepathy", "spec.providers[0].type"),
    ("spec.providers.0.endpoint", None, "endpoint is required for type openaicompatible"),
    ("spec.providers.0.endpoint", "ftp://nowhere", "spec.providers[0].endpoint"),
    ("spec.providers.0.endpoint", "http://user:secret@somewhere", "spec.providers[0].endpoint"),
    ("spec.providers.0.models", [], "spec.providers[0].models"),
    ("spec.providers.0.models.0.price", {"inputPerMillionTokens": 0.5, "outputPerMillionTokens": "1"},
     "spec.providers[0].models[0].price.inputPerMillionTokens"),
    ("spec.providers.0.weight", 10_001, "spec.providers[0].weight"),
    ("spec.providers.0.credentialsSecretRef", {"name": "Bad_Name", "key": "k"}, "spec.providers[0].credentialsSecretRef.name"),
    ("spec.strategy", "hope", "spec.strategy"),
])
def test_a_bad_providerpool_is_refused(kubectl: Kubectl, namespace: str, path: str, value: Any, named: str) -> None:
    assert named in refused(kubectl, namespace, changed(pool("chat"), path, value))


def test_defaults_are_filled_in_all_the_way_down(kubectl: Kubectl, namespace: str) -> None:
    minimal = {"apiVersion": "stratarouter.io/v1alpha1", "kind": "RuntimeConfig", "metadata": {"name": "assistant"},
               "spec": {"defaultRoute": {"pools": [{"name": "chat"}]}}}
    kubectl("--namespace", namespace, "create", "--filename", "-", given=json.dumps(minimal))
    spec = json.loads(kubectl("--namespace", namespace, "get", "rtc", "assistant", "--output", "json"))["spec"]
    assert spec["replicas"] == 2
    assert spec["execution"] == {"timeoutSeconds": 60, "maxRetries": 3, "retryDelayMs": 100}
    assert spec["cache"]["embedder"]["type"] == "minilm"
    assert spec["observability"]["serviceMonitor"] == {"enabled": True, "interval": "15s", "labels": {}}


def test_what_the_api_server_stores_is_what_the_contract_reads(kubectl: Kubectl, namespace: str) -> None:
    """Its defaults are the contract's: a snapshot of the stored resources is valid and says the same."""
    from stratarouter_operator.release import accept

    documents = [runtime("assistant"), pool("chat", provider("primary", credentialsSecretRef=SECRET))]
    for document in documents:
        kubectl("--namespace", namespace, "create", "--filename", "-", given=json.dumps(document))
    stored = [json.loads(kubectl("--namespace", namespace, "get", kind, name, "--output", "json"))
              for kind, name in (("rtc", "assistant"), ("ppool", "chat"))]
    assert accept(stored[0], stored[1:]).runtime == accept(documents[0], documents[1:]).runtime


def test_kubectl_scale_works(kubectl: Kubectl, namespace: str) -> None:
    kubectl("--namespace", namespace, "create", "--filename", "-", given=json.dumps(runtime("assistant")))
    kubectl("--namespace", namespace, "scale", "rtc/assistant", "--replicas", "4")
    assert kubectl("--namespace", namespace, "get", "rtc", "assistant", "--output", "jsonpath={.spec.replicas}") == "4"


def test_apply_merges_keyed_lists_and_keeps_fragments(kubectl: Kubectl, namespace: str) -> None:
    document = runtime("assistant", template={"affinity": {"nodeAffinity": {"anything": [1]}}, "tolerations": [{"operator": "Exists"}]},
                       routes=[{"name": "one", "pools": [{"name": "chat"}, {"name": "chat", "model": "other"}]}])
    kubectl("--namespace", namespace, "apply", "--server-side", "--filename", "-", given=json.dumps(document))
    second = runtime("assistant", routes=[{"name": "two", "pools": [{"name": "chat"}]}])
    kubectl("--namespace", namespace, "apply", "--server-side", "--field-manager", "somebody", "--force-conflicts", "--filename", "-",
            given=json.dumps(second))
    spec = json.loads(kubectl("--namespace", namespace, "get", "rtc", "assistant", "--output", "json"))["spec"]
    assert [route["name"] for route in spec["routes"]] == ["one", "two"]
    assert spec["routes"][0]["pools"] == [{"name": "chat"}, {"name": "chat", "model": "other"}]
    assert spec["template"]["affinity"] == {"nodeAffinity": {"anything": [1]}}
    assert spec["template"]["tolerations"] == [{"operator": "Exists"}]
