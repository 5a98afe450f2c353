"""Claim: OpenAI's SDK works over Cohere: answers, streams, tools, structured output and embeddings at the door it knows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import openai
import pytest
from pydantic import BaseModel

from builders import model, pool, provider, runtime, secret
from fakes.coherevendor import CohereVendor, Reply
from fakes.scripted import Fault
from pod import CREDENTIALS, Pod, running

HI = [{"role": "user", "content": "What is six times seven?"}]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}
PRICE = {"inputPerMillionTokens": "2.50", "outputPerMillionTokens": "10"}


class Answer(BaseModel):
    """What structured output is parsed into."""

    answer: int


@pytest.fixture
async def vendor() -> AsyncIterator[CohereVendor]:
    async with CohereVendor() as fake:
        yield fake


@pytest.fixture
async def pod(tmp_path: Path, vendor: CohereVendor) -> AsyncIterator[Pod]:
    served = provider("co", model("command", upstreamName="command-a-03-2025", price=PRICE), model("vectors", upstreamName="embed-v4.0", price=PRICE),
                      type="cohere", endpoint=vendor.url, credentialsSecretRef=CREDENTIALS)
    async with running(tmp_path, runtime(execution={"maxRetries": 0}), pool("chat", served), secret("vendor", apiKey=vendor.api_key)) as running_pod:
        yield running_pod


@pytest.fixture
async def client(pod: Pod) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=pod.base_url, api_key="any", max_retries=0) as sdk:
        yield sdk


async def test_an_answer_and_its_stream(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="command", messages=HI)
    assert (answer.choices[0].message.content, answer.model, answer.usage.prompt_tokens) == ("The answer is forty-two.", "command", 212)
    stream = await client.chat.completions.create(model="command", messages=HI, stream=True, stream_options={"include_usage": True},
                                                  extra_headers={"Cache-Control": "no-cache"})
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "The answer is forty-two."
    assert (chunks[-1].usage.total_tokens, chunks[-2].choices[0].finish_reason) == (221, "stop")


async def test_tools_are_called_and_answered(client: openai.AsyncOpenAI, vendor: CohereVendor) -> None:
    async with client.chat.completions.stream(model="command", messages=HI, tools=[TOOL], tool_choice="required") as events:
        message = (await events.get_final_completion()).choices[0].message
    (call,) = message.tool_calls
    assert (call.function.name, call.function.arguments) == ("weather", '{"city":"Oslo"}')
    vendor.say(Reply(text="It is 3 °C."))
    history = [*HI, message.model_dump(exclude_none=True, exclude={"parsed"}), {"role": "tool", "tool_call_id": call.id, "content": '{"celsius":3}'}]
    answer = await client.chat.completions.create(model="command", messages=history, tools=[TOOL])
    assert answer.choices[0].message.content == "It is 3 °C."
    assert vendor.last.json["messages"][-1]["content"] == [{"type": "document", "document": {"data": {"celsius": 3}}}]


async def test_structured_output_is_parsed(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.parse(model="command", messages=HI, response_format=Answer)
    assert answer.choices[0].message.parsed == Answer(answer=42)


async def test_embeddings_in_the_sdks_default_encoding(client: openai.AsyncOpenAI, vendor: CohereVendor) -> None:
    answer = await client.embeddings.create(model="vectors", input=[str(number) for number in range(100)], dimensions=4)
    assert [len(row.embedding) for row in answer.data] == [4] * 100
    assert (len(vendor.requests), answer.usage.prompt_tokens) == (2, 300)


async def test_the_vendors_refusal_is_the_sdks_exception(client: openai.AsyncOpenAI, vendor: CohereVendor) -> None:
    vendor.say(Fault(400, b'{"id":"1","message":"invalid request: list of documents must not be empty"}'))
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model="command", messages=HI, extra_body={"documents": []})
    assert "list of documents" in caught.value.message


@pytest.mark.parametrize("stream", [False, True])
async def test_the_cost_is_that_of_the_billed_units(pod: Pod, stream: bool) -> None:
    """12 units in at 2.50 and 7 out at 10 US dollars a million."""
    answer = await pod.chat(model="command", stream=stream)
    assert answer.status == 200
    if not stream:
        assert answer.headers["x-strata-cost-usd"] == "0.0001"
    assert await pod.figure("stratarouter_runtime_cost_usd_total") == pytest.approx(0.0001)
