"""The ``openai`` SDK at OpenAI's door with Anthropic behind it: tools, images, structured output, thinking, failover and the cache work
as with OpenAI."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from builders import Document, pool, provider, runtime, secret, until
from fakes.anthropicvendor import AnthropicVendor, Fault, Reply, text, thinking, tool_use
from fakes.vendor import FakeVendor
from pod import Pod, running, served_by

NEW, OLD = "claude-sonnet-4-6", "claude-sonnet-4-20250514"
ASKED: list[Any] = [{"role": "user", "content": "Where is my invoice?"}]
TOOL: Any = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object", "properties": {"id": {"type": "string"}}}}}
PIXEL = "data:image/png;base64,iVBORw0KGgo="


class Sum(BaseModel):
    """A structured answer."""

    total: int
    words: list[str]


@pytest.fixture
async def claude() -> AsyncIterator[AnthropicVendor]:
    """Anthropic."""
    async with AnthropicVendor() as made:
        yield made


def documents(claude: AnthropicVendor, vendor: FakeVendor, **fields: Any) -> list[Document]:
    """Anthropic first, then an OpenAI-compatible server that serves the same names."""
    first = provider("claude", NEW, OLD, type="anthropic", endpoint=claude.base_url, credentialsSecretRef={"name": "vendor", "key": "claude"})
    models: list[Document | str] = [{"name": name, "upstreamName": "gpt-4o"} for name in (NEW, OLD)]
    return [runtime(execution={"timeoutSeconds": 10, "maxRetries": 3, "retryDelayMs": 1}, **fields),
            pool("chat", first, served_by(vendor, "second", *models, priority=1)),
            secret("vendor", apiKey=vendor.api_key, claude=claude.api_key)]


@pytest.fixture
async def pod(tmp_path: Path, claude: AnthropicVendor, vendor: FakeVendor) -> AsyncIterator[Pod]:
    """Both behind one running data plane, with an exact cache."""
    async with running(tmp_path, *documents(claude, vendor)) as made:
        yield made


@pytest.fixture
async def sdk(pod: Pod) -> AsyncIterator[openai.AsyncOpenAI]:
    """The async client, without retries of its own."""
    async with openai.AsyncOpenAI(base_url=pod.base_url, api_key="sk-any", max_retries=0, timeout=20) as client:
        yield client


async def test_an_answer_has_its_usage_and_its_model(sdk: openai.AsyncOpenAI, claude: AnthropicVendor) -> None:
    """The prompt's tokens are all that were read, cached ones among them."""
    claude.say(Reply((text("In the drawer."),), usage={"input_tokens": 10, "cache_read_input_tokens": 90, "output_tokens": 4}))
    answer = await sdk.chat.completions.create(model=NEW, messages=ASKED)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason, answer.model) == ("In the drawer.", "stop", NEW)
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (100, 4, 104)
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 90


async def test_a_conversation_with_tools_streamed_and_answered(sdk: openai.AsyncOpenAI, claude: AnthropicVendor) -> None:
    """Two parallel calls, their arguments in pieces, a result each, one of them an error; thinking goes back signed."""
    claude.say(Reply((thinking("Two of them.", "sig=="), text("Looking."), tool_use("lookup", {"id": "é1"}, "toolu_1"), tool_use("lookup", {}, "toolu_2"))))
    calls: dict[int, dict[str, str]] = {}
    details: list[Any] = []
    stream = await sdk.chat.completions.create(model=NEW, messages=ASKED, tools=[TOOL], reasoning_effort="high", stream=True)
    async for chunk in stream:
        for choice in chunk.choices:
            details += (choice.delta.model_extra or {}).get("reasoning_details") or []
            for call in choice.delta.tool_calls or ():
                known = calls.setdefault(call.index, {"id": "", "name": "", "arguments": ""})
                known["id"] += call.id or ""
                known["name"] += (call.function.name if call.function else "") or ""
                known["arguments"] += (call.function.arguments if call.function else "") or ""
    assert [json.loads(call["arguments"]) for call in calls.values()] == [{"id": "é1"}, {}]
    turn: Any = {"role": "assistant", "content": "Looking.", "reasoning_details": details, "tool_calls": [
        {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}} for call in calls.values()]}
    results: list[Any] = [{"role": "tool", "tool_call_id": call["id"], "content": "found"} for call in calls.values()]
    answer = await sdk.chat.completions.create(model=NEW, messages=[*ASKED, turn, *results], tools=[TOOL], reasoning_effort="high")
    assert answer.choices[0].finish_reason == "stop"
    assert claude.body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "Two of them.", "signature": "sig=="}, {"type": "text", "text": "Looking."},
        {"type": "tool_use", "id": "toolu_1", "name": "lookup", "input": {"id": "é1"}}, {"type": "tool_use", "id": "toolu_2", "name": "lookup", "input": {}}]


