"""Claim: the fake's replies are byte for byte those of the documented wire, and its faults are what they say."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import aiohttp
import pytest

from builders import until
from fakes.vendor import FAULTS, FakeVendor, Reply
from fakes.vendor.server import DEFAULT_MODELS

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden" / "wire"
HI = [{"role": "user", "content": "hi"}]
GOLDEN_MESSAGES = [{"role": "system", "content": "Be brief."},
                   {"role": "user", "content": "What is 17 times 3, in words and digits?"}]

OPENAI_404 = b"""{
  "error": {
    "message": "The model `x` does not exist or you do not have access to it.",
    "type": "invalid_request_error",
    "param": null,
    "code": "model_not_found"
  }
}
"""
VLLM_OLD_404 = b'{"object":"error","message":"The model `x` does not exist.","type":"NotFoundError","param":"model","code":404}'
OLLAMA_404 = (b'{"error":{"message":"model \\"x\\" not found, try pulling it first","type":"not_found_error","param":null,'
              b'"code":null}}')


async def post(vendor, body, path="/chat/completions", **options):
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {vendor.api_key}"}) as session, session.post(
            vendor.base_url + path, **({"data": body} if isinstance(body, bytes) else {"json": body}), allow_redirects=False,
            **options) as reply:
        return reply.status, reply.headers, await reply.read()


@pytest.mark.parametrize(("name", "flavour", "replies"), [
    ("openai-text", "openai", [Reply(text="Fifty-one, or 51 — “één-en-vijftig”. 🧮")]),
    ("openai-tools", "openai", [Reply(tool_calls=(("get_weather", '{"city": "Köln"}'), ("get_time", '{"zone": "CET"}')))]),
    ("vllm-reasoning", "vllm", [Reply(reasoning="17 * 3 = 51.", text="51")]),
    ("vllm-old-text", "vllm-old", [Reply(text="It is 51.")]),
    ("ollama-reasoning", "ollama", [Reply(reasoning="17 * 3 = 51.", text="51 it is")]),
    ("ollama-tools", "ollama", [Reply(tool_calls=(("get_weather", '{"city":"Paris"}'),))]),
])
async def test_streams_are_those_recorded(name, flavour, replies):
    golden = (GOLDEN / f"{name}.sse").read_bytes()
    model = json.loads(golden[6:golden.index(b"\n")])["model"]
    async with FakeVendor(flavour=flavour, models=[model], clock=lambda: 1_732_000_000) as vendor:
        vendor.record.total = 6
        for reply in replies:
            vendor.script.say(reply)
        body = {"model": model, "messages": GOLDEN_MESSAGES, "stream": True, "stream_options": {"include_usage": True}}
        status, headers, raw = await post(vendor, body)
    assert (status, raw) == (200, golden)
    assert headers["Content-Type"] == ("text/event-stream" if flavour == "ollama" else "text/event-stream; charset=utf-8")


async def test_json_replies_are_indented_as_by_the_vendor(vendor):
    vendor.script.say("hello")
    _, _, raw = await post(vendor, {"model": "gpt-4o", "messages": HI})
    assert raw.startswith(b'{\n  "id": "chatcmpl-')
    assert b"""\"model": "gpt-4o-2024-11-20",
  "choices": [
    {
      "index": 0,
      "message": {
        "role": "assistant",
        "content": "hello",
        "refusal": null,
        "annotations": []
      },
      "logprobs": null,
      "finish_reason": "stop"
    }
  ],
  "usage": {
    "prompt_tokens": 8,
    "completion_tokens": 1,
    "total_tokens": 9,""" in raw


@pytest.mark.parametrize(("flavour", "status", "body"), [
    ("openai", 404, OPENAI_404),
    ("vllm", 404, b'{"error":{"message":"The model `x` does not exist.","type":"NotFoundError","param":"model","code":404}}'),
    ("vllm-old", 404, VLLM_OLD_404),
    ("ollama", 404, OLLAMA_404),
])
async def test_errors_are_those_of_the_flavour(flavour, status, body):
    async with FakeVendor(flavour=flavour) as vendor:
        assert (await post(vendor, {"model": "x", "messages": HI}))[::2] == (status, body)


async def test_malformed_json_is_refused(vendor):
    status, _, raw = await post(vendor, b'{"model": ')
    assert (status, json.loads(raw)["error"]["code"]) == (400, None)
    assert "could not parse the JSON body" in json.loads(raw)["error"]["message"]


@pytest.mark.parametrize("name", sorted(name for name, fault in FAULTS.items() if fault.phase != "wire"))
async def test_every_fault_ends_and_breaks_what_it_says(vendor, name):
    """A fault of phase answer or framing can be read; one of phase connect or stream may break the connection.

    Those of phase wire are bytes that no client library need accept; ``tests/faults`` meets them.
    """
    vendor.script.fail(name, **({"size": 1000} if name in ("huge_body", "huge_event") else {}))
    holds = name in ("black_hole", "stall", "slow_first_token")
    released = asyncio.create_task(release_once_held(vendor)) if holds else None
    fault = FAULTS[name]
    try:
        status, _, raw = await post(vendor, {"model": "gpt-4o", "messages": HI, "stream": fault.phase in ("stream", "framing")})
    except (aiohttp.ClientError, ConnectionError):
        assert name in ("reset_before_headers", "close_before_headers", "black_hole", "reset_after_headers", "reset_mid_stream",
                        "cut_connection", "wrong_length")
    else:
        assert status == fault.status
        assert (b"[DONE]" in raw) == (name in ("gzip", "crlf", "cr", "comments", "multi_line_data", "bom", "split_bytes", "trickle",
                                               "slow_first_token", "stall", "garbage_event", "no_usage"))
    assert vendor.record.total == 1
    if released is not None:
        await released


async def release_once_held(vendor):
    """Not before: a release meets only those that wait."""
    await until(lambda: vendor.holding)
    vendor.release()


async def test_a_model_named_after_a_fault_always_meets_it(vendor):
    for _ in range(2):
        assert (await post(vendor, {"model": "fault-http_503", "messages": HI}))[0] == 503
    assert (await post(vendor, {"model": "gpt-4o", "messages": HI}))[0] == 200


async def test_faults_are_used_up_in_order_and_by_model(vendor):
    vendor.script.fail("http_500", model="gpt-4o", times=2)
    vendor.script.fail("http_503", model="gpt-4o")
    vendor.script.fail("http_429", model="*")
    statuses = [(await post(vendor, {"model": model, "messages": HI}))[0]
                for model in ("gpt-4o", "gpt-4o-mini", "gpt-4o", "gpt-4o", "gpt-4o", "gpt-4o-mini")]
    assert statuses == [500, 429, 500, 503, 200, 200]


async def test_a_client_that_leaves_is_counted(vendor):
    vendor.script.fail("stall")
    call = asyncio.create_task(post(vendor, {"model": "gpt-4o", "messages": HI, "stream": True}))
    await vendor.record.until(lambda record: record.total == 1)
    call.cancel()
    await vendor.record.until(lambda record: record.aborted == 1)
    assert (vendor.record.total, vendor.record.completed) == (1, 0)


async def test_connections_are_counted(vendor):
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {vendor.api_key}"}) as session:
        for _ in range(3):
            async with session.get(vendor.base_url + "/models") as reply:
                await reply.read()
    assert (vendor.record.total, vendor.record.connections) == (3, 1)


async def test_it_refuses_connections_and_comes_back_on_the_same_port(vendor):
    port = vendor.port
    await vendor.stop_listening()
    with pytest.raises(aiohttp.ClientConnectorError):
        await post(vendor, {"model": "gpt-4o", "messages": HI})
    await vendor.listen()
    assert vendor.port == port
    assert (await post(vendor, {"model": "gpt-4o", "messages": HI}))[0] == 200


async def test_ollama_lists_its_tags():
    async with FakeVendor(flavour="ollama") as vendor, aiohttp.ClientSession() as session, session.get(
            f"http://127.0.0.1:{vendor.port}/api/tags") as reply:
        tags = (await reply.json())["models"]
    assert {tag["model"] for tag in tags} == {f"{name}:latest" for name in DEFAULT_MODELS["ollama"]}


async def test_as_a_process_it_is_scripted_over_http():
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fakes.vendor", "--port", "0", "--api-key", "sk-1", env={"PYTHONPATH": str(ROOT / "tests")},
        stdout=asyncio.subprocess.PIPE)
    try:
        base = (await asyncio.wait_for(process.stdout.readline(), 20)).decode().split()[-1]
        control = base.removesuffix("/v1") + "/__control"
        async with aiohttp.ClientSession(headers={"Authorization": "Bearer sk-1"}) as session:
            async def chat():
                async with session.post(base + "/chat/completions", json={"model": "gpt-4o", "messages": HI}) as reply:
                    return reply.status
            assert await chat() == 200
            async with session.post(control + "/faults", json={"fault": "http_503", "times": 1}) as reply:
                assert reply.status == 200
            assert [await chat(), await chat()] == [503, 200]
            async with session.post(control + "/faults", json={"fault": "nonsense"}) as reply:
                assert reply.status == 400
            async with session.put(control + "/keys", json=["sk-2"]) as reply:
                assert reply.status == 200
            assert await chat() == 401
            async with session.get(control) as reply:
                assert (await reply.json())["requests"] == 4
            async with session.get(control + "/requests") as reply:
                assert len(await reply.json()) == 4
            async with session.delete(control) as reply:
                assert reply.status == 200
            async with session.get(control) as reply:
                assert await reply.json() == {"requests": 0, "completed": 0, "aborted": 0, "connections": 0, "pending": {}}
    finally:
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 10) == 0
