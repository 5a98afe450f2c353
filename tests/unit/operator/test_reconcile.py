"""Reconciling a RuntimeConfig: created, repaired, refused, acknowledged, deleted."""

from __future__ import annotations

import copy

import pytest

from builders import model, pool, provider, runtime
from fakes.kube import FakeKube
from fakes.operator_world import IMAGE, KEY, World, a_running_world
from stratarouter_operator.cluster import (
    CONFIG_MAP,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    POD,
    PROVIDER_POOL,
    RUNTIME_CONFIG,
    SERVICE,
    SERVICE_ACCOUNT,
    SERVICE_MONITOR,
    Kind,
    Manifest,
)
from stratarouter_operator.desired import config_map_name
from stratarouter_operator.errors import Unavailable

OWNED_NAMES = {
    SERVICE_ACCOUNT: ["assistant-runtime"], CONFIG_MAP: [config_map_name("assistant")], SERVICE: ["assistant", "assistant-platform"],
    DISRUPTION_BUDGET: ["assistant"], DEPLOYMENT: ["assistant"],
}


def foreign(kind: str, name: str) -> Manifest:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "labels": {"whose": "theirs"}},
            "spec": {"ports": [{"port": 1}], "selector": {"a": "b"}}}


# --- from nothing to serving -------------------------------------------------------------------------------------------


async def test_a_runtimeconfig_becomes_a_data_plane_that_has_acknowledged() -> None:
    world = await a_running_world()
    for kind, names in OWNED_NAMES.items():
        assert world.kube.names(kind) == names
    assert world.condition("Accepted") == ("True", "Valid")
    assert world.condition("ResolvedRefs") == ("True", "AllFound")
    assert world.condition("Ready") == ("True", "PodsReady")
    assert world.condition("Degraded") == ("False", "AsConfigured")
    assert world.served == 1
    assert world.status["replicas"] == world.status["updatedReplicas"] == 2
    assert world.status["endpoint"] == "http://assistant.default.svc:8080"
    assert world.status["configHash"] == next(iter(world.pods.values())).hash


async def test_before_a_pod_is_ready_nothing_is_claimed() -> None:
    world = World()
    world.apply_pool()
    world.apply()
    await world.reconcile()
    assert world.condition("Ready") == ("False", "NoReadyPods")
    assert world.condition("ResolvedRefs") == ("Unknown", "NotReported")
    assert world.condition("Progressing") == ("True", "RollingOut")


async def test_when_all_is_well_a_pass_writes_nothing() -> None:
    world = await a_running_world()
    await world.reconcile()
    world.restart()
    await world.settle(120)
    assert world.kube.writes == []


async def test_a_reconcile_of_something_that_is_gone_is_quiet() -> None:
    world = World()
    assert await world.reconcile() is None
    assert world.kube.writes == []


async def test_one_that_is_being_deleted_is_left_to_the_garbage_collector() -> None:
    world = await a_running_world()
    world.kube.edit(RUNTIME_CONFIG, "assistant", lambda live: live["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z"))
    assert await world.reconcile() is None
    assert world.kube.writes == []


async def test_deletion_leaves_nothing_behind() -> None:
    """Everything is controlled by the RuntimeConfig, so the garbage collector takes it; and so is what is remembered."""
    world = await a_running_world()
    world.kube.remove(RUNTIME_CONFIG, "default", "assistant")
    await world.reconcile()
    assert [key for key in world.kube.objects if key[0] not in (POD.name, PROVIDER_POOL.name)] == []
    assert not world.runtimes._memories
    assert b'runtimeconfig="assistant"' not in world.metrics.expose()


async def test_no_finalizer_and_no_annotation_is_put_on_a_users_object() -> None:
    world = await a_running_world()
    for kind, name in ((RUNTIME_CONFIG, "assistant"), (PROVIDER_POOL, "chat")):
        assert not {"annotations", "finalizers"} & set(world.kube.live(kind, name)["metadata"])


# --- drift ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(OWNED_NAMES))
async def test_what_is_deleted_comes_back(kind: Kind) -> None:
    world = await a_running_world()
    for name in OWNED_NAMES[kind]:
        world.kube.objects.pop((kind.name, "default", name))
    await world.reconcile()
    assert world.kube.names(kind) == OWNED_NAMES[kind]


