"""Claims: whole answers and embeddings come through unchanged; whatever else a vendor does is one ProviderError that says
what happened, within the time it may take."""

from __future__ import annotations

import asyncio
import base64

import orjson
import pytest

from fakes.vendor import FakeVendor, Reply
from stratarouter_runtime.model.errors import Failure, Phase, ProviderError
from stratarouter_runtime.providers import http
from stratarouter_runtime.wire.openai_chat import check_chat
from stratarouter_runtime.wire.openai_embeddings import check_embeddings

CHAT = check_chat({"model": "public-name", "messages": [{"role": "user", "content": "hi"}], "stream": True, "seed": 7,
                   "stream_options": {"include_usage": True}})

EMBED = check_embeddings({"model": "m", "input": "x"})


async def failed(provider, call, request=CHAT):
    with pytest.raises(ProviderError) as caught:
        await (provider.chat(request, call) if request is CHAT else provider.embed(request, call))
    return caught.value


async def test_the_vendors_bytes_come_through(provider, vendor, call):
    vendor.script.say("hello")
    response = await provider.chat(CHAT, call())
    assert response.raw.startswith(b'{\n  "id": "chatcmpl-')
    assert (response.text, response.model, response.finish_reason) == ("hello", "gpt-4o-2024-11-20", "stop")
    assert (response.usage.input, response.usage.output) == (8, 1)


async def test_the_vendor_gets_the_upstream_name_the_key_and_no_stream(make, vendor, call):
    provider = make(vendor, headers={"OpenAI-Organization": "org-1"})
    await provider.chat(CHAT, call("gpt-4o-mini", traceparent="00-aa-bb-01"))
    received = vendor.record.last
    assert received.path == "/v1/chat/completions"
    assert received.json == {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}], "seed": 7}
    headers = received.headers
    assert headers["authorization"] == f"Bearer {vendor.api_key}"
    assert (headers["content-type"], headers["accept"]) == ("application/json", "application/json")
    assert (headers["traceparent"], headers["openai-organization"]) == ("00-aa-bb-01", "org-1")
    assert headers["user-agent"].startswith("stratarouter-runtime/")


async def test_without_a_key_none_is_sent(make, call):
    async with FakeVendor(flavour="ollama", models=["m"]) as vendor:
        await make(vendor, type="openaicompatible", api_key="").chat(CHAT, call("m"))
        assert "authorization" not in vendor.record.last.headers


@pytest.mark.parametrize(("kind", "flavour"), [("vllm", "vllm"), ("vllm", "vllm-old"), ("openaicompatible", "ollama"),
                                               ("openaicompatible", "openai")])
async def test_every_type_speaks_to_its_server(make, call, kind, flavour):
    async with FakeVendor(flavour=flavour, models=["m"]) as vendor:
        vendor.script.say(Reply(text="hello"))
        provider = make(vendor, type=kind)
        assert (await provider.chat(CHAT, call("m"))).text == "hello"
        error = await failed(provider, call("missing"))
    assert (error.failure, error.status) == (Failure.NOT_FOUND, 404)


