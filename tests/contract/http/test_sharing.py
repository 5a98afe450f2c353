"""Requests that ask the same at the same time share one call to the vendor, and nobody pays for another's failure."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from builders import model, pool, runtime, secret, until
from fakes.vendor import FakeVendor
from pod import Answer, Pod, line, question, resources, running, served_by
from stratarouter_runtime.cache.minilm import MiniLmEmbedder

STREAM = {"stream": True, "stream_options": {"include_usage": True}}


async def together(pod: Pod, vendor: FakeVendor, *asked: Any) -> list[Answer]:
    """The answers to requests of which the first has reached the vendor before the others are sent."""
    vendor.script.fail("slow_headers", delay=None)
    before = vendor.record.total
    first = asyncio.create_task(asked[0])
    await until(lambda: vendor.record.total == before + 1)
    rest = [asyncio.create_task(each) for each in asked[1:]]
    await until(lambda: pod.server.drain.in_flight + sum(each.done() for each in rest) == len(asked))
    await settled(pod)
    vendor.release()
    return [await each for each in (first, *rest)]


async def settled(pod: Pod) -> None:
    """Let all that can go on without the vendor go on."""
    embedder = pod.server.runtime.parts.embedder
    for _ in range(3):
        for _ in range(100):
            await asyncio.sleep(0)
        if isinstance(embedder, MiniLmEmbedder):
            await until(lambda: not embedder._running)


async def test_identical_requests_make_one_call(tmp_path: Path, vendor: FakeVendor) -> None:
    """The first pays; the others cost nothing, made no attempt, and say that they were collapsed into it (RFC 9211)."""
    price = {"inputPerMillionTokens": "2.50", "outputPerMillionTokens": "10.00"}
    documents = (runtime(), pool("chat", served_by(vendor, "primary", model("gpt-4o", price=price))), secret("vendor", apiKey=vendor.api_key))
    async with running(tmp_path, *documents) as pod:
        await check_identical(pod, vendor)


async def check_identical(pod: Pod, vendor: FakeVendor) -> None:
    first, *others = await together(pod, vendor, *(pod.chat() for _ in range(20)))
    assert vendor.record.total == 1
    assert {answer.status for answer in (first, *others)} == {200}
    assert {answer.text for answer in others} == {first.text}
    assert "collapsed" not in first.cache.parameters
    assert first.headers["x-strata-attempts"] == "1"
    for answer in others:
        assert answer.cache.parameters["collapsed"] is True
        assert (answer.headers["x-strata-attempts"], answer.headers["x-strata-cost-usd"]) == ("0", "0")
        assert answer.headers["x-strata-provider"] == "primary"
    assert await pod.figure("stratarouter_runtime_coalesced_requests_total", likeness="identical", route="default") == 19
    saved = await pod.figure("stratarouter_runtime_cost_saved_usd_total", reason="coalesce")
    assert saved == pytest.approx(19 * float(first.headers["x-strata-cost-usd"]))


@pytest.mark.parametrize("fields", [{}, STREAM], ids=["whole", "stream"])
async def test_a_thousand_calls_of_a_hundred_prompts_make_a_hundred_calls(tmp_path: Path, vendor: FakeVendor, fields: dict[str, Any]) -> None:
    """Whatever the order they come in; those that come after an answer are hits."""
    async with running(tmp_path, *resources(runtime(), vendor)) as pod:
        asked = [asyncio.create_task(pod.chat(f"Question {number % 100}", **fields)) for number in range(1_000)]
        answers = [await each for each in asked]
        assert {answer.status for answer in answers} == {200}
        texts = {number: {(answer.streamed_text if fields else answer.text) for answer in answers[number::100]} for number in range(100)}
        assert all(len(each) == 1 for each in texts.values())
        assert len(set.union(*texts.values())) == 100
        assert vendor.record.total == 100


async def test_embeddings_are_shared_too(pod: Pod, vendor: FakeVendor) -> None:
    """The same inputs with the same parameters."""
    answers = await together(pod, vendor, *(pod.embed(["a", "b"]) for _ in range(3)), pod.embed(["a", "c"]))
    assert vendor.record.total == 2
    assert answers[0].json["data"] == answers[1].json["data"] == answers[2].json["data"] != answers[3].json["data"]


async def test_embeddings_travel_together(pod: Pod, vendor: FakeVendor) -> None:
    """While one call is under way: 40 texts in two more, each with its own vector and its share of the tokens."""
    texts = [f"Text {'long ' * (number % 3)}{number}" for number in range(40)]
    _, *answers = await together(pod, vendor, pod.embed("first"), *(pod.embed(text) for text in texts))
    assert vendor.record.total == 3
    gathered = [received.json["input"] for received in list(vendor.record.requests)[1:]]
    assert sorted(text for each in gathered for text in each) == sorted(texts)
    billed = await pod.figure("stratarouter_runtime_tokens_used_total", type="input")
    assert sum(answer.json["usage"]["prompt_tokens"] for answer in answers) + 1 == billed
    assert await pod.figure("stratarouter_runtime_gathered_requests_total") == 40
    alone = [await pod.embed(text, headers={"Cache-Control": "no-store"}) for text in texts[:3]]
    assert [answer.json["data"] for answer in answers[:3]] == [answer.json["data"] for answer in alone]


async def test_a_refused_batch_is_asked_for_one_by_one(pod: Pod, vendor: FakeVendor) -> None:
    """One bad input must not fail the others."""
    vendor.script.fail("slow_headers", delay=None)
    first = asyncio.create_task(pod.embed("first"))
    await until(lambda: vendor.record.total == 1)
    vendor.script.fail("http_400")
    rest = [asyncio.create_task(pod.embed(text)) for text in ("a", "b", "c")]
    await until(lambda: vendor.record.total == 5)
    vendor.release()
    assert {(await each).status for each in (first, *rest)} == {200}
    assert [len(received.json["input"]) for received in list(vendor.record.requests)[1:2]] == [3]


async def test_tenants_embeddings_do_not_travel_together(tmp_path: Path, vendor: FakeVendor) -> None:
    """Nor those with other parameters, or with token arrays."""
    documents = [*resources(runtime(auth={"apiKeysSecretRef": {"name": "keys"}}), vendor), secret("keys", acme="key-a", globex="key-b")]
    async with running(tmp_path, *documents) as pod:
        one, other = {"Authorization": "Bearer key-a"}, {"Authorization": "Bearer key-b"}
        asked = [pod.embed("a", headers=one), pod.embed("b", headers=other), pod.embed("c", headers=one, dimensions=4),
                 pod.embed([[1, 2]], headers=one)]
        answers = await together(pod, vendor, *asked)
        assert {answer.status for answer in answers} == {200}
        assert vendor.record.total == 4


async def test_what_differs_is_not_shared(pod: Pod, vendor: FakeVendor) -> None:
    """Another question, model, parameter or history, and what must not be cached or must be fresh."""
    asked = [pod.chat(), pod.chat("Where is my parcel?"), pod.chat(model="gpt-4o-mini"), pod.chat(max_tokens=5), pod.chat(temperature=1.5),
             pod.chat(headers={"Cache-Control": "no-store"}), pod.chat(headers={"Cache-Control": "no-cache"}), pod.chat(n=2)]
    answers = await together(pod, vendor, *asked)
    assert {answer.status for answer in answers} == {200}
    assert vendor.record.total == len(answers)


async def test_tenants_share_nothing(tmp_path: Path, vendor: FakeVendor) -> None:
    """The same request under two tenants' keys is two calls."""
    documents = [*resources(runtime(auth={"apiKeysSecretRef": {"name": "keys"}}), vendor), secret("keys", acme="key-a", globex="key-b")]
    async with running(tmp_path, *documents) as pod:
        answers = await together(pod, vendor, pod.chat(key="key-a"), pod.chat(key="key-b"), pod.chat(key="key-a"))
        assert {answer.status for answer in answers} == {200}
        assert vendor.record.total == 2


