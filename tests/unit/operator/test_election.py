"""Leader election: one writer, and no writer that does not surely hold the Lease."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from fakes.kube import FakeKube
from fakes.operator_clock import FakeClock, settle
from stratarouter_operator.cluster import LEASE, Kind, Manifest
from stratarouter_operator.election import Election
from stratarouter_operator.errors import LeadershipLost, Unavailable
from stratarouter_operator.metrics import Metrics
from stratarouter_operator.settings import Settings

SETTINGS = Settings(lease_namespace="system", identity="one")


class FlakyKube(FakeKube):
    """An API server that can be away, or hang."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.hangs = False

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest:
        if self.hangs:
            await asyncio.Event().wait()
        if self.away:
            raise Unavailable("ApiServerUnreachable", "no answer")
        return await super().get(kind, namespace, name)


def candidate(kube: FakeKube, clock: FakeClock, identity: str = "one", **settings: Any) -> Election:
    return Election(kube, dataclasses.replace(SETTINGS, identity=identity, **settings), clock, Metrics(), jitter=lambda: 0.0)


def holder(kube: FakeKube) -> str:
    return str(kube.live(LEASE, "stratarouter-operator", "system")["spec"]["holderIdentity"])


async def test_the_first_one_leads_and_others_wait() -> None:
    kube, clock = FakeKube(), FakeClock()
    first, second = candidate(kube, clock), candidate(kube, clock, "two")
    await first.acquire()
    first.check()
    waiting = asyncio.create_task(second.acquire())
    holding = asyncio.create_task(first.hold())
    await clock.advance(120)
    assert holder(kube) == "one"
    assert not waiting.done()
    with pytest.raises(LeadershipLost):
        second.check()
    for task in (waiting, holding):
        task.cancel()
    await asyncio.gather(waiting, holding, return_exceptions=True)


async def test_a_dead_leader_is_replaced_after_its_lease_has_stood_still_for_its_duration() -> None:
    kube, clock = FakeKube(), FakeClock()
    await candidate(kube, clock).acquire()  # and never renews
    second = candidate(kube, clock, "two")
    waiting = asyncio.create_task(second.acquire())
    await clock.advance(14)
    assert not waiting.done()
    await clock.advance(4)
    assert waiting.done()
    assert holder(kube) == "two"
    assert kube.live(LEASE, "stratarouter-operator", "system")["spec"]["leaseTransitions"] == 2


async def test_a_wall_clock_that_is_wrong_takes_no_lease() -> None:
    """``renewTime`` is never compared: a Lease that looks years old is still watched for its whole duration."""
    kube, clock = FakeKube(), FakeClock()
    await candidate(kube, clock).acquire()
    kube.live(LEASE, "stratarouter-operator", "system")["spec"]["renewTime"] = "1999-01-01T00:00:00.000000Z"
    waiting = asyncio.create_task(candidate(kube, clock, "two").acquire())
    await clock.advance(10)
    assert not waiting.done()
    waiting.cancel()


async def test_a_released_lease_is_taken_at_once() -> None:
    kube, clock = FakeKube(), FakeClock()
    first = candidate(kube, clock)
    await first.acquire()
    await first.release()
    with pytest.raises(LeadershipLost):
        first.check()
    waiting = asyncio.create_task(candidate(kube, clock, "two").acquire())
    await settle()
    assert waiting.done()
    assert holder(kube) == "two"


async def test_a_lease_of_somebody_else_is_not_released() -> None:
    kube, clock = FakeKube(), FakeClock()
    await candidate(kube, clock).acquire()
    await candidate(kube, clock, "two").release()
    assert holder(kube) == "one"


async def test_a_process_that_comes_back_under_its_name_goes_on_at_once() -> None:
    kube, clock = FakeKube(), FakeClock()
    await candidate(kube, clock).acquire()
    again = asyncio.create_task(candidate(kube, clock).acquire())
    await settle()
    assert again.done()
    assert kube.live(LEASE, "stratarouter-operator", "system")["spec"]["leaseTransitions"] == 1


async def test_an_api_server_that_is_away_for_less_than_the_deadline_costs_nothing() -> None:
    kube, clock = FlakyKube(), FakeClock()
    first = candidate(kube, clock)
    await first.acquire()
    holding = asyncio.create_task(first.hold())
    kube.away = True
    await clock.advance(7)
    first.check()
    kube.away = False
    await clock.advance(60)
    first.check()
    assert not holding.done()
    holding.cancel()


@pytest.mark.parametrize("fault", ["away", "hangs"])
async def test_a_renewal_that_misses_its_deadline_ends_leadership_before_the_lease_can_be_taken(fault: str) -> None:
    """10 s after the last renewal was sent nothing more is written; others may take the Lease after 15 s."""
    kube, clock = FlakyKube(), FakeClock()
    first = candidate(kube, clock)
    await first.acquire()
    holding = asyncio.create_task(first.hold())
    setattr(kube, fault, True)
    await clock.advance(10)
    with pytest.raises(LeadershipLost):
        first.check()
    await clock.advance(2)
    with pytest.raises(LeadershipLost):
        await holding


async def test_leadership_counts_from_the_moment_a_renewal_was_sent() -> None:
    """An answer that took 9 s leaves 1 s, not 10."""
    kube, clock = FakeKube(), FakeClock()
    answered = FakeKube.create

    async def slow(self: FakeKube, *arguments: Any, **named: Any) -> Manifest:
        await clock.sleep(9)
        return await answered(self, *arguments, **named)

    kube.create = slow.__get__(kube)  # type: ignore[method-assign]
    first = candidate(kube, clock)
    acquiring = asyncio.create_task(first.acquire())
    await clock.advance(9.5)
    assert acquiring.done()
    first.check()
    await clock.advance(0.6)
    with pytest.raises(LeadershipLost):
        first.check()


async def test_a_lease_that_was_taken_away_ends_leadership_at_once() -> None:
    kube, clock = FakeKube(), FakeClock()
    first = candidate(kube, clock)
    await first.acquire()
    holding = asyncio.create_task(first.hold())
    await settle()
    kube.edit(LEASE, "stratarouter-operator", lambda live: live["spec"].update(holderIdentity="two"), "system")
    await clock.advance(2.1)
    with pytest.raises(LeadershipLost, match="two holds"):
        await holding


async def test_a_deleted_lease_is_made_again() -> None:
    kube, clock = FakeKube(), FakeClock()
    first = candidate(kube, clock)
    await first.acquire()
    holding = asyncio.create_task(first.hold())
    await settle()
    kube.remove(LEASE, "system", "stratarouter-operator")
    await clock.advance(3)
    assert holder(kube) == "one"
    holding.cancel()
