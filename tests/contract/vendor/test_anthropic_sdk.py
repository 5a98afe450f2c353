"""Claim: the official SDK takes the fake for Anthropic: whole and streamed, with tools, thinking and counted tokens, errors as its own
exceptions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import anthropic
import pytest

from fakes.anthropicvendor import AnthropicVendor, Fault, Reply, text, thinking, tool_use

MODEL = "claude-sonnet-4-6"
HI = [{"role": "user", "content": "Where is my invoice 4711?"}]
TOOL = {"name": "get_weather", "description": "Weather.", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
TURN = Reply((thinking("They want the weather."), text("I'll look."), tool_use("get_weather", {"city": "Köln"})))


@pytest.fixture
async def claude() -> AsyncIterator[AnthropicVendor]:
    async with AnthropicVendor() as running:
        yield running


@pytest.fixture
async def sdk(claude) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=claude.base_url, api_key=claude.api_key, max_retries=0, timeout=10) as client:
        yield client


async def test_a_message_has_what_the_vendor_documents(sdk):
    answer = await sdk.messages.create(model=MODEL, max_tokens=100, messages=HI)
    assert (answer.type, answer.role, answer.model, answer.stop_reason) == ("message", "assistant", MODEL, "end_turn")
    assert answer.id.startswith("msg_01")
    assert "invoice 4711" in answer.content[0].text
    assert answer.usage.input_tokens > 0
    assert answer._request_id.startswith("req_")


async def test_a_stream_amounts_to_the_same_message(claude, sdk):
    claude.say(TURN, TURN)
    asked = {"model": MODEL, "max_tokens": 2000, "messages": HI, "tools": [TOOL], "thinking": {"type": "adaptive"}}
    whole = await sdk.messages.create(**asked)
    async with sdk.messages.stream(**asked) as stream:
        kinds = [event.type async for event in stream]
        streamed = await stream.get_final_message()
    told = [[{name: value for name, value in block.to_dict().items() if value is not None} for block in each.content]
            for each in (streamed, whole)]
    assert told[0] == told[1]
    assert (streamed.stop_reason, streamed.usage.output_tokens) == ("tool_use", whole.usage.output_tokens)
    assert {"thinking", "signature", "text", "input_json", "message_stop"} <= set(kinds)


async def test_the_sync_client_works_too(claude):
    def call():
        with (anthropic.Anthropic(base_url=claude.base_url, api_key=claude.api_key, max_retries=0) as client,
              client.messages.stream(model=MODEL, max_tokens=100, messages=HI) as stream):
            return "".join(stream.text_stream)
    assert "invoice 4711" in await asyncio.to_thread(call)


async def test_tokens_are_counted(sdk):
    assert (await sdk.messages.count_tokens(model=MODEL, messages=HI)).input_tokens > 10


@pytest.mark.parametrize(("kind", "exception"), [
    ("invalid_request_error", anthropic.BadRequestError), ("authentication_error", anthropic.AuthenticationError),
    ("permission_error", anthropic.PermissionDeniedError), ("not_found_error", anthropic.NotFoundError),
    ("rate_limit_error", anthropic.RateLimitError), ("api_error", anthropic.InternalServerError), ("overloaded_error", anthropic.APIStatusError)])
async def test_errors_are_the_sdks_exceptions(claude, sdk, kind, exception):
    claude.say(Fault(kind, "because"))
    with pytest.raises(exception, match="because") as caught:
        await sdk.messages.create(model=MODEL, max_tokens=100, messages=HI)
    assert caught.value.type == kind


async def test_an_error_in_mid_stream_is_raised(claude, sdk):
    claude.say(Fault("overloaded_error", "Overloaded", events=4))
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        async with sdk.messages.stream(model=MODEL, max_tokens=100, messages=HI) as stream:
            await stream.until_done()


@pytest.mark.parametrize(("asked", "told"), [
    ({"messages": []}, "at least one message"), ({"thinking": {"type": "enabled", "budget_tokens": 10}}, "1024"), ({"extra_body": {"n": 2}}, "n: Extra inputs"),
    ({"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x"}]}]}, "tool_result"), ({"model": "gpt-4o"}, "model: gpt-4o")])
async def test_it_refuses_what_the_vendor_refuses(sdk, asked, told):
    with pytest.raises(anthropic.APIStatusError, match=told):
        await sdk.messages.create(**{"model": MODEL, "max_tokens": 100, "messages": HI, **asked})
