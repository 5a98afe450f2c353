"""Claim: Google's own SDK takes the fake for the Gemini API and for Vertex AI: whole and streamed, tools, embeddings, errors."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from google import genai
from google.auth.credentials import Credentials
from google.genai import errors, types

from fakes.geminivendor import TOKEN, GeminiVendor, Reply, call, signature, text

pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")  # the SDK's own

HI = "Where is my invoice 4711?"
TOOLS = types.Tool(function_declarations=[
    types.FunctionDeclaration(name="get_weather", description="Weather of a city.", parameters_json_schema={
        "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"]}),
    types.FunctionDeclaration(name="get_time", parameters=types.Schema(type=types.Type.OBJECT, properties={
        "zone": types.Schema(type=types.Type.STRING)}))])


class Token(Credentials):  # type: ignore[misc]  # google-auth has no types for it
    """Credentials that have a token and need no other."""

    def __init__(self) -> None:
        super().__init__()
        self.token = TOKEN

    def refresh(self, request: object) -> None:
        raise AssertionError("never asked for")


@pytest.fixture(params=["gemini", "vertex"])
async def vendor(request: pytest.FixtureRequest) -> AsyncIterator[GeminiVendor]:
    async with GeminiVendor(vertex=("project", "europe-west4") if request.param == "vertex" else None) as running:
        yield running


@pytest.fixture
async def models(vendor: GeminiVendor) -> AsyncIterator[genai.models.AsyncModels]:
    options = types.HttpOptions(base_url=vendor.endpoint)
    if vendor.vertex:
        client = genai.Client(vertexai=True, project=vendor.vertex[0], location=vendor.vertex[1], credentials=Token(), http_options=options)
    else:
        client = genai.Client(api_key=vendor.api_key, http_options=options)
    async with client.aio as sdk:
        yield sdk.models
    client.close()


async def test_an_answer_has_what_the_vendor_documents(vendor, models):
    answer = await models.generate_content(model="gemini-2.5-flash", contents=HI, config=types.GenerateContentConfig(
        system_instruction="Be brief.", temperature=0.2, seed=7, stop_sequences=["END"], max_output_tokens=1000))
    assert "invoice 4711" in answer.text
    assert answer.candidates[0].finish_reason is types.FinishReason.STOP
    assert answer.usage_metadata.total_token_count == answer.usage_metadata.prompt_token_count + answer.usage_metadata.candidates_token_count
    assert (answer.model_version, answer.response_id[:4]) == ("gemini-2.5-flash", "resp")


async def test_a_stream_says_the_same_as_the_whole_answer(models):
    whole = await models.generate_content(model="gemini-2.5-flash", contents=HI)
    chunks = [chunk async for chunk in await models.generate_content_stream(model="gemini-2.5-flash", contents=HI)]
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert len(chunks) > 3
    assert chunks[-1].usage_metadata.candidates_token_count == whole.usage_metadata.candidates_token_count


async def test_tools_are_called_in_parallel_and_their_results_taken(vendor, models):
    vendor.say(Reply(events=((call("get_weather", {"city": "Köln"}, id="a1", signature=signature("x")),),
                             (call("get_time", {"zone": "CET"}, id="a2"),))))
    config = types.GenerateContentConfig(tools=[TOOLS], automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True))
    asked = [types.Content(role="user", parts=[types.Part(text=HI)])]
    answer = await models.generate_content(model="gemini-3-flash-preview", contents=asked, config=config)
    assert [(each.id, each.name) for each in answer.function_calls] == [("a1", "get_weather"), ("a2", "get_time")]
    results = [types.Part(function_response=types.FunctionResponse(id=each.id, name=each.name, response={"output": "fine"}))
               for each in answer.function_calls]
    asked += [answer.candidates[0].content, types.Content(role="user", parts=results)]
    assert (await models.generate_content(model="gemini-3-flash-preview", contents=asked, config=config)).text


async def test_a_call_that_is_not_signed_is_refused_by_the_third_generation(models):
    asked = [types.Content(role="user", parts=[types.Part(text=HI)]),
             types.Content(role="model", parts=[types.Part(function_call=types.FunctionCall(name="get_time", args={}))]),
             types.Content(role="user", parts=[types.Part(function_response=types.FunctionResponse(name="get_time", response={}))])]
    assert (await models.generate_content(model="gemini-2.5-flash", contents=asked)).text
    with pytest.raises(errors.ClientError, match="thought_signature"):
        await models.generate_content(model="gemini-3-flash-preview", contents=asked)


async def test_structured_output_and_thoughts(models):
    answer = await models.generate_content(model="gemini-2.5-flash", contents=HI, config=types.GenerateContentConfig(
        response_mime_type="application/json",
        response_json_schema={"type": "object", "properties": {"city": {"type": "string"}}}))
    assert answer.text == '{"city": "example"}'
    thinking = await models.generate_content(model="gemini-2.5-flash", contents=HI, config=types.GenerateContentConfig(
        thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_budget=1024)))
    assert thinking.candidates[0].content.parts[0].thought is True
    assert thinking.usage_metadata.thoughts_token_count > 0


async def test_embeddings_one_and_several(vendor, models):
    name = "text-embedding-005" if vendor.vertex else "gemini-embedding-001"
    config = types.EmbedContentConfig(task_type="RETRIEVAL_QUERY", output_dimensionality=8)
    answer = await models.embed_content(model=name, contents=["a b", "c"], config=config)
    assert [len(each.values) for each in answer.embeddings] == [8, 8]
    if vendor.vertex:
        assert [each.statistics.token_count for each in answer.embeddings] == [2, 1]


@pytest.mark.parametrize(("fault", "status", "kind"), [
    ("rate_limited", 429, errors.ClientError), ("http_404", 404, errors.ClientError), ("http_403", 403, errors.ClientError),
    ("http_503", 503, errors.ServerError), ("list_503", 503, errors.ServerError), ("key_invalid", 400, errors.ClientError)])
async def test_errors_are_the_sdks_exceptions(vendor, models, fault, status, kind):
    vendor.fail(fault, times=-1)
    with pytest.raises(kind) as caught:
        await models.generate_content(model="gemini-2.5-flash", contents=HI)
    assert caught.value.code == status


async def test_a_prompt_that_is_blocked_has_no_candidates(vendor, models):
    vendor.fail("blocked")
    answer = await models.generate_content(model="gemini-2.5-flash", contents=HI)
    assert answer.candidates is None
    assert answer.prompt_feedback.block_reason is types.BlockedReason.PROHIBITED_CONTENT


@pytest.mark.parametrize("fault", ["error_event", "bare_error"])
async def test_an_error_in_mid_stream_is_raised_by_the_sdk(vendor, models, fault):
    vendor.fail(fault)
    with pytest.raises(errors.ServerError):
        _ = [chunk async for chunk in await models.generate_content_stream(model="gemini-2.5-flash", contents=HI)]


async def test_wrong_credentials_are_refused(vendor, models):
    vendor.api_keys, vendor.tokens = {"other"}, {"other"}
    with pytest.raises(errors.ClientError) as caught:
        await models.generate_content(model="gemini-2.5-flash", contents=HI)
    assert caught.value.code == (401 if vendor.vertex else 400)


@pytest.mark.parametrize("change", [
    {"seed": 2**40}, {"temperature": 3.0}, {"stop_sequences": list("abcdef")}, {"response_json_schema": {"type": "object"}}])
async def test_what_the_vendor_refuses_is_refused(models, change):
    with pytest.raises(errors.ClientError):
        await models.generate_content(model="gemini-2.5-flash", contents=HI, config=types.GenerateContentConfig(**change))


async def test_a_scripted_text_is_given_once(vendor, models):
    vendor.say(text("hello there"))
    assert (await models.generate_content(model="gemini-2.5-flash", contents=HI)).text == "hello there"
    assert (await models.generate_content(model="gemini-2.5-flash", contents=HI)).text != "hello there"
