"""Claim: the official SDK takes the fake for the vendor: answers, streams, embeddings, errors as its own exceptions."""

from __future__ import annotations

import asyncio
import base64
import struct

import openai
import pytest

from fakes.vendor import FAULTS, FakeVendor, Reply

HI = [{"role": "user", "content": "Where is my invoice 4711?"}]
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}}}


async def test_a_completion_has_what_the_vendor_documents(vendor, client):
    answer = await client.chat.completions.create(model="gpt-4o", messages=HI)
    assert answer.id.startswith("chatcmpl-")
    assert (answer.object, answer.created, answer.model) == ("chat.completion", 1_732_000_000, "gpt-4o-2024-11-20")
    assert "invoice 4711" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.annotations == []
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.prompt_tokens_details.cached_tokens == 0
    assert (answer.service_tier, answer.system_fingerprint) == ("default", "fp_44709d6fcb")


async def test_the_same_question_has_the_same_answer_under_another_id(client):
    one, two = [await client.chat.completions.create(model="gpt-4o", messages=HI) for _ in range(2)]
    assert one.choices == two.choices
    assert one.id != two.id


async def test_the_headers_are_those_of_the_vendor(client):
    raw = await client.chat.completions.with_raw_response.create(model="gpt-4o", messages=HI)
    assert raw.headers["content-type"] == "application/json"
    assert raw.headers["openai-version"] == "2020-10-01"
    assert raw.headers["x-request-id"].startswith("req_")
    assert raw.headers["x-ratelimit-reset-requests"] == "6ms"
    assert raw.parse()._request_id == raw.headers["x-request-id"]


async def test_a_stream_says_the_same_as_the_whole_answer(client):
    whole = await client.chat.completions.create(model="gpt-4o", messages=HI)
    chunks = [chunk async for chunk in await client.chat.completions.create(model="gpt-4o", messages=HI, stream=True)]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)


