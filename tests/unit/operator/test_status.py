"""Conditions tell the truth: of roll-outs, of who serves what, and of what hinders."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fakes.operator_clock import START
from fakes.operator_world import World, a_running_world
from stratarouter_operator.cluster import DEPLOYMENT, POD
from stratarouter_operator.conditions import Condition, find, merged, some

READY = [{"type": "Ready", "status": "True"}]


def unready(world: World, name: str) -> None:
    world.kube.live(POD, name)["status"]["conditions"] = []


# --- pure --------------------------------------------------------------------------------------------------------------


def test_the_time_of_a_condition_changes_exactly_when_its_status_does() -> None:
    first = merged([Condition("Ready", "True", "PodsReady", "1 of 1", 1)], [], START)
    later = START + timedelta(minutes=5)
    [same] = merged([Condition("Ready", "True", "PodsReady", "2 of 2", 2)], first, later)
    assert same["lastTransitionTime"] == "2026-01-02T03:04:05Z"
    assert (same["message"], same["observedGeneration"]) == ("2 of 2", 2)
    [other] = merged([Condition("Ready", "False", "NoReadyPods", "", 2)], [same], later)
    assert other["lastTransitionTime"] == "2026-01-02T03:09:05Z"


@pytest.mark.parametrize("reason", ["", "lower", "Two Words", "With-Hyphen", "X" * 200])
def test_a_reason_is_one_camelcase_word(reason: str) -> None:
    with pytest.raises(ValueError, match="CamelCase"):
        Condition("Ready", "True", reason, "", 1)


def test_a_message_is_bounded() -> None:
    [made] = merged([Condition("Ready", "True", "PodsReady", "x" * 5000, 1)], [], START)
    assert len(made["message"]) == 1024


def test_many_names_are_counted() -> None:
    assert some(["b", "a"]) == "a, b"
    assert some(f"p{number}" for number in range(9)) == "p0, p1, p2, p3, p4 and 4 more"


def test_an_absent_condition_is_empty() -> None:
    assert find([], "Ready") == {}


# --- roll-outs -----------------------------------------------------------------------------------------------------------


async def test_a_new_template_counts_only_once_its_pods_are_ready_and_the_old_ones_gone() -> None:
    world = await a_running_world()
    world.apply(template={"annotations": {"new": "1"}})
    await world.reconcile()
    assert world.condition("Progressing") == ("True", "RollingOut")
    assert world.condition("Ready") == ("True", "PodsReady")
    assert world.served == 1
    await world.settle()
    assert world.condition("Progressing") == ("False", "Complete")
    assert world.served == 2


async def test_old_pods_that_took_the_configuration_do_not_serve_the_new_generation() -> None:
    """They have acknowledged the snapshot, but they are not what the template says."""
    world = await a_running_world()
    world.apply(template={"annotations": {"new": "1"}}, execution={"maxRetries": 1})
    for _ in range(20):
        await world.reconcile(marked=False)
        await world.clock.advance(0.5)
        await world.reconcile()
    assert world.status["updatedReplicas"] == 2
    assert world.served == 1


async def test_a_rollout_that_moves_nothing_for_half_a_minute_is_stuck_and_says_who() -> None:
    world = await a_running_world()
    name = min(world.pods)
    unready(world, name)
    await world.settle(29)
    assert world.condition("Progressing") == ("True", "RollingOut")
    await world.settle(2)
    assert world.condition("Progressing") == ("False", "RolloutStalled")
    assert name in world.message("Progressing")


async def test_what_hinders_the_deployment_is_quoted() -> None:
    world = World()
    world.apply_pool()
    world.apply()
    await world.reconcile()
    world.kube.live(DEPLOYMENT, "assistant")["status"] = {"conditions": [
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: pods=0"}]}
    await world.reconcile()
    await world.clock.advance(31)
    await world.reconcile()
    assert world.condition("Progressing") == ("False", "RolloutStalled")
    assert "FailedCreate: exceeded quota" in world.message("Progressing")


async def test_ready_means_one_pod() -> None:
    world = await a_running_world()
    first, second = sorted(world.pods)
    unready(world, first)
    await world.reconcile()
    assert world.condition("Ready") == ("True", "PodsReady")
    assert world.message("Ready") == "1 of 2 pods are ready"
    unready(world, second)
    await world.reconcile()
    assert world.condition("Ready") == ("False", "NoReadyPods")


async def test_pods_that_come_back_with_an_old_configuration_do_not_claim_the_new_one() -> None:
    world = await a_running_world(replicas=1)
    [pod] = world.pods.values()
    pod.deaf = True
    unready(world, pod.name)
    world.apply(replicas=1, execution={"maxRetries": 1})
    await world.settle(1)
    assert world.condition("Ready")[0] == "False"
    world.kube.live(POD, pod.name)["status"]["conditions"] = READY
    await world.settle(1)
    assert world.condition("Ready")[0] == "True"
    assert world.served < 2


# --- providers ------------------------------------------------------------------------------------------------------------


async def test_a_provider_is_as_bad_as_any_pod_finds_it() -> None:
    world = await a_running_world()
    good, bad = world.pods.values()
    good.providers = [{"pool": "chat", "name": "b", "state": "Healthy", "reason": ""},
                      {"pool": "chat", "name": "a", "state": "Degraded", "reason": "RateLimited"}]
    bad.providers = [{"pool": "chat", "name": "b", "state": "Unavailable", "reason": "ConnectFailed"},
                     {"pool": "chat", "name": "a", "state": "Healthy", "reason": ""}]
    await world.settle(35)
    assert world.status["providers"] == [
        {"pool": "chat", "name": "a", "state": "Degraded", "reason": "RateLimited"},
        {"pool": "chat", "name": "b", "state": "Unavailable", "reason": "ConnectFailed"}]
    assert world.condition("Degraded") == ("True", "ProvidersOut")
    assert world.message("Degraded") == "chat/b (ConnectFailed)"
    bad.providers = good.providers
    await world.settle(35)
    assert world.condition("Degraded") == ("False", "AsConfigured")


async def test_a_state_nobody_knows_is_taken_for_the_worst() -> None:
    world = await a_running_world(replicas=1)
    [pod] = world.pods.values()
    pod.providers = [{"pool": "chat", "name": "a", "state": "Sideways", "reason": "?"}]
    await world.settle(35)
    assert world.status["providers"][0]["state"] == "Unavailable"


async def test_the_scale_subresource_finds_the_pods() -> None:
    world = await a_running_world()
    wanted = dict(part.split("=") for part in world.status["selector"].split(","))
    for name in world.pods:
        assert wanted.items() <= world.kube.live(POD, name)["metadata"]["labels"].items()
    assert wanted == world.kube.live(DEPLOYMENT, "assistant")["spec"]["selector"]["matchLabels"]
