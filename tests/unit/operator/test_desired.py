"""The manifests, byte for byte, and what must hold of them whatever the configuration.

``UPDATE_GOLDEN=1`` writes the golden files again; the difference is then for the reviewer.
"""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders import pool, provider, runtime
from stratarouter_operator.cluster import OWNED, SERVICE_MONITOR, Manifest, controller_uid
from stratarouter_operator.desired import MANIFEST_HASH, TEMPLATE_HASH, Options, Owner, desired
from stratarouter_operator.release import accept
from stratarouter_runtime.config import fields

GOLDEN = Path(__file__).parents[2] / "golden" / "operator"
OWNER = Owner("assistant", "5f0c1f4e-0000-4000-8000-000000000001")
OPTIONS = Options(image="example.test/dataplane:1", service_monitors=True)

SECRET = {"name": "openai", "key": "apiKey"}
FULL = {
    "replicas": 3,
    "cache": {"backend": "redis", "redis": {"urlSecretRef": {"name": "redis.internal", "key": "url"}}, "embedder": {"type": "none"}},
    "state": {"backend": "postgresql", "dsnSecretRef": {"name": "postgres", "key": "dsn"}},
    "auth": {"apiKeysSecretRef": {"name": "assistant-keys"}, "adminKeysSecretRef": {"name": "assistant-admins"}},
    "observability": {"serviceMonitor": {"interval": "30s", "labels": {"release": "prometheus"}}},
    "server": {"terminationGraceSeconds": 90},
    "template": {
        "image": "mine/dataplane:2", "imagePullPolicy": "Always", "resources": {"limits": {"memory": "2Gi"}},
        "nodeSelector": {"disk": "fast"}, "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
        "annotations": {"mesh": "off"}},
}


def manifests(options: Options = OPTIONS, pools: list[Manifest] | None = None, **spec: Any) -> dict[str, Manifest]:
    document = runtime("assistant", namespace="default", generation=4, **spec)
    release = accept(document, pools or [pool("chat", provider("primary", credentialsSecretRef=SECRET), namespace="default")])
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in desired(release, OWNER, options)}


def template(**spec: Any) -> Manifest:
    return manifests(**spec)["Deployment/assistant"]["spec"]["template"]


@pytest.mark.parametrize(("name", "spec"), [("minimal", {}), ("full", FULL)])
def test_manifests_are_what_they_were(name: str, spec: dict[str, Any]) -> None:
    made = yaml.safe_dump_all(manifests(**spec).values(), sort_keys=True, width=120, explicit_start=True)
    file = GOLDEN / f"{name}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(made)
    assert made == file.read_text()


def test_the_same_input_gives_the_same_bytes() -> None:
    assert json.dumps(manifests(**FULL)) == json.dumps(manifests(**copy.deepcopy(FULL)))