@pytest.mark.parametrize(("kind", "name", "path", "value"), [
    (SERVICE, "assistant", ("spec", "selector", "app.kubernetes.io/instance"), "other"),
    (SERVICE, "assistant", ("metadata", "labels"), {}),
    (CONFIG_MAP, config_map_name("assistant"), ("data", "snapshot.yaml"), "tampered"),
    (DEPLOYMENT, "assistant", ("spec", "template", "spec", "serviceAccountName"), "root"),
    (DEPLOYMENT, "assistant", ("spec", "template", "spec", "containers"), [{"name": "runtime", "image": "evil:1"}]),
    (DEPLOYMENT, "assistant", ("spec", "replicas"), 7),
    (DISRUPTION_BUDGET, "assistant", ("spec", "maxUnavailable"), 5),
    (SERVICE_ACCOUNT, "assistant-runtime", ("automountServiceAccountToken",), True),
])
async def test_a_field_we_set_is_repaired(kind: Kind, name: str, path: tuple[str, ...], value: object) -> None:
    world = await a_running_world()
    before = copy.deepcopy(world.kube.live(kind, name))

    def tamper(live: Manifest) -> None:
        for part in path[:-1]:
            live = live[part]
        live[path[-1]] = value

    world.kube.edit(kind, name, tamper)
    await world.reconcile()
    after = world.kube.live(kind, name)
    for each in (before, after):
        for moving in ("resourceVersion", "generation", "managedFields"):
            each["metadata"].pop(moving, None)
    before.pop("status", None)
    after.pop("status", None)
    assert after == before


async def test_what_others_add_stays() -> None:
    world = await a_running_world()
    world.kube.edit(SERVICE, "assistant", lambda live: live["metadata"]["labels"].update(theirs="1"))
    world.kube.edit(DEPLOYMENT, "assistant",
                    lambda live: live["spec"]["template"]["spec"]["containers"].append({"name": "sidecar", "image": "mesh:1"}))
    await world.reconcile()
    assert world.kube.live(SERVICE, "assistant")["metadata"]["labels"]["theirs"] == "1"
    assert len(world.kube.live(DEPLOYMENT, "assistant")["spec"]["template"]["spec"]["containers"]) == 2
    assert [each for each in world.kube.writes if each[0] != "status"] == []


async def test_a_field_that_is_no_longer_wanted_goes() -> None:
    world = await a_running_world(template={"nodeSelector": {"disk": "fast"}})
    world.apply()
    await world.settle()
    assert "nodeSelector" not in world.kube.live(DEPLOYMENT, "assistant")["spec"]["template"]["spec"]


async def test_an_object_that_is_no_longer_wanted_is_pruned() -> None:
    world = await a_running_world()
    world.apply(replicas=1)
    await world.settle()
    assert world.kube.names(DISRUPTION_BUDGET) == []
    assert len(world.pods) == 1


async def test_what_is_owned_but_not_labelled_as_ours_is_not_pruned() -> None:
    world = await a_running_world()
    owner = world.kube.live(SERVICE, "assistant")["metadata"]["ownerReferences"]
    extra = foreign("Service", "extra")
    extra["metadata"]["ownerReferences"] = owner
    world.kube.put(extra)
    await world.reconcile()
    assert "extra" in world.kube.names(SERVICE)


async def test_replicas_are_written_by_the_scale_subresource_alone() -> None:
    world = await a_running_world()
    world.apply(replicas=3)
    await world.settle()
    assert world.kube.live(DEPLOYMENT, "assistant")["spec"]["replicas"] == 3
    assert ("scale", DEPLOYMENT.name, "assistant") in world.kube.writes
    assert ("apply", DEPLOYMENT.name, "assistant") not in world.kube.writes
    assert len(world.pods) == 3
    assert world.condition("Progressing") == ("False", "Complete")


async def test_zero_replicas_is_a_state_like_any_other() -> None:
    world = await a_running_world()
    world.apply(replicas=0)
    await world.settle()
    assert world.condition("Progressing") == ("False", "Complete")
    assert world.condition("Ready") == ("False", "NoReadyPods")


# --- names that are taken -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), [("Service", "assistant"), ("Service", "assistant-platform"),
                                            ("ConfigMap", config_map_name("assistant")), ("Deployment", "assistant"),
                                            ("ServiceAccount", "assistant-runtime"), ("PodDisruptionBudget", "assistant")])
