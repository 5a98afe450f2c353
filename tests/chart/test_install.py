"""What the chart installs: the operator, its rights, the CustomResourceDefinitions."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from stratarouter_operator import cluster, settings
from stratarouter_runtime._version import __version__

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/stratarouter-runtime"
WATCHED = {"get", "list", "watch"}
OWN = {"get", "list", "watch", "create", "patch", "delete"}
PROMETHEUS_OPERATOR = ("monitoring.coreos.com/v1/ServiceMonitor", "monitoring.coreos.com/v1/PrometheusRule")


def only(objects: list[dict[str, Any]], kind: str, name: str = "") -> dict[str, Any]:
    found = [each for each in objects if each["kind"] == kind and each["metadata"]["name"].endswith(name)]
    assert len(found) == 1, f"{kind} {name}: {[each['metadata']['name'] for each in found]}"
    return found[0]


def kinds(objects):
    return {each["kind"] for each in objects}


def operator_container(objects):
    return only(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]


def granted(role):
    """(API group, resource) to verbs."""
    return {(group, resource): set(rule["verbs"]) for rule in role["rules"]
            for group in rule["apiGroups"] for resource in rule["resources"]}


def test_helm_lint_finds_nothing_to_warn_about(helm):
    done = subprocess.run([helm, "lint", "--strict", str(CHART)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_chart_and_package_have_one_version():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__


def test_images_default_to_the_charts_own_version(objects):
    container = operator_container(objects)
    assert container["image"] == f"stratarouter/operator:{__version__}"
    assert f"--dataplane-image=stratarouter/dataplane:{__version__}" in container["args"]


def test_images_can_be_named_and_pinned(render):
    container = operator_container(render("image.repository=r/o", "image.tag=1@sha256:ab", "dataplane.image.repository=r/d",
                                          "dataplane.image.tag=v2"))
    assert container["image"] == "r/o:1@sha256:ab"
    assert "--dataplane-image=r/d:v2" in container["args"]


def test_operator_understands_every_argument_it_is_given(render, tmp_path):
    args = operator_container(render("watchNamespaces={a,b}", "logLevel=debug", "resyncSeconds=7"))["args"]
    environment = {"POD_NAME": "operator-0", "POD_NAMESPACE": "system"}
    read = settings.parse(args, environment, namespace_file=tmp_path / "none")
    assert read.watch_namespaces == ("a", "b")
    assert (read.log_level, read.resync_seconds) == ("debug", 7)
    assert (read.identity, read.lease_namespace, read.elects) == ("operator-0", "system", True)


def test_probes_and_scrapes_reach_the_ports_that_the_operator_listens_on(objects):
    defaults = settings.Settings()
    ports = {each["name"]: each["containerPort"] for each in operator_container(objects)["ports"]}
    assert ports == {"health": defaults.health_port, "metrics": defaults.metrics_port}


def test_operator_meets_the_restricted_pod_security_level(objects):
    """As the level is written: https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted."""
    pod = only(objects, "Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC", "volumes"} & set(pod)
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["readOnlyRootFilesystem"] is True


def test_operator_may_do_what_its_table_of_kinds_needs_and_nothing_more(objects):
    expected = {(kind.group, kind.plural): OWN for kind in cluster.OWNED}
    expected |= {(kind.group, kind.plural): WATCHED for kind in (cluster.RUNTIME_CONFIG, cluster.PROVIDER_POOL)}
    expected |= {(kind.group, f"{kind.plural}/status"): {"patch"} for kind in (cluster.RUNTIME_CONFIG, cluster.PROVIDER_POOL)}
    expected |= {
        ("apps", "deployments/scale"): {"patch"},
        ("", "pods"): {"list", "watch", "patch"},
        ("monitoring.coreos.com", "servicemonitors"): OWN - {"watch"},
    }
    assert granted(only(objects, "ClusterRole", "stratarouter-runtime")) == expected
    assert granted(only(objects, "Role", "-lease")) == {("coordination.k8s.io", "leases"): {"get", "update"}}


@pytest.mark.parametrize("values", [(), ("watchNamespaces={a,b}",)], ids=["everywhere", "in-namespaces"])
def test_no_right_on_secrets_or_on_pods_from_within(render, values):
    for each in render(*values):
        for rule in each.get("rules", ()):
            assert not {"secrets", "pods/proxy", "pods/exec", "*"} & {*rule["resources"], *rule["verbs"], *rule["apiGroups"]}


def test_watched_namespaces_need_roles_there_and_no_cluster_role(render):
    made = render("watchNamespaces={a,b}", "rbac.aggregateToEdit=false")
    assert not {"ClusterRole", "ClusterRoleBinding"} & kinds(made)
    by_namespace = {each["metadata"]["namespace"]: each for each in made if each["kind"] == "Role" and each["metadata"]["namespace"] != "system"}
    assert set(by_namespace) == {"a", "b"}
    assert granted(by_namespace["a"]) == granted(only(render(), "ClusterRole", "stratarouter-runtime"))
    bound = {each["metadata"]["namespace"] for each in made if each["kind"] == "RoleBinding"}
    assert bound == {"a", "b", "system"}


def test_editors_and_admins_may_write_the_resources_and_viewers_get_nothing(objects):
    role = only(objects, "ClusterRole", "-edit")
    labels = {key: value for key, value in role["metadata"]["labels"].items() if "aggregate" in key}
    assert labels == {"rbac.authorization.k8s.io/aggregate-to-edit": "true", "rbac.authorization.k8s.io/aggregate-to-admin": "true"}
    assert {group for group, _ in granted(role)} == {"stratarouter.io"}


def test_custom_resource_definitions_are_upgraded_with_the_chart_and_outlive_it(objects):
    made = {each["metadata"]["name"]: each for each in objects if each["kind"] == "CustomResourceDefinition"}
    plain = [yaml.safe_load(file.read_text()) for file in sorted((ROOT / "crds").glob("*.yaml"))]
    assert set(made) == {each["metadata"]["name"] for each in plain}
    for each in plain:
        assert made[each["metadata"]["name"]]["spec"] == each["spec"]
        assert made[each["metadata"]["name"]]["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_custom_resource_definitions_can_be_left_to_kubectl(render):
    assert "CustomResourceDefinition" not in kinds(render("crds.enabled=false"))


def test_names_of_long_releases_stay_within_what_kubernetes_takes(render):
    for each in render(release="r" * 53, api=PROMETHEUS_OPERATOR):
        assert len(each["metadata"]["name"]) <= 63
