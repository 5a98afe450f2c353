"""What is asserted of every fault: the reply, its time, the attempts, the figures, the provider's state, and that nothing
leaked or was stored.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai

from fakes.vendor import FakeVendor

from .case import Case
from .expected import Ends
from .world import SLACK, Figures, Told, World


async def meets(world: World, case: Case) -> None:
    """Every kind of request, alone and with a healthy provider behind."""
    asked = [(kind, ends, backed) for kind, ends in case.expected() for backed in (False, True)]
    written = len(world.lines.written)
    told = await asyncio.gather(*(_meet(world, case, kind, ends, backed=backed) for kind, ends, backed in asked))
    await world.settled()
    for letter in "ab":
        await _judged(world, case, letter)
    for replies in told:
        for each in replies:
            _keeps_secrets(world, each)
    for line in world.lines.written[written:]:
        assert not [each for each in world.secrets() if each in line], line
        assert '"level":"error"' not in line, line
    await _kept_or_not(world, case, asked)
    world.met.append(case)


def question(case: Case, kind: str, *, backed: bool) -> str:
    """What is asked: another text for each, so that calls can be counted."""
    return f"{case.name} {kind} {'backed' if backed else 'alone'}?"


def route(case: Case, *, backed: bool) -> str:
    """The route's name."""
    return f"{case.label}-{'backed' if backed else 'alone'}"


async def _meet(world: World, case: Case, kind: str, ends: Ends, *, backed: bool) -> list[Told]:
    text = question(case, kind, backed=backed)
    replies = [await world.ask(route(case, backed=backed), kind, text, **case.asked)]
    fails_over = backed and ends.failover
    if ends.in_band and not backed:
        # Twice, so that the breaker has seen two failures like everywhere else.
        replies.append(await world.ask(route(case, backed=backed), kind, text, **case.asked))
    for told in replies:
        tries = 1 if fails_over else ends.attempts
        assert told.seconds <= tries * case.within + SLACK, (kind, backed, told.seconds)
        _replied(told, case, kind, ends, text, backed=backed)
    calls = world.calls(world.faulty, text)
    if case.provider.get("endpoint") is None:
        made = 1 if fails_over else ends.attempts * len(replies)
        # On a busy machine a call may be given up before the vendor has read it, never made once more.
        assert calls == made or (ends.reason == "Timeout" and calls <= made), (kind, backed, calls)
    assert world.calls(world.spare, text) == (1 if fails_over else 0), (kind, backed)
    return replies


def _replied(told: Told, case: Case, kind: str, ends: Ends, text: str, *, backed: bool) -> None:
    where = (kind, "backed" if backed else "alone", told.status, told.body[:600])
    headers = told.headers
    assert headers["x-strata-execution-id"].startswith("exec-"), where
    assert headers["x-request-id"].startswith("fault-"), where
    assert headers["x-strata-route"] == route(case, backed=backed), where
    if backed and ends.failover:
        assert told.status == 200, where
        assert told.error is None, where
        assert (headers["x-strata-provider"], headers["x-strata-attempts"]) == ("spare", "2"), where
        _is_the_spares(told, kind, text, where)
    elif ends.in_band:
        _breaks_off(told, ends, where)
    elif ends.status == 200:
        assert (told.status, told.error) == (200, None), where
        assert headers["x-strata-provider"] == f"{case.label}-{'b' if backed else 'a'}", where
        assert int(headers["x-strata-attempts"]) == ends.attempts, where
        if kind == "stream":
            assert told.events[-1] == "[DONE]", where
    else:
        _refuses(told, ends, where)


def _refuses(told: Told, ends: Ends, where: Any) -> None:
    body = json.loads(told.body)
    assert list(body) == ["error"], where
    assert sorted(body["error"]) == ["code", "message", "param", "type"], where
    assert told.status == ends.status, where
    assert body["error"]["code"] == (ends.code or None), where
    assert body["error"]["type"] == ends.kind, where
    assert body["error"]["message"], where
    assert told.headers["content-type"] == "application/json", where
    assert int(told.headers["x-strata-attempts"]) == ends.attempts, where
    assert "x-strata-provider" not in told.headers, where
    assert isinstance(told.error, ends.raises or openai.APIStatusError), (where, told.error)
    asked = told.headers.get("Retry-After")
    if ends.retry_after is None:
        assert asked is None, where
    else:
        least, most = ends.retry_after
        assert asked is not None, where
        assert least <= int(asked) <= most, (where, asked)


