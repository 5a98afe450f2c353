"""A pod that routes by itself: the model ``auto`` over routes with utterances, with the local embedder and with a pool's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI

from builders import Document, pool, runtime, until
from fakes.vendor import ALWAYS, FakeVendor
from pod import Pod, resources, running, served_by

UTTERANCES = {
    "billing": ["Where is my invoice?", "I was charged twice this month", "How do I change my payment card?"],
    "shipping": ["Where is my parcel?", "When will my order be delivered?", "My package has not arrived"],
}
MODELS = {"billing": "gpt-4o", "shipping": "gpt-4o-mini"}
INVOICE, PARCEL, WEATHER = "Can you send me my last invoice?", "My parcel never arrived", "Please write a poem about autumn leaves"
LOCAL = {"type": "minilm"}
REMOTE = {"type": "pool", "pool": "vectors", "model": "text-embedding-3-small"}


def routed(*, embedder: Document, default: bool = True, cache: Document | None = None, utterances: dict[str, list[str]] | None = None,
           **fields: Any) -> Document:
    """A RuntimeConfig whose routes have utterances."""
    given = UTTERANCES if utterances is None else utterances
    routes = [{"name": name, "utterances": texts, "pools": [{"name": "chat", "model": MODELS.get(name, "gpt-4o")}]} for name, texts in given.items()]
    spec = {"routes": routes, "cache": {"enabled": False, "embedder": embedder, **(cache or {})}, **fields}
    return runtime(**spec) if default else runtime(defaultRoute=None, **spec)


def world(document: Document, vendor: FakeVendor, vectors: FakeVendor) -> list[Document]:
    """The pool ``chat`` for answers and the pool ``vectors`` for embeddings."""
    return [*resources(document, vendor), pool("vectors", served_by(vectors, "vectors", "text-embedding-3-small"))]


async def ready(pod: Pod) -> None:
    """Wait until the pod can route."""
    routing = pod.server.runtime.parts.routing
    assert routing is not None
    await until(lambda: routing.ready)


def embedded(vendor: FakeVendor) -> list[list[str]]:
    """The texts of each embeddings call."""
    calls = [each.json["input"] for each in vendor.record.requests if "embeddings" in each.path]
    return [[given] if isinstance(given, str) else given for given in calls]


async def execute(pod: Pod, *, dry: bool = False, headers: dict[str, str] | None = None, **body: Any) -> Any:
    """``POST /v1/execute``."""
    return await pod.send("POST", f"/v1/execute{'?dryRun=true' if dry else ''}", json=body, headers=headers)


# --- the local embedder -------------------------------------------------------------------------------------------
async def test_a_pod_routes_by_meaning_as_soon_as_it_is_ready(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """Through every door, with the cache switched off: the embedder is there all the same."""
    async with running(tmp_path, *world(routed(embedder=LOCAL), vendor, second)) as pod:
        for text, route in ((INVOICE, "billing"), (PARCEL, "shipping")):
            answer = await pod.chat(text, model="auto")
            assert (answer.status, answer.headers["x-strata-route"], answer.headers["x-strata-model"]) == (200, route, MODELS[route])
            assert 0.57 <= float(answer.headers["x-strata-confidence"]) <= 1
            assert "routing;dur=" in answer.headers["Server-Timing"]
            assert vendor.record.last.model == MODELS[route]
            for body in ({"query": text}, {"messages": [{"role": "user", "content": text}]}, {"context": {"query": text}}):
                result = (await execute(pod, **body)).json
                assert result["route"] == result["plan"]["decision"]["route_id"] == route
        streamed = await pod.chat(PARCEL, model="auto", stream=True)
        assert streamed.headers["x-strata-route"] == "shipping"
        assert streamed.events[-1] == "[DONE]"


async def test_what_is_near_no_route_goes_to_the_default_route(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """With the confidence it had."""
    async with running(tmp_path, *world(routed(embedder=LOCAL), vendor, second)) as pod:
        answer = await pod.chat(WEATHER, model="auto")
        assert (answer.status, answer.headers["x-strata-route"]) == (200, "default")
        assert float(answer.headers["x-strata-confidence"]) < 0.57
        assert "x-strata-warning" not in answer.headers


async def test_without_a_default_route_the_error_says_how_near_it_was(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """The best confidence and the threshold, so that one of them can be changed."""
    async with running(tmp_path, *world(routed(embedder=LOCAL, default=False), vendor, second)) as pod:
        answer = await pod.chat(WEATHER, model="auto")
        assert (answer.status, answer.error["code"]) == (404, "route_not_found")
        assert answer.error["message"].startswith("The decision matched no route (the nearest route, '")
        assert "below the threshold 0.57), and there is no default route." in answer.error["message"]
        assert vendor.record.total == 0


async def test_a_threshold_is_obeyed(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """And changed in a running pod."""
    async with running(tmp_path, *world(routed(embedder=LOCAL, routing={"threshold": 0}), vendor, second)) as pod:
        assert (await pod.chat(WEATHER, model="auto")).headers["x-strata-route"] in UTTERANCES
        await pod.reload(*world(routed(embedder=LOCAL, routing={"threshold": 0.69}), vendor, second))
        assert (await pod.chat(INVOICE, model="auto")).headers["x-strata-route"] == "default"


@pytest.mark.parametrize("stream", [False, True])
async def test_the_official_client_asks_for_auto(tmp_path: Path, vendor: FakeVendor, second: FakeVendor, *, stream: bool) -> None:
    """It is listed with the models, as long as there are utterances."""
    async with running(tmp_path, *world(routed(embedder=LOCAL), vendor, second)) as pod, AsyncOpenAI(base_url=pod.base_url, api_key="x") as client:
        listed = [each.id async for each in client.models.list()]
        assert listed[:3] == ["billing", "shipping", "auto"]
        assert (await client.models.retrieve("auto")).id == "auto"
        raw = await client.chat.completions.with_raw_response.create(model="auto", messages=[{"role": "user", "content": INVOICE}], stream=stream)
        assert raw.headers["x-strata-route"] == "billing"
        if stream:
            assert [chunk async for chunk in raw.parse()]
        await pod.reload(*world(runtime(), vendor, second))
        assert "auto" not in [each.id async for each in client.models.list()]
        assert (await pod.chat(INVOICE, model="auto")).error["code"] == "model_not_found"


async def test_the_policy_of_the_route_sees_the_confidence(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """``minConfidence`` holds for the pod's own decisions as for a caller's."""
    document = routed(embedder=LOCAL)
    document["spec"]["routes"][0]["policy"] = {"minConfidence": 0.69}
    async with running(tmp_path, *world(document, vendor, second)) as pod:
        answer = await pod.chat(INVOICE, model="auto")
        assert (answer.status, answer.error["code"]) == (403, "policy_violation")
        assert answer.headers["x-strata-policy"].startswith("minConfidence")
        assert (await pod.chat("Where is my invoice?", model="auto")).status == 200


async def test_a_dry_run_explains_the_routing_and_asks_nobody(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """Also where it refuses."""
    async with running(tmp_path, *world(routed(embedder=LOCAL, default=False), vendor, second)) as pod:
        found = (await execute(pod, dry=True, query=INVOICE)).json
        assert (found["allowed"], found["decision"]["route_id"]) == (True, "billing")
        assert found["decision"]["scores"]["semantic"] > 0.4
        assert found["decision"]["scores"]["threshold"] == 0.57
        refused = (await execute(pod, dry=True, query=WEATHER)).json
        assert (refused["allowed"], refused["decision"]["route_id"], refused["refusal"]["status"]) == (False, None, 404)
        assert "below the threshold" in refused["decision"]["reason"]
        assert vendor.record.total == 0


TOOL_TURN = [
    {"role": "system", "content": "Be brief."}, {"role": "user", "content": INVOICE},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{}"}}]},
    {"role": "tool", "tool_call_id": "c1", "content": "My parcel never arrived"}]
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@pytest.mark.parametrize(("messages", "route"), [
    (TOOL_TURN, "billing"),
    ([{"role": "user", "content": INVOICE}, {"role": "assistant", "content": "Here."}, {"role": "user", "content": PARCEL}], "shipping"),
    ([{"role": "user", "content": [{"type": "text", "text": PARCEL}, IMAGE]}], "shipping"),
    ([{"role": "user", "content": [{"type": "text", "text": "Hello."}, {"type": "text", "text": INVOICE}]}], "billing"),
    ([{"role": "user", "content": PARCEL}, {"role": "assistant", "content": "Show me."}, {"role": "user", "content": [IMAGE]}], "shipping"),
    ([{"role": "user", "content": f"{INVOICE} {'It is about the order of last week. ' * 400}"}], "billing"),
    ([{"role": "user", "content": f"{'Lorem ipsum dolor sit amet. ' * 400} {PARCEL}. {PARCEL}. {PARCEL}. {PARCEL}"}], "shipping"),
    ([{"role": "system", "content": INVOICE}, {"role": "assistant", "content": PARCEL}], "default"),
    ([{"role": "user", "content": [IMAGE]}], "default"),
], ids=["tool turn", "last turn", "text and image", "two texts", "image after text", "long, asks first", "long, asks last", "no user", "image"])
async def test_the_last_text_of_the_user_decides(tmp_path: Path, vendor: FakeVendor, second: FakeVendor, messages: list[Any], route: str) -> None:
    """Whatever stands around it; of a long one its beginning and its end; without one there is the default route."""
    async with running(tmp_path, *world(routed(embedder=LOCAL), vendor, second)) as pod:
        answer = await pod.chat(model="auto", messages=messages)
        assert (answer.status, answer.headers["x-strata-route"]) == (200, route)
        assert ("x-strata-confidence" in answer.headers) == (route != "default")


async def test_without_any_text_and_default_route_the_error_says_so(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """It is the request that has to change."""
    async with running(tmp_path, *world(routed(embedder=LOCAL, default=False), vendor, second)) as pod:
        answer = await pod.chat(model="auto", messages=[{"role": "user", "content": [IMAGE]}])
        assert (answer.status, answer.error["code"]) == (404, "route_not_found")
        assert "no text of a user to route by" in answer.error["message"]


async def test_what_became_of_each_is_counted(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """Matched, too far, undecided; who names a route or a model was not routed."""
    async with running(tmp_path, *world(routed(embedder=LOCAL), vendor, second)) as pod:
        for text in (INVOICE, PARCEL, WEATHER):
            await pod.chat(text, model="auto")
        await pod.chat(model="auto", messages=[{"role": "user", "content": [IMAGE]}])
        await pod.chat(INVOICE, model="billing")
        counted = [await pod.figure("stratarouter_runtime_routings_total", outcome=each) for each in ("matched", "below_threshold", "undecided")]
        assert counted == [2, 1, 1]
        assert await pod.figure("stratarouter_runtime_stage_duration_seconds_count", stage="routing") == 4


async def test_a_burst_is_routed_whole(tmp_path: Path, vendor: FakeVendor, second: FakeVendor, monkeypatch: pytest.MonkeyPatch) -> None:
    """More at once than the embedder's queue holds: they wait their turn, because a wrong route costs more than a moment."""
    monkeypatch.setattr("stratarouter_runtime.routing.PATIENCE_SECONDS", 60)
    async with running(tmp_path, *world(routed(embedder=LOCAL, default=False), vendor, second)) as pod:
        texts = [f"Where is the invoice number {number}?" for number in range(40)]
        answers = await asyncio.gather(*(pod.chat(text, model="auto") for text in texts))
        assert {(each.status, each.headers.get("x-strata-route")) for each in answers} == {(200, "billing")}


