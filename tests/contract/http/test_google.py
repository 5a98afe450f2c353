"""Claim: OpenAI's SDK works over Gemini: answers, streams, tools, structured output, images and embeddings at the door it knows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from builders import model, pool, provider, runtime, secret
from fakes import geminivendor
from fakes.geminivendor import GeminiVendor, Reply, signature, text, thought
from pod import CREDENTIALS, Pod, running

HI: list[Any] = [{"role": "user", "content": "What is six times seven?"}]
TOOL: Any = {"type": "function", "function": {"name": "weather", "strict": True, "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}}}


class Answer(BaseModel):
    """What structured output is parsed into."""

    answer: int
    why: list[str]


@pytest.fixture
async def vendor() -> AsyncIterator[GeminiVendor]:
    async with GeminiVendor() as fake:
        yield fake


@pytest.fixture
async def pod(tmp_path: Path, vendor: GeminiVendor) -> AsyncIterator[Pod]:
    served = provider("gemini", model("fast", upstreamName="gemini-2.5-flash"), model("new", upstreamName="gemini-3-flash-preview"),
                      model("gone", upstreamName="gemini-0"), model("vectors", upstreamName="gemini-embedding-001"),
                      type="google", endpoint=vendor.endpoint, credentialsSecretRef=CREDENTIALS)
    async with running(tmp_path, runtime(execution={"maxRetries": 0}), pool("chat", served), secret("vendor", apiKey=vendor.api_key)) as made:
        yield made


@pytest.fixture
async def client(pod: Pod) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=pod.base_url, api_key="any", max_retries=0) as sdk:
        yield sdk


async def test_an_answer_and_its_stream(client: openai.AsyncOpenAI) -> None:
    """Text, model, finish reason and usage, both ways the same."""
    answer = await client.chat.completions.create(model="fast", messages=HI, extra_headers={"Cache-Control": "no-store"})
    assert answer.choices[0].message.content == 'You asked: "What is six times seven?". It is in hand.'
    assert (answer.model, answer.choices[0].finish_reason) == ("gemini-2.5-flash", "stop")
    assert answer.usage is not None
    stream = await client.chat.completions.create(model="fast", messages=HI, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == answer.choices[0].message.content
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == answer.usage.total_tokens


async def test_tools_streamed_in_parallel_and_answered(client: openai.AsyncOpenAI, vendor: GeminiVendor) -> None:
    """What the SDK puts together of the stream goes back whole: ids, arguments and the signature that Gemini 3 insists on."""
    vendor.say(Reply(events=((thought("Let me look."),), (geminivendor.call("weather", {"city": "Köln"}, id="a1", signature=signature("x")),),
                             (geminivendor.call("weather", {"city": "Bonn"}, id="a2"),))))
    async with client.chat.completions.stream(model="new", messages=HI, tools=[TOOL]) as events:
        message = (await events.get_final_completion()).choices[0].message
    assert message.tool_calls is not None
    assert [(each.id, each.function.arguments) for each in message.tool_calls] == [("a1", '{"city":"Köln"}'), ("a2", '{"city":"Bonn"}')]
    assert message.model_extra is not None
    assert message.model_extra["reasoning_content"] == "Let me look."
    sent = message.model_dump(exclude_none=True, exclude={"parsed"})
    for each in sent["tool_calls"]:
        each["function"].pop("parsed_arguments", None)
        each.pop("index", None)
    results = [{"role": "tool", "tool_call_id": each.id, "content": '{"degrees": 21}'} for each in message.tool_calls]
    answer = await client.chat.completions.create(model="new", messages=[*HI, sent, *results], tools=[TOOL])  # type: ignore[list-item]
    assert answer.choices[0].finish_reason == "stop"
    assert vendor.record.last.json["contents"][1]["parts"][0]["thoughtSignature"] == signature("x")


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
async def test_a_tool_that_must_be_called(client: openai.AsyncOpenAI, choice: Any) -> None:
    """Calls of models that give no ids have one here."""
    answer = await client.chat.completions.create(model="fast", messages=HI, tools=[TOOL], tool_choice=choice)
    assert answer.choices[0].message.tool_calls is not None
    assert answer.choices[0].message.tool_calls[0].id.startswith("call_")
    assert answer.choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize("streamed", [False, True])
async def test_structured_output_is_parsed(client: openai.AsyncOpenAI, streamed: bool) -> None:
    """The schema reaches Gemini as it is."""
    if streamed:
        async with client.chat.completions.stream(model="fast", messages=HI, response_format=Answer) as events:
            parsed = (await events.get_final_completion()).choices[0].message.parsed
    else:
        parsed = (await client.chat.completions.parse(model="fast", messages=HI, response_format=Answer)).choices[0].message.parsed
    assert parsed == Answer(answer=1, why=["example"])


async def test_images_thinking_and_what_is_left_out(client: openai.AsyncOpenAI, vendor: GeminiVendor) -> None:
    """A picture inside and one at an address; a hint that has no place is named."""
    parts = [{"type": "text", "text": "Which is larger?"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
             {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}]
    raw = await client.chat.completions.with_raw_response.create(
        model="fast", messages=[{"role": "user", "content": parts}], reasoning_effort="low", user="u-1")  # type: ignore[typeddict-item,misc,list-item]
    answer = raw.parse()
    assert answer.usage is not None
    assert answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.reasoning_tokens == 4
    assert "user" in raw.headers["x-strata-warning"]
    assert vendor.record.last.json["contents"][0]["parts"][1:] == [
        {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}, {"fileData": {"mimeType": "image/png", "fileUri": "https://example.com/cat.png"}}]


async def test_what_gemini_cannot_be_told_is_refused_by_name(client: openai.AsyncOpenAI, vendor: GeminiVendor) -> None:
    """Unless the caller does without it."""
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model="fast", messages=HI, logit_bias={"5": 1})
    assert caught.value.param == "logit_bias"
    assert vendor.record.total == 0
    answer = await client.chat.completions.create(model="fast", messages=HI, logit_bias={"5": 1}, extra_headers={"x-strata-unsupported": "drop"})
    assert answer.choices[0].finish_reason == "stop"


@pytest.mark.parametrize(("fault", "kind", "status"), [
    ("rate_limited", openai.RateLimitError, 429), ("http_400", openai.BadRequestError, 400), ("blocked", openai.BadRequestError, 400),
    ("context_length", openai.BadRequestError, 400), ("http_503", openai.InternalServerError, None), ("key_invalid", openai.InternalServerError, None),
    ("http_403", openai.InternalServerError, None), ("no_candidates", openai.InternalServerError, None)])
@pytest.mark.parametrize("stream", [False, True])
async def test_errors_are_the_sdks_exceptions(client: openai.AsyncOpenAI, vendor: GeminiVendor, fault: str, kind: type[openai.APIStatusError],  # noqa: PLR0917
                                              status: int | None, stream: bool) -> None:
    """A key that is wrong is not the caller's: it must not look like a mistake of the request."""
    vendor.fail(fault, times=-1)
    with pytest.raises(kind) as caught:
        await client.chat.completions.create(model="fast", messages=HI, stream=stream)
    assert status is None or caught.value.status_code == status
    assert vendor.api_key not in str(caught.value)


