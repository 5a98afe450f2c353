"""What the operator relies on in an API server, run against the fake and against the real one.

A subclass has a fixture ``kube`` (a ``KubeApi``) and a fixture ``namespace`` that exists and is empty.
"""

from __future__ import annotations

from typing import Any

import pytest

from stratarouter_operator.cluster import (
    CONFIG_MAP,
    DEPLOYMENT,
    LEASE,
    MANAGER,
    POD,
    PROVIDER_POOL,
    RUNTIME_CONFIG,
    SERVICE,
    SERVICE_MONITOR,
    Kind,
    KubeApi,
    Manifest,
)
from stratarouter_operator.errors import AlreadyExists, Conflict, Invalid, NotFound
from stratarouter_operator.ownership import adopted_fields

ABSENT = Kind("nobody.example", "v1", "nothings", "Nothing")


def config_map(name: str = "one", data: dict[str, str] | None = None, **metadata: Any) -> Manifest:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": data or {"a": "1"}}


def deployment(**pod: Any) -> Manifest:
    labels = {"app": "contract"}
    container = {"name": "runtime", "image": "example.invalid/none:1"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "one"}, "spec": {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container], **pod}}}}


def of(wanted: Manifest, live: Manifest) -> Manifest:
    return {**wanted, "metadata": {**wanted["metadata"], "uid": live["metadata"]["uid"]}}


def with_status(live: Manifest, status: Manifest) -> Manifest:
    meta = {key: live["metadata"][key] for key in ("name", "resourceVersion")}
    return {"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": meta, "status": status}


async def adopted(kube: KubeApi, kind: Kind, namespace: str, live: Manifest) -> Manifest:
    fields = adopted_fields(live)
    assert fields is not None
    return await kube.adopt(kind, namespace, live, fields)