async def test_switched_off_every_request_makes_its_own_call(tmp_path: Path, vendor: FakeVendor) -> None:
    """``batch.enabled: false``."""
    async with running(tmp_path, *resources(runtime(batch={"enabled": False}), vendor)) as pod:
        await together(pod, vendor, *(pod.chat() for _ in range(3)))
        assert vendor.record.total == 3


async def test_who_sets_a_deadline_of_its_own_takes_no_part(pod: Pod, vendor: FakeVendor) -> None:
    """It would end the others' call, or wait for one that began under another."""
    await together(pod, vendor, pod.chat(headers={"x-strata-timeout-ms": "5000"}), pod.chat(), pod.chat())
    assert vendor.record.total == 2


async def test_the_first_may_leave(pod: Pod, vendor: FakeVendor) -> None:
    """The call goes on for those who wait, its answer is stored, and with the last of them it ends."""
    vendor.script.fail("slow_headers", delay=None)
    first = asyncio.create_task(pod.chat())
    await until(lambda: vendor.record.total == 1)
    second = asyncio.create_task(pod.chat())
    await until(lambda: pod.server.drain.in_flight == 2)
    first.cancel()
    await until(lambda: pod.server.drain.in_flight == 1)
    assert vendor.record.aborted == 0
    vendor.release()
    assert (await second).status == 200
    assert vendor.record.total == 1
    assert "hit" in (await pod.chat()).cache.parameters


