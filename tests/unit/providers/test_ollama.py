"""Claims: an Ollama provider calls the server's own API whatever the endpoint's end, and tells each refusal for what it is."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from fakes.ollamavendor import OllamaVendor, Reply
from fakes.scripted import Fault
from stratarouter_runtime.model.errors import Failure, Phase, ProviderError
from stratarouter_runtime.model.response import EventKind
from stratarouter_runtime.wire.openai_chat import check_chat
from stratarouter_runtime.wire.openai_embeddings import check_embeddings
from stratarouter_runtime.wire.openai_stream import fold

CHAT = check_chat({"model": "public", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9})


@pytest.fixture
async def vendor() -> AsyncIterator[OllamaVendor]:
    async with OllamaVendor() as running:
        yield running


@pytest.fixture
def provider(make, vendor):
    return make(vendor.url, type="ollama")


async def failed(provider, call, request=CHAT, *, model="qwen3"):
    with pytest.raises(ProviderError) as caught:
        await (provider.chat(request, call(model)) if request is CHAT else provider.embed(request, call(model)))
    return caught.value


async def streamed(provider, call):
    return [event async for batch in provider.stream(CHAT, call("qwen3")) for event in batch]


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/", "/api", "/api/"])
async def test_every_form_of_the_endpoint_reaches_the_servers_own_api(make, vendor, call, end):
    answer = await make(vendor.url + end, type="ollama").chat(CHAT, call("qwen3", traceparent="00-aa-bb-01"))
    assert (answer.text, answer.model, answer.finish_reason) == ("The answer is forty-two.", "qwen3", "stop")
    assert (vendor.last.path, vendor.last.headers["traceparent"], "Authorization" in vendor.last.headers) == ("/api/chat", "00-aa-bb-01", False)
    assert vendor.last.json == {"model": "qwen3", "stream": False, "messages": [{"role": "user", "content": "hi"}], "options": {"num_predict": 9}}


async def test_a_stream_says_the_same(provider, vendor, call):
    vendor.say(Reply(thinking="hm", text="hello"))
    events = await streamed(provider, call)
    assert [events[0].kind, events[-1].kind] == [EventKind.PREAMBLE, EventKind.DONE]
    folded = fold(events)
    assert (folded.text, folded.body["choices"][0]["message"]["reasoning_content"], folded.usage.input) == ("hello", "hm", 26)
    assert vendor.last.headers["Accept"] == "application/x-ndjson"


async def test_a_key_is_sent_where_there_is_one(make, call):
    async with OllamaVendor(api_key="key-1") as vendor:
        assert (await make(vendor.url, type="ollama", api_key="key-1").chat(CHAT, call("qwen3"))).text
        error = await failed(make(vendor.url, type="ollama", api_key=""), call)
    assert error.failure is Failure.UNAUTHORIZED


async def test_vectors_come_in_the_encoding_asked_for(provider, vendor, call):
    answer = await provider.embed(check_embeddings({"model": "m", "input": ["a", "b"], "encoding_format": "base64"}), call("nomic-embed-text"))
    assert [type(row["embedding"]) for row in answer.body["data"]] == [str, str]
    assert (vendor.last.path, answer.usage.input) == ("/api/embed", 8)


async def test_tokens_cannot_be_embedded(provider, vendor, call):
    error = await failed(provider, call, check_embeddings({"model": "m", "input": [1, 2]}), model="nomic-embed-text")
    assert (error.failure, error.status, error.param, vendor.requests) == (Failure.INVALID_REQUEST, 400, "input", [])


@pytest.mark.parametrize(("status", "message", "failure"), [
    (400, "registry.ollama.ai/library/llama3:latest does not support tools", Failure.INVALID_REQUEST),
    (400, "the input length exceeds the context length", Failure.CONTEXT_LENGTH), (401, "unauthorized", Failure.UNAUTHORIZED),
    (404, "model 'x' not found", Failure.NOT_FOUND), (500, "model requires more system memory (5.6 GiB) than is available (3.1 GiB)", Failure.SERVER_ERROR),
    (503, "server busy, please try again.  maximum pending requests exceeded", Failure.OVERLOADED)])
async def test_refusals_are_told_apart(provider, vendor, call, *, status, message, failure):
    vendor.say(Fault(status, b'{"error":"%s"}' % message.encode()))
    error = await failed(provider, call)
    assert (error.failure, error.message, error.phase) == (failure, message, Phase.BODY)


async def test_a_missing_model_is_the_operators_concern(provider, call):
    error = await failed(provider, call, model="nope")
    assert (error.failure, error.status, error.treatment.degraded) == (Failure.NOT_FOUND, 404, True)


@pytest.mark.parametrize(("fault", "failure", "phase"), [
    (Fault(events=2), Failure.TRUNCATED, Phase.STREAM), (Fault(events=2, reset=True), Failure.TRUNCATED, Phase.STREAM),
    (Fault(events=0), Failure.TRUNCATED, Phase.BODY), (Fault(events=2, tail=b"{\n"), Failure.BAD_RESPONSE, Phase.STREAM),
    (Fault(events=2, tail=b'{"message":{"content":"\xe2\x82'), Failure.TRUNCATED, Phase.STREAM),
    (Fault(events=2, tail=b'{"error":"an error was encountered while running the model: CUDA error"}\n'), Failure.SERVER_ERROR, Phase.STREAM),
    (Fault(events=0, tail=b'{"error":"model \'qwen3\' not found"}\n'), Failure.NOT_FOUND, Phase.BODY),
    (Fault(200, b'{"error":"oops"}'), Failure.SERVER_ERROR, Phase.BODY), (Fault(200, b"<html>", kind="text/html"), Failure.BAD_RESPONSE, Phase.BODY)])
async def test_a_stream_that_fails_has_raised(provider, vendor, call, *, fault, failure, phase):
    vendor.say(fault)
    with pytest.raises(ProviderError) as caught:
        await streamed(provider, call)
    assert (caught.value.failure, caught.value.phase) == (failure, phase)


async def test_a_server_that_answers_a_stream_at_once_is_replayed(provider, vendor, call):
    vendor.say(Fault(200, b'{"model":"m","message":{"role":"assistant","content":"all at once"},"done":true,"done_reason":"stop"}'))
    assert fold(await streamed(provider, call)).text == "all at once"