@pytest.mark.parametrize(("fault", "expected"), [
    ("http_400", (Failure.INVALID_REQUEST, 400, Phase.BODY)), ("http_401", (Failure.UNAUTHORIZED, 401, Phase.BODY)),
    ("http_403", (Failure.UNAUTHORIZED, 403, Phase.BODY)), ("http_404", (Failure.NOT_FOUND, 404, Phase.BODY)),
    ("http_408", (Failure.TIMEOUT, 408, Phase.BODY)), ("http_409", (Failure.CONFLICT, 409, Phase.BODY)),
    ("http_413", (Failure.INVALID_REQUEST, 413, Phase.BODY)), ("http_422", (Failure.INVALID_REQUEST, 422, Phase.BODY)),
    ("http_429", (Failure.RATE_LIMITED, 429, Phase.BODY)), ("quota", (Failure.QUOTA_EXHAUSTED, 429, Phase.BODY)),
    ("http_500", (Failure.SERVER_ERROR, 500, Phase.BODY)), ("http_502", (Failure.SERVER_ERROR, 502, Phase.BODY)),
    ("http_503", (Failure.OVERLOADED, 503, Phase.BODY)), ("http_504", (Failure.TIMEOUT, 504, Phase.BODY)),
    ("http_529", (Failure.OVERLOADED, 529, Phase.BODY)), ("html_502", (Failure.SERVER_ERROR, 502, Phase.BODY)),
    ("context_length", (Failure.CONTEXT_LENGTH, 400, Phase.BODY)), ("content_policy", (Failure.CONTENT_POLICY, 400, Phase.BODY)),
    ("redirect", (Failure.NOT_FOUND, 307, Phase.BODY)), ("empty_200", (Failure.BAD_RESPONSE, 502, Phase.BODY)),
    ("html_200", (Failure.BAD_RESPONSE, 502, Phase.BODY)), ("wrong_shape", (Failure.BAD_RESPONSE, 502, Phase.BODY)),
    ("json_array", (Failure.BAD_RESPONSE, 502, Phase.BODY)), ("truncated_json", (Failure.BAD_RESPONSE, 502, Phase.BODY)),
    ("invalid_utf8", (Failure.BAD_RESPONSE, 502, Phase.BODY)), ("error_in_200", (Failure.SERVER_ERROR, 502, Phase.BODY)),
    ("wrong_length", (Failure.TRUNCATED, 502, Phase.BODY)), ("reset_before_headers", (Failure.CONNECTION_LOST, 502, Phase.HEADERS)),
    ("close_before_headers", (Failure.CONNECTION_LOST, 502, Phase.HEADERS))])
@pytest.mark.parametrize("request_", [CHAT, EMBED], ids=["chat", "embeddings"])
async def test_what_a_vendor_does_instead_of_answering(provider, vendor, call, fault, expected, request_):  # noqa: PLR0917
    vendor.script.fail(fault)
    error = await failed(provider, call("gpt-4o" if request_ is CHAT else "text-embedding-3-small"), request_)
    assert (error.failure, error.status, error.phase) == expected
    assert vendor.record.total == 1
    for secret in (vendor.api_key, "127.0.0.1", "://"):
        assert secret not in str(error)


@pytest.mark.parametrize(("fault", "seconds"), [("rate_limited_seconds", 7.0), ("rate_limited_ms", 0.25), ("rate_limited_reset", 360.0),
                                                ("http_429", 20.0), ("http_503", None)])
async def test_the_vendors_patience_is_passed_on(provider, vendor, call, fault, seconds):
    vendor.script.fail(fault)
    vendor.record.clear()
    error = await failed(provider, call())
    # OpenAI's own reset headers come with every reply and say nothing about this one.
    assert error.retry_after == seconds


async def test_a_date_to_retry_after_is_counted_from_now(provider, vendor, call):
    vendor.script.fail("rate_limited_date")
    assert 4.0 <= (await failed(provider, call())).retry_after <= 8.0


async def test_a_wrong_key_is_not_repeated_in_the_message(make, vendor, call):
    error = await failed(make(vendor, api_key="sk-wrong-0123456789abcdef"), call())
    assert (error.failure, error.status, error.code) == (Failure.UNAUTHORIZED, 401, "invalid_api_key")
    assert "0123" not in error.message
    assert "cdef" not in error.message


async def test_a_key_that_is_no_header_value_is_our_mistake(make, vendor, call):
    error = await failed(make(vendor, api_key="two\nlines"), call())
    assert (error.failure, error.phase) == (Failure.UNAUTHORIZED, Phase.CONNECT)
    assert "two" not in error.message
    assert vendor.record.total == 0


@pytest.mark.parametrize("fault", ["gzip", "wrong_content_type", "slow_headers"])
async def test_what_is_odd_but_right_is_taken(provider, vendor, call, fault):
    vendor.script.fail(fault)
    assert (await provider.chat(CHAT, call())).finish_reason == "stop"


async def test_an_answer_without_bound_is_refused(provider, vendor, call, monkeypatch):
    monkeypatch.setattr("stratarouter_runtime.providers.http.MAX_ANSWER", 1000)
    monkeypatch.setattr("stratarouter_runtime.providers.http.read_all.__kwdefaults__", {"limit": 1000})
    vendor.script.fail("huge_body", size=5_000_000)
    error = await failed(provider, call())
    assert (error.failure, error.message) == (Failure.BAD_RESPONSE, "the provider's answer has more than 1000 bytes")


