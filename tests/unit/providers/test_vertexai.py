"""Claims: Vertex AI is asked at the paths of its project and location with a token in force; a token that was refused is replaced;
texts are embedded by ``predict`` within each model's limits, in order."""

from __future__ import annotations

import pytest

from fakes.geminivendor import GeminiVendor, text
from fakes.google_tokens import TokenServer
from stratarouter_runtime.model.errors import Failure, Phase, ProviderError
from stratarouter_runtime.model.response import EventKind
from stratarouter_runtime.wire.gemini_embeddings import vertex_calls
from stratarouter_runtime.wire.openai_chat import check_chat
from stratarouter_runtime.wire.openai_embeddings import check_embeddings
from stratarouter_runtime.wire.openai_stream import fold

CHAT = check_chat({"model": "public", "messages": [{"role": "user", "content": "hi there"}]})
FLASH = "gemini-2.5-flash"
PLACE = "projects/billed/locations/europe-west4"


@pytest.fixture
async def tokens():
    async with TokenServer() as running:
        yield running


@pytest.fixture
async def vertex(tokens):
    async with GeminiVendor(vertex=("billed", "europe-west4"), tokens=()) as running:
        running.tokens = tokens.issued
        yield running


@pytest.fixture
def provider(make, vertex, tokens):
    return make(vertex.endpoint, type="vertexai", api_key=tokens.key_file(), vertexai={"project": "billed", "location": "europe-west4"})


def texts(given, **fields):
    return check_embeddings({"model": "m", "input": given, **fields})


async def test_a_whole_answer_and_its_stream(provider, vertex, tokens, call):
    vertex.say(text("hello you"), times=2)
    response = await provider.chat(CHAT, call(FLASH))
    assert vertex.record.last.path == f"/v1/{PLACE}/publishers/google/models/{FLASH}:generateContent"
    assert vertex.record.last.headers["authorization"] == f"Bearer {tokens.issued[0]}"
    assert "x-goog-api-key" not in vertex.record.last.headers
    events = [event async for batch in provider.stream(CHAT, call(FLASH)) for event in batch]
    assert vertex.record.last.path == f"/v1/{PLACE}/publishers/google/models/{FLASH}:streamGenerateContent?alt=sse"
    assert events[-1].kind is EventKind.DONE
    assert response.text == fold(events).text == "hello you"
    assert len(tokens.requests) == 1


@pytest.mark.parametrize(("model", "path"), [
    ("gemini-2.5-flash", f"/v1/{PLACE}/publishers/google/models/gemini-2.5-flash:generateContent"),
    ("meta/llama-4", f"/v1/{PLACE}/publishers/meta/models/llama-4:generateContent"),
    ("publishers/google/models/x@001", f"/v1/{PLACE}/publishers/google/models/x@001:generateContent"),
    ("endpoints/123", f"/v1/{PLACE}/endpoints/123:generateContent"),
    ("projects/p/locations/l/endpoints/1", "/v1/projects/p/locations/l/endpoints/1:generateContent"),
    ("odd name?", f"/v1/{PLACE}/publishers/google/models/odd%20name%3F:generateContent")])
def test_names_of_models_are_paths(provider, model, path):
    assert provider.chat_call(CHAT, model, stream=False).url.raw_path == path


async def test_a_token_that_was_refused_is_replaced(provider, vertex, tokens, call):
    await provider.chat(CHAT, call(FLASH))
    vertex.tokens = {"another"}
    with pytest.raises(ProviderError) as caught:
        await provider.chat(CHAT, call(FLASH))
    assert (caught.value.failure, caught.value.status) == (Failure.UNAUTHORIZED, 401)
    vertex.tokens = tokens.issued
    assert (await provider.chat(CHAT, call(FLASH))).finish_reason == "stop"
    assert len(tokens.issued) == 2


@pytest.mark.parametrize(("fault", "failure"), [("invalid_grant", Failure.UNAUTHORIZED), (503, Failure.OVERLOADED)])
async def test_without_a_token_nothing_is_sent(provider, vertex, tokens, call, fault, failure):  # noqa: PLR0917
    tokens.faults.append(fault)
    for ask in (lambda: provider.chat(CHAT, call(FLASH)), lambda: provider.embed(texts("x"), call("text-embedding-005")),
                lambda: anext(provider.stream(CHAT, call(FLASH)))):
        with pytest.raises(ProviderError) as caught:
            await ask()
        assert (caught.value.failure, caught.value.phase) == (failure, Phase.CONNECT)
    assert vertex.record.total == 0