async def test_images_reach_the_model(sdk: openai.AsyncOpenAI, claude: AnthropicVendor) -> None:
    """As base64 and by URL."""
    parts: list[Any] = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": PIXEL}},
                        {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}]
    await sdk.chat.completions.create(model=NEW, messages=[{"role": "user", "content": parts}])
    assert [block["source"]["type"] for block in claude.body["messages"][0]["content"][1:]] == ["base64", "url"]


@pytest.mark.parametrize("model", [NEW, OLD])
async def test_structured_output_is_parsed(sdk: openai.AsyncOpenAI, claude: AnthropicVendor, model: str) -> None:
    """Natively where the model can, else through a tool that nobody sees; whole and as a stream."""
    given = {"total": 51, "words": ["fifty", "one"]}
    reply = Reply((text(json.dumps(given)) if model == NEW else tool_use("strata_structured_answer", given),))
    claude.say(reply, reply)
    answer = await sdk.chat.completions.parse(model=model, messages=ASKED, response_format=Sum)
    assert (answer.choices[0].message.parsed, answer.choices[0].finish_reason) == (Sum(**given), "stop")
    assert ("output_config" in claude.body) == (model == NEW)
    async with sdk.chat.completions.stream(model=model, messages=[*ASKED, {"role": "user", "content": "again"}], response_format=Sum) as stream:
        final = await stream.get_final_completion()
    assert final.choices[0].message.parsed == Sum(**given)


async def test_reasoning_is_shown(sdk: openai.AsyncOpenAI, claude: AnthropicVendor) -> None:
    """As OpenAI-compatible servers show it."""
    claude.say(Reply((thinking("Hm."), text("Yes.")), usage={"output_tokens_details": {"thinking_tokens": 7}}))
    answer = await sdk.chat.completions.create(model=NEW, messages=ASKED, reasoning_effort="low")
    assert (answer.choices[0].message.model_extra or {})["reasoning_content"] == "Hm."
    assert answer.usage is not None
    assert answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.reasoning_tokens == 7


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", [Fault("overloaded_error", "Overloaded"), Fault("overloaded_error", "Overloaded", events=3), Fault(events=3),
                                   Fault("authentication_error", "invalid x-api-key")])
async def test_another_vendor_takes_over_before_there_is_content(pod: Pod, claude: AnthropicVendor, fault: Fault, stream: bool) -> None:
    """Whatever happens first: refused, broken off, an error event."""
    if not stream and fault.events is not None:
        return
    claude.say(fault)
    answer = await pod.chat(model=NEW, stream=stream)
    assert (answer.status, answer.headers["x-strata-provider"]) == (200, "second")


async def test_a_clients_mistake_is_told_in_openais_shape(pod: Pod, claude: AnthropicVendor) -> None:
    """With the vendor's words, without failover."""
    claude.say(Fault("invalid_request_error", "messages.0: that is wrong"))
    answer = await pod.chat(model=NEW)
    assert (answer.status, answer.error["type"], answer.error["message"]) == (400, "invalid_request_error", "messages.0: that is wrong")


async def test_a_stream_that_breaks_after_content_says_so(pod: Pod, claude: AnthropicVendor) -> None:
    """In-band, without a normal end."""
    claude.say(Fault("overloaded_error", "Overloaded", events=5))
    answer = await pod.chat(model=NEW, stream=True)
    assert answer.events[-1]["error"]["message"] == "Overloaded"


async def test_a_stored_answer_is_given_whole_and_as_a_stream(pod: Pod, claude: AnthropicVendor) -> None:
    """The thinking and the text as they were."""
    claude.say(Reply((thinking("Hm."), text("In the drawer."))))
    first = await pod.chat(model=NEW)
    again, streamed = await pod.chat(model=NEW), await pod.chat(model=NEW, stream=True)
    assert (again.headers["Cache-Status"].partition(";")[2][:4], len(claude.requests)) == (" hit", 1)
    assert again.json["choices"] == first.json["choices"]
    assert streamed.streamed_text == "In the drawer."


async def test_a_client_that_leaves_ends_the_call(pod: Pod, claude: AnthropicVendor) -> None:
    """Within the time that a test may take."""
    claude.interval = 0.05
    claude.say(Reply((text("long " * 1000),)))
    async with pod.session.post(f"{pod.url}/v1/chat/completions", json={"model": NEW, "messages": ASKED, "stream": True}) as response:
        await response.content.readany()
    await until(lambda: claude.aborted == 1)