@pytest.mark.parametrize("fields", [{}, STREAM], ids=["whole", "stream"])
async def test_when_all_have_left_the_vendors_call_ends(pod: Pod, vendor: FakeVendor, fields: dict[str, Any]) -> None:
    """Within a second."""
    vendor.script.fail("slow_headers", delay=None)
    asked = [asyncio.create_task(pod.chat(**fields)) for _ in range(3)]
    await until(lambda: vendor.record.total == 1 and pod.server.drain.in_flight == 3)
    for each in asked:
        each.cancel()
    await until(lambda: vendor.record.aborted == 1, within=1)
    assert pod.server.runtime.health.in_flight(("chat", "primary")) == 0


@pytest.mark.parametrize("fields", [{}, STREAM], ids=["whole", "stream"])
async def test_a_failure_is_tried_again_once_and_not_by_everybody(tmp_path: Path, vendor: FakeVendor, fields: dict[str, Any]) -> None:
    """Ten that wait for a call that fails do not make ten calls of it."""
    config = runtime(execution={"maxRetries": 0}, cache={"enabled": True})
    async with running(tmp_path, *resources(config, vendor, circuitBreaker={"consecutiveFailures": 100})) as pod:
        vendor.script.fail("slow_headers", delay=None)
        asked = [asyncio.create_task(pod.chat(**fields)) for _ in range(10)]
        await until(lambda: vendor.record.total == 1 and pod.server.drain.in_flight == 10)
        await settled(pod)
        await vendor.stop_listening()
        first, *others = [await each for each in asked]
        assert {answer.status for answer in (first, *others)} == {502}
        assert await pod.figure("stratarouter_runtime_attempts_total") <= 3


async def test_a_latecomer_gets_the_stream_from_its_beginning(pod: Pod, vendor: FakeVendor) -> None:
    """The buffered part at once, then the live tail, in the same frames; both are whole."""
    vendor.script.fail("stall", after=4, delay=None)
    async with line(pod) as first, line(pod) as late:
        await first.ask(question(**STREAM))
        await first.head()
        begun = await first.reader.readuntil(b"\n\n")
        await until(lambda: vendor.holding == 1)
        await late.ask(question(**STREAM))
        await late.head()
        assert await late.reader.readuntil(b"\n\n") == begun
    assert vendor.record.total == 1