async def test_nobody_listening(provider, vendor, call):
    await vendor.stop_listening()
    error = await failed(provider, call())
    assert (error.failure, error.phase, error.message) == (
        Failure.CONNECT_FAILED, Phase.CONNECT, "the provider cannot be reached: ECONNREFUSED")


async def test_a_name_that_does_not_resolve(make, call):
    error = await failed(make("http://name.invalid/v1"), call())
    assert (error.failure, error.message) == (Failure.CONNECT_FAILED, "the provider cannot be reached: its name does not resolve")


async def test_the_deadline_bounds_a_silent_vendor(provider, vendor, call):
    vendor.script.fail("black_hole")
    error = await failed(provider, call(seconds=0.05))
    assert (error.failure, error.phase) == (Failure.TIMEOUT, Phase.HEADERS)
    await vendor.record.until(lambda record: record.aborted == 1)


async def test_the_providers_own_time_bounds_it_too(make, vendor, call):
    vendor.script.fail("black_hole")
    error = await failed(make(vendor, timeouts={"totalMs": 50}), call())
    assert error.failure is Failure.TIMEOUT


async def test_a_deadline_that_has_passed_sends_nothing(provider, vendor, call):
    error = await failed(provider, call(seconds=-1))
    assert error.failure is Failure.TIMEOUT
    assert vendor.record.total == 0


async def test_connecting_has_its_own_time(make, call):
    """A listener whose queue is full accepts no more: connecting hangs."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, backlog=1, start_serving=False)
    address = server.sockets[0].getsockname()
    server.sockets[0]._sock.listen(0)
    blocking = [asyncio.open_connection(*address) for _ in range(2)]
    waiting = [asyncio.create_task(each) for each in blocking]
    try:
        await asyncio.wait(waiting, timeout=0.2)
        error = await failed(make(f"http://127.0.0.1:{address[1]}", timeouts={"connectMs": 100}), call())
        assert (error.failure, error.phase) == (Failure.TIMEOUT, Phase.CONNECT)
    finally:
        for task in waiting:
            task.cancel()
            if task.done() and not task.cancelled():
                task.result()[1].close()
        server.close()


@pytest.mark.parametrize("fault", ["chunk_size_garbage", "chunk_size_huge", "chunk_torn"])
async def test_framing_that_breaks_in_the_middle_is_no_silence(provider, vendor, call, fault):
    vendor.script.fail(fault)
    error = await asyncio.wait_for(failed(provider, call(seconds=60)), 10)
    assert (error.failure, error.phase) == (Failure.TRUNCATED, Phase.BODY)


@pytest.mark.parametrize("fault", ["refusal_stall", "refusal_cut", "refusal_endless"])
async def test_an_errors_body_is_not_waited_for(provider, vendor, call, monkeypatch, fault):
    """Its status is known, and another provider may be asked."""
    monkeypatch.setattr(http, "ERROR_SECONDS", 0.05)
    vendor.script.fail(fault)
    error = await asyncio.wait_for(failed(provider, call(seconds=60)), 10)
    assert (error.failure, error.status) == (Failure.OVERLOADED, 503)


async def test_a_caller_that_leaves_ends_the_vendors_call(provider, vendor, call):
    vendor.script.fail("black_hole")
    task = asyncio.create_task(provider.chat(CHAT, call()))
    await vendor.record.until(lambda record: record.total == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await vendor.record.until(lambda record: record.aborted == 1, seconds=1)


async def test_embeddings_come_in_the_encoding_asked_for(provider, vendor, call):
    asked = check_embeddings({"model": "public", "input": ["a", "b"], "dimensions": 4, "encoding_format": "base64"})
    response = await provider.embed(asked, call("text-embedding-3-small"))
    assert [len(base64.b64decode(row["embedding"])) for row in orjson.loads(response.raw)["data"]] == [16, 16]
    assert vendor.record.last.json == {**asked.body, "model": "text-embedding-3-small"}
    assert (response.model, response.usage.input, response.usage.output) == ("text-embedding-3-small", 2, 0)


async def test_a_closed_provider_answers_nothing(provider, vendor, call):
    await provider.chat(CHAT, call())
    await provider.aclose()
    assert (await failed(provider, call())).failure is Failure.CONNECT_FAILED
