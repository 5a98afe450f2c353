"""``POST /v1/feedback`` of running pods: refusals, tenants, and a wrong answer that leaves the cache of every pod for good."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from builders import Document, model, pool, runtime, secret, until
from fakes.vendor import FakeVendor
from fixtures_redis import RedisServer
from pod import Answer, Pod, bearing, question, resources, running, served_by

REDIS = {"backend": "redis", "redis": {"urlSecretRef": {"name": "redis", "key": "url"}}, "embedder": {"type": "none"}}
FEEDBACK = "stratarouter_runtime_feedback_total"


def documents(vendor: FakeVendor, url: str, **fields: Any) -> list[Document]:
    """Resources whose cache is that Redis, in a scope of their own."""
    cache = {**REDIS, **fields.pop("cache", {})}
    return [*resources(runtime(f"a{uuid.uuid4().hex[:12]}", cache=cache, **fields), vendor), secret("redis", url=url)]


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Ends what a test starts."""
    async with AsyncExitStack() as made:
        yield made


async def pods(stack: AsyncExitStack, folder: Path, given: list[Document], count: int = 2) -> list[Pod]:
    """Running pods of one configuration."""
    made = []
    for number in range(count):
        place = folder / str(number)
        place.mkdir()
        made.append(await stack.enter_async_context(running(place, *given)))
    for pod in made:
        await until(lambda pod=pod: pod.server.runtime.cache_stats().get("backend") == "up")
    return made


async def give(pod: Pod, about: Answer | str, *, correct: Any = False, key: str = "", **more: Any) -> Answer:
    """Give feedback on an answer."""
    identity = about if isinstance(about, str) else about.headers["x-strata-execution-id"]
    return await pod.send("POST", "/v1/feedback", json={"execution_id": identity, "correct": correct, **more}, headers=bearing(key))


async def settled(pod: Pod) -> None:
    """Wait until what was answered is stored."""
    await until(lambda: not pod.server.runtime._background)


def is_hit(answer: Answer) -> bool:
    return "hit" in answer.cache.parameters


async def cached(pod: Pod, key: str = "") -> None:
    """Wait until the cache answers: on a busy machine a look-up may take longer than it is given, and stores nothing here."""

    async def hit() -> bool:
        """the cache answers"""
        return is_hit(await pod.chat(key=key, headers={"Cache-Control": "only-if-cached"}))

    await until(hit)


# --- refusals -------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def alone(tmp_path: Path, vendor: FakeVendor) -> AsyncIterator[Pod]:
    """One pod with a cache in memory."""
    async with running(tmp_path, *resources(runtime(), vendor)) as made:
        yield made


@pytest.mark.parametrize(("body", "param"), [
    ({}, "execution_id"), ({"execution_id": "exec-1"}, "correct"), ({"correct": True}, "execution_id"),
    ({"execution_id": None, "correct": True}, "execution_id"), ({"execution_id": 7, "correct": True}, "execution_id"),
    ({"execution_id": "", "correct": True}, "execution_id"), ({"execution_id": "x" * 129, "correct": True}, "execution_id"),
    ({"execution_id": "exec-1", "correct": "no"}, "correct"), ({"execution_id": "exec-1", "correct": 0}, "correct"),
    ({"execution_id": "exec-1", "correct": True, "comment": "bad"}, "comment")])
async def test_what_is_no_feedback_is_refused_by_its_parameter(alone: Pod, body: Document, param: str) -> None:
    """A comment, too: nothing would keep it."""
    answer = await alone.send("POST", "/v1/feedback", json=body)
    assert (answer.status, answer.error["param"]) == (400, param)


async def test_other_methods_bodies_and_ids(alone: Pod) -> None:
    """In OpenAI's shape."""
    assert (await alone.send("GET", "/v1/feedback")).status == 405
    assert (await alone.send("POST", "/v1/feedback", data=b"no json")).error["code"] == "invalid_json"
    unknown = await give(alone, "exec-0123456789abcdef01234567")
    assert (unknown.status, unknown.error["code"], unknown.error["param"]) == (404, "execution_not_found", "execution_id")


async def test_a_refused_or_failed_execution_cannot_be_judged(alone: Pod, vendor: FakeVendor) -> None:
    """Nor can a plan that was only explained: there was no answer."""
    vendor.script.fail("http_500", times=99)
    failed = await alone.chat()
    explained = await alone.send("POST", "/v1/execute?dryRun=true", json={"query": "Hi", "request": {"model": "gpt-4o"}})
    refused = await alone.chat(model="unknown")
    assert [(await give(alone, each)).status for each in (failed, explained, refused)] == [404, 404, 404]


