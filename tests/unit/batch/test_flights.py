"""Identical requests in flight share one call, and nobody pays for another's failure."""

from __future__ import annotations

import asyncio

import pytest

from stratarouter_runtime.batch import Flights
from stratarouter_runtime.model.errors import ExecutionError, RequestError

FAR = 1e12


class Vendor:
    """Counts its calls; each ends when the test says so."""

    def __init__(self) -> None:
        self.calls: list[asyncio.Future[str]] = []
        self.cancelled = 0

    async def call(self) -> str:
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.calls.append(answer)
        try:
            return await answer
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


@pytest.fixture
def vendor():
    return Vendor()


@pytest.fixture
def flights():
    return Flights()


async def turns(times: int = 10) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


def share(flights, vendor, key="k", deadline=FAR):
    return asyncio.ensure_future(flights.share(key, vendor.call, deadline=deadline))


async def test_a_hundred_identical_requests_make_one_call(flights, vendor):
    asked = [share(flights, vendor) for _ in range(100)]
    await turns()
    assert len(vendor.calls) == 1
    vendor.calls[0].set_result("answer")
    got = await asyncio.gather(*asked)
    assert [answer for answer, _ in got] == ["answer"] * 100
    assert sorted(joined for _, joined in got) == [False] + [True] * 99
    assert len(flights) == 0


async def test_other_keys_fly_alone(flights, vendor):
    one, other = share(flights, vendor, "a"), share(flights, vendor, "b")
    await turns()
    assert len(vendor.calls) == 2
    for call, answer in zip(vendor.calls, "xy", strict=True):
        call.set_result(answer)
    assert [(await one)[0], (await other)[0]] == ["x", "y"]


async def test_the_first_caller_may_leave_without_hurting_the_others(flights, vendor):
    first, second = share(flights, vendor), share(flights, vendor)
    await turns()
    first.cancel()
    await turns()
    assert vendor.cancelled == 0
    vendor.calls[0].set_result("answer")
    assert await second == ("answer", True)
    assert first.cancelled()


async def test_the_last_to_leave_ends_the_call(flights, vendor):
    both = [share(flights, vendor), share(flights, vendor)]
    await turns()
    for each in both:
        each.cancel()
    await turns()
    assert vendor.cancelled == 1
    assert len(flights) == 0


async def test_who_comes_while_a_call_is_being_ended_makes_its_own(flights, vendor):
    first = share(flights, vendor)
    await turns()
    first.cancel()
    late = share(flights, vendor)
    await turns()
    assert len(vendor.calls) == 2
    vendor.calls[1].set_result("answer")
    assert (await late)[0] == "answer"


async def test_a_failed_leader_is_followed_by_one_of_the_others(flights, vendor):
    asked = [share(flights, vendor) for _ in range(3)]
    await turns()
    vendor.calls[0].set_exception(ExecutionError("AllAttemptsFailed", "no", status=502))
    await turns()
    assert len(vendor.calls) == 2
    vendor.calls[1].set_result("answer")
    await turns()
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(outcomes[0], ExecutionError)
    assert [outcome[0] for outcome in outcomes[1:]] == ["answer"] * 2


async def test_the_callers_own_mistake_is_not_repeated_for_everyone(flights, vendor):
    asked = [share(flights, vendor) for _ in range(5)]
    await turns()
    vendor.calls[0].set_exception(RequestError("InvalidRequest", "no"))
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert len(vendor.calls) == 1
    assert all(isinstance(outcome, RequestError) for outcome in outcomes)


async def test_a_follower_waits_no_longer_than_its_own_deadline(flights, vendor):
    leader = share(flights, vendor)
    await turns()
    now = asyncio.get_running_loop().time()
    with pytest.raises(ExecutionError) as caught:
        await flights.share("k", vendor.call, deadline=now)
    assert caught.value.status == 504
    vendor.calls[0].set_result("answer")
    assert await leader == ("answer", False)


async def test_beyond_the_bound_a_request_flies_alone(vendor):
    flights = Flights(max_flights=1)
    asked = [share(flights, vendor, "a"), share(flights, vendor, "b"), share(flights, vendor, "b")]
    await turns()
    assert len(vendor.calls) == 3
    for call in vendor.calls:
        call.set_result("answer")
    assert {(await each)[0] for each in asked} == {"answer"}
