"""The official ``openai`` SDK against a running data plane: what works with the vendor works here, errors included."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionMessageFunctionToolCall

from builders import runtime, secret
from fakes.vendor import ALWAYS, FakeVendor, Reply
from pod import Pod, resources, running

ASKED: list[Any] = [{"role": "user", "content": "Where is my invoice?"}]
TOOL: Any = {"type": "function", "function": {
    "name": "lookup", "parameters": {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}}}


@pytest.fixture
async def sdk(pod: Pod) -> AsyncIterator[openai.AsyncOpenAI]:
    """The async client, without retries of its own."""
    async with openai.AsyncOpenAI(base_url=pod.base_url, api_key="sk-any", max_retries=0, timeout=20) as client:
        yield client


# --- answers --------------------------------------------------------------------------------------------------------------


async def test_a_completion_is_the_vendors(sdk: openai.AsyncOpenAI, vendor: FakeVendor) -> None:
    """Text, reported model, finish reason and usage as the vendor sent them."""
    vendor.script.say("In the drawer.")
    answer = await sdk.chat.completions.create(model="gpt-4o", messages=ASKED)
    assert isinstance(answer, ChatCompletion)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("In the drawer.", "stop")
    assert answer.model == "gpt-4o-2024-11-20"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


async def test_the_request_reaches_the_vendor_as_it_was(sdk: openai.AsyncOpenAI, vendor: FakeVendor) -> None:
    """Every parameter, known or not; the caller's key never, the vendor's always."""
    await sdk.chat.completions.create(model="gpt-4o", messages=ASKED, temperature=0.2, seed=7, stop=["x"], logit_bias={"5": 1},
                                      metadata={"a": "b"}, extra_body={"vendor_specific": {"deep": [1, None]}})
    received = vendor.record.last
    assert received.json == {"model": "gpt-4o", "messages": ASKED, "temperature": 0.2, "seed": 7, "stop": ["x"], "logit_bias": {"5": 1},
                             "metadata": {"a": "b"}, "vendor_specific": {"deep": [1, None]}}
    assert received.headers["authorization"] == f"Bearer {vendor.api_key}"
    assert not [name for name in received.headers if name.startswith(("x-stainless", "x-strata"))]


async def test_raw_headers_are_reachable(sdk: openai.AsyncOpenAI) -> None:
    """As users read the vendor's request id."""
    raw = await sdk.chat.completions.with_raw_response.create(model="gpt-4o", messages=ASKED)
    assert raw.request_id is not None
    assert raw.request_id.startswith("req-")
    assert raw.headers["x-strata-provider"] == "primary"
    assert raw.parse()._request_id == raw.request_id


async def test_a_stream_has_the_same_words(sdk: openai.AsyncOpenAI, vendor: FakeVendor) -> None:
    """Role first, then text, a finish reason, and no usage that was not asked for."""
    vendor.script.say("One two three four.")
    stream = await sdk.chat.completions.create(model="gpt-4o", messages=ASKED, stream=True)
    chunks = [chunk async for chunk in stream]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "One two three four."
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)
    assert len({chunk.id for chunk in chunks}) == 1


async def test_usage_of_a_stream_comes_where_it_was_asked_for(sdk: openai.AsyncOpenAI) -> None:
    """The last chunk, without choices."""
    stream = await sdk.chat.completions.create(model="gpt-4o", messages=ASKED, stream=True, stream_options={"include_usage": True})
    last = [chunk async for chunk in stream][-1]
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.total_tokens > 0


