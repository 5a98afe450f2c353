"""Feedback over a cache that fails on demand: who may give it, what it does, and that it counts once."""

from __future__ import annotations

from typing import Any

import pytest

import stratarouter_runtime.feedback as module
from fakes.provider import Observer
from stratarouter_runtime.cache import StoreUnavailable
from stratarouter_runtime.feedback import DAY, HOUR, Feedback
from stratarouter_runtime.model.cache import CacheEntry, CacheKey, Hit, Miss, Note
from stratarouter_runtime.model.errors import ExecutionError, RequestError
from stratarouter_runtime.model.execution import Execution
from stratarouter_runtime.model.plan import CacheTerms, Candidate, Plan
from stratarouter_runtime.model.request import Caller, ChatRequest, Directives


class Shared:
    """What several pods share; ``down`` is raised by every call."""

    def __init__(self) -> None:
        self.notes: dict[str, Note] = {}
        self.claims: set[tuple[str, str]] = set()
        self.deleted: list[str] = []
        self.reads = 0
        self.down = False
        self.claiming = True

    def note(self, execution: str, note: Note) -> None:
        self.notes[execution] = note

    async def recall(self, execution: str) -> Note | None:
        self._check()
        self.reads += 1
        return self.notes.get(execution)

    async def claimed(self, execution: str, verdict: str) -> bool:
        self._check()
        return (execution, verdict) in self.claims

    async def claim(self, execution: str, verdict: str) -> bool:
        self._check()
        if not self.claiming:
            raise StoreUnavailable("between the two")
        first = (execution, verdict) not in self.claims
        self.claims.add((execution, verdict))
        return first

    async def delete(self, exact: str) -> bool:
        self._check()
        self.deleted.append(exact)
        return True

    def _check(self) -> None:
        if self.down:
            raise StoreUnavailable("down")


CANDIDATE = Candidate("chat", "primary", "gpt-4o", "gpt-4o")
MINE = Caller("mine")


def execution(identity: str = "exec-1", *, cached: Hit | Miss | None = None, cache: bool = True, ttl: float = 60.0) -> Execution:
    """One that has its answer."""
    request = ChatRequest({"model": "gpt-4o", "messages": []})
    plan = Plan(route="billing", family="chat", tenant="mine", request=request, candidates=(CANDIDATE,), timeout=1.0, max_attempts=1,
                retry_delay=0.1, cache=CacheTerms("s", ttl, 1.0) if cache else None)
    return Execution(identity, "req", 0.0, MINE, Directives(), plan=plan, candidate=CANDIDATE, cached=cached)


def key(exact: str = "K") -> CacheKey:
    return CacheKey(scope="s", partition="p", exact=exact, family="chat", tenant="mine", route="billing", model="gpt-4o")


def entry(exact: str) -> CacheEntry:
    return CacheEntry(partition="p", exact=exact, body=b"{}", pool="chat", provider="second", model="gpt-4o-mini", region="", created=0.0,
                      ttl=100.0)


async def instantly(_: float) -> None:
    """No waiting."""


def pod(sleep: Any = instantly) -> tuple[Feedback, Observer]:
    observer = Observer()
    return Feedback(observer, sleep=sleep), observer


@pytest.mark.parametrize("caller", [Caller("theirs"), Caller("default")])
async def test_another_tenants_execution_is_as_unknown_as_one_that_never_was(caller: Caller) -> None:
    """Neither counts nor evicts, and the two refusals read alike."""
    shared, (feedback, observer) = Shared(), pod()
    feedback.remember(execution(), key(), shared)
    messages = set()
    for identity in ("exec-1", "exec-2"):
        with pytest.raises(RequestError) as caught:
            await feedback.take(caller, identity, correct=False, cache=shared)
        assert (caught.value.reason, caught.value.status, caught.value.param) == ("ExecutionNotFound", 404, "execution_id")
        messages.add(caught.value.message)
    assert len(messages) == 1
    assert (shared.deleted, observer.feedbacks) == ([], [])


async def test_while_the_cache_does_not_answer_nothing_is_taken_and_a_second_try_is() -> None:
    """Whoever is told of success may rely on the answer being gone."""
    shared, (feedback, observer) = Shared(), pod()
    feedback.remember(execution(), key(), shared)
    shared.down = True
    for correct in (True, False):
        with pytest.raises(ExecutionError) as caught:
            await feedback.take(MINE, "exec-1", correct=correct, cache=shared)
        assert (caught.value.reason, caught.value.status, caught.value.retry_after) == ("CacheUnavailable", 503, 5)
    shared.down, shared.claiming = False, False
    with pytest.raises(ExecutionError):
        await feedback.take(MINE, "exec-1", correct=False, cache=shared)
    assert observer.feedbacks == []
    shared.claiming = True
    assert (await feedback.take(MINE, "exec-1", correct=False, cache=shared)).counted
    assert shared.deleted == ["K", "K"]
    assert observer.feedbacks == [("billing", "gpt-4o", "wrong")]