async def test_a_name_that_is_somebody_elses_stops_everything_and_stays_untouched(kind: str, name: str) -> None:
    world = World()
    world.apply_pool()
    theirs = world.kube.put(foreign(kind, name))
    world.apply()
    delay = await world.reconcile()
    assert world.condition("Accepted") == ("False", "NameConflict")
    assert f"{kind} {name}" in world.message("Accepted")
    assert world.kube.live(Kind("", "v1", "", kind), name) == theirs
    assert {verb for verb, _, _ in world.kube.writes} == {"status"}, "one generation applies wholly or not at all"
    assert delay is not None
    assert delay <= 10, "nobody tells when the name is free"
    world.kube.remove(Kind("", "v1", "", kind), "default", name)
    assert await world.reconcile(marked=False) is not None
    assert world.condition("Accepted") == ("True", "Valid")


async def test_a_name_that_is_taken_over_later_leaves_the_rest_running() -> None:
    world = await a_running_world()
    world.kube.remove(SERVICE, "default", "assistant")
    theirs = world.kube.put(foreign("Service", "assistant"))
    await world.settle()
    assert world.condition("Accepted") == ("False", "NameConflict")
    assert world.condition("Degraded") == ("True", "LastGoodInUse")
    assert world.condition("Ready")[0] == "True"
    assert world.kube.live(SERVICE, "assistant") == theirs


async def test_an_object_of_an_earlier_incarnation_is_not_ours() -> None:
    """The RuntimeConfig was deleted and made again before the garbage collector came by."""
    world = await a_running_world()
    old = copy.deepcopy(world.kube.objects)
    world.kube.remove(RUNTIME_CONFIG, "default", "assistant")
    world.kube.objects.update({key: each for key, each in old.items() if key[0] != RUNTIME_CONFIG.name})
    world.apply()
    await world.reconcile()
    assert world.condition("Accepted") == ("False", "NameConflict")
    for key in [key for key in world.kube.objects if key[0] not in (RUNTIME_CONFIG.name, PROVIDER_POOL.name, POD.name)]:
        world.kube.objects.pop(key)
    await world.settle()
    assert world.condition("Accepted") == ("True", "Valid")


async def test_a_name_taken_between_look_and_write_is_a_conflict_too() -> None:
    world = World()
    world.apply_pool()
    world.apply()
    theirs: list[Manifest] = []

    def race(verb: str, kind: str, name: str) -> None:
        if (verb, kind, name) == ("create", "Service", "assistant") and not theirs:
            theirs.append(world.kube.put(foreign("Service", "assistant")))

    world.kube.before_write = race
    await world.reconcile()
    assert world.condition("Accepted") == ("False", "NameConflict")
    assert world.kube.live(SERVICE, "assistant") == theirs[0]


# --- configurations that cannot be run ------------------------------------------------------------------------------------


async def test_a_missing_pool_is_named_and_nothing_is_made() -> None:
    world = World()
    world.apply()
    await world.reconcile()
    assert world.condition("Accepted") == ("False", "PoolNotFound")
    assert "'chat'" in world.message("Accepted")
    assert world.condition("Ready") == ("False", "NotAccepted")
    assert world.condition("Degraded") == ("True", "NotAccepted")
    assert {verb for verb, _, _ in world.kube.writes} == {"status"}


async def test_the_last_good_configuration_keeps_serving_whole() -> None:
    """Neither the snapshot nor the shape of a refused generation reaches anything, also after a restart."""
    world = await a_running_world()
    good, deployment = world.snapshot(), copy.deepcopy(world.kube.live(DEPLOYMENT, "assistant")["spec"])
    world.apply(defaultRoute={"pools": [{"name": "absent"}]}, replicas=5, template={"annotations": {"new": "1"}})
    for restarted in (False, True):
        if restarted:
            world.restart()
        await world.settle()
        assert world.condition("Accepted") == ("False", "PoolNotFound")
        assert world.condition("Degraded") == ("True", "LastGoodInUse")
        assert world.condition("Ready") == ("True", "PodsReady")
        assert world.served == 1
        assert world.snapshot() == good
        assert world.kube.live(DEPLOYMENT, "assistant")["spec"] == deployment
        assert world.status["observedGeneration"] == 2