def test_everything_is_owned_labelled_and_digested() -> None:
    for each in manifests(**FULL).values():
        assert controller_uid(each) == OWNER.uid
        labels = each["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "assistant"
        assert labels["app.kubernetes.io/managed-by"] == "stratarouter-operator"
        assert len(each["metadata"]["annotations"][MANIFEST_HASH]) == 10
        assert "replicas" not in each.get("spec", {})


def test_all_kinds_are_ones_the_operator_reads_again() -> None:
    assert {each["kind"] for each in manifests(**FULL).values()} == {kind.name for kind in (*OWNED, SERVICE_MONITOR)}


def test_what_pods_need_is_written_before_the_pods() -> None:
    kinds = [name.partition("/")[0] for name in manifests(**FULL)]
    assert kinds.index("ConfigMap") < kinds.index("Deployment")
    assert kinds.index("ServiceAccount") < kinds.index("Deployment")


def test_names_fit_whatever_the_resource_is_called() -> None:
    long = "a" * 45
    release = accept(runtime(long, namespace="default"), [pool("chat", namespace="default")])
    for each in desired(release, Owner(long, "u"), OPTIONS):
        assert len(each["metadata"]["name"]) <= 63


def test_pods_satisfy_the_restricted_level_and_have_no_token() -> None:
    pod = template(**FULL)["spec"]
    [container] = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert {next(iter(set(volume) - {"name"})) for volume in pod["volumes"]} <= {"configMap", "secret", "emptyDir"}


def test_every_secret_is_an_optional_folder_of_its_own() -> None:
    pod = template(**FULL)["spec"]
    volumes = {volume["name"]: volume["secret"] for volume in pod["volumes"] if "secret" in volume}
    assert sorted(each["secretName"] for each in volumes.values()) == [
        "assistant-admins", "assistant-keys", "openai", "postgres", "redis.internal"]
    assert all(each["optional"] for each in volumes.values())
    mounts = {mount["name"]: mount for mount in pod["containers"][0]["volumeMounts"]}
    for name, volume in volumes.items():
        assert mounts[name]["mountPath"] == f"/etc/stratarouter/secrets/{volume['secretName']}"
    assert not any("subPath" in mount for mount in mounts.values()), "the kubelet never refreshes a subPath"


def test_pods_see_the_snapshot_and_nothing_else_of_the_configmap() -> None:
    [config] = [volume["configMap"] for volume in template()["spec"]["volumes"] if "configMap" in volume]
    assert [item["path"] for item in config["items"]] == ["snapshot.yaml"]


def test_one_replica_has_no_disruption_budget() -> None:
    assert "PodDisruptionBudget/assistant" not in manifests(replicas=1)
    assert "PodDisruptionBudget/assistant" in manifests(replicas=2)


def test_a_servicemonitor_needs_the_api_the_metrics_and_the_wish() -> None:
    assert "ServiceMonitor/assistant" in manifests()
    assert "ServiceMonitor/assistant" not in manifests(Options("i", service_monitors=False))
    assert "ServiceMonitor/assistant" not in manifests(observability={"metrics": False})
    assert "ServiceMonitor/assistant" not in manifests(observability={"serviceMonitor": {"enabled": False}})


def test_a_users_label_cannot_take_ours_away() -> None:
    made = manifests(observability={"serviceMonitor": {"labels": {"app.kubernetes.io/managed-by": "helm", "a": "b"}}})
    labels = made["ServiceMonitor/assistant"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/managed-by"] == "stratarouter-operator"
    assert labels["a"] == "b"


def test_the_servicemonitor_selects_the_platform_service_alone() -> None:
    made = manifests()
    wanted = made["ServiceMonitor/assistant"]["spec"]["selector"]["matchLabels"].items()
    services = {name: each for name, each in made.items() if each["kind"] == "Service"}
    assert [name for name, each in services.items() if wanted <= each["metadata"]["labels"].items()] == ["Service/assistant-platform"]
    assert [port["port"] for port in services["Service/assistant"]["spec"]["ports"]] == [8080]
    assert services["Service/assistant-platform"]["spec"]["clusterIP"] == "None"


# --- hot and roll -----------------------------------------------------------------------------------------------------------

ROLLED: dict[str, dict[str, Any]] = {
    "server.terminationGraceSeconds": {"server": {"terminationGraceSeconds": 61}},
    "auth.apiKeysSecretRef.name": {"auth": {"apiKeysSecretRef": {"name": "keys"}}},
    "auth.adminKeysSecretRef.name": {"auth": {"apiKeysSecretRef": {"name": "keys"}, "adminKeysSecretRef": {"name": "admins"}}},
    "state.dsnSecretRef.name": {"state": {"dsnSecretRef": {"name": "postgres", "key": "dsn"}}},
    "cache.redis.urlSecretRef.name": {"cache": {"redis": {"urlSecretRef": {"name": "redis", "key": "url"}}}},
    "template.image": {"template": {"image": "mine:2"}},
    "template.imagePullPolicy": {"template": {"imagePullPolicy": "Always"}},
    "template.resources": {"template": {"resources": {"limits": {"cpu": "1"}}}},
    "template.nodeSelector": {"template": {"nodeSelector": {"a": "b"}}},
    "template.tolerations": {"template": {"tolerations": [{"operator": "Exists"}]}},
    "template.affinity": {"template": {"affinity": {"nodeAffinity": {}}}},
    "template.topologySpreadConstraints": {"template": {"topologySpreadConstraints": [{"maxSkew": 1}]}},
    "template.annotations": {"template": {"annotations": {"a": "b"}}},
}
"""For each ``roll`` field of RuntimeConfig, a value that is not its default."""


def test_each_roll_field_of_the_contract_has_a_case_here() -> None:
    assert {each.path for each in fields() if each.kind == "RuntimeConfig" and each.apply == "roll"} == set(ROLLED)


@pytest.mark.parametrize("path", sorted(ROLLED))
def test_a_roll_field_changes_the_template(path: str) -> None:
    changed = template(**ROLLED[path])
    assert changed["metadata"]["annotations"][TEMPLATE_HASH] != template()["metadata"]["annotations"][TEMPLATE_HASH]


HOT: list[dict[str, Any]] = [
    {"replicas": 5}, {"execution": {"maxRetries": 1}}, {"server": {"maxBodyBytes": 2048}},
    {"observability": {"logLevel": "debug", "tracing": {"enabled": True}, "serviceMonitor": {"interval": "5s"}}},
    {"cache": {"ttlSeconds": 9, "embedder": {"type": "none"}}},
    {"routes": [{"name": "billing", "pools": [{"name": "chat"}]}]},
]


@pytest.mark.parametrize("spec", HOT)
def test_a_hot_field_leaves_the_template_alone(spec: dict[str, Any]) -> None:
    assert template(**spec) == template()


def test_a_provider_that_uses_a_mounted_secret_is_hot_and_a_new_secret_rolls() -> None:
    one = [pool("chat", provider("primary", credentialsSecretRef=SECRET), namespace="default")]
    same = [pool("chat", provider("primary", credentialsSecretRef=SECRET),
                 provider("second", credentialsSecretRef={**SECRET, "key": "other"}), namespace="default")]
    new = [pool("chat", provider("primary", credentialsSecretRef={"name": "new", "key": "apiKey"}), namespace="default")]
    assert template(pools=same) == template(pools=one)
    assert template(pools=new) != template(pools=one)
