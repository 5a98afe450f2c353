"""Acknowledgement: asked, touched, stuck, refused; and Secrets that come late."""

from __future__ import annotations

import pytest

from builders import runtime
from fakes.operator_world import World, a_running_world
from stratarouter_operator.acknowledge import PATIENCE
from stratarouter_operator.cluster import POD, RUNTIME_CONFIG
from stratarouter_operator.conditions import find
from stratarouter_operator.pods import TOUCH
from stratarouter_operator.reconcile import FIGURES_EVERY

MISSING = {"secret": "openai", "key": "apiKey", "usedBy": "chat/primary"}


def change(world: World, retries: int = 1) -> None:
    world.apply(replicas=len(world.pods), execution={"maxRetries": retries})


def touches(world: World) -> int:
    return sum(verb == "annotate" for verb, _, _ in world.kube.writes)


def touched(world: World, name: str) -> str:
    return str(world.kube.live(POD, name)["metadata"]["annotations"][TOUCH])


async def test_a_change_is_acknowledged_by_every_pod_without_a_new_one() -> None:
    world = await a_running_world()
    pods = dict(world.pods)
    change(world)
    await world.settle(1)
    assert world.pods == pods
    assert world.condition("Progressing") == ("False", "Complete")
    assert world.served == 2
    assert world.status["updatedReplicas"] == 2
    assert {pod.hash for pod in pods.values()} == {world.status["configHash"]}


async def test_the_pods_are_touched_once_the_configmap_is_written_and_asked_after_a_tenth_of_a_second() -> None:
    world = await a_running_world()
    change(world)
    asked = len(world.kube.asked)
    delay = await world.reconcile()
    order = [(verb, kind) for verb, kind, _ in world.kube.writes if verb != "status"]
    assert order == [("apply", "ConfigMap"), ("annotate", "Pod"), ("annotate", "Pod")]
    assert delay == pytest.approx(0.1)
    assert len(world.kube.asked) == asked
    assert world.condition("Progressing") == ("True", "AwaitingAcknowledgement")
    assert world.served == 1, "nobody has said that they serve it"


async def test_between_changes_only_pods_are_looked_at() -> None:
    world = await a_running_world()
    change(world)
    await world.reconcile()
    world.kube.writes.clear()
    reads: list[str] = []
    find = world.kube.find

    async def spy(*arguments: object, **named: object) -> object:
        reads.append(str(arguments[0]))
        return await find(*arguments, **named)  # type: ignore[arg-type]

    world.kube.find = spy  # type: ignore[method-assign, assignment]
    await world.clock.advance(0.1)
    await world.reconcile(marked=False)
    assert reads == []
    assert world.condition("Progressing") == ("False", "Complete")


async def test_touches_are_repeated_after_a_second_and_then_with_backoff() -> None:
    world = await a_running_world(replicas=1)
    [pod] = world.pods.values()
    pod.deaf = True
    change(world)
    await world.settle(0.9)
    assert touches(world) == 1
    first = touched(world, pod.name)
    await world.clock.advance(0.2)
    await world.reconcile(marked=False)
    assert touches(world) == 2
    assert touched(world, pod.name) != first, "an equal value would wake no kubelet"
    await world.settle(60)
    assert 6 <= touches(world) <= 8
    await world.settle(600)
    assert touches(world) <= 18, "at most one a minute"


async def test_each_touch_differs_from_the_last_one_whoever_made_it() -> None:
    """The counter goes on where the annotation stands: an equal value would wake no kubelet."""
    world = await a_running_world(replicas=1)
    [name] = world.pods
    world.pods[name].deaf = True
    change(world)
    await world.settle(0.5)
    first = touched(world, name)
    world.restart()
    await world.settle(0.5)
    second = touched(world, name)
    assert first != second
    assert second == f"{world.status['configHash'][:12]}-{int(first.rpartition('-')[2]) + 1}"


async def test_a_new_operator_asks_before_it_touches() -> None:
    world = await a_running_world()
    world.restart()
    await world.settle(60)
    assert touches(world) == 0


async def test_an_operator_that_starts_in_the_middle_finishes_the_acknowledgement() -> None:
    world = await a_running_world()
    for pod in world.pods.values():
        pod.deaf = True
    change(world)
    await world.settle(0.5)
    world.restart()
    for pod in world.pods.values():
        pod.deaf = False
    await world.settle(2)
    assert world.condition("Progressing") == ("False", "Complete")
    assert world.served == 2


