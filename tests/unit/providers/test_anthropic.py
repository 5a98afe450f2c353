"""Claims: Anthropic is asked in its own words with its own headers; its failures are what they are; a caller's own Anthropic body goes
out as it came but for what must change, and the answer is the vendor's own."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fakes.anthropicvendor import AnthropicVendor, Fault, Reply, bodies, text, thinking
from stratarouter_runtime.model.errors import Failure, ProviderError
from stratarouter_runtime.model.request import ChatRequest, Native
from stratarouter_runtime.model.response import EventKind
from stratarouter_runtime.wire.openai_stream import fold

MODEL = "claude-sonnet-4-5"
HI = [{"role": "user", "content": "hi"}]
CHAT = ChatRequest({"model": "any", "messages": HI})
OWN = {"model": "any", "max_tokens": 64, "system": "Be brief.", "messages": HI, "top_k": 5, "brand_new": {"x": 1}}
TRANSLATED = {"model": "any", "max_tokens": 64, "messages": [{"role": "system", "content": "Be brief."}, *HI]}


@pytest.fixture
async def claude():
    async with AnthropicVendor() as running:
        yield running


@pytest.fixture
def provider(make, claude):
    return make(claude.base_url, type="anthropic", api_key=claude.api_key, models=[{"name": MODEL}], headers={"Anthropic-Beta": "one-2025"})


def native(translated=TRANSLATED, body=None, **headers):
    return ChatRequest(TRANSLATED if body is None else body, native=Native("anthropic", OWN, translated=translated, headers=headers))


async def streamed(provider, request, terms):
    return [event async for batch in provider.stream(request, terms) for event in batch]


@pytest.mark.parametrize("endpoint", ["", "/", "/v1", "/v1/"])
async def test_the_key_and_the_version_go_along_and_the_endpoint_is_the_sdks(make, claude, call, endpoint):
    provider = make(claude.base_url + endpoint, type="anthropic", api_key=claude.api_key, models=[{"name": MODEL}])
    response = await provider.chat(CHAT, call(MODEL))
    assert (response.text, response.native) == ("You asked: hi — here is the answer.", b"")
    assert response.model == MODEL
    headers = claude.last.headers
    assert (claude.last.path, headers["x-api-key"], headers["anthropic-version"]) == ("/v1/messages", claude.api_key, "2023-06-01")
    assert "authorization" not in headers


async def test_whole_and_streamed_say_the_same(provider, claude, call):
    claude.say(*[Reply((thinking("Hm."), text("Hello.")))] * 2)
    whole, events = await provider.chat(CHAT, call(MODEL)), await streamed(provider, CHAT, call(MODEL))
    message = fold(events).body["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == (whole.text, "Hm.")
    assert [event.kind for event in events][-3:] == [EventKind.FINISH, EventKind.USAGE, EventKind.DONE]
    assert claude.body["stream"] is True


@pytest.mark.parametrize(("limit", "sent"), [(None, 100), (500, 100), (50, 50)])
async def test_the_output_is_limited_to_what_the_model_writes(provider, claude, call, limit, sent):
    await provider.chat(ChatRequest({**CHAT.body, "max_tokens": limit}), replace(call(MODEL), max_output_tokens=100))
    assert claude.body["max_tokens"] == sent


ERRORS = [
    (Fault("overloaded_error", "Overloaded"), Failure.OVERLOADED), (Fault("rate_limit_error", "Slow down", headers={"retry-after": "7"}), Failure.RATE_LIMITED),
    (Fault("authentication_error", "invalid x-api-key"), Failure.UNAUTHORIZED), (Fault("permission_error", "no"), Failure.UNAUTHORIZED),
    (Fault("not_found_error", "model: x"), Failure.NOT_FOUND), (Fault("api_error", "Internal server error"), Failure.SERVER_ERROR),
    (Fault("timeout_error", "too long"), Failure.TIMEOUT), (Fault("billing_error", "pay"), Failure.QUOTA_EXHAUSTED),
    (Fault("request_too_large", "Request exceeds the maximum size"), Failure.INVALID_REQUEST),
    (Fault("invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum"), Failure.CONTEXT_LENGTH),
    (Fault("invalid_request_error", "input length and `max_tokens` exceed context limit: 199000 + 8192 > 200000"), Failure.CONTEXT_LENGTH),
    (Fault("invalid_request_error", "Your credit balance is too low to access the Anthropic API."), Failure.QUOTA_EXHAUSTED),
    (Fault("invalid_request_error", "messages.0.content: Field required"), Failure.INVALID_REQUEST)]


@pytest.mark.parametrize("case", ERRORS, ids=lambda case: case[0].kind)
@pytest.mark.parametrize("stream", [False, True])
async def test_refusals_are_what_they_say(provider, claude, call, case, stream):
    fault, failure = case
    claude.say(fault)
    with pytest.raises(ProviderError) as caught:
        await (streamed(provider, CHAT, call(MODEL)) if stream else provider.chat(CHAT, call(MODEL)))
    assert (caught.value.failure, caught.value.message) == (failure, fault.told)
    assert caught.value.retry_after == (7 if failure is Failure.RATE_LIMITED else None)


@pytest.mark.parametrize(("fault", "failure"), [
    (Fault("overloaded_error", "Overloaded", events=4), Failure.OVERLOADED), (Fault("api_error", "oops", events=5), Failure.SERVER_ERROR),
    (Fault("timeout_error", "late", events=2), Failure.TIMEOUT), (Fault(events=4), Failure.TRUNCATED), (Fault(events=4, reset=True), Failure.TRUNCATED),
    (Fault(events=4, tail=b"data: nonsense\n\n"), Failure.BAD_RESPONSE), (Fault(body=b""), Failure.BAD_RESPONSE),
    (Fault(body=bodies.error("overloaded_error", "Overloaded")), Failure.OVERLOADED)])
async def test_a_stream_that_fails_says_why(provider, claude, call, fault, failure):
    claude.say(fault)
    with pytest.raises(ProviderError) as caught:
        await streamed(provider, CHAT, call(MODEL))
    assert caught.value.failure is failure


async def test_an_error_inside_a_success_is_an_error(provider, claude, call):
    claude.say(Fault(body=bodies.error("overloaded_error", "Overloaded")))
    with pytest.raises(ProviderError, match="Overloaded"):
        await provider.chat(CHAT, call(MODEL))


async def test_embeddings_are_refused(provider, call):
    with pytest.raises(ProviderError) as caught:
        await provider.embed(None, call(MODEL))
    assert caught.value.failure is Failure.INVALID_REQUEST


# --- the caller's own body --------------------------------------------------------------------------------------------
@pytest.fixture
def lenient(claude, monkeypatch):
    """The vendor of tomorrow, who knows more fields."""
    monkeypatch.setattr("fakes.anthropicvendor.server.check", lambda *_, **__: None)


async def test_the_callers_own_body_goes_out_as_it_came(provider, claude, call, lenient):
    response = await provider.chat(native(), call(MODEL))
    assert claude.body == {**OWN, "model": MODEL}
    assert json.loads(response.native)["content"][0]["text"] == response.text
    assert claude.last.headers["anthropic-beta"] == "one-2025"


async def test_the_callers_stream_is_the_vendors(provider, claude, call, lenient):
    claude.say(reply := Reply((thinking("Hm."), text("Hello."))))
    events = await streamed(provider, native(), call(MODEL))
    assert b"".join(event.native for event in events) == b"".join(bodies.events(reply, number=1, model=MODEL, asked=claude._tokens(claude.body)))
    assert fold(events).text == "Hello."


async def test_the_version_that_the_caller_was_written_for_is_kept(provider, claude, call, lenient):
    await provider.chat(native(**{"anthropic-version": "2026-10-21"}), call(MODEL))
    assert claude.last.headers["anthropic-version"] == "2026-10-21"


async def test_beta_features_of_the_caller_are_added(provider, claude, call, lenient):
    await provider.chat(native(**{"anthropic-beta": "two-2025, one-2025"}), call(MODEL))
    assert claude.last.headers["anthropic-beta"] == "one-2025,two-2025"


async def test_what_the_route_adds_is_carried_over(provider, claude, call, lenient):
    body = {**TRANSLATED, "messages": [{"role": "system", "content": "You serve ACME."}, *TRANSLATED["messages"]], "max_tokens": 32, "metadata": {"team": "x"}}
    await provider.chat(native(body=body), call(MODEL))
    assert claude.body == {**OWN, "model": MODEL, "max_tokens": 32, "system": [
        {"type": "text", "text": "You serve ACME."}, {"type": "text", "text": "Be brief."}]}


async def test_what_was_changed_in_another_way_is_translated(provider, claude, call):
    body = {**TRANSLATED, "messages": [{"role": "user", "content": "something else"}]}
    await provider.chat(native(body=body), call(MODEL))
    assert claude.body == {"model": MODEL, "max_tokens": 64, "messages": [{"role": "user", "content": "something else"}]}
