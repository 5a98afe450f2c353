"""Every form of "come back later", sensible or not: nobody is called before its time, and nobody waits past the deadline."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate

import pytest

from fakes.vendor import fault
from faults.case import Case
from faults.checks import meets, question, route, the_books_are_right
from faults.expected import ATTEMPTS, Ends, limited, misconfigured, transient
from faults.world import Figures, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

AGAIN = limited(1, 1).but(attempts=ATTEMPTS, state="Healthy", why="")
"""No wait, or none that makes sense: tried again, and the caller sent away for a moment."""
DAY = 86_400


def waiting(name: str, ends: Ends, status: int = 429, **headers: str) -> Case:
    """A refusal with these headers and no words about the wait."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    what = fault(f"bare_{status}", headers={"x-ratelimit-reset-requests": "", "x-ratelimit-reset-tokens": "", **sent})
    return Case(name, ends, ends, fault=what)


BUSY = transient("Overloaded").but(attempts=1, state="Degraded", why="Overloaded")

CASES = [
    waiting("seconds", limited(36, 37), Retry_After="37"),
    waiting("seconds_of_a_fraction", limited(37, 37), Retry_After="36.5"),
    waiting("date", limited(3000, 3600), Retry_After=formatdate(time.time() + 3600, usegmt=True)),
    waiting("milliseconds", limited(36, 37), retry_after_ms="36100"),
    waiting("milliseconds_first", limited(36, 37), retry_after_ms="36100", Retry_After="600"),
    waiting("reset_of_requests", limited(359, 360), x_ratelimit_reset_requests="6m0s", x_ratelimit_remaining_requests="0",
            x_ratelimit_reset_tokens="120ms", x_ratelimit_remaining_tokens="5"),
    waiting("reset_of_tokens", limited(3661, 3662), x_ratelimit_reset_tokens="1h1m1.5s", x_ratelimit_remaining_tokens="0"),
    waiting("absurd", limited(DAY - 1, DAY), Retry_After="999999999999"),
    waiting("absurd_date", limited(DAY - 1, DAY), Retry_After="Fri, 31 Dec 9999 23:59:59 GMT"),
    waiting("absurd_milliseconds", limited(DAY - 1, DAY), retry_after_ms="1e300"),
    waiting("zero", AGAIN, Retry_After="0"),
    waiting("past", AGAIN, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"),
    waiting("negative", AGAIN, Retry_After="-5"),
    waiting("infinite", AGAIN, Retry_After="inf"),
    waiting("not_a_number", AGAIN, Retry_After="nan"),
    waiting("words", AGAIN, Retry_After="tomorrow"),
    waiting("no_date", AGAIN, Retry_After="Wed, 99 Foo 2026 99:99:99 GMT"),
    waiting("busy_seconds", BUSY, 503, Retry_After="37"),
    waiting("busy_529", BUSY, 529, Retry_After="37"),
    Case("quota", misconfigured("QuotaExhausted"), misconfigured("QuotaExhausted"), fault=fault("quota", headers={"Retry-After": "37"})),
]


@pytest.mark.parametrize("case", CASES, ids=lambda each: each.name)
async def test_it_ends_as_it_must(world: World, case: Case) -> None:
    """Alone the caller is told how long; with a healthy provider behind nobody waits."""
    await meets(world, case)


async def test_the_books_are_right(world: World) -> None:
    """After all of them: in the metrics, and with no call open and no place taken."""
    await the_books_are_right(world)


@pytest.mark.parametrize(("name", "status", "code"), [("seconds", 429, "rate_limited"), ("busy_seconds", 503, "no_provider_available")])
async def test_nobody_calls_a_limited_provider_before_its_time(world: World, name: str, status: int, code: str) -> None:
    """After one refusal ten others are sent away with what is left of the wait, without a call; behind a fallback they are answered."""
    case = next(each for each in CASES if each.name == name)
    await world.ask(route(case, backed=False), "json", "the one that finds out")
    before = world.faulty.record.total
    alone = await asyncio.gather(*(world.ask(route(case, backed=False), "json", f"refused {each}") for each in range(10)))
    assert {each.status for each in alone} == {status}
    assert {each.error.code for each in alone if each.error is not None} == {code}
    assert all(1 <= int(each.headers["Retry-After"]) <= 37 for each in alone)
    assert {each.headers["x-strata-attempts"] for each in alone} == {"0"}
    await world.ask(route(case, backed=True), "json", question(case, "json", backed=True) + " once more")
    backed = await asyncio.gather(*(world.ask(route(case, backed=True), "stream", f"answered {each}") for each in range(10)))
    assert {(each.status, each.headers["x-strata-provider"]) for each in backed} == {(200, "spare")}
    assert world.faulty.record.total == before
    figures = Figures(await world.pod.metrics())
    assert figures.total("candidates_skipped_total", provider=f"{case.label}-a", model="json") >= 10