async def test_embeddings_are_never_routed(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """Vectors of two models never mix."""
    async with running(tmp_path, *world(routed(embedder=LOCAL), vendor, second)) as pod:
        assert (await pod.embed("text", model="auto")).error["code"] == "model_not_found"


# --- a pool's embedder --------------------------------------------------------------------------------------------
async def test_a_text_is_embedded_once_for_routing_and_cache(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """One vector routes, looks up and is stored; the next question in other words is then a hit."""
    document = routed(embedder={**REMOTE, "similarityThreshold": 0.8}, cache={"enabled": True})
    async with running(tmp_path, *world(document, vendor, second)) as pod:
        await ready(pod)
        assert [len(texts) for texts in embedded(second)] == [6], "all utterances in one call"
        second.record.clear()
        first = await pod.chat(INVOICE, model="auto")
        assert (first.headers["x-strata-route"], first.cache.parameters.get("stored")) == ("billing", True)
        await until(lambda: pod.server.runtime.cache_stats()["indexed"] == 1)
        assert len(embedded(second)) == 1
        again = await pod.chat("Can you send me my last invoice, please?", model="auto")
        assert "hit" in again.cache.parameters
        assert again.headers["x-strata-route"] == "billing"
        assert len(embedded(second)) == 2


@pytest.mark.parametrize("control", ["no-cache", "no-store"])
async def test_also_a_request_that_skips_the_look_up_embeds_once(tmp_path: Path, vendor: FakeVendor, second: FakeVendor, control: str) -> None:
    """What is only stored is stored with the vector that routed it."""
    async with running(tmp_path, *world(routed(embedder=REMOTE, cache={"enabled": True}), vendor, second)) as pod:
        await ready(pod)
        second.record.clear()
        assert (await pod.chat(INVOICE, model="auto", headers={"Cache-Control": control})).headers["x-strata-route"] == "billing"
        await until(lambda: pod.server.runtime.cache_stats()["indexed"] == (control == "no-cache"))
        assert len(embedded(second)) == 1


@pytest.mark.parametrize(("fields", "headers", "route"), [
    ({"model": "auto"}, {"x-strata-route": "shipping"}, "shipping"), ({"model": "shipping"}, None, "shipping"), ({"model": "gpt-4o"}, None, "default")])
async def test_whoever_names_a_route_or_a_model_is_not_embedded(  # noqa: PLR0917 (fixtures and parameters)
        tmp_path: Path, vendor: FakeVendor, second: FakeVendor, fields: dict[str, str], headers: dict[str, str] | None, route: str) -> None:
    """Nothing is spent where there is nothing to decide."""
    async with running(tmp_path, *world(routed(embedder=REMOTE), vendor, second)) as pod:
        await ready(pod)
        second.record.clear()
        answer = await pod.chat(INVOICE, headers=headers, **fields)
        assert (answer.headers["x-strata-route"], "x-strata-confidence" in answer.headers) == (route, False)
        assert (await execute(pod, decision={"route_id": "shipping", "confidence": 0.9}, query=INVOICE)).json["route"] == "shipping"
        assert embedded(second) == []


async def test_a_vendor_that_is_down_keeps_no_pod_from_starting(tmp_path: Path, vendor: FakeVendor, second: FakeVendor,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it answers, ``auto`` goes to the default route; then the pod routes by itself without being told."""
    monkeypatch.setattr("stratarouter_runtime.utterances.FIRST_PAUSE_SECONDS", 0.05)
    second.script.fail("http_500", times=ALWAYS)
    async with running(tmp_path, *world(routed(embedder=REMOTE), vendor, second)) as pod:
        assert (await pod.send("GET", f"{pod.platform}/readyz")).status == 200
        assert (await pod.config())["routing"] == {"ready": False, "routes": False}
        answer = await pod.chat(INVOICE, model="auto")
        assert (answer.status, answer.headers["x-strata-route"]) == (200, "default")
        assert answer.headers["x-strata-warning"] == "not routed: the routes' utterances are not embedded yet"
        explained = (await execute(pod, dry=True, query=INVOICE)).json
        assert explained["decision"] == {"route_id": None, "confidence": None, "scores": {}, "reason": "the routes' utterances are not embedded yet"}
        second.script.clear()
        pod.server.runtime.health.configure({})
        pod.server.runtime.health.configure({(name, each.name): each for name, each in pod.server.runtime.parts.snapshot.providers()})
        await ready(pod)
        assert (await pod.config())["routing"] == {"ready": True, "routes": True}
        assert (await pod.chat(INVOICE, model="auto")).headers["x-strata-route"] == "billing"


async def test_without_a_default_route_it_says_when_to_come_back(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """503 with Retry-After: at first because the index is not there, later because the embedder does not answer."""
    second.script.fail("http_500", times=ALWAYS)
    async with running(tmp_path, *world(routed(embedder=REMOTE, default=False), vendor, second)) as pod:
        answer = await pod.chat(INVOICE, model="auto")
        assert (answer.status, answer.error["code"], answer.headers["Retry-After"]) == (503, "routing_unavailable", "2")
        assert (await pod.chat(INVOICE, model="billing")).status == 200
        streamed = await execute(pod, query=INVOICE, stream=True)
        assert (streamed.status, json.loads(streamed.body)["error"]["code"]) == (503, "routing_unavailable")
    second.script.clear()
    async with running(tmp_path, *world(routed(embedder=REMOTE, default=False), vendor, second)) as pod:
        await ready(pod)
        second.script.fail("http_500", times=ALWAYS)
        answer = await pod.chat(INVOICE, model="auto")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert "the embedder is busy or does not answer" in answer.error["message"]


def all_texts(calls: Iterable[list[str]]) -> list[str]:
    """Of all calls."""
    return [text for texts in calls for text in texts]


async def test_a_changed_route_embeds_only_what_is_new(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """Vectors are kept across reloads by text; another configuration of other things embeds nothing."""
    async with running(tmp_path, *world(routed(embedder=REMOTE), vendor, second)) as pod:
        await ready(pod)
        assert len(all_texts(embedded(second))) == 6
        second.record.clear()
        await pod.reload(*world(routed(embedder=REMOTE, execution={"maxRetries": 1}), vendor, second))
        await ready(pod)
        assert embedded(second) == []
        more = {**UTTERANCES, "poems": ["Write a poem about autumn leaves"]}
        await pod.reload(*world(routed(embedder=REMOTE, utterances=more), vendor, second))
        await ready(pod)
        assert len(all_texts(embedded(second))) == 1
        assert (await pod.chat(WEATHER, model="auto")).headers["x-strata-route"] == "poems"
        await pod.reload(*world(routed(embedder=REMOTE, utterances={"billing": UTTERANCES["billing"]}), vendor, second))
        await ready(pod)
        assert (await pod.chat(PARCEL, model="auto")).headers["x-strata-route"] == "default"


async def test_while_new_utterances_cannot_be_embedded_the_known_ones_route(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """A vendor that is down does not take away what was there before the change."""
    async with running(tmp_path, *world(routed(embedder=REMOTE), vendor, second)) as pod:
        await ready(pod)
        second.script.fail("http_500", times=ALWAYS)
        more = {**UTTERANCES, "poems": ["Write a poem about autumn leaves"]}
        await pod.reload(*world(routed(embedder=REMOTE, utterances=more), vendor, second))
        await until(lambda: pod.server.runtime.parts.routing is not None and pod.server.runtime.parts.routing.router is not None)
        assert not pod.server.runtime.parts.routing.ready  # type: ignore[union-attr]
        second.script.clear()
        assert (await pod.chat(INVOICE, model="auto")).headers["x-strata-route"] == "billing"


async def test_nothing_is_left_when_a_pod_that_cannot_embed_ends(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """Its task belongs to the router and goes with it."""
    second.script.fail("http_500", times=ALWAYS)
    async with running(tmp_path, *world(routed(embedder=REMOTE), vendor, second)) as pod:
        assert [task for task in asyncio.all_tasks() if task.get_name() == "utterances"]
        await pod.reload(*world(runtime(), vendor, second))
        await until(lambda: not [task for task in asyncio.all_tasks() if task.get_name() == "utterances"])


async def test_without_the_core_the_configuration_is_refused(tmp_path: Path, vendor: FakeVendor, second: FakeVendor,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    """With the name of the extra; what was in force stays."""
    async with running(tmp_path, *world(runtime(), vendor, second)) as pod:
        monkeypatch.setitem(__import__("sys").modules, "stratarouter", None)
        pod.rewrite(*world(routed(embedder=LOCAL), vendor, second))
        await until(lambda: pod.server.reloader.rejection is not None)
        error = (await pod.config())["lastError"]
        assert error["reason"] == "RouterNotInstalled"
        assert "pip install 'stratarouter-runtime[core]'" in error["message"]
        assert (await pod.chat()).status == 200