@pytest.mark.parametrize("included", [True, False])
async def test_each_reader_gets_the_usage_only_if_it_asked(pod: Pod, vendor: FakeVendor, included: bool) -> None:
    """Though the vendor is asked for it once for all."""
    asked = [pod.chat(**STREAM), pod.chat(stream=True, stream_options={"include_usage": included})]
    first, second = await together(pod, vendor, *asked)
    assert vendor.record.total == 1
    assert first.streamed_text == second.streamed_text
    assert any(event != "[DONE]" and event.get("usage") for event in first.events)
    assert any(event != "[DONE]" and event.get("usage") for event in second.events) is included
    assert second.events[-1] == "[DONE]"


async def test_a_broken_stream_is_broken_for_all_and_stored_for_none(pod: Pod, vendor: FakeVendor) -> None:
    """Each reader gets the error in-band, and no ``[DONE]``."""
    vendor.script.fail("stall", after=4, delay=None)
    asked = [asyncio.create_task(pod.chat(**STREAM)) for _ in range(3)]
    await until(lambda: vendor.holding == 1 and pod.server.drain.in_flight == 3)
    await settled(pod)
    await vendor.stop_listening()
    answers = [await each for each in asked]
    assert [answer.events[-1]["error"]["code"] for answer in answers] == ["truncated"] * 3
    assert {answer.streamed_text for answer in answers} == {answers[0].streamed_text}
    assert vendor.record.total == 1
    assert pod.server.runtime.cache_stats()["entries"] == 0


async def test_a_route_that_forbids_the_provider_makes_its_own_call(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """Two routes with the same primary share calls, but not against the policy of one."""
    entry = [{"name": "chat", "model": "gpt-4o"}]
    free, strict = {"name": "free", "pools": entry}, {"name": "strict", "pools": entry, "policy": {"blockedProviders": ["primary"]}}
    async with running(tmp_path, *resources(runtime(routes=[free, strict]), vendor, second)) as pod:
        first, other = await together(pod, vendor, pod.chat(model="free"), pod.chat(model="strict"))
        assert (first.headers["x-strata-provider"], other.headers["x-strata-provider"]) == ("primary", "second")
        assert vendor.record.total == 1
        assert second.record.total == 1


async def test_nearly_the_same_question_joins_a_call_that_has_just_begun(tmp_path: Path, vendor: FakeVendor) -> None:
    """Within the window, above the threshold, and only where the guard allows it."""
    cache = {"enabled": True, "embedder": {"type": "minilm"}}
    config = runtime(cache=cache, batch={"windowMs": 10_000, "similarityThreshold": 0.9})
    async with running(tmp_path, *resources(config, vendor)) as pod:
        asked = ["How do I reset the password of my account?", "How can I reset the password of my account?",
                 "How do I reset the password of my router?"]
        first, near, other = await together(pod, vendor, *(pod.chat(text) for text in asked))
        assert vendor.record.total == 2
        assert near.text == first.text != other.text
        assert near.cache.parameters["collapsed"] is True
        assert await pod.figure("stratarouter_runtime_coalesced_requests_total", likeness="near") == 1


async def test_nearly_the_same_stream_joins_as_well(tmp_path: Path, vendor: FakeVendor) -> None:
    """As a whole answer does."""
    cache = {"enabled": True, "embedder": {"type": "minilm"}}
    config = runtime(cache=cache, batch={"windowMs": 10_000, "similarityThreshold": 0.9})
    async with running(tmp_path, *resources(config, vendor)) as pod:
        asked = ["How do I reset the password of my account?", "How can I reset the password of my account?"]
        first, near = await together(pod, vendor, *(pod.chat(text, **STREAM) for text in asked))
        assert vendor.record.total == 1
        assert near.streamed_text == first.streamed_text


async def test_without_a_window_only_the_same_question_joins(tmp_path: Path, vendor: FakeVendor) -> None:
    """``windowMs: 0``."""
    cache = {"enabled": True, "embedder": {"type": "minilm"}}
    config = runtime(cache=cache, batch={"windowMs": 0, "similarityThreshold": 0.9})
    async with running(tmp_path, *resources(config, vendor)) as pod:
        asked = ["How do I reset the password of my account?", "How can I reset the password of my account?"]
        await together(pod, vendor, *(pod.chat(text) for text in asked))
        assert vendor.record.total == 2
