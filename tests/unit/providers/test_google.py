"""Claims: the Gemini API is asked at its addresses with its key; what it answers, whole or streamed, is OpenAI's shape; whatever
else it does is one ProviderError that says what happened."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

import pytest

from fakes import geminivendor
from fakes.geminivendor import GeminiVendor, Reply, signature, text, thought
from stratarouter_runtime.model.errors import Failure, Phase, ProviderError
from stratarouter_runtime.model.response import EventKind
from stratarouter_runtime.wire.openai_chat import check_chat
from stratarouter_runtime.wire.openai_embeddings import check_embeddings
from stratarouter_runtime.wire.openai_stream import fold

HI = [{"role": "user", "content": "hi there"}]
CHAT = check_chat({"model": "public", "messages": HI})
FLASH, NEW, EMBEDDER = "gemini-2.5-flash", "gemini-3-flash-preview", "gemini-embedding-001"


@pytest.fixture
async def google() -> AsyncIterator[GeminiVendor]:
    async with GeminiVendor() as running:
        yield running


@pytest.fixture
def provider(make, google):
    return make(google.endpoint, type="google", api_key=google.api_key)


async def streamed(provider, request, call):
    return [event async for batch in provider.stream(request, call) for event in batch]


async def failed(provider, call, *, stream=False, request=CHAT):
    with pytest.raises(ProviderError) as caught:
        await (streamed(provider, request, call) if stream else provider.chat(request, call))
    return caught.value


async def test_a_whole_answer(provider, google, call):
    google.say(text("hello you"))
    response = await provider.chat(CHAT, call(FLASH, traceparent="00-aa-bb-01"))
    assert (response.text, response.model, response.finish_reason) == ("hello you", FLASH, "stop")
    assert (response.usage.input, response.usage.output) == (2, 2)
    received = google.record.last
    assert received.path == f"/v1beta/models/{FLASH}:generateContent"
    assert (received.headers["x-goog-api-key"], received.headers["traceparent"]) == (google.api_key, "00-aa-bb-01")
    assert "authorization" not in received.headers


async def test_a_stream_is_the_same_answer(provider, google, call):
    google.say(text("hello you there"))
    events = await streamed(provider, CHAT, call(FLASH))
    assert google.record.last.path == f"/v1beta/models/{FLASH}:streamGenerateContent?alt=sse"
    assert [event.kind for event in events[-3:]] == [EventKind.FINISH, EventKind.USAGE, EventKind.DONE]
    response = fold(events)
    assert (response.text, response.model, response.usage.output) == ("hello you there", FLASH, 3)


@pytest.mark.parametrize("fault", ["line_feeds", "comments", "unstreamed"])
async def test_other_framings_are_the_same_answer(provider, google, call, fault):
    google.fail(fault)
    assert fold(await streamed(provider, CHAT, call(FLASH))).text == 'You asked: "hi there". It is in hand.'


@pytest.mark.parametrize("stream", [False, True])
async def test_thoughts_calls_and_signatures_make_the_round(provider, google, call, stream):
    """The vendor refuses the second turn where a signature or an id is missing."""
    google.say(Reply(events=((thought("I look."),), (geminivendor.call("f", {"a": 1}, id="x1", signature=signature("s")),), (geminivendor.call("g", {}, id="x2"),))))
    tools = [{"type": "function", "function": {"name": name}} for name in ("f", "g")]
    request = check_chat({"model": "m", "messages": HI, "tools": tools})
    response = fold(await streamed(provider, request, call(NEW))) if stream else await provider.chat(request, call(NEW))
    message = response.body["choices"][0]["message"]
    assert (message["reasoning_content"], response.finish_reason) == ("I look.", "tool_calls")
    results = [{"role": "tool", "tool_call_id": each["id"], "content": "done"} for each in message["tool_calls"]]
    again = check_chat({"model": "m", "messages": [*HI, message, *results], "tools": tools})
    assert (await provider.chat(again, call(NEW))).finish_reason == "stop"
    assert google.record.last.json["contents"][1]["parts"][0]["thoughtSignature"] == signature("s")


@pytest.mark.parametrize(("fault", "expected"), [
    ("http_400", (Failure.INVALID_REQUEST, 400)), ("key_invalid", (Failure.UNAUTHORIZED, 400)), ("location", (Failure.UNAUTHORIZED, 400)),
    ("http_403", (Failure.UNAUTHORIZED, 403)), ("http_404", (Failure.NOT_FOUND, 404)), ("rate_limited", (Failure.RATE_LIMITED, 429)),
    ("quota_per_day", (Failure.QUOTA_EXHAUSTED, 429)), ("http_500", (Failure.SERVER_ERROR, 500)), ("http_503", (Failure.OVERLOADED, 503)),
    ("list_503", (Failure.OVERLOADED, 503)), ("http_504", (Failure.TIMEOUT, 504)), ("html_502", (Failure.SERVER_ERROR, 502)),
    ("context_length", (Failure.CONTEXT_LENGTH, 400)), ("error_in_200", (Failure.OVERLOADED, 503)), ("empty_200", (Failure.BAD_RESPONSE, 502)),
    ("garbage_200", (Failure.BAD_RESPONSE, 502)), ("blocked", (Failure.CONTENT_POLICY, 400)), ("no_candidates", (Failure.BAD_RESPONSE, 502)),
    ("malformed_call", (Failure.BAD_RESPONSE, 502)), ("reset", (Failure.CONNECTION_LOST, 502))])
async def test_what_google_does_instead_of_answering(provider, google, call, fault, expected):
    google.fail(fault)
    error = await failed(provider, call(FLASH))
    assert (error.failure, error.status) == expected
    for secret in (google.api_key, "127.0.0.1", "://"):
        assert secret not in str(error)


async def test_the_wait_that_google_asks_for_is_passed_on(provider, google, call):
    google.fail("rate_limited", times=2)
    assert (await failed(provider, call(FLASH))).retry_after == 21.0
    assert (await failed(provider, call(FLASH), stream=True)).retry_after == 21.0


@pytest.mark.parametrize(("fault", "failure", "phase"), [
    ("cut", Failure.TRUNCATED, Phase.STREAM), ("reset_mid_stream", Failure.TRUNCATED, Phase.STREAM), ("cut_in_character", Failure.TRUNCATED, Phase.STREAM),
    ("error_event", Failure.OVERLOADED, Phase.STREAM), ("bare_error", Failure.OVERLOADED, Phase.STREAM), ("error_event_first", Failure.OVERLOADED, Phase.BODY),
    ("garbage_event", Failure.BAD_RESPONSE, Phase.STREAM), ("blocked", Failure.CONTENT_POLICY, Phase.BODY),
    ("no_candidates", Failure.TRUNCATED, Phase.BODY), ("malformed_call", Failure.BAD_RESPONSE, Phase.BODY),
    ("error_in_200", Failure.OVERLOADED, Phase.BODY), ("http_503", Failure.OVERLOADED, Phase.BODY)])
async def test_a_stream_that_fails(provider, google, call, fault, failure, phase):  # noqa: PLR0917
    google.fail(fault)
    error = await failed(provider, call(FLASH), stream=True)
    assert (error.failure, error.phase) == (failure, phase)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("fault", "said"), [("filtered", ""), ("said_in_part", "half an answer")])
async def test_what_a_filter_ends_is_an_answer_that_says_so(provider, google, call, stream, fault, said):  # noqa: PLR0917
    google.fail(fault)
    response = fold(await streamed(provider, CHAT, call(FLASH))) if stream else await provider.chat(CHAT, call(FLASH))
    assert (response.text, response.finish_reason) == (said, "content_filter")


async def test_a_silent_stream_ends_in_time(make, google, call):
    google.fail("stall")
    provider = make(google.endpoint, type="google", api_key=google.api_key, timeouts={"idleMs": 50})
    error = await failed(provider, call(FLASH), stream=True)
    assert (error.failure, error.phase) == (Failure.TIMEOUT, Phase.STREAM)


async def test_a_wrong_key_is_our_mistake(make, google, call):
    error = await failed(make(google.endpoint, type="google", api_key="AIza-wrong"), call(FLASH))
    assert (error.failure, error.treatment.degraded) == (Failure.UNAUTHORIZED, True)
    error = await failed(make(google.endpoint, type="google", api_key=""), call(FLASH))
    assert error.failure is Failure.UNAUTHORIZED


async def test_names_with_a_collection_stay_as_they_are(provider, google, call):
    await provider.chat(CHAT, call(f"models/{FLASH}"))
    assert google.record.last.path == f"/v1beta/models/{FLASH}:generateContent"


# --- embeddings -------------------------------------------------------------------------------------------------------------
async def test_one_text_is_embedded_by_itself_and_several_together(provider, google, call):
    one = check_embeddings({"model": "m", "input": "a b", "dimensions": 4, "task_type": "retrieval_query"})
    response = await provider.embed(one, call(EMBEDDER))
    assert google.record.last.path == f"/v1beta/models/{EMBEDDER}:embedContent"
    assert google.record.last.json == {"model": f"models/{EMBEDDER}", "content": {"parts": [{"text": "a b"}]}, "taskType": "RETRIEVAL_QUERY",
                                       "outputDimensionality": 4}
    assert (response.model, response.usage.input, response.usage.estimated) == ("m", 1, True)
    several = check_embeddings({"model": "m", "input": ["a b", "c"], "dimensions": 4, "encoding_format": "base64", "input_type": "search_document"})
    rows = (await provider.embed(several, call(EMBEDDER))).body["data"]
    assert google.record.last.path == f"/v1beta/models/{EMBEDDER}:batchEmbedContents"
    assert [each["taskType"] for each in google.record.last.json["requests"]] == ["RETRIEVAL_DOCUMENT"] * 2
    assert [len(base64.b64decode(row["embedding"])) for row in rows] == [16, 16]


async def test_more_than_a_hundred_texts_are_several_calls_in_order(provider, google, call):
    texts = [f"text {number}" for number in range(205)]
    response = await provider.embed(check_embeddings({"model": "m", "input": texts, "dimensions": 3}), call(EMBEDDER))
    assert [len(each.json["requests"]) for each in google.record.requests] == [100, 100, 5]
    alone = await provider.embed(check_embeddings({"model": "m", "input": texts[150], "dimensions": 3}), call(EMBEDDER))
    assert response.body["data"][150]["embedding"] == alone.body["data"][0]["embedding"]
    assert [row["index"] for row in response.body["data"]] == list(range(205))


async def test_tokens_are_no_texts(provider, google, call):
    for given in ([1, 2], [[1], [2]]):
        with pytest.raises(ProviderError) as caught:
            await provider.embed(check_embeddings({"model": "m", "input": given}), call(EMBEDDER))
        assert (caught.value.failure, caught.value.param) == (Failure.INVALID_REQUEST, "input")
    assert google.record.total == 0


@pytest.mark.parametrize(("fault", "failure"), [("rate_limited", Failure.RATE_LIMITED), ("garbage_200", Failure.BAD_RESPONSE),
                                                ("error_in_200", Failure.OVERLOADED), ("empty_200", Failure.BAD_RESPONSE)])
async def test_embeddings_fail_as_answers_do(provider, google, call, fault, failure):
    google.fail(fault)
    with pytest.raises(ProviderError) as caught:
        await provider.embed(check_embeddings({"model": "m", "input": "x"}), call(EMBEDDER))
    assert caught.value.failure is failure