async def test_a_pod_that_starts_is_not_touched_before_it_answers() -> None:
    world = World()
    world.apply_pool()
    world.apply(replicas=1)
    await world.reconcile()
    world.controllers()
    [pod] = world.pods.values()
    pod.silent = "connection refused"
    world.kube.live(POD, pod.name)["status"]["conditions"] = []
    await world.settle(20)
    assert touches(world) == 0
    pod.silent = ""
    world.kube.live(POD, pod.name)["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    await world.settle(6)
    assert world.condition("Progressing") == ("False", "Complete")


async def test_another_pod_at_the_same_address_is_no_acknowledgement() -> None:
    world = await a_running_world(replicas=1)
    [pod] = world.pods.values()
    change(world)
    world.kube.answers[pod.uid] = lambda: {**pod.answer(), "podUid": "uid-of-another"}
    await world.settle(40)
    assert world.served == 1
    assert world.condition("Progressing") == ("False", "PlatformPortUnreachable")
    assert "another pod" in world.message("Progressing")


@pytest.mark.parametrize("answer", ["connection refused", {}, {"podUid": "x"}, {"hash": 5}, {"podUid": 7, "hash": None}])
async def test_an_answer_of_another_form_is_no_acknowledgement(answer: object) -> None:
    world = await a_running_world(replicas=1)
    [pod] = world.pods.values()
    world.kube.answers[pod.uid] = lambda: answer
    change(world)
    await world.settle(40)
    assert world.condition("Progressing") == ("False", "PlatformPortUnreachable")
    assert pod.name in world.message("Progressing")
    assert world.condition("Degraded") == ("True", "UnacknowledgedPods")
    assert world.condition("Ready")[0] == "True", "it may well serve"


async def test_a_pod_that_refuses_the_configuration_is_quoted_and_left_alone() -> None:
    world = await a_running_world()
    name = min(world.pods)
    world.pods[name].refuses = "maxRetries: 7"
    change(world, 7)
    await world.settle(29)
    assert world.condition("Progressing") == ("True", "AwaitingAcknowledgement")
    await world.settle(3)
    assert world.condition("Progressing") == ("False", "PodRejectedConfig")
    assert world.message("Progressing") == f"{name}: {name} says: InvalidSpec: no such thing"
    assert world.condition("Degraded") == ("True", "UnacknowledgedPods")
    assert world.status["updatedReplicas"] == 1
    assert world.served == 1
    before = touches(world)
    await world.settle(300)
    assert touches(world) == before, "it has seen what there is"
    change(world, 2)
    await world.settle(2)
    assert world.condition("Progressing") == ("False", "Complete")
    assert world.served == 3


async def test_being_stuck_survives_a_restart_of_the_operator() -> None:
    world = await a_running_world(replicas=1)
    [pod] = world.pods.values()
    pod.deaf = True
    change(world)
    await world.settle(35)
    assert world.condition("Progressing") == ("False", "RolloutStalled")
    world.restart()
    await world.reconcile()
    assert world.condition("Progressing")[0] == "False"


async def test_each_pod_that_moves_renews_the_patience() -> None:
    world = await a_running_world()
    first, second = world.pods.values()
    first.deaf = second.deaf = True
    change(world)
    await world.settle(25)
    first.deaf = False
    await world.settle(20)
    assert world.condition("Progressing") == ("True", "AwaitingAcknowledgement")
    assert second.name in world.message("Progressing")
    await world.settle(25)
    assert world.condition("Progressing") == ("False", "RolloutStalled")


async def test_a_pod_that_is_on_its_way_out_is_not_waited_for() -> None:
    world = await a_running_world()
    name = min(world.pods)
    world.pods[name].deaf = True
    change(world)
    world.kube.live(POD, name)["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    await world.settle(2)
    assert world.served == 2
    assert world.status["updatedReplicas"] == 1


async def test_a_pod_that_goes_while_it_is_touched_is_no_error() -> None:
    world = await a_running_world()
    change(world)
    gone = min(world.pods)

    def race(verb: str, kind: str, name: str) -> None:
        if (verb, name) == ("annotate", gone):
            world.kube.objects.pop((POD.name, "default", name), None)

    world.kube.before_write = race
    await world.reconcile()
    assert world.condition("Progressing")[0] == "True"


# --- Secrets -----------------------------------------------------------------------------------------------------------


async def test_a_missing_secret_is_named() -> None:
    world = await a_running_world()
    for pod in world.pods.values():
        pod.missing = [MISSING]
    await world.settle(35)
    assert world.condition("ResolvedRefs") == ("False", "SecretNotFound")
    assert world.message("ResolvedRefs") == "missing: key apiKey of Secret openai (for chat/primary)"
    assert world.condition("Accepted") == ("True", "Valid")


async def test_what_pods_said_of_the_last_configuration_holds_for_that_one_until_they_speak_again() -> None:
    """No flicker on each change, and no claim for a generation that nobody has loaded."""
    world = await a_running_world()
    for pod in world.pods.values():
        pod.deaf = True
    before = find(world.status["conditions"], "ResolvedRefs")
    change(world)
    await world.settle(5)
    assert find(world.status["conditions"], "ResolvedRefs") == before
    assert before["observedGeneration"] == 1
    for pod in world.pods.values():
        pod.deaf, pod.missing = False, [MISSING]
    await world.settle(20)
    assert world.condition("ResolvedRefs") == ("False", "SecretNotFound")
    assert find(world.status["conditions"], "ResolvedRefs")["observedGeneration"] == 2


async def test_pods_of_a_new_template_have_said_nothing_yet() -> None:
    world = await a_running_world()
    world.apply(template={"annotations": {"new": "1"}})
    await world.reconcile()
    assert world.condition("ResolvedRefs") == ("Unknown", "NotReported")


async def test_a_whole_secret_that_is_missing_is_named_too() -> None:
    world = await a_running_world(replicas=1)
    [pod] = world.pods.values()
    pod.missing = [{"secret": "keys", "key": "", "usedBy": "auth"}]
    await world.settle(35)
    assert world.message("ResolvedRefs") == "missing: Secret keys (for auth)"


async def test_a_pod_that_waits_for_a_secret_is_touched_every_ten_seconds_and_later_every_minute() -> None:
    world = await a_running_world(replicas=1)
    [pod] = world.pods.values()
    pod.missing = [MISSING]
    await world.settle(31)  # until the next time it is asked
    world.kube.writes.clear()
    await world.settle(100)
    assert 9 <= touches(world) <= 11
    await world.settle(PATIENCE)
    world.kube.writes.clear()
    await world.settle(600)
    assert 9 <= touches(world) <= 11


async def test_a_secret_that_came_is_seen_within_seconds_of_the_touch() -> None:
    world = await a_running_world(replicas=1)
    [pod] = world.pods.values()
    pod.missing = [MISSING]
    await world.settle(35)
    assert world.condition("ResolvedRefs")[0] == "False"
    pod.missing = []
    await world.settle(12)
    assert world.condition("ResolvedRefs") == ("True", "AllFound")
    world.kube.writes.clear()
    await world.settle(120)
    assert touches(world) == 0


async def test_a_rotated_secret_is_in_use_soon_after_its_old_key_is_refused() -> None:
    """The kubelet alone would need minutes; the refusal makes the operator touch the pod within seconds."""
    world = await a_running_world(replicas=1)
    [pod] = world.pods.values()
    await world.settle(7)
    pod.providers = [{"pool": "chat", "name": "primary", "state": "Degraded", "reason": "ProviderUnauthorized"}]
    await world.settle(11)
    assert touches(world) == 1
    await world.settle(60)
    assert 6 <= touches(world) <= 7


async def test_a_provider_that_is_only_overloaded_is_not() -> None:
    world = await a_running_world(replicas=1)
    [pod] = world.pods.values()
    pod.providers = [{"pool": "chat", "name": "primary", "state": "Unavailable", "reason": "Overloaded"}]
    await world.settle(120)
    assert touches(world) == 0
    assert world.condition("Degraded") == ("True", "ProvidersOut")


async def test_a_secret_that_is_missing_before_the_first_report_is_unknown() -> None:
    world = World()
    world.apply_pool()
    world.kube.put(runtime("assistant", replicas=1))
    await world.reconcile()
    assert world.condition("ResolvedRefs")[0] == "Unknown"


# --- figures ------------------------------------------------------------------------------------------------------------


async def test_volatile_figures_are_written_at_most_once_a_minute() -> None:
    world = await a_running_world(replicas=1)
    [pod] = world.pods.values()
    pod.cache = {"entries": 10, "hits": 3, "misses": 1}
    await world.settle(FIGURES_EVERY + 35)
    assert world.status["cache"] == {"entries": 10, "hitRate": "0.75"}
    writes = []
    for number in range(300):
        pod.cache = {"entries": number, "hits": number, "misses": 1}
        before = len(world.kube.writes)
        await world.settle(1)
        writes += world.kube.writes[before:]
    assert 4 <= len(writes) <= 6
    assert {verb for verb, _, _ in writes} == {"status"}


async def test_the_metrics_tell_who_has_not_acknowledged() -> None:
    world = await a_running_world(replicas=1)
    [pod] = world.pods.values()
    pod.deaf = True
    change(world)
    await world.settle(1)
    series = b'stratarouter_operator_unacknowledged_pods{namespace="default",runtimeconfig="assistant"}'
    assert series + b" 1.0" in world.metrics.expose()
    pod.deaf = False
    await world.settle(5)
    assert series + b" 0.0" in world.metrics.expose()
    assert b"stratarouter_operator_acknowledge_duration_seconds_count 1.0" in world.metrics.expose()
    assert world.kube.live(RUNTIME_CONFIG, "assistant")["status"]["updatedReplicas"] == 1