async def test_a_token_that_does_not_come_uses_up_the_calls_time(provider, vertex, tokens, call):
    tokens.faults.append("hold")
    with pytest.raises(ProviderError) as caught:
        await provider.chat(CHAT, call(FLASH, seconds=0.05))
    assert caught.value.failure is Failure.TIMEOUT
    assert vertex.record.total == 0


async def test_closing_ends_what_waits_for_a_token(provider, tokens, call):
    await provider.aclose()
    with pytest.raises(ProviderError) as caught:
        await provider.chat(CHAT, call(FLASH))
    assert caught.value.failure is Failure.CONNECT_FAILED
    assert tokens.requests == []


# --- embeddings -------------------------------------------------------------------------------------------------------------
async def test_texts_are_instances_of_a_prediction(provider, vertex, call):
    response = await provider.embed(texts(["a b", "c"], dimensions=4, task_type="retrieval_query", title="t", auto_truncate=False), call("text-embedding-005"))
    assert vertex.record.last.path == f"/v1/{PLACE}/publishers/google/models/text-embedding-005:predict"
    assert vertex.record.last.json == {
        "instances": [{"content": each, "task_type": "RETRIEVAL_QUERY", "title": "t"} for each in ("a b", "c")],
        "parameters": {"outputDimensionality": 4, "autoTruncate": False}}
    assert [len(row["embedding"]) for row in response.body["data"]] == [4, 4]
    assert (response.usage.input, response.usage.estimated) == (3, False)


async def test_the_first_gemini_model_takes_a_text_at_a_time(provider, vertex, call):
    response = await provider.embed(texts(["a b", "c", "d e f"], dimensions=4), call("gemini-embedding-001"))
    assert [len(each.json["instances"]) for each in vertex.record.requests] == [1, 1, 1]
    assert response.usage.input == 6
    alone = await provider.embed(texts("c", dimensions=4), call("gemini-embedding-001"))
    assert response.body["data"][1]["embedding"] == alone.body["data"][0]["embedding"]


async def test_newer_models_have_no_predictions(provider, vertex, call):
    response = await provider.embed(texts(["a b", "c"], input_type="query"), call("gemini-embedding-2"))
    assert [each.path.rpartition(":")[2] for each in vertex.record.requests] == ["embedContent"] * 2
    assert vertex.record.last.json == {"content": {"parts": [{"text": "c"}]}, "embedContentConfig": {"taskType": "RETRIEVAL_QUERY"}}
    assert response.usage.input == 3


async def test_many_texts_are_several_calls_in_order(provider, vertex, call):
    given = [f"text {number}" for number in range(501)]
    response = await provider.embed(texts(given, dimensions=3), call("text-embedding-005"))
    assert [len(each.json["instances"]) for each in vertex.record.requests] == [250, 250, 1]
    assert response.usage.input == 1002
    alone = await provider.embed(texts(given[400], dimensions=3), call("text-embedding-005"))
    assert response.body["data"][400]["embedding"] == alone.body["data"][0]["embedding"]


@pytest.mark.parametrize("given", ["word " * 1500, "語" * 1500, "x" * 20_000])
def test_long_texts_are_split_by_their_tokens(given):
    """Twenty thousand tokens a call, counting carefully, and no text as more than the vendor reads of it."""
    calls = vertex_calls(texts([given] * 40), "text-embedding-005")
    sizes = [call.body.count(b'"content"') for call in calls]
    assert sum(sizes) == 40
    assert max(sizes) * 1500 <= 20_000
    assert min(sizes[:-1]) >= 20_000 // 2048 - 1


async def test_one_call_that_fails_is_the_failure_of_all(provider, vertex, call):
    vertex.fail("rate_limited")
    with pytest.raises(ProviderError) as caught:
        await provider.embed(texts(["a"] * 300), call("text-embedding-005"))
    assert (caught.value.failure, caught.value.retry_after) == (Failure.RATE_LIMITED, 21.0)
    assert vertex.record.total == 1
