"""A ProviderPool's status: who uses it, and whether it is in order by itself."""

from __future__ import annotations

from typing import Any

from builders import provider, runtime
from fakes.operator_world import PROVIDER_POOL, World
from stratarouter_operator.conditions import find
from stratarouter_operator.queue import Key

CHAT = Key("ProviderPool", "default", "chat")


async def status(world: World) -> Any:
    await world.pools(CHAT, marked=True)
    return world.kube.live(PROVIDER_POOL, "chat").get("status")


async def test_it_says_who_uses_it() -> None:
    world = World()
    world.apply_pool()
    assert "usedBy" not in await status(world)
    world.kube.put(runtime("second"))
    world.kube.put(runtime("first"))
    world.kube.put(runtime("third", defaultRoute={"pools": [{"name": "other"}]}))
    assert (await status(world))["usedBy"] == ["first", "second"]


async def test_a_valid_one_is_accepted() -> None:
    world = World()
    world.apply_pool()
    found = await status(world)
    assert find(found["conditions"], "Accepted")["status"] == "True"
    assert found["observedGeneration"] == 1


async def test_one_that_got_past_the_schema_is_refused_with_the_field() -> None:
    world = World()
    world.apply_pool(provider("twice"), provider("twice"))
    accepted = find((await status(world))["conditions"], "Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "InvalidSpec")
    assert "twice" in accepted["message"]


async def test_an_unchanged_one_is_not_written_again() -> None:
    world = World()
    world.apply_pool()
    await status(world)
    world.kube.writes.clear()
    await world.clock.advance(100)
    await status(world)
    assert world.kube.writes == []


async def test_one_that_is_gone_is_quiet() -> None:
    world = World()
    await world.pools(CHAT, marked=True)
    assert world.kube.writes == []