class KubeContract:
    """The suite."""

    async def test_an_absent_object_is_not_found(self, kube: KubeApi, namespace: str) -> None:
        with pytest.raises(NotFound):
            await kube.get(CONFIG_MAP, namespace, "absent")

    async def test_a_name_is_created_once(self, kube: KubeApi, namespace: str) -> None:
        made = await kube.create(CONFIG_MAP, namespace, config_map())
        assert made["metadata"]["uid"]
        assert made["metadata"]["resourceVersion"]
        with pytest.raises(AlreadyExists):
            await kube.create(CONFIG_MAP, namespace, config_map())

    async def test_a_dry_run_creates_nothing(self, kube: KubeApi, namespace: str) -> None:
        await kube.create(CONFIG_MAP, namespace, config_map(), dry_run=True)
        with pytest.raises(NotFound):
            await kube.get(CONFIG_MAP, namespace, "one")

    async def test_objects_are_found_by_label_with_their_kind(self, kube: KubeApi, namespace: str) -> None:
        await kube.create(CONFIG_MAP, namespace, config_map("one", labels={"team": "a", "x": "y"}))
        await kube.create(CONFIG_MAP, namespace, config_map("two", labels={"team": "b"}))
        [found] = await kube.find(CONFIG_MAP, namespace, labels={"team": "a"})
        assert (found["kind"], found["apiVersion"], found["metadata"]["name"]) == ("ConfigMap", "v1", "one")

    async def test_an_apply_means_one_incarnation(self, kube: KubeApi, namespace: str) -> None:
        """With another UID, or for an object that is gone, an apply neither changes nor creates anything."""
        live = await kube.create(CONFIG_MAP, namespace, config_map())
        stranger = {**config_map(data={"a": "2"}), "metadata": {"name": "one", "uid": "00000000-0000-0000-0000-000000000000"}}
        with pytest.raises(Conflict):
            await kube.apply(CONFIG_MAP, namespace, stranger)
        await kube.delete(CONFIG_MAP, namespace, "one", live["metadata"]["uid"])
        with pytest.raises(Conflict):
            await kube.apply(CONFIG_MAP, namespace, of(config_map(), live))
        with pytest.raises(NotFound):
            await kube.get(CONFIG_MAP, namespace, "one")

    async def test_an_apply_that_changes_nothing_writes_nothing(self, kube: KubeApi, namespace: str) -> None:
        live = await adopted(kube, CONFIG_MAP, namespace, await kube.create(CONFIG_MAP, namespace, config_map()))
        first = await kube.apply(CONFIG_MAP, namespace, of(config_map(), live))
        second = await kube.apply(CONFIG_MAP, namespace, of(config_map(), live))
        assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]

    async def test_after_adoption_a_field_that_is_no_longer_applied_goes(self, kube: KubeApi, namespace: str) -> None:
        """A POST alone would keep it for ever: the record of the POST has to become one of an apply."""
        live = await kube.create(CONFIG_MAP, namespace, config_map(data={"a": "1", "b": "2"}))
        await adopted(kube, CONFIG_MAP, namespace, live)
        after = await kube.apply(CONFIG_MAP, namespace, of(config_map(data={"a": "1"}), live))
        assert after["data"] == {"a": "1"}
        assert adopted_fields(after) is None

    async def test_without_adoption_it_stays(self, kube: KubeApi, namespace: str) -> None:
        live = await kube.create(CONFIG_MAP, namespace, config_map(data={"a": "1", "b": "2"}))
        after = await kube.apply(CONFIG_MAP, namespace, of(config_map(data={"a": "1"}), live))
        assert after["data"] == {"a": "1", "b": "2"}

    async def test_adoption_of_a_changed_object_is_a_conflict(self, kube: KubeApi, namespace: str) -> None:
        live = await kube.create(CONFIG_MAP, namespace, config_map())
        await kube.annotate(CONFIG_MAP, namespace, "one", live["metadata"]["uid"], {"x": "y"})
        with pytest.raises(Conflict):
            await adopted(kube, CONFIG_MAP, namespace, live)

    async def test_what_others_add_stays(self, kube: KubeApi, namespace: str) -> None:
        live = await adopted(kube, CONFIG_MAP, namespace, await kube.create(CONFIG_MAP, namespace, config_map()))
        await kube.annotate(CONFIG_MAP, namespace, "one", live["metadata"]["uid"], {"theirs": "1"})
        after = await kube.apply(CONFIG_MAP, namespace, of(config_map(data={"a": "9"}), live))
        assert after["metadata"]["annotations"] == {"theirs": "1"}
        assert after["data"] == {"a": "9"}

    async def test_replicas_survive_an_apply_without_them(self, kube: KubeApi, namespace: str) -> None:
        """They are set at creation and by the scale subresource, and belong to no apply."""
        body = deployment()
        created = {**body, "spec": {**body["spec"], "replicas": 0}}
        live = await adopted_deployment(kube, namespace, await kube.create(DEPLOYMENT, namespace, created))
        after = await kube.apply(DEPLOYMENT, namespace, of(deployment(terminationGracePeriodSeconds=7), live))
        assert after["spec"]["replicas"] == 0
        await kube.scale(DEPLOYMENT, namespace, "one", 1)
        after = await kube.apply(DEPLOYMENT, namespace, of(deployment(terminationGracePeriodSeconds=8), live))
        assert after["spec"]["replicas"] == 1
        assert after["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 8
        await kube.scale(DEPLOYMENT, namespace, "one", 0)

    async def test_containers_merge_by_name(self, kube: KubeApi, namespace: str) -> None:
        body = deployment()
        live = await adopted_deployment(kube, namespace, await kube.create(DEPLOYMENT, namespace, {
            **body, "spec": {**body["spec"], "replicas": 0}}))
        body["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
        await kube.apply(DEPLOYMENT, namespace, of(body, live))
        del body["spec"]["template"]["spec"]["containers"][0]["env"][0]
        after = await kube.apply(DEPLOYMENT, namespace, of(body, live))
        [container] = after["spec"]["template"]["spec"]["containers"]
        assert container["env"] == [{"name": "B", "value": "2"}]
        assert container["image"] == "example.invalid/none:1"

    async def test_an_annotation_means_one_incarnation(self, kube: KubeApi, namespace: str) -> None:
        live = await kube.create(CONFIG_MAP, namespace, config_map())
        changed = await kube.annotate(CONFIG_MAP, namespace, "one", live["metadata"]["uid"], {"touch": "1"})
        assert changed["metadata"]["annotations"] == {"touch": "1"}
        with pytest.raises(Conflict):
            await kube.annotate(CONFIG_MAP, namespace, "one", "00000000-0000-0000-0000-000000000000", {"touch": "2"})
        with pytest.raises(NotFound):
            await kube.annotate(POD, namespace, "absent", live["metadata"]["uid"], {"touch": "2"})

    async def test_a_deletion_means_one_incarnation(self, kube: KubeApi, namespace: str) -> None:
        live = await kube.create(CONFIG_MAP, namespace, config_map())
        with pytest.raises(Conflict):
            await kube.delete(CONFIG_MAP, namespace, "one", "00000000-0000-0000-0000-000000000000")
        await kube.delete(CONFIG_MAP, namespace, "one", live["metadata"]["uid"])
        await kube.delete(CONFIG_MAP, namespace, "one", live["metadata"]["uid"])  # it is gone, which is all that was wanted

    async def test_a_status_is_applied_alone(self, kube: KubeApi, namespace: str) -> None:
        """It makes no new generation, what it no longer says goes, and it means the version that was read."""
        pool = {"apiVersion": PROVIDER_POOL.api_version, "kind": "ProviderPool", "metadata": {"name": "chat"}, "spec": {
            "providers": [{"name": "one", "type": "openai", "models": [{"name": "gpt-4o"}]}]}}
        first = await kube.create(PROVIDER_POOL, namespace, pool)
        second = await kube.apply_status(PROVIDER_POOL, namespace, with_status(first, {"observedGeneration": 1, "usedBy": ["a"]}))
        third = await kube.apply_status(PROVIDER_POOL, namespace, with_status(second, {"observedGeneration": 1}))
        assert third["status"] == (await kube.get(PROVIDER_POOL, namespace, "chat"))["status"] == {"observedGeneration": 1}
        assert third["metadata"]["generation"] == first["metadata"]["generation"] == 1
        with pytest.raises(Conflict):
            await kube.apply_status(PROVIDER_POOL, namespace, with_status(second, {"observedGeneration": 2}))

    async def test_a_status_of_an_absent_object_creates_nothing(self, kube: KubeApi, namespace: str) -> None:
        body = {"apiVersion": RUNTIME_CONFIG.api_version, "kind": "RuntimeConfig", "metadata": {"name": "absent"},
                "status": {"observedGeneration": 1}}
        with pytest.raises(NotFound):
            await kube.apply_status(RUNTIME_CONFIG, namespace, body)

    async def test_a_replacement_needs_the_version_that_was_read(self, kube: KubeApi, namespace: str) -> None:
        body = {"apiVersion": LEASE.api_version, "kind": "Lease", "metadata": {"name": "lock"}, "spec": {"holderIdentity": "a"}}
        live = await kube.create(LEASE, namespace, body)
        after = await kube.replace(LEASE, namespace, {**live, "spec": {"holderIdentity": "b"}})
        assert after["spec"]["holderIdentity"] == "b"
        with pytest.raises(Conflict):
            await kube.replace(LEASE, namespace, {**live, "spec": {"holderIdentity": "c"}})

    async def test_services_get_an_address_that_an_apply_leaves(self, kube: KubeApi, namespace: str) -> None:
        body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "one"}, "spec": {
            "selector": {"a": "b"}, "ports": [{"name": "http", "port": 8080, "targetPort": "http", "protocol": "TCP"}]}}
        live = await adopted(kube, SERVICE, namespace, await kube.create(SERVICE, namespace, body))
        after = await kube.apply(SERVICE, namespace, of({**body, "spec": {**body["spec"], "selector": {"a": "c"}}}, live))
        assert after["spec"]["clusterIP"] == live["spec"]["clusterIP"]
        assert after["spec"]["selector"] == {"a": "c"}

    async def test_kinds_are_probed(self, kube: KubeApi, namespace: str) -> None:
        assert await kube.serves(RUNTIME_CONFIG)
        assert not await kube.serves(ABSENT)
        with pytest.raises(NotFound):
            await kube.find(ABSENT, namespace)

    async def test_the_record_names_us(self, kube: KubeApi, namespace: str) -> None:
        live = await kube.create(CONFIG_MAP, namespace, config_map())
        assert [each["manager"] for each in live["metadata"]["managedFields"]] == [MANAGER]


async def adopted_deployment(kube: KubeApi, namespace: str, live: Manifest) -> Manifest:
    """The controllers write to a new Deployment at once, so its version may have moved on."""
    for _ in range(20):
        try:
            return await adopted(kube, DEPLOYMENT, namespace, live)
        except Conflict:
            live = await kube.get(DEPLOYMENT, namespace, "one")
    raise AssertionError("never adopted")


__all__ = ["ABSENT", "SERVICE_MONITOR", "Invalid", "KubeContract"]