async def test_feedback_needs_a_key_and_is_its_tenants(tmp_path: Path, stack: AsyncExitStack, vendor: FakeVendor, redis_url: str) -> None:
    """To others the execution is unknown, on the pod that answered and on another, and stays cached."""
    guarded = [*documents(vendor, redis_url, auth={"apiKeysSecretRef": {"name": "keys"}, "trustedTenantHeader": True}),
               secret("keys", {"team-a": "sk-a", "team-b": "sk-b"})]
    one, other = await pods(stack, tmp_path, guarded)
    answer = await one.chat(key="sk-a")
    await settled(one)
    for pod in (one, other):
        assert (await give(pod, answer)).status == 401
        assert (await give(pod, answer, key="sk-b")).error["code"] == "execution_not_found"
        await cached(pod, "sk-a")
    assert (await give(other, answer, key="sk-a")).json["evicted"] is True
    assert not is_hit(await one.chat(key="sk-a"))


# --- one pod --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_a_wrong_answer_leaves_the_cache_at_once(alone: Pod, vendor: FakeVendor, stream: bool) -> None:
    """What was stored, and what a hit repeated; the next answer is cached as any other."""
    stored = await alone.chat(stream=stream)
    await settled(alone)
    hit = await alone.chat(stream=stream)
    assert is_hit(hit)
    result = await give(alone, hit)
    assert result.json == {"execution_id": hit.headers["x-strata-execution-id"], "correct": False, "counted": True, "evicted": True}
    assert not is_hit(await alone.chat(stream=stream))
    await settled(alone)
    assert is_hit(await alone.chat(stream=stream))
    assert (await give(alone, stored)).json["evicted"] is True
    assert not is_hit(await alone.chat(stream=stream))


async def test_feedback_counts_once_by_route_and_model(alone: Pod) -> None:
    """A right answer stays; whatever was said again is not counted again."""
    answer = await alone.chat()
    await settled(alone)
    assert [(await give(alone, answer, correct=True)).json["counted"] for _ in range(3)] == [True, False, False]
    assert is_hit(await alone.chat())
    assert await alone.figure(FEEDBACK, verdict="correct", route="default", model="gpt-4o") == 1
    assert (await give(alone, answer)).json["counted"] is True
    assert await alone.figure(FEEDBACK, verdict="wrong", route="default", model="gpt-4o") == 1


async def test_what_was_not_cached_can_be_judged(alone: Pod) -> None:
    """Executed, embedded, or asked not to be stored."""
    executed = await alone.send("POST", "/v1/execute", json={"query": "Hi", "request": {"model": "gpt-4o"}})
    embedded = await alone.embed()
    unstored = await alone.chat(headers={"Cache-Control": "no-store"})
    await settled(alone)
    results = [(await give(alone, each)).json for each in (executed.json["execution_id"], embedded, unstored)]
    assert [(each["counted"], each["evicted"]) for each in results] == [(True, True), (True, True), (True, False)]


async def test_it_is_remembered_over_a_reload(alone: Pod, vendor: FakeVendor) -> None:
    """A changed configuration is no reason to forget who answered."""
    answer = await alone.chat()
    await settled(alone)
    await alone.reload(*resources(runtime(execution={"timeoutSeconds": 30}), vendor))
    assert (await give(alone, answer)).json["evicted"] is True


async def test_a_stream_found_wrong_before_its_end_is_not_stored_by_who_joins_it_later(alone: Pod, vendor: FakeVendor) -> None:
    """The answer is the same one, whenever somebody asked for it."""
    vendor.script.fail("stall", after=4)
    async with alone.session.post(f"{alone.url}/v1/chat/completions", json=question(stream=True)) as first:
        await first.content.readuntil(b"\n\n")
        assert (await give(alone, first.headers["x-strata-execution-id"])).json["counted"] is True
        joining = asyncio.ensure_future(alone.chat(stream=True))
        await until(lambda: alone.server.drain.in_flight == 2)
        first.close()
        await until(lambda: alone.server.drain.in_flight == 1)
    vendor.release()
    assert (await joining).status == 200
    assert vendor.record.total == 1
    await settled(alone)
    assert (await alone.chat(headers={"Cache-Control": "only-if-cached"})).status == 504


# --- several pods ---------------------------------------------------------------------------------------------------------


async def test_feedback_on_another_pod_evicts_everywhere(
        tmp_path: Path, stack: AsyncExitStack, vendor: FakeVendor, redis_url: str) -> None:
    """Also where that pod never saw the question; both ask the vendor again, and share the new answer."""
    one, other = await pods(stack, tmp_path, documents(vendor, redis_url))
    answer = await one.chat()
    await settled(one)
    await cached(one)
    assert (await give(other, answer)).json["evicted"] is True
    assert await other.figure(FEEDBACK, verdict="wrong", route="default", model="gpt-4o") == 1
    before = vendor.record.total
    assert not is_hit(await one.chat(headers={"Cache-Control": "max-age=3600"}))
    assert vendor.record.total == before + 1

    async def shared_again() -> bool:
        """a new answer is stored by one and given by the other"""
        await one.chat()
        await settled(one)
        return is_hit(await other.chat(headers={"Cache-Control": "only-if-cached"}))

    await until(shared_again)