async def test_the_last_good_configuration_is_repaired_like_any_other() -> None:
    world = await a_running_world(replicas=3, template={"annotations": {"kept": "1"}})
    good, template = world.snapshot(), copy.deepcopy(world.kube.live(DEPLOYMENT, "assistant")["spec"]["template"])
    world.apply(defaultRoute={"pools": [{"name": "absent"}]}, replicas=1)
    world.restart()
    world.kube.objects.pop((DEPLOYMENT.name, "default", "assistant"))
    world.kube.objects.pop((SERVICE.name, "default", "assistant"))
    await world.settle()
    made = world.kube.live(DEPLOYMENT, "assistant")["spec"]
    assert (made["replicas"], made["template"]) == (3, template)
    assert "assistant" in world.kube.names(SERVICE)
    assert world.snapshot() == good


async def test_a_configuration_is_taken_up_again_once_it_can_be_run() -> None:
    world = await a_running_world()
    world.apply(defaultRoute={"pools": [{"name": "later"}]})
    await world.settle()
    world.apply_pool(name="later")
    await world.settle()
    assert world.condition("Accepted") == ("True", "Valid")
    assert world.condition("Degraded") == ("False", "AsConfigured")
    assert world.served == 2


async def test_a_pool_that_loses_a_model_is_the_same() -> None:
    world = await a_running_world(defaultRoute={"pools": [{"name": "chat", "model": "gpt-4o"}]})
    world.apply_pool(provider("primary", "other"))
    await world.settle()
    assert world.condition("Accepted") == ("False", "ModelNotFound")
    assert world.condition("Ready")[0] == "True"
    assert "gpt-4o" in world.message("Accepted")


async def test_what_the_api_server_refuses_is_refused_before_anything_is_written() -> None:
    world = await a_running_world()
    good = world.snapshot()

    def judge(body: Manifest) -> str | None:
        affinity = body["spec"].get("template", {}).get("spec", {}).get("affinity") if body["kind"] == "Deployment" else None
        return "spec.template.spec.affinity: unknown field" if affinity else None

    world.kube.judge = judge
    world.apply(template={"affinity": {"nodeAffinityy": {}}}, execution={"maxRetries": 1})
    await world.settle(1)
    assert world.condition("Accepted") == ("False", "DeploymentRefused")
    assert "affinity: unknown field" in world.message("Accepted")
    assert world.snapshot() == good
    assert {verb for verb, _, _ in world.kube.writes} == {"status"}


async def test_a_snapshot_that_no_configmap_can_hold_is_refused() -> None:
    world = await a_running_world()
    names = [model(f"model-{number:03}-{'x' * 200}") for number in range(64)]
    providers = [provider(f"p{number}", *names) for number in range(32)]
    world.apply_pool(*providers)
    for number in range(2):
        world.apply_pool(*providers, name=f"more{number}")
    world.apply(defaultRoute={"pools": [{"name": "chat"}, {"name": "more0"}, {"name": "more1"}]})
    await world.settle(1)
    assert world.condition("Accepted") == ("False", "SnapshotTooLarge")
    assert world.condition("Ready")[0] == "True"


async def test_a_last_good_configuration_that_cannot_be_read_is_left_alone() -> None:
    world = await a_running_world()
    world.kube.edit(CONFIG_MAP, config_map_name("assistant"), lambda live: live["data"].update({"snapshot.yaml": "{"}))
    world.apply(defaultRoute={"pools": [{"name": "absent"}]})
    world.restart()
    before = copy.deepcopy({key: each for key, each in world.kube.objects.items() if key[0] != RUNTIME_CONFIG.name})
    await world.settle(1)
    assert {key: each for key, each in world.kube.objects.items() if key[0] != RUNTIME_CONFIG.name} == before
    assert world.condition("Ready") == ("True", "PodsReady")


# --- versions --------------------------------------------------------------------------------------------------------------


async def test_the_configmap_of_another_version_stays_until_no_pod_mounts_it() -> None:
    world = await a_running_world()
    old = copy.deepcopy(world.kube.live(CONFIG_MAP, config_map_name("assistant")))
    old["metadata"]["name"] = "assistant-config-0000000000"
    world.kube.objects[CONFIG_MAP.name, "default", "assistant-config-0000000000"] = old
    late = next(iter(world.pods))
    world.kube.live(POD, late)["spec"]["volumes"].append({"name": "old", "configMap": {"name": "assistant-config-0000000000"}})
    await world.reconcile()
    assert "assistant-config-0000000000" in world.kube.names(CONFIG_MAP)
    world.kube.live(POD, late)["spec"]["volumes"].pop()
    await world.reconcile()
    assert "assistant-config-0000000000" not in world.kube.names(CONFIG_MAP)


