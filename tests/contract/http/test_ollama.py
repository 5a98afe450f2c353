"""Claim: OpenAI's SDK works over Ollama's own API: answers, streams, tools, structured output and embeddings at the door it knows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import openai
import pytest
from pydantic import BaseModel

from builders import model, pool, provider, runtime
from fakes.ollamavendor import OllamaVendor, Reply
from fakes.scripted import Fault
from pod import Pod, running

HI = [{"role": "user", "content": "What is six times seven?"}]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


class Answer(BaseModel):
    """What structured output is parsed into."""

    answer: int


@pytest.fixture
async def vendor() -> AsyncIterator[OllamaVendor]:
    async with OllamaVendor() as fake:
        yield fake


@pytest.fixture
async def pod(tmp_path: Path, vendor: OllamaVendor) -> AsyncIterator[Pod]:
    served = provider("local", model("assistant", upstreamName="qwen3"), model("vectors", upstreamName="nomic-embed-text"),
                      type="ollama", endpoint=f"{vendor.url}/v1")
    async with running(tmp_path, runtime(execution={"maxRetries": 0}), pool("chat", served)) as running_pod:
        yield running_pod


@pytest.fixture
async def client(pod: Pod) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=pod.base_url, api_key="any", max_retries=0) as sdk:
        yield sdk


async def test_an_answer_and_its_stream(client: openai.AsyncOpenAI, vendor: OllamaVendor) -> None:
    answer = await client.chat.completions.create(model="assistant", messages=HI, reasoning_effort="low", extra_body={"keep_alive": "10m"})
    assert (answer.choices[0].message.content, answer.choices[0].message.reasoning_content) == ("The answer is forty-two.", "Six sevens.")
    assert (answer.model, answer.usage.total_tokens, vendor.last.json["keep_alive"]) == ("qwen3", 38, "10m")
    stream = await client.chat.completions.create(model="assistant", messages=HI, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "The answer is forty-two."
    assert (chunks[-1].usage.total_tokens, chunks[-2].choices[0].finish_reason) == (38, "stop")


async def test_tools_are_called_and_answered(client: openai.AsyncOpenAI, vendor: OllamaVendor) -> None:
    async with client.chat.completions.stream(model="assistant", messages=HI, tools=[TOOL]) as events:
        message = (await events.get_final_completion()).choices[0].message
    (call,) = message.tool_calls
    assert (call.id, call.function.name, call.function.arguments) == ("call_k7x", "weather", '{"city":"Oslo"}')
    history = [*HI, message.model_dump(exclude_none=True, exclude={"parsed"}), {"role": "tool", "tool_call_id": call.id, "content": "3"}]
    answer = await client.chat.completions.create(model="assistant", messages=history, tools=[TOOL])
    assert answer.choices[0].message.content == "The answer is forty-two."
    assert vendor.last.json["messages"][-1] == {"role": "tool", "content": "3", "tool_name": "weather", "tool_call_id": "call_k7x"}


async def test_structured_output_is_parsed_and_images_are_seen(client: openai.AsyncOpenAI, vendor: OllamaVendor) -> None:
    asked = [{"role": "user", "content": [{"type": "text", "text": "How many?"}, IMAGE]}]
    answer = await client.chat.completions.parse(model="assistant", messages=asked, response_format=Answer)
    assert answer.choices[0].message.parsed == Answer(answer=42)
    assert vendor.last.json["messages"][0]["images"] == ["iVBORw0KGgo="]


async def test_embeddings_in_the_sdks_default_encoding(client: openai.AsyncOpenAI) -> None:
    answer = await client.embeddings.create(model="vectors", input=["a", "b"], dimensions=4)
    assert ([len(row.embedding) for row in answer.data], answer.usage.prompt_tokens) == ([4, 4], 8)


async def test_an_error_in_mid_stream_is_the_sdks_exception(client: openai.AsyncOpenAI, vendor: OllamaVendor) -> None:
    vendor.say(Fault(events=2, tail=b'{"error":"an error was encountered while running the model: CUDA error"}\n'))
    with pytest.raises(openai.APIError) as caught:
        _ = [chunk async for chunk in await client.chat.completions.create(model="assistant", messages=HI, stream=True)]
    assert "CUDA error" in caught.value.message


async def test_a_local_model_costs_nothing(pod: Pod, vendor: OllamaVendor) -> None:
    vendor.say(Reply(text="x"))
    assert (await pod.chat(model="assistant")).headers["x-strata-cost-usd"] == "0"
