"""The operator may die between any two of its writes: whoever comes after it finishes the work.

Each scenario is run once to count its writes, then once for each of them with a process that dies right before it and
a new one that knows nothing. In the end the cluster must be what an undisturbed run has made of it.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable

import pytest

from fakes.kube import Killed
from fakes.operator_world import World, a_running_world
from stratarouter_operator.cluster import Manifest

Scenario = Callable[[], Awaitable[World]]


async def first() -> World:
    """Nothing is there yet."""
    world = World()
    world.apply_pool()
    world.apply(replicas=2)
    return world


async def hot() -> World:
    """A change that the running pods take."""
    world = await a_running_world()
    world.apply(execution={"maxRetries": 1})
    return world


async def roll() -> World:
    """A change of the pods' template and of their number, and an object that is to go."""
    world = await a_running_world()
    world.apply(replicas=1, template={"annotations": {"new": "1"}})
    return world


async def refused() -> World:
    """A spec that cannot be run, and drift that has to be repaired all the same."""
    world = await a_running_world()
    world.apply(defaultRoute={"pools": [{"name": "absent"}]})
    world.kube.objects.pop(("Service", "default", "assistant"))
    return world


def picture(world: World) -> dict[object, Manifest]:
    """The cluster without what counts or times."""
    seen = {}
    for (kind, _, name), each in copy.deepcopy(world.kube.objects).items():
        if kind == "Pod":
            continue
        for moving in ("resourceVersion", "generation", "uid", "creationTimestamp", "managedFields", "ownerReferences"):
            each["metadata"].pop(moving, None)
        for condition in each.get("status", {}).get("conditions", []):
            condition.pop("lastTransitionTime", None)
        if kind == "Deployment":
            each.pop("status", None)
        seen[kind, name] = each
    return seen


def dies_before(world: World, number: int) -> list[int]:
    count = [0]

    def hook(verb: str, kind: str, name: str) -> None:
        count[0] += 1
        if count[0] == number:
            raise Killed

    world.kube.before_write = hook
    return count


@pytest.mark.parametrize("scenario", [first, hot, roll, refused])
async def test_a_death_between_any_two_writes_changes_nothing_in_the_end(scenario: Scenario) -> None:
    undisturbed = await scenario()
    count = dies_before(undisturbed, -1)
    await undisturbed.settle(40)
    writes = count[0]
    expected = picture(undisturbed)
    assert writes >= 3, "a scenario that writes nothing shows nothing"
    for number in range(1, writes + 1):
        world = await scenario()
        dies_before(world, number)
        with pytest.raises(Killed):
            await world.settle(40)
        world.kube.before_write = lambda *_: None
        world.restart()
        await world.settle(40)
        assert picture(world) == expected, f"died before write {number} of {writes}"


async def test_a_death_before_each_write_in_turn_still_ends_well() -> None:
    """A process that is killed again and again makes one write each time; that is enough."""
    world = await first()
    for _ in range(60):
        dies_before(world, 2)
        try:
            await world.settle(2)
        except Killed:
            world.restart()
            continue
        break
    assert world.condition("Progressing") == ("False", "Complete")
