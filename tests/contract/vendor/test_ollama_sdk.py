"""Claim: Ollama's own SDK takes the fake for a server: answers, streams, tools, vectors, errors as its own exceptions."""

from __future__ import annotations

from collections.abc import AsyncIterator

import ollama
import pytest

from fakes.ollamavendor import OllamaVendor, Reply
from fakes.scripted import Fault

HI = [{"role": "user", "content": "What is six times seven?"}]
TOOL = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}}}}


@pytest.fixture
async def vendor() -> AsyncIterator[OllamaVendor]:
    async with OllamaVendor() as running:
        yield running


@pytest.fixture
async def client(vendor: OllamaVendor) -> AsyncIterator[ollama.AsyncClient]:
    async with ollama.AsyncClient(host=vendor.url) as sdk:
        yield sdk


async def test_a_whole_answer_is_parsed_into_the_sdks_types(client):
    answer = await client.chat("qwen3", HI, think=True, logprobs=True, top_logprobs=1, options={"seed": 7, "num_predict": 9}, keep_alive="5m")
    assert (answer.message.thinking, answer.message.content) == ("Six sevens.", "The answer is forty-two.")
    assert (answer.done, answer.done_reason, answer.prompt_eval_count, answer.eval_count) == (True, "stop", 26, 12)
    assert answer.logprobs[0].top_logprobs[0].logprob == -0.25


async def test_a_stream_says_the_same(client):
    parts = [part async for part in await client.chat("qwen3", HI, think=True, stream=True)]
    assert "".join(part.message.thinking or "" for part in parts) == "Six sevens."
    assert "".join(part.message.content or "" for part in parts) == "The answer is forty-two."
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert parts[-1].eval_count == 12


@pytest.mark.parametrize("stream", [False, True])
async def test_tools_are_called_and_their_results_taken(client, stream):
    if stream:
        parts = [part async for part in await client.chat("qwen3", HI, tools=[TOOL], stream=True)]
        (call,) = [call for part in parts for call in part.message.tool_calls or ()]
    else:
        (call,) = (await client.chat("qwen3", HI, tools=[TOOL])).message.tool_calls
    assert (call.function.name, call.function.arguments) == ("weather", {"city": "Oslo"})
    history = [*HI, {"role": "assistant", "content": "", "tool_calls": [call.model_dump()]}, {"role": "tool", "content": "3", "tool_name": "weather"}]
    assert (await client.chat("qwen3", history, tools=[TOOL])).message.content == "The answer is forty-two."


async def test_formats_and_images_are_taken(client):
    answer = await client.chat("llama3.2", [{"role": "user", "content": "see", "images": [b"\x89PNG"]}], format={"type": "object"})
    assert answer.message.content == '{"answer": 42}'


async def test_embeddings_and_the_list_of_models(client):
    answer = await client.embed("nomic-embed-text", ["a", "b"], dimensions=4)
    assert ([len(each) for each in answer.embeddings], answer.prompt_eval_count) == ([4, 4], 8)
    assert (await client.list()).models[0].model == "llama3.2:latest"


async def test_errors_are_the_sdks_exceptions(client, vendor):
    with pytest.raises(ollama.ResponseError) as caught:
        await client.chat("nope", HI)
    assert (caught.value.status_code, caught.value.error) == (404, "model 'nope' not found")
    vendor.say(Fault(events=2, tail=b'{"error":"an error was encountered while running the model: CUDA error"}\n'))
    with pytest.raises(ollama.ResponseError) as caught:
        _ = [part async for part in await client.chat("qwen3", HI, stream=True)]
    assert "CUDA error" in caught.value.error


@pytest.mark.parametrize("change", [
    {"messages": [{"role": "user", "content": "x", "images": ["not base64!"]}]}, {"options": {"stop": "x"}}, {"options": {"seed": "x"}}])
async def test_what_a_server_refuses_is_refused(vendor, change):
    """The SDK would not send these."""
    import aiohttp

    async with aiohttp.ClientSession() as session, session.post(f"{vendor.url}/api/chat", json={"model": "qwen3", "messages": HI} | change) as reply:
        assert (reply.status, list(await reply.json())) == (400, ["error"])


async def test_a_prompt_that_was_cached_may_have_no_count(client, vendor):
    vendor.say(Reply(text="x", prompt=None))
    assert (await client.chat("qwen3", HI)).prompt_eval_count is None