async def test_the_same_feedback_on_both_pods_counts_once(
        tmp_path: Path, stack: AsyncExitStack, vendor: FakeVendor, redis_url: str) -> None:
    """And evicts once: a newer answer stays."""
    one, other = await pods(stack, tmp_path, documents(vendor, redis_url))
    answer = await one.chat()
    await settled(one)
    results = await asyncio.gather(*(give(pod, answer) for pod in (one, other) * 4))
    assert sum(each.json["counted"] for each in results) == 1
    assert await one.figure(FEEDBACK) + await other.figure(FEEDBACK) == 1

    async def renewed() -> bool:
        """a new answer is cached"""
        found = is_hit(await one.chat())
        await settled(one)
        return found

    await until(renewed)
    for pod in (one, other):
        assert (await give(pod, answer)).json["counted"] is False
        await cached(pod)


async def test_an_answer_that_is_stored_after_it_was_found_wrong_comes_back_nowhere(
        tmp_path: Path, stack: AsyncExitStack, vendor: FakeVendor, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answering pod is slow to store; the feedback reaches the other one meanwhile."""
    one, other = await pods(stack, tmp_path, documents(vendor, redis_url))
    cache = one.server.runtime.parts.cache
    assert cache is not None
    store, gate, kept = cache.store, asyncio.Event(), []

    async def late(*given: Any, **named: Any) -> bool:
        await gate.wait()
        kept.append(await store(*given, **named))
        return kept[-1]

    monkeypatch.setattr(cache, "store", late)
    answer = await one.chat()
    assert (await give(other, answer)).json == {
        "execution_id": answer.headers["x-strata-execution-id"], "correct": False, "counted": True, "evicted": False}
    gate.set()
    await settled(one)
    assert kept == [False]
    assert not is_hit(await other.chat(headers={"Cache-Control": "only-if-cached"}))
    assert not is_hit(await one.chat(headers={"Cache-Control": "only-if-cached"}))


async def test_a_request_in_flight_while_its_answer_was_found_wrong_stores_nothing(
        tmp_path: Path, stack: AsyncExitStack, vendor: FakeVendor, redis_url: str) -> None:
    """It may end long after: it began before the eviction."""
    one, other = await pods(stack, tmp_path, documents(vendor, redis_url))
    answer = await one.chat()
    await settled(one)
    vendor.script.fail("slow_headers", delay=None)
    asking = asyncio.ensure_future(other.chat(headers={"Cache-Control": "no-cache"}))
    await until(lambda: vendor.record.total == 2)
    assert (await give(one, answer)).json["evicted"] is True
    vendor.release()
    assert (await asking).status == 200
    await settled(other)
    for pod in (one, other):
        assert not is_hit(await pod.chat(headers={"Cache-Control": "only-if-cached"}))


async def test_a_semantic_hit_found_wrong_takes_the_entry_it_came_from(
        tmp_path: Path, stack: AsyncExitStack, vendor: FakeVendor, redis_url: str) -> None:
    """Both tiers, on both pods: the question it was stored under is a miss, too."""
    embedder = {"type": "pool", "pool": "vectors", "model": "text-embedding-3-small", "similarityThreshold": 0.6}
    shared = documents(vendor, redis_url, cache={"embedder": embedder})
    shared.append(pool("vectors", served_by(vendor, "v", model("text-embedding-3-small", capabilities=["embeddings"]))))
    one, other = await pods(stack, tmp_path, shared)
    await one.chat("Where can I find my invoice 4711?")
    await settled(one)

    async def found() -> bool:
        """the other pod answers the paraphrase"""
        answer = await other.chat("Where can I locate my invoice 4711?", headers={"Cache-Control": "only-if-cached"})
        hits.append(answer)
        return answer.status == 200

    hits: list[Answer] = []
    await until(found)
    assert str(hits[-1].cache.parameters["detail"]).startswith("semantic")
    assert (await give(one, hits[-1])).json["evicted"] is True
    for pod in (one, other):
        for text in ("Where can I find my invoice 4711?", "Where can I locate my invoice 4711?"):
            assert (await pod.chat(text, headers={"Cache-Control": "only-if-cached"})).status == 504

        def forgotten(pod: Pod = pod) -> bool:
            """the index has forgotten it"""
            return int(pod.server.runtime.cache_stats()["indexed"]) == 0

        await until(forgotten)


async def test_while_redis_is_away_feedback_is_refused_and_taken_later(
        tmp_path: Path, stack: AsyncExitStack, vendor: FakeVendor, redis_server: RedisServer) -> None:
    """503 with Retry-After, nothing counted; answering goes on."""
    one, other = await pods(stack, tmp_path, documents(vendor, redis_server.url))
    answer = await one.chat()
    await settled(one)
    await cached(other)
    redis_server.pause()
    try:
        for pod in (one, other):
            refused = await give(pod, answer)
            assert (refused.status, refused.error["code"], refused.headers["Retry-After"]) == (503, "cache_unavailable", "5")
        assert (await one.chat("anything")).status == 200
        assert await one.figure(FEEDBACK) == 0
    finally:
        redis_server.resume()

    async def taken() -> bool:
        """the feedback is taken"""
        return (await give(other, answer)).status == 200

    await until(taken, within=30)
    for pod in (one, other):
        assert not is_hit(await pod.chat(headers={"Cache-Control": "only-if-cached"}))