async def test_a_cached_answer_streams_and_a_streamed_answer_is_cached(sdk: openai.AsyncOpenAI, vendor: FakeVendor) -> None:
    """Both ways the same text, new ids, and the vendor is asked once."""
    first = await sdk.chat.completions.create(model="gpt-4o", messages=ASKED)
    stream = await sdk.chat.completions.create(model="gpt-4o", messages=ASKED, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == first.choices[0].message.content
    assert chunks[-1].usage == first.usage
    again = await sdk.chat.completions.create(model="gpt-4o", messages=ASKED)
    assert again.choices == first.choices
    assert len({first.id, chunks[0].id, again.id}) == 3
    assert vendor.record.total == 1


async def test_tool_calls_whole_and_streamed(sdk: openai.AsyncOpenAI, vendor: FakeVendor) -> None:
    """Arguments are valid JSON in both."""
    whole = await sdk.chat.completions.create(model="gpt-4o", messages=ASKED, tools=[TOOL], tool_choice="required")
    assert whole.choices[0].finish_reason == "tool_calls"
    (call,) = whole.choices[0].message.tool_calls or ()
    assert isinstance(call, ChatCompletionMessageFunctionToolCall)
    async with sdk.chat.completions.stream(model="gpt-4o", messages=ASKED, tools=[TOOL], tool_choice="required", seed=1) as stream:
        streamed = await stream.get_final_completion()
    (other,) = streamed.choices[0].message.tool_calls or ()
    assert (call.function.name, call.function.arguments) == (other.function.name, other.function.arguments)


async def test_a_refusal_is_passed_on(sdk: openai.AsyncOpenAI, vendor: FakeVendor) -> None:
    """In its own field."""
    vendor.script.say(Reply(refusal="I cannot help with that."))
    answer = await sdk.chat.completions.create(model="gpt-4o", messages=ASKED)
    assert (answer.choices[0].message.refusal, answer.choices[0].message.content) == ("I cannot help with that.", None)


async def test_several_choices(sdk: openai.AsyncOpenAI) -> None:
    """`n` reaches the vendor and all answers come back."""
    answer = await sdk.chat.completions.create(model="gpt-4o", messages=ASKED, n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]


async def test_embeddings_as_numbers_and_as_base64(sdk: openai.AsyncOpenAI) -> None:
    """The SDK asks for base64 by itself; a caller may ask for either."""
    decoded = await sdk.embeddings.create(model="text-embedding-3-small", input=["a b", "c"], dimensions=8)
    floats = await sdk.embeddings.create(model="text-embedding-3-small", input=["a b", "c"], dimensions=8, encoding_format="float")
    packed = await sdk.embeddings.create(model="text-embedding-3-small", input=["a b", "c"], dimensions=8, encoding_format="base64")
    assert [row.index for row in floats.data] == [0, 1]
    for row, other, text in zip(decoded.data, floats.data, packed.data, strict=True):
        assert row.embedding == pytest.approx(other.embedding)
        assert list(struct.unpack("<8f", base64.b64decode(text.embedding))) == pytest.approx(other.embedding)  # type: ignore[arg-type]
    assert floats.usage.prompt_tokens == 3


async def test_models_are_listed_and_found(sdk: openai.AsyncOpenAI) -> None:
    """What the default route reaches."""
    listed = [each.id async for each in sdk.models.list()]
    assert listed == ["gpt-4o", "gpt-4o-mini", "text-embedding-3-small"]
    assert (await sdk.models.retrieve("gpt-4o-mini")).id == "gpt-4o-mini"


async def test_a_hundred_calls_at_once_keep_their_answers_apart(sdk: openai.AsyncOpenAI) -> None:
    """Nobody gets another caller's answer."""
    async def ask(number: int) -> str | None:
        messages: list[Any] = [{"role": "user", "content": f"Invoice {number}?"}]
        return (await sdk.chat.completions.create(model="gpt-4o", messages=messages)).choices[0].message.content

    answers = await asyncio.gather(*(ask(number) for number in range(100)))
    assert all(f'"Invoice {number}?"' in (answer or "") for number, answer in enumerate(answers))


# --- the synchronous client -----------------------------------------------------------------------------------------------


async def test_the_synchronous_client(pod: Pod) -> None:
    """Whole, streamed, embeddings and an error, from a thread."""
    def use() -> Iterator[Any]:
        with openai.OpenAI(base_url=pod.base_url, api_key="sk-any", max_retries=0, timeout=20) as client:
            yield client.chat.completions.create(model="gpt-4o", messages=ASKED).choices[0].message.content
            stream = client.chat.completions.create(model="gpt-4o", messages=ASKED, stream=True)
            yield "".join(chunk.choices[0].delta.content or "" for chunk in stream)
            yield len(client.embeddings.create(model="text-embedding-3-small", input="x", dimensions=8).data[0].embedding)
            with pytest.raises(openai.NotFoundError) as caught:
                client.chat.completions.create(model="gpt-9", messages=ASKED)
            yield caught.value.code

    whole, streamed, dimensions, code = await asyncio.to_thread(lambda: list(use()))
    assert whole == streamed
    assert (dimensions, code) == (8, "model_not_found")


# --- errors, as the SDK's own classes -------------------------------------------------------------------------------------


async def failing(sdk: openai.AsyncOpenAI, kind: type[openai.APIStatusError], **fields: Any) -> openai.APIStatusError:
    """The error of a call."""
    with pytest.raises(kind) as caught:
        await sdk.chat.completions.create(**{"model": "gpt-4o", "messages": ASKED, **fields})
    assert type(caught.value) is kind
    return caught.value


async def test_bad_request_error(sdk: openai.AsyncOpenAI, vendor: FakeVendor) -> None:
    """Refused here, in the vendor's words, before anything is spent."""
    error = await failing(sdk, openai.BadRequestError, temperature="hot")
    assert (error.status_code, error.code, error.param, error.type) == (400, "invalid_type", "temperature", "invalid_request_error")
    assert error.body == {"message": "Invalid type for 'temperature': expected a decimal, but got a string instead.",
                          "type": "invalid_request_error", "param": "temperature", "code": "invalid_type"}
    assert error.request_id is not None
    assert vendor.record.total == 0


async def test_the_vendors_bad_request_is_passed_on(sdk: openai.AsyncOpenAI, vendor: FakeVendor, second: FakeVendor) -> None:
    """Its status, words and code; another vendor would say the same."""
    error = await failing(sdk, openai.BadRequestError, temperature=3)
    assert error.code == "decimal_above_max_value"
    assert "Expected a value <= 2, but got 3" in error.message
    assert (vendor.record.total, second.record.total) == (1, 0)


async def test_not_found_error(sdk: openai.AsyncOpenAI) -> None:
    """An unknown model, as OpenAI says it."""
    error = await failing(sdk, openai.NotFoundError, model="gpt-9")
    assert (error.code, error.param) == ("model_not_found", "model")
    assert "The model 'gpt-9' does not exist or you do not have access to it." in error.message


async def test_authentication_error(tmp_path: Path, vendor: FakeVendor) -> None:
    """A wrong key is not repeated; a right one works."""
    documents = [*resources(runtime(auth={"apiKeysSecretRef": {"name": "keys"}}), vendor), secret("keys", team="sk-right")]
    async with running(tmp_path, *documents) as pod:
        async with openai.AsyncOpenAI(base_url=pod.base_url, api_key="sk-wrong", max_retries=0) as client:
            error = await failing(client, openai.AuthenticationError)
        assert (error.code, error.type) == ("invalid_api_key", "invalid_request_error")
        assert "sk-wrong" not in str(error.body)
        async with openai.AsyncOpenAI(base_url=pod.base_url, api_key="sk-right", max_retries=0) as client:
            await client.chat.completions.create(model="gpt-4o", messages=ASKED)


async def test_rate_limit_error(sdk: openai.AsyncOpenAI, vendor: FakeVendor, second: FakeVendor) -> None:
    """Only where all vendors are limited; Retry-After is the earliest, but the deadline comes before it."""
    for each in (vendor, second):
        each.script.fail("rate_limited_seconds", times=ALWAYS)
    error = await failing(sdk, openai.RateLimitError, timeout=5, extra_headers={"x-strata-timeout-ms": "1000"})
    assert (error.status_code, error.code, error.type) == (429, "rate_limited", "rate_limit_error")
    assert error.response.headers["Retry-After"] == "7"
    assert error.response.headers["x-strata-attempts"] == "2"


async def test_internal_server_error(sdk: openai.AsyncOpenAI, vendor: FakeVendor, second: FakeVendor) -> None:
    """502 once every attempt has failed; it names candidates and reasons, not what vendors wrote."""
    for each in (vendor, second):
        each.script.fail("http_500", times=ALWAYS)
    error = await failing(sdk, openai.InternalServerError)
    assert (error.status_code, error.code, error.type) == (502, "all_attempts_failed", "server_error")
    assert "chat/primary/gpt-4o: ServerError (status 500)" in error.message
    assert vendor.record.total + second.record.total == 4


async def test_an_error_in_mid_stream_is_raised_by_the_sdk(sdk: openai.AsyncOpenAI, vendor: FakeVendor) -> None:
    """After the first words: what came is kept, and no normal end is pretended."""
    vendor.script.fail("cut_connection")
    stream = await sdk.chat.completions.create(model="gpt-4o", messages=ASKED, stream=True)
    words: list[str] = []
    finishes: list[str | None] = []

    async def read() -> None:
        async for chunk in stream:
            finishes.append(chunk.choices[0].finish_reason)
            words.append(chunk.choices[0].delta.content or "")

    with pytest.raises(openai.APIError) as caught:
        await read()
    assert set(finishes) == {None}
    assert "".join(words)
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["type"] == "server_error"


async def test_the_sdks_own_retries_are_not_needed(pod: Pod, vendor: FakeVendor) -> None:
    """A client that retries meets one call here, because failover has already happened."""
    vendor.script.fail("http_503", times=ALWAYS)
    async with openai.AsyncOpenAI(base_url=pod.base_url, api_key="sk-any", max_retries=2) as client:
        await client.chat.completions.create(model="gpt-4o", messages=ASKED)
    assert await pod.figure("stratarouter_runtime_requests_total") == 1