async def test_the_same_feedback_counts_once_and_evicts_once_on_whichever_pod() -> None:
    """A newer answer under the same key is not taken for the old one."""
    shared, (one, seen), (other, seen_there) = Shared(), pod(), pod()
    one.remember(execution(), key(), shared)
    first = await other.take(MINE, "exec-1", correct=False, cache=shared)
    again = [await each.take(MINE, "exec-1", correct=False, cache=shared) for each in (other, one, one)]
    assert (first.counted, first.evicted) == (True, True)
    assert [(each.counted, each.evicted) for each in again] == [(False, False)] * 3
    assert shared.deleted == ["K"]
    assert seen.feedbacks + seen_there.feedbacks == [("billing", "gpt-4o", "wrong")]


async def test_who_changes_their_mind_counts_for_both_and_evicts() -> None:
    """Correct first, wrong later."""
    shared, (feedback, observer) = Shared(), pod()
    feedback.remember(execution(), key(), shared)
    assert not (await feedback.take(MINE, "exec-1", correct=True, cache=shared)).evicted
    assert (await feedback.take(MINE, "exec-1", correct=False, cache=shared)).evicted
    assert [verdict for _, _, verdict in observer.feedbacks] == ["correct", "wrong"]


async def test_without_a_cache_it_counts() -> None:
    """On the pod that answered; there is nobody else to ask, and nothing to wait for."""
    async def never(_: float) -> None:
        raise AssertionError("waited")
    feedback, observer = pod(never)
    feedback.remember(execution(cache=False), None, None)
    counted = [(await feedback.take(MINE, "exec-1", correct=False, cache=None)).counted for _ in range(2)]
    assert counted == [True, False]
    assert observer.feedbacks == [("billing", "gpt-4o", "wrong")]
    with pytest.raises(RequestError):
        await feedback.take(MINE, "exec-2", correct=False, cache=None)


async def test_a_hit_is_judged_by_the_entry_that_answered() -> None:
    """Which by similarity is another question's, of another model."""
    shared, (feedback, observer) = Shared(), pod()
    feedback.remember(execution(cached=Hit(entry("OTHER"), "semantic", 0.97, 10.0)), key(), shared)
    await feedback.take(MINE, "exec-1", correct=False, cache=shared)
    assert shared.deleted == ["OTHER"]
    assert observer.feedbacks == [("billing", "gpt-4o-mini", "wrong")]


@pytest.mark.parametrize("ineligible", [None, Miss("ineligible", "temperature")])
async def test_what_never_was_in_the_cache_evicts_nothing(ineligible: Miss | None) -> None:
    """And still counts."""
    shared, (feedback, _) = Shared(), pod()
    feedback.remember(execution(cached=ineligible), ineligible, shared)
    result = await feedback.take(MINE, "exec-1", correct=False, cache=shared)
    assert (result.counted, result.evicted, shared.deleted) == (True, False, [])


async def test_an_execution_that_is_just_about_to_be_noted_is_found() -> None:
    """Its caller may be quicker than the other pod's note."""
    shared = Shared()
    (one, _), waited = pod(), []
    async def meanwhile(seconds: float) -> None:
        waited.append(seconds)
        one.remember(execution(), key(), shared)
    other, _ = pod(meanwhile)
    assert (await other.take(MINE, "exec-1", correct=False, cache=shared)).counted
    assert (len(waited), shared.reads) == (1, 2)


async def test_an_execution_without_an_answer_cannot_be_judged() -> None:
    """It had not even a plan."""
    shared, (feedback, _) = Shared(), pod()
    nothing = execution()
    nothing.plan = None
    feedback.remember(nothing, None, shared)
    assert shared.notes == {}


@pytest.mark.parametrize(("ttl", "keep"), [(60.0, HOUR), (7_200.0, 7_200.0), (10 * DAY, DAY)])
def test_a_note_is_kept_as_long_as_the_entry_within_bounds(ttl: float, keep: float) -> None:
    """Redis must not fill with notes of entries that live for months, or lose those of short ones at once."""
    shared, (feedback, _) = Shared(), pod()
    feedback.remember(execution(ttl=ttl), key(), shared)
    assert shared.notes["exec-1"].keep == keep


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go first, with what was said of them."""
    monkeypatch.setattr(module, "REMEMBERED", 3)
    feedback, _ = pod()
    for number in range(10):
        feedback.remember(execution(f"exec-{number}"), None, None)
        assert (await feedback.take(MINE, f"exec-{number}", correct=True, cache=None)).counted
    assert list(feedback._notes) == ["exec-7", "exec-8", "exec-9"]
    assert len(feedback._given) == 3