async def test_an_unknown_model_is_our_misconfiguration(client: openai.AsyncOpenAI) -> None:
    """The pool names a model that the vendor does not have."""
    with pytest.raises(openai.InternalServerError):
        await client.chat.completions.create(model="gone", messages=HI)


async def test_a_cut_stream_raises(client: openai.AsyncOpenAI, vendor: GeminiVendor) -> None:
    """After content was forwarded the error comes in band."""
    vendor.fail("cut")
    stream = await client.chat.completions.create(model="fast", messages=HI, stream=True)
    with pytest.raises(openai.APIError):
        _ = [chunk async for chunk in stream]


async def test_several_answers(client: openai.AsyncOpenAI) -> None:
    """``n`` is Gemini's number of candidates."""
    answer = await client.chat.completions.create(model="fast", messages=HI, n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]


async def test_embeddings(client: openai.AsyncOpenAI) -> None:
    """The SDK asks for base64 unless told otherwise; Gemini has only numbers."""
    numbers = await client.embeddings.create(model="vectors", input=["a b", "c"], dimensions=8, encoding_format="float")
    packed = await client.embeddings.create(model="vectors", input=["a b", "c"], dimensions=8)
    assert [row.embedding for row in packed.data] == [pytest.approx(row.embedding, abs=1e-6) for row in numbers.data]
    with pytest.raises(openai.BadRequestError) as caught:
        await client.embeddings.create(model="vectors", input=[1, 2, 3])
    assert caught.value.param == "input"


async def test_a_scripted_text(client: openai.AsyncOpenAI, vendor: GeminiVendor) -> None:
    """Characters beyond ASCII come through, split into pieces or not."""
    vendor.say(text("één-en-vijftig 🧮 “51”"))
    stream = await client.chat.completions.create(model="fast", messages=HI, stream=True)
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "één-en-vijftig 🧮 “51”"
