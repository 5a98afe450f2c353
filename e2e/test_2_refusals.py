"""What is wrong is refused by the API server, or reported by the operator while the last good configuration serves."""

from __future__ import annotations

import pytest
from cluster import CommandError, Namespace, wait_for
from dataplane import DataPlane, provider, provider_pool, runtime_config, secret

KEY = "sk-demo-this-key-opens-nothing"


@pytest.fixture(scope="module")
def plane(namespace: Namespace) -> DataPlane:
    """One data plane that serves."""
    namespace.apply(secret("vendor", apiKey=KEY), provider_pool("chat", provider("primary", "vendor-primary:9999", "vendor")),
                    runtime_config("good"))
    plane = DataPlane(namespace, "good")
    plane.wait_ready()
    return plane


@pytest.mark.parametrize(("spec", "named"), [
    ({"replicas": -1}, "spec.replicas"),
    ({"replicas": "two"}, "spec.replicas"),
    ({"cache": {"backend": "memcached"}}, "spec.cache.backend"),
    ({"cache": {"backend": "redis"}}, "redis.urlSecretRef is required for backend redis"),
    ({"state": {"backend": "postgresql"}}, "dsnSecretRef is required for backend postgresql"),
    ({"cache": {"similarityThreshold": 1.5}}, "spec.cache.similarityThreshold"),
    ({"defaultRoute": None}, "a defaultRoute or at least one route is required"),
    ({"defaultRoute": {"pools": []}}, "spec.defaultRoute.pools"),
    ({"routes": [{"name": "auto", "pools": [{"name": "chat"}]}]}, "reserved"),
    ({"cache": {"embedder": {"type": "none"}}, "routes": [{"name": "a", "utterances": ["x"], "pools": [{"name": "chat"}]}]},
     "routes with utterances need an embedder"),
    ({"routes": [{"name": f"a{number}", "utterances": ["x"] * 256, "pools": [{"name": "chat"}]} for number in range(9)]},
     "routes have more than 2048 utterances in all"),
    ({"cache": {"ttl": 5}}, "spec.cache.ttl"),
    ({"observability": {"logLevel": "loud"}}, "spec.observability.logLevel"),
])
def test_api_server_refuses_an_invalid_runtimeconfig_and_names_the_field(namespace, spec, named):
    resource = runtime_config("bad", **spec)
    resource["spec"] = {key: value for key, value in resource["spec"].items() if value is not None}
    with pytest.raises(CommandError) as refused:
        namespace.apply(resource)
    assert named in str(refused.value)
    assert not namespace.exists("runtimeconfig", "bad")


@pytest.mark.parametrize("name", ["1st", "a.b", "a" * 46])
def test_api_server_refuses_a_name_that_cannot_name_a_service(namespace, name):
    with pytest.raises(CommandError, match=r"metadata\.name"):
        namespace.apply(runtime_config(name))


def test_api_server_refuses_an_invalid_pool_and_names_the_field(namespace):
    with pytest.raises(CommandError, match="endpoint is required for type openaicompatible"):
        namespace.apply(provider_pool("bad", {"name": "a", "type": "openaicompatible", "models": [{"name": "m"}]}))


def test_missing_pool_is_reported_by_name_while_the_last_good_configuration_serves(plane):
    good, pods = plane.status()["configHash"], plane.incarnations()
    plane.change({"defaultRoute": {"pools": [{"name": "nowhere"}]}, "execution": {"maxRetries": 7}})
    accepted = plane.wait_condition("Accepted", "False", 30)
    assert accepted["reason"] == "PoolNotFound"
    assert "nowhere" in accepted["message"]
    assert plane.wait_condition("Degraded", "True", 10)["reason"] == "LastGoodInUse"
    assert plane.status()["configHash"] == good
    assert {plane.config(pod)["hash"] for pod in plane.pods()} == {good}
    assert "Still there?" in plane.call("Still there?")["text"]
    plane.change({"defaultRoute": {"pools": [{"name": "chat"}]}})
    plane.wait_condition("Accepted", "True", 30)
    wait_for("the new configuration", plane.settled, 30)
    assert plane.status()["configHash"] != good
    assert plane.incarnations() == pods


def test_pool_that_comes_later_is_taken_at_once(plane):
    plane.change({"defaultRoute": {"pools": [{"name": "later"}]}})
    plane.wait_condition("Accepted", "False", 30)
    plane.namespace.apply(provider_pool("later", provider("late", "vendor-fallback:9998", "vendor")))
    plane.wait_condition("Accepted", "True", 20)
    wait_for("the new configuration", plane.settled, 20)
    assert plane.call("Who is there now?")["headers"]["x-strata-provider"] == "late"


def test_service_of_the_same_name_that_is_somebody_elses_is_left_alone(namespace):
    """And taken as soon as its name is free."""
    theirs = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "taken", "labels": {"owner": "somebody"}},
              "spec": {"selector": {"app": "else"}, "ports": [{"port": 80}]}}
    namespace.apply(secret("vendor", apiKey=KEY), provider_pool("chat", provider("primary", "vendor-primary:9999", "vendor")), theirs)
    before = namespace.get("service", "taken")
    namespace.apply(runtime_config("taken"))
    plane = DataPlane(namespace, "taken")
    accepted = plane.wait_condition("Accepted", "False", 30)
    assert accepted["reason"] == "NameConflict"
    assert "taken" in accepted["message"]
    assert namespace.get("service", "taken") == before
    assert not namespace.exists("deployment", "taken")
    namespace.kubectl("delete", "service", "taken")
    plane.wait_condition("Accepted", "True", 30)
    plane.wait_ready()
    assert plane.call("Mine now?")["text"]