async def test_a_new_version_takes_the_last_good_configuration_of_an_old_one() -> None:
    world = await a_running_world()
    kept = world.kube.objects.pop((CONFIG_MAP.name, "default", config_map_name("assistant")))
    kept["metadata"]["name"] = "assistant-config-0000000000"
    world.kube.objects[CONFIG_MAP.name, "default", "assistant-config-0000000000"] = kept
    world.apply(defaultRoute={"pools": [{"name": "absent"}]})
    world.restart()
    await world.reconcile()
    assert world.condition("Degraded") == ("True", "LastGoodInUse")
    assert world.kube.live(CONFIG_MAP, config_map_name("assistant"))["data"] == kept["data"]


async def test_the_operators_image_is_used_where_the_template_names_none() -> None:
    world = await a_running_world()
    [container] = world.kube.live(DEPLOYMENT, "assistant")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == IMAGE
    world.apply(template={"image": "mine:2"})
    await world.settle()
    [container] = world.kube.live(DEPLOYMENT, "assistant")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "mine:2"


async def test_a_servicemonitor_is_kept_where_that_api_is() -> None:
    world = await a_running_world()
    world.kube.unserved.clear()
    world.runtimes.service_monitors = True
    await world.reconcile()
    assert world.kube.names(SERVICE_MONITOR) == ["assistant"]
    world.kube.unserved.add(SERVICE_MONITOR.name)
    await world.reconcile()
    assert world.condition("Accepted") == ("True", "Valid"), "an API that goes away takes nothing with it"


# --- concurrency -----------------------------------------------------------------------------------------------------------


async def test_a_status_written_over_a_newer_spec_is_not() -> None:
    """The spec changes between read and write: the pass is void and the next one, at once, sees it all."""
    world = await a_running_world()
    world.apply(execution={"maxRetries": 1})

    def race(verb: str, kind: str, name: str) -> None:
        if verb == "status":
            world.kube.before_write = lambda *_: None
            world.apply(execution={"maxRetries": 2})

    world.kube.before_write = race
    assert await world.reconcile() == 0.0
    assert world.status["observedGeneration"] == 1
    await world.reconcile(marked=False)
    assert world.status["observedGeneration"] == 3


async def test_a_controller_that_writes_first_delays_no_adoption() -> None:
    """The Deployment controller writes to what it sees at once; the record of our POST is rewritten all the same."""
    world = World()
    world.apply_pool()
    world.apply()

    def race(verb: str, kind: str, name: str) -> None:
        if (verb, kind) == ("adopt", "Deployment"):
            world.kube.before_write = lambda *_: None
            world.kube.edit(DEPLOYMENT, name, lambda live: live["metadata"].setdefault("annotations", {}).update(revision="1"))

    world.kube.before_write = race
    await world.reconcile()
    operations = {each["operation"] for each in world.kube.live(DEPLOYMENT, "assistant")["metadata"]["managedFields"]}
    assert operations == {"Apply"}


async def test_an_api_server_that_fails_in_the_middle_leaves_a_pass_to_be_repeated() -> None:
    world = World()
    world.apply_pool()
    world.apply()

    def fault(verb: str, kind: str, name: str) -> None:
        if kind == "Deployment":
            raise Unavailable("ApiServerUnreachable", "no answer")

    world.kube.before_write = fault
    with pytest.raises(Unavailable):
        await world.reconcile()
    world.kube.before_write = lambda *_: None
    await world.settle()
    assert world.condition("Progressing") == ("False", "Complete")


async def test_two_runtimeconfigs_do_not_touch_each_other() -> None:
    world = await a_running_world()
    other = KEY.__class__(KEY.kind, KEY.namespace, "second")
    world.kube.put(runtime("second"))
    before = copy.deepcopy(world.kube.live(DEPLOYMENT, "assistant"))
    await world.runtimes(other, marked=True)
    assert world.kube.names(DEPLOYMENT) == ["assistant", "second"]
    assert world.kube.live(DEPLOYMENT, "assistant") == before
    world.kube.remove(RUNTIME_CONFIG, "default", "second")
    assert world.kube.names(DEPLOYMENT) == ["assistant"]


async def test_pools_of_other_namespaces_do_not_count() -> None:
    kube = FakeKube()
    world = World()
    world.kube.put(pool("chat"), "elsewhere")
    world.apply()
    await world.reconcile()
    assert world.condition("Accepted") == ("False", "PoolNotFound")
    assert kube.names(POD) == []