def _breaks_off(told: Told, ends: Ends, where: Any) -> None:
    assert told.status == 200, where
    *before, last = told.events
    assert before, where
    assert list(last) == ["error"], where
    assert sorted(last["error"]) == ["code", "message", "param", "type"], where
    assert (last["error"]["code"], last["error"]["type"]) == (ends.code, ends.kind), (where, last)
    assert "[DONE]" not in before, where
    assert type(told.error) is openai.APIError, (where, told.error)
    assert told.error.code == ends.code, where


def _is_the_spares(told: Told, kind: str, text: str, where: Any) -> None:
    if kind == "embed":
        assert [len(row.embedding) for row in told.answer.data] == [8, 8], where
        return
    if kind == "json":
        assert text in told.answer.choices[0].message.content, where
        return
    assert told.events[-1] == "[DONE]", where
    said = "".join(choice.delta.content or "" for chunk in told.answer for choice in chunk.choices)
    assert text in said, where
    # Nothing of the faulty provider's stream has got through, not even its preamble.
    assert len({chunk.id for chunk in told.answer}) == 1, where
    assert sum(choice.delta.role is not None for chunk in told.answer for choice in chunk.choices) == 1, where


def _counted(figures: Figures, case: Case, kind: str, ends: Ends) -> None:
    name, model = f"{case.label}-a", kind
    rounds = 2 if ends.in_band else 1
    outcome = ends.reason or "success"
    made = figures.total("attempts_total", provider=name, model=model)
    kind = f"{case.name} {kind}"
    assert made == ends.attempts * rounds, (kind, made)
    outcomes = figures.labelled("attempts_total", provider=name, model=model)
    assert figures.total("attempts_total", provider=name, model=model, outcome=outcome) == made, (kind, outcomes)
    asked = sum(3 if each.in_band else 2 for _, each in case.expected())  # once more each, of the cache alone
    assert figures.total("requests_total", route=f"{case.label}-alone") == asked, kind
    opened = figures.total("breaker_state", provider=name, model=model)
    assert opened == (2 if ends.why == "BreakerOpen" else 0), (kind, opened)
    failed = f"{case.label}-b"
    assert figures.total("attempts_total", provider=failed, model=model, outcome=outcome) == (1 if ends.failover else ends.attempts), kind
    if ends.reason == "Timeout":
        assert figures.total("timeouts_total", provider=name) >= 1, kind
    if ends.reason:
        assert figures.total("errors_total", provider=name, type=ends.reason) >= ends.attempts * rounds, kind


async def _judged(world: World, case: Case, letter: str) -> None:
    states = {(ends.state, ends.why) for _, ends in case.expected()}
    found = await world.state(f"{case.label}-{letter}")
    if letter == "a":
        assert found in states, found
        assert found[0] == max((state for state, _ in states), key=("Healthy", "Degraded", "Unavailable").index), found
    else:
        # One failure behind which another provider answered opens no breaker, but a misconfiguration is told at once.
        assert found[0] != "Unavailable", found


def _keeps_secrets(world: World, told: Told) -> None:
    said = told.body.decode("utf-8", "replace") + "\n".join(f"{name}: {value}" for name, value in told.headers.items())
    assert not [each for each in world.secrets() if each in said], said[:2000]


async def _kept_or_not(world: World, case: Case, asked: list[tuple[str, Ends, bool]]) -> None:
    """What failed was not stored, nor anything half-finished; what was answered was."""
    for kind, ends, backed in asked:
        status, cache, body = await world.only_cached(route(case, backed=backed), kind, question(case, kind, backed=backed), **case.asked)
        answered = (ends.status == 200 and not ends.in_band) or (backed and ends.failover)
        if answered and ends.stored:
            assert (status, "; hit" in cache) == (200, True), (kind, backed, cache, body)
        else:
            assert (status, json.loads(body)["error"]["code"]) == (504, "not_cached"), (kind, backed, body)


async def the_books_are_right(world: World) -> None:
    """The metrics say of each case what was seen; no call to a vendor is open, no place taken, no request in flight."""
    figures = Figures(await world.pod.metrics())
    for case in world.met:
        for kind, ends in case.expected():
            _counted(figures, case, kind, ends)
    await world.pod.server.drain.wait_idle(5)
    assert world.pod.server.drain.in_flight == 0
    assert all(each.in_flight == 0 for each in world.pod.server.runtime.health._bulkheads.values())
    await _let_go(world.faulty)
    await _let_go(world.spare)


async def _let_go(vendor: FakeVendor) -> None:
    await vendor.record.until(lambda record: record.total == record.completed + record.aborted)
