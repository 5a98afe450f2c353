"""An operator that serves chosen namespaces has rights there and nowhere else, and needs no more."""

from __future__ import annotations

import pytest
from cluster import RELEASE, ROOT, CommandError, Namespace, helm, kubectl
from dataplane import DataPlane, provider, provider_pool, runtime_config, secret


@pytest.fixture(scope="module")
def restricted(namespace: Namespace, system: Namespace) -> Namespace:
    """The release as it is, bound to this module's namespace."""
    helm("upgrade", RELEASE, str(ROOT / "charts/stratarouter-runtime"), "--namespace", system.name, "--reuse-values",
         "--set", f"watchNamespaces={{{namespace.name}}}", "--set", "rbac.aggregateToEdit=false", "--wait", "--timeout", "2m")
    return namespace


def test_operator_has_no_rights_beyond_the_namespaces_it_serves(restricted, system):
    account = f"system:serviceaccount:{system.name}:{RELEASE}"

    def allowed(*scope: str) -> bool:
        try:
            return kubectl("auth", "can-i", "list", "deployments", "--as", account, *scope).strip() == "yes"
        except CommandError:  # a no is an exit status
            return False
    assert allowed("--namespace", restricted.name)
    assert not allowed("--namespace", "default")
    assert not allowed("--all-namespaces")
    assert RELEASE not in kubectl("get", "clusterroles,clusterrolebindings", "-o", "name")


def test_it_runs_a_data_plane_there(restricted):
    restricted.apply(secret("vendor", apiKey="sk-demo-this-key-opens-nothing"),
                     provider_pool("chat", provider("primary", "vendor-primary:9999", "vendor")), runtime_config("bound"))
    plane = DataPlane(restricted, "bound")
    plane.wait_ready()
    assert plane.call("Served with less?")["text"]
    restricted.kubectl("delete", "service", "bound")
    restricted.kubectl("wait", "--for=create", "service/bound", "--timeout=30s")
