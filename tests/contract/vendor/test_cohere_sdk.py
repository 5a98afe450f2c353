"""Claim: Cohere's own SDK takes the fake for the vendor: answers, streams, embeddings, errors as its own exceptions."""

from __future__ import annotations

import base64
import struct
from collections.abc import AsyncIterator

import cohere
import pytest
from cohere.errors import BadRequestError, NotFoundError, TooManyRequestsError, UnauthorizedError

from fakes.coherevendor import CohereVendor, Reply
from fakes.scripted import Fault

MODEL = "command-a-03-2025"
HI = [{"role": "user", "content": "What is six times seven?"}]
TOOL = {"type": "function", "function": {"name": "get_weather", "description": "d", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}}}}
CITATION = {"start": 14, "end": 23, "text": "forty-two", "type": "TEXT_CONTENT",
            "sources": [{"type": "document", "id": "doc:0", "document": {"id": "doc:0", "title": "Sums", "text": "6*7=42"}}]}
RICH = Reply(thinking="Six sevens.", text="The answer is forty-two.", citations=(CITATION,), billed=(5, 6), tokens=(70, 8), cached=64)


@pytest.fixture
async def vendor() -> AsyncIterator[CohereVendor]:
    async with CohereVendor() as running:
        yield running


@pytest.fixture
async def client(vendor: CohereVendor) -> AsyncIterator[cohere.AsyncClientV2]:
    async with cohere.AsyncClientV2(api_key=vendor.api_key, base_url=vendor.url) as sdk:
        yield sdk


async def test_a_whole_answer_is_parsed_into_the_sdks_types(client, vendor):
    vendor.say(RICH)
    answer = await client.chat(model=MODEL, messages=HI, logprobs=True, documents=[{"id": "doc:0", "data": {"text": "6*7=42"}}])
    thinking, text = answer.message.content
    assert (thinking.type, thinking.thinking, text.type, text.text) == ("thinking", "Six sevens.", "text", "The answer is forty-two.")
    assert answer.finish_reason == "COMPLETE"
    assert (answer.usage.billed_units.input_tokens, answer.usage.tokens.input_tokens, answer.usage.cached_tokens) == (5, 70, 64)
    (citation,) = answer.message.citations
    assert (citation.text, citation.sources[0].type, citation.sources[0].document["title"]) == ("forty-two", "document", "Sums")
    assert answer.logprobs[0].logprobs == [-0.25, -0.5]


async def test_a_stream_says_the_same(client, vendor):
    vendor.say(RICH)
    events = [event async for event in client.chat_stream(model=MODEL, messages=HI)]
    assert [events[0].type, events[1].type, events[-1].type] == ["message-start", "content-start", "message-end"]
    deltas = [event.delta.message.content for event in events if event.type == "content-delta"]
    assert "".join(each.thinking or "" for each in deltas) == "Six sevens."
    assert "".join(each.text or "" for each in deltas) == "The answer is forty-two."
    (citation,) = [event.delta.message.citations for event in events if event.type == "citation-start"]
    assert (citation.start, citation.text) == (14, "forty-two")
    assert (events[-1].delta.finish_reason, events[-1].delta.usage.tokens.output_tokens) == ("COMPLETE", 8)


@pytest.mark.parametrize("stream", [False, True])
async def test_tools_are_called(client, stream):
    asked = {"model": MODEL, "messages": HI, "tools": [TOOL], "tool_choice": "REQUIRED"}
    if not stream:
        message = (await client.chat(**asked)).message
        assert (message.tool_plan, message.tool_calls[0].function.name) == ("I will use the tool.", "get_weather")
        assert message.tool_calls[0].function.arguments == '{"city":"Oslo"}'
        return
    events = [event async for event in client.chat_stream(**asked)]
    start = next(event for event in events if event.type == "tool-call-start")
    assert (start.delta.message.tool_calls.id, start.delta.message.tool_calls.function.name) == ("tool_0", "get_weather")
    pieces = [event.delta.message.tool_calls.function.arguments for event in events if event.type == "tool-call-delta"]
    assert "".join(pieces) == '{"city":"Oslo"}'
    assert "".join(event.delta.message.tool_plan for event in events if event.type == "tool-plan-delta") == "I will use the tool."


async def test_a_conversation_with_results_of_tools_is_taken(client):
    call = {"id": "tool_0", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    history = [*HI, {"role": "assistant", "tool_calls": [call], "tool_plan": "I will look."},
               {"role": "tool", "tool_call_id": "tool_0", "content": [{"type": "document", "document": {"data": {"celsius": 3}}}]}]
    assert (await client.chat(model=MODEL, messages=history, tools=[TOOL])).message.content[0].text == "The answer is forty-two."


async def test_embeddings_come_as_floats_and_as_base64(client):
    answer = await client.embed(model="embed-v4.0", texts=["a", "b"], input_type="search_query", embedding_types=["float", "base64"],
                                output_dimension=4)
    assert [len(each) for each in answer.embeddings.float_] == [4, 4]
    assert list(struct.unpack("<4f", base64.b64decode(answer.embeddings.base64[1]))) == answer.embeddings.float_[1]
    assert answer.meta.billed_units.input_tokens == 6


@pytest.mark.parametrize(("fault", "error"), [
    (Fault(429, b'{"id":"1","message":"You are using a Trial key, which is limited to 20 API calls / minute."}'), TooManyRequestsError),
    (Fault(404, b'{"id":"1","message":"gone"}'), NotFoundError)])
async def test_errors_are_the_sdks_exceptions(client, vendor, fault, error):
    vendor.say(fault)
    with pytest.raises(error) as caught:
        await client.chat(model=MODEL, messages=HI, request_options={"max_retries": 0})
    assert caught.value.body["id"] == "1"


@pytest.mark.parametrize("change", [
    {"messages": [{"role": "user"}]}, {"stop_sequences": list("abcdef")}, {"presence_penalty": 2.0}, {"tool_choice": "REQUIRED"},
    {"response_format": {"type": "json_object"}, "documents": ["d"]}, {"messages": [{"role": "narrator", "content": "x"}]}])
async def test_what_the_vendor_refuses_is_refused(client, change):
    with pytest.raises(BadRequestError):
        await client.chat(**({"model": MODEL, "messages": HI} | change))


async def test_another_key_is_refused(vendor):
    async with cohere.AsyncClientV2(api_key="other", base_url=vendor.url) as sdk:
        with pytest.raises(UnauthorizedError) as caught:
            await sdk.chat(model=MODEL, messages=HI)
    assert caught.value.body["message"] == "invalid api token"