async def test_a_stream_ends_with_its_usage_where_asked(client):
    stream = await client.chat.completions.create(model="gpt-4o", messages=HI, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens > 0


async def test_the_sync_client_works_too(vendor):
    def call():
        with openai.OpenAI(base_url=vendor.base_url, api_key=vendor.api_key, max_retries=0) as sdk:
            text = sdk.chat.completions.create(model="gpt-4o", messages=HI).choices[0].message.content
            streamed = "".join(chunk.choices[0].delta.content or "" for chunk in
                               sdk.chat.completions.create(model="gpt-4o", messages=HI, stream=True))
            return text, streamed
    text, streamed = await asyncio.to_thread(call)
    assert text == streamed


@pytest.mark.parametrize("stream", [False, True])
async def test_tools_are_called_and_their_arguments_fit_the_schema(client, stream):
    if stream:
        async with client.chat.completions.stream(model="gpt-4o", messages=HI, tools=[TOOL], tool_choice="required") as events:
            answer = await events.get_final_completion()
    else:
        answer = await client.chat.completions.create(model="gpt-4o", messages=HI, tools=[TOOL], tool_choice="required")
    call = answer.choices[0].message.tool_calls[0]
    assert (call.function.name, call.function.arguments) == ("get_weather", '{"city": "example", "days": 1}')
    assert answer.choices[0].finish_reason == "tool_calls"


async def test_max_tokens_cuts_the_answer(client):
    answer = await client.chat.completions.create(model="gpt-4o", messages=HI, max_tokens=3)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 3


async def test_several_choices_are_streamed_side_by_side(client):
    chunks = [chunk async for chunk in await client.chat.completions.create(model="gpt-4o", messages=HI, n=2, stream=True)]
    assert {choice.index for chunk in chunks for choice in chunk.choices} == {0, 1}


async def test_a_scripted_reply_is_given_once(vendor, client):
    vendor.script.say(Reply(refusal="no"), model="gpt-4o")
    first, second = [await client.chat.completions.create(model="gpt-4o", messages=HI) for _ in range(2)]
    assert (first.choices[0].message.refusal, first.choices[0].message.content) == ("no", None)
    assert second.choices[0].message.refusal is None


@pytest.mark.parametrize("given", ["a text", ["a text", "another"], [1, 2, 3], [[1, 2], [3]]])
async def test_embeddings_of_every_form_of_input(client, given):
    answer = await client.embeddings.create(model="text-embedding-3-small", input=given)
    count = len(given) if isinstance(given, list) and not isinstance(given[0], int) else 1
    assert [row.index for row in answer.data] == list(range(count))
    assert all(len(row.embedding) == 1536 for row in answer.data)
    assert answer.usage.prompt_tokens > 0


async def test_base64_and_numbers_are_the_same_vector(client):
    numbers = await client.embeddings.create(model="text-embedding-3-small", input="x y", dimensions=8, encoding_format="float")
    packed = await client.embeddings.with_raw_response.create(
        model="text-embedding-3-small", input="x y", dimensions=8, encoding_format="base64")
    text = packed.http_response.json()["data"][0]["embedding"]
    assert list(struct.unpack("<8f", base64.b64decode(text))) == numbers.data[0].embedding


async def test_paraphrases_are_near_and_other_questions_far(client):
    texts = ["Where can I find my invoice for March?", "Where do I find my March invoice?", "How do I reset my password?"]
    rows = (await client.embeddings.create(model="text-embedding-3-small", input=texts)).data
    def cosine(a, b):
        return sum(x * y for x, y in zip(rows[a].embedding, rows[b].embedding, strict=True))
    assert cosine(0, 1) > 0.9
    assert cosine(0, 2) < 0.4


async def test_the_models_are_listed(client):
    names = [model.id async for model in client.models.list()]
    assert "gpt-4o" in names
    assert (await client.models.retrieve("gpt-4o")).object == "model"


@pytest.mark.parametrize(("fault", "kind", "code"), [
    ("http_400", openai.BadRequestError, None), ("http_401", openai.AuthenticationError, "invalid_api_key"),
    ("http_403", openai.PermissionDeniedError, "unsupported_country_region_territory"),
    ("http_404", openai.NotFoundError, "model_not_found"), ("http_409", openai.ConflictError, None),
    ("http_413", openai.APIStatusError, None), ("http_422", openai.UnprocessableEntityError, None),
    ("http_429", openai.RateLimitError, "rate_limit_exceeded"), ("quota", openai.RateLimitError, "insufficient_quota"),
    ("http_500", openai.InternalServerError, None), ("http_502", openai.InternalServerError, None),
    ("http_503", openai.InternalServerError, None), ("http_529", openai.InternalServerError, None),
    ("context_length", openai.BadRequestError, "context_length_exceeded"),
    ("content_policy", openai.BadRequestError, "content_policy_violation")])
async def test_errors_are_the_sdks_exceptions(vendor, client, fault, kind, code):
    vendor.script.fail(fault)
    with pytest.raises(kind) as caught:
        await client.chat.completions.create(model="gpt-4o", messages=HI)
    assert (caught.value.status_code, caught.value.code) == (FAULTS[fault].status, code)


async def test_a_missing_a_wrong_and_a_rotated_key(vendor):
    async def call(key):
        async with openai.AsyncOpenAI(base_url=vendor.base_url, api_key=key, max_retries=0) as sdk:
            return await sdk.chat.completions.create(model="gpt-4o", messages=HI)
    with pytest.raises(openai.AuthenticationError) as caught:
        await call("sk-wrong-0123456789")
    assert caught.value.code == "invalid_api_key"
    assert "sk-wrong-0123456789" not in caught.value.message
    vendor.api_keys = {"sk-new"}
    assert await call("sk-new")


@pytest.mark.parametrize(("change", "param", "code"), [
    ({"model": "gpt-9"}, None, "model_not_found"), ({"messages": []}, "messages", "empty_array"),
    ({"messages": [{"role": "user", "content": {}}]}, "messages[0].content", "invalid_type"),
    ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role", "invalid_value"),
    ({"temperature": 3}, "temperature", "decimal_above_max_value")])
async def test_bad_requests_are_refused_as_by_the_vendor(client, change, param, code):
    with pytest.raises(openai.APIStatusError) as caught:
        await client.chat.completions.create(**{"model": "gpt-4o", "messages": HI, **change})
    assert (caught.value.param, caught.value.code) == (param, code)


async def test_an_error_in_mid_stream_is_raised_by_the_sdk(vendor, client):
    vendor.script.fail("error_event")
    stream = await client.chat.completions.create(model="gpt-4o", messages=HI, stream=True)
    assert [(await anext(stream)).object for _ in range(3)] == ["chat.completion.chunk"] * 3
    with pytest.raises(openai.APIError, match="had an error"):
        await anext(stream)


@pytest.mark.parametrize("fault", ["crlf", "comments", "gzip", "multi_line_data", "split_bytes", "no_done"])
async def test_the_sdk_reads_every_framing_that_a_vendor_may_choose(vendor, client, fault):
    whole = await client.chat.completions.create(model="gpt-4o", messages=HI)
    vendor.script.fail(fault)
    chunks = [chunk async for chunk in await client.chat.completions.create(model="gpt-4o", messages=HI, stream=True)]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content


@pytest.mark.parametrize("fault", ["reset_before_headers", "close_before_headers"])
async def test_a_connection_lost_before_the_reply_is_a_connection_error(vendor, client, fault):
    vendor.script.fail(fault)
    with pytest.raises(openai.APIConnectionError):
        await client.chat.completions.create(model="gpt-4o", messages=HI, stream=True)


@pytest.mark.parametrize("flavour", ["vllm", "vllm-old", "ollama"])
async def test_the_other_flavours_are_read_by_the_sdk_too(flavour):
    async with FakeVendor(flavour=flavour, models=["m"]) as vendor, openai.AsyncOpenAI(
            base_url=vendor.base_url, api_key="none", max_retries=0) as sdk:
        whole = await sdk.chat.completions.create(model="m", messages=HI)
        stream = await sdk.chat.completions.create(model="m", messages=HI, stream=True, stream_options={"include_usage": True})
        chunks = [chunk async for chunk in stream]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text == whole.choices[0].message.content
        assert chunks[-1].usage.total_tokens == whole.usage.total_tokens
        assert len((await sdk.embeddings.create(model="m", input=["x"], dimensions=8)).data[0].embedding) == 8
        with pytest.raises(openai.NotFoundError, match=r"not found|does not exist"):
            await sdk.chat.completions.create(model="missing", messages=HI)
