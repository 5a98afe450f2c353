"""Claims: a Cohere provider calls the documented endpoints with its key, splits what one call does not take, and tells each
refusal for what it is."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from fakes.coherevendor import CohereVendor, Reply
from fakes.scripted import Fault
from stratarouter_runtime.model.errors import Failure, Phase, ProviderError
from stratarouter_runtime.model.response import EventKind
from stratarouter_runtime.wire.openai_chat import check_chat
from stratarouter_runtime.wire.openai_embeddings import check_embeddings
from stratarouter_runtime.wire.openai_stream import fold

CHAT = check_chat({"model": "public", "messages": [{"role": "user", "content": "hi"}]})
MODEL = "command-a-03-2025"


@pytest.fixture
async def vendor() -> AsyncIterator[CohereVendor]:
    async with CohereVendor() as running:
        yield running


@pytest.fixture
def provider(make, vendor):
    return make(vendor.url, type="cohere", api_key=vendor.api_key)


async def failed(provider, call, request=CHAT, *, model=MODEL):
    with pytest.raises(ProviderError) as caught:
        await (provider.chat(request, call(model)) if request is CHAT else provider.embed(request, call(model)))
    return caught.value


async def streamed(provider, call):
    return [event async for batch in provider.stream(CHAT, call(MODEL)) for event in batch]


async def test_the_vendor_gets_its_own_dialect_and_the_caller_the_canonical_one(provider, vendor, call):
    vendor.say(Reply(thinking="hm", text="hello"))
    answer = await provider.chat(CHAT, call(MODEL, traceparent="00-aa-bb-01"))
    assert (answer.text, answer.model, answer.finish_reason) == ("hello", "public", "stop")
    assert (vendor.last.path, vendor.last.headers["traceparent"]) == ("/v2/chat", "00-aa-bb-01")
    assert vendor.last.json == {"model": MODEL, "stream": False, "messages": [{"role": "user", "content": "hi"}]}


async def test_a_stream_says_the_same(provider, vendor, call):
    vendor.say(Reply(plan="hm", tool_calls=(("t", "f", "{}"),)), Reply(plan="hm", tool_calls=(("t", "f", "{}"),)))
    events = await streamed(provider, call)
    assert [events[0].kind, events[-1].kind] == [EventKind.PREAMBLE, EventKind.DONE]
    whole = (await provider.chat(CHAT, call(MODEL))).body
    assert {**fold(events).body, "created": 0} == {**whole, "created": 0}


@pytest.mark.parametrize("path", ["", "/", "/v2", "/v2/", "/v1"])
async def test_the_endpoint_is_taken_with_and_without_a_version(make, vendor, call, path):
    assert (await make(vendor.url + path, type="cohere", api_key=vendor.api_key).chat(CHAT, call(MODEL))).text


async def test_vectors_come_in_order_whatever_their_number(provider, vendor, call):
    texts = [f"text {number}" for number in range(200)]
    answer = await provider.embed(check_embeddings({"model": "m", "input": texts}), call("embed-v4.0"))
    alone = await provider.embed(check_embeddings({"model": "m", "input": texts[150]}), call("embed-v4.0"))
    assert [len(received.json["texts"]) for received in vendor.requests] == [96, 96, 8, 1]
    assert answer.body["data"][150]["embedding"] == alone.body["data"][0]["embedding"]
    assert (len(answer.body["data"]), answer.usage.input, alone.usage.input) == (200, 600, 3)


@pytest.mark.parametrize(("status", "message", "failure"), [
    (400, "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 4292.", Failure.CONTEXT_LENGTH),
    (400, "invalid request: list of documents must not be empty", Failure.INVALID_REQUEST), (401, "invalid api token", Failure.UNAUTHORIZED),
    (402, "Please add or update your payment method.", Failure.QUOTA_EXHAUSTED), (403, "forbidden", Failure.UNAUTHORIZED),
    (404, "model 'x' not found", Failure.NOT_FOUND), (422, "unknown field", Failure.INVALID_REQUEST),
    (429, "You are using a Trial key, which is limited to 20 API calls / minute.", Failure.RATE_LIMITED),
    (429, "You are using a Trial key, which is limited to 1000 API calls / month.", Failure.QUOTA_EXHAUSTED),
    (498, "invalid token", Failure.UNAUTHORIZED), (499, "request cancelled", Failure.TIMEOUT), (500, "internal server error", Failure.SERVER_ERROR),
    (501, "not implemented", Failure.SERVER_ERROR), (503, "unavailable", Failure.OVERLOADED), (504, "timed out", Failure.TIMEOUT)])
async def test_refusals_are_told_apart(provider, vendor, call, *, status, message, failure):
    vendor.say(Fault(status, b'{"id":"e-1","message":"%s"}' % message.encode()))
    error = await failed(provider, call)
    assert (error.failure, error.message, error.phase) == (failure, message, Phase.BODY)


async def test_an_unknown_model_and_another_key_are_the_operators_concern(make, provider, vendor, call):
    assert (await failed(provider, call, model="nope")).failure is Failure.NOT_FOUND
    error = await failed(make(vendor.url, type="cohere", api_key="other"), call)
    assert (error.failure, error.treatment.degraded) == (Failure.UNAUTHORIZED, True)


async def test_tokens_cannot_be_embedded(provider, vendor, call):
    error = await failed(provider, call, check_embeddings({"model": "m", "input": [1, 2]}), model="embed-v4.0")
    assert (error.failure, error.status, error.param, vendor.requests) == (Failure.INVALID_REQUEST, 400, "input", [])


@pytest.mark.parametrize(("fault", "failure", "phase"), [
    (Fault(events=3), Failure.TRUNCATED, Phase.STREAM), (Fault(events=4, reset=True), Failure.TRUNCATED, Phase.STREAM),
    (Fault(events=0), Failure.TRUNCATED, Phase.BODY), (Fault(events=3, tail=b"data: {\n\n"), Failure.BAD_RESPONSE, Phase.STREAM),
    (Fault(events=3, tail=b'data: {"type":"content-delta","delta":{"message":{"content":{"text":"\xe2\x82'), Failure.TRUNCATED, Phase.STREAM),
    (Fault(events=3, tail=b'data: {"type":"message-end","delta":{"error":"gpu lost","finish_reason":"ERROR"}}\n\n'), Failure.SERVER_ERROR, Phase.STREAM),
    (Fault(200, b'{"id":"1","message":"oops"}'), Failure.SERVER_ERROR, Phase.BODY), (Fault(200, b""), Failure.BAD_RESPONSE, Phase.BODY),
    (Fault(200, b"<html>", kind="text/html"), Failure.BAD_RESPONSE, Phase.BODY)])
async def test_a_stream_that_fails_has_raised(provider, vendor, call, *, fault, failure, phase):
    vendor.say(fault)
    with pytest.raises(ProviderError) as caught:
        await streamed(provider, call)
    assert (caught.value.failure, caught.value.phase) == (failure, phase)


async def test_a_vendor_that_answers_a_stream_at_once_is_replayed(provider, vendor, call):
    whole = b'{"id":"1","message":{"role":"assistant","content":[{"type":"text","text":"all at once"}]},"finish_reason":"COMPLETE"}'
    vendor.say(Fault(200, whole))
    assert fold(await streamed(provider, call)).text == "all at once"
