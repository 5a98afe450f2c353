"""The ``anthropic`` SDK at Anthropic's door: over Anthropic natively, over an OpenAI-compatible vendor translated, errors as its own
exceptions, and the cache as at every door."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import pytest

from builders import Document, pool, provider, runtime, secret, until
from fakes.anthropicvendor import AnthropicVendor, Fault, Reply, bodies, text, thinking, tool_use
from fakes.vendor import ALWAYS, FakeVendor
from fakes.vendor import Reply as OpenAIReply
from pod import Pod, running, served_by

CLAUDE, GPT = "claude-sonnet-4-6", "gpt-4o"
ASKED: list[Any] = [{"role": "user", "content": "Where is my invoice?"}]
TOOL: Any = {"name": "lookup", "description": "Looks up.", "input_schema": {"type": "object", "properties": {"id": {"type": "string"}}}}


@pytest.fixture
async def claude() -> AsyncIterator[AnthropicVendor]:
    """Anthropic."""
    async with AnthropicVendor() as made:
        yield made


def documents(claude: AnthropicVendor, vendor: FakeVendor, **fields: Any) -> list[Document]:
    """Each model at its own vendor."""
    own = provider("claude", CLAUDE, type="anthropic", endpoint=claude.base_url, credentialsSecretRef={"name": "vendor", "key": "claude"})
    return [runtime(execution={"timeoutSeconds": 10, "maxRetries": 1, "retryDelayMs": 1}, **fields), pool("chat", own, served_by(vendor, "second", GPT)),
            secret("vendor", apiKey=vendor.api_key, claude=claude.api_key), secret("keys", acme="sk-acme")]


@pytest.fixture
async def pod(tmp_path: Path, claude: AnthropicVendor, vendor: FakeVendor) -> AsyncIterator[Pod]:
    """Both vendors behind one data plane, with an exact cache."""
    async with running(tmp_path, *documents(claude, vendor)) as made:
        yield made


@pytest.fixture
async def sdk(pod: Pod) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """The async client, without retries of its own."""
    async with anthropic.AsyncAnthropic(base_url=pod.url, api_key="sk-any", max_retries=0, timeout=20) as client:
        yield client


@pytest.mark.parametrize("model", [CLAUDE, GPT])
async def test_a_message_whole_and_streamed(sdk: anthropic.AsyncAnthropic, model: str) -> None:
    """The same text, a usage, and the events in Anthropic's order."""
    whole = await sdk.messages.create(model=model, max_tokens=500, system="Be brief.", messages=ASKED)
    assert (whole.type, whole.role, whole.stop_reason) == ("message", "assistant", "end_turn")
    assert whole.usage.input_tokens > 0
    async with sdk.messages.stream(model=model, max_tokens=500, system="Be brief!", messages=ASKED) as stream:
        kinds = [event.type async for event in stream if not event.type.endswith("delta") and event.type != "text"]
        streamed = await stream.get_final_message()
    assert kinds == ["message_start", "content_block_start", "content_block_stop", "message_stop"]
    assert [block.type for block in streamed.content] == ["text"]
    assert streamed.usage.output_tokens > 0


@pytest.mark.parametrize("model", [CLAUDE, GPT])
async def test_the_sync_client_works_too(pod: Pod, model: str) -> None:
    """As most programs use it."""
    def call() -> tuple[str, str]:
        with anthropic.Anthropic(base_url=pod.url, api_key="sk-any", max_retries=0) as client:
            whole = client.messages.create(model=model, max_tokens=500, messages=ASKED)
            with client.messages.stream(model=model, max_tokens=500, messages=ASKED) as stream:
                return whole.content[0].text, "".join(stream.text_stream)  # type: ignore[union-attr]
    whole, streamed = await asyncio.to_thread(call)
    assert whole == streamed != ""


async def test_tools_over_another_vendor(sdk: anthropic.AsyncAnthropic, vendor: FakeVendor) -> None:
    """Parallel calls as blocks, their results as messages of their own there."""
    vendor.script.say(OpenAIReply(tool_calls=(("lookup", '{"id":"é1"}'), ("lookup", "{}"))))
    async with sdk.messages.stream(model=GPT, max_tokens=500, messages=ASKED, tools=[TOOL], tool_choice={"type": "any"}) as stream:
        turn = await stream.get_final_message()
    calls = [block for block in turn.content if block.type == "tool_use"]
    assert ([call.input for call in calls], turn.stop_reason) == ([{"id": "é1"}, {}], "tool_use")
    assert vendor.record.last.json["tool_choice"] == "required"
    results: Any = [{"type": "tool_result", "tool_use_id": calls[0].id, "content": "found"},
                    {"type": "tool_result", "tool_use_id": calls[1].id, "content": "no id", "is_error": True}]
    answer = await sdk.messages.create(model=GPT, max_tokens=500, tools=[TOOL], messages=[
        *ASKED, turn.to_param(), {"role": "user", "content": results}])
    assert answer.stop_reason == "end_turn"
    assert [(message["role"], message["content"]) for message in vendor.record.last.json["messages"][2:]] == [("tool", "found"), ("tool", "Error: no id")]


async def test_over_anthropic_body_and_bytes_pass_through(pod: Pod, claude: AnthropicVendor) -> None:
    """With what only Anthropic knows, the caller's version and beta features; the events are the vendor's own."""
    body = {"model": CLAUDE, "max_tokens": 2000, "system": [{"type": "text", "text": "S", "cache_control": {"type": "ephemeral"}}], "messages": ASKED,
            "thinking": {"type": "adaptive"}, "tools": [{"type": "web_search_20250305", "name": "web_search"}]}
    headers = {"anthropic-version": "2026-10-21", "anthropic-beta": "files-api-2025-04-14"}
    reply = Reply((thinking("Hm."), text("Hello."), tool_use("web_search", {"q": 1})))
    claude.say(reply, reply)
    whole = await pod.send("POST", "/v1/messages", json=body, headers=headers)
    assert claude.body == body
    assert [claude.last.headers[name] for name in headers] == list(headers.values())
    asked = claude._tokens(body)
    assert whole.body == bodies.message(reply, number=1, model=CLAUDE, asked=asked)
    assert whole.headers["request-id"] == whole.headers["x-request-id"]
    streamed = await pod.send("POST", "/v1/messages", json={**body, "stream": True}, headers=headers)
    assert streamed.body == b"".join(bodies.events(reply, number=2, model=CLAUDE, asked=asked))


async def test_the_routes_prompt_reaches_anthropic(tmp_path: Path, claude: AnthropicVendor, vendor: FakeVendor) -> None:
    """By the route's name as model; the rest of the caller's body stays as it was."""
    route = {"name": "support", "pools": [{"name": "chat", "model": CLAUDE}], "context": {"systemPrompt": "You serve ACME."}}
    async with running(tmp_path, *documents(claude, vendor, routes=[route])) as pod:
        answer = await pod.send("POST", "/v1/messages", json={"model": "support", "max_tokens": 9, "system": "Be brief.", "messages": ASKED})
    assert (answer.status, answer.headers["x-strata-route"]) == (200, "support")
    assert claude.body == {"model": CLAUDE, "max_tokens": 9, "messages": ASKED,
                           "system": [{"type": "text", "text": "You serve ACME."}, {"type": "text", "text": "Be brief."}]}


async def test_what_only_anthropic_serves_is_refused_elsewhere(pod: Pod) -> None:
    """By name; with leave it is left out, and that is told."""
    body = {"model": GPT, "max_tokens": 9, "messages": ASKED, "mcp_servers": [{"type": "url"}]}
    refused = await pod.send("POST", "/v1/messages", json=body)
    assert (refused.status, refused.json["error"]["type"], refused.json["error"]["details"]["param"]) == (400, "invalid_request_error", "mcp_servers")
    dropped = await pod.send("POST", "/v1/messages", json=body, headers={"x-strata-unsupported": "drop"})
    assert dropped.status == 200
    assert "mcp_servers" in dropped.headers["x-strata-warning"]


@pytest.mark.parametrize("model", [CLAUDE, GPT])
async def test_a_stored_answer_is_the_same_whole_and_streamed(pod: Pod, sdk: anthropic.AsyncAnthropic, claude: AnthropicVendor, vendor: FakeVendor,
                                                              model: str) -> None:
    """Its blocks as they were, under an id of its own."""
    claude.say(Reply((thinking("Hm.", "sig"), text("In the drawer."))))
    vendor.script.say("In the drawer.")
    first = await sdk.messages.create(model=model, max_tokens=500, messages=ASKED)
    await until(lambda: not pod.server.runtime._background)
    raw = await sdk.messages.with_raw_response.create(model=model, max_tokens=500, messages=ASKED)
    again = await raw.parse()
    async with sdk.messages.stream(model=model, max_tokens=500, messages=ASKED) as stream:
        streamed = await stream.get_final_message()
    assert "hit" in raw.headers["cache-status"]
    told = [[{name: value for name, value in block.to_dict().items() if value is not None} for block in each.content]
            for each in (first, again, streamed)]
    assert told[0] == told[1] == told[2]
    assert again.id != first.id


async def test_what_canonical_form_does_not_say_is_part_of_the_key(pod: Pod, claude: AnthropicVendor) -> None:
    """Two budgets of one effort are two questions."""
    for budget in (4096, 4097, 4096):
        await pod.send("POST", "/v1/messages", json={"model": CLAUDE, "max_tokens": 9000, "messages": ASKED,
                                                     "thinking": {"type": "enabled", "budget_tokens": budget}})
        await until(lambda: not pod.server.runtime._background)
    assert len(claude.requests) == 2


@pytest.mark.parametrize("model", [CLAUDE, GPT])
async def test_tokens_are_estimated(sdk: anthropic.AsyncAnthropic, model: str) -> None:
    """Nobody is called for it; an unknown model is none."""
    assert (await sdk.messages.count_tokens(model=model, messages=ASKED, tools=[TOOL])).input_tokens > 20
    with pytest.raises(anthropic.NotFoundError):
        await sdk.messages.count_tokens(model="nobody", messages=ASKED)


@pytest.mark.parametrize(("fault", "exception", "kind"), [
    ("http_400", anthropic.BadRequestError, "invalid_request_error"), ("http_429", anthropic.RateLimitError, "rate_limit_error"),
    ("http_500", anthropic.InternalServerError, "api_error"), ("context_length", anthropic.BadRequestError, "invalid_request_error")])
async def test_failures_are_the_sdks_exceptions(sdk: anthropic.AsyncAnthropic, vendor: FakeVendor, fault: str, exception: type[anthropic.APIStatusError],
                                                kind: str) -> None:
    """By status and by type alike, with the request's id."""
    vendor.script.fail(fault, times=ALWAYS)
    with pytest.raises(exception) as caught:
        await sdk.messages.create(model=GPT, max_tokens=500, messages=ASKED)
    assert caught.value.type == kind
    assert caught.value.request_id
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["request_id"] == caught.value.request_id


@pytest.mark.parametrize("stream", [False, True])
async def test_refusals_come_before_anybody_is_asked(pod: Pod, stream: bool) -> None:
    """Wrong bodies, models, methods and paths, in Anthropic's shape."""
    cases: list[tuple[str, str, Any, int, str]] = [
        ("POST", "/v1/messages", {"model": GPT, "messages": ASKED}, 400, "invalid_request_error"),
        ("POST", "/v1/messages", {"model": "nobody", "max_tokens": 9, "messages": ASKED}, 404, "not_found_error"),
        ("GET", "/v1/messages", None, 405, "invalid_request_error"), ("POST", "/v1/messages/batches", {}, 404, "not_found_error")]
    for method, path, body, status, kind in cases:
        answer = await pod.send(method, path, json={**body, "stream": stream} if body else body)
        assert (answer.status, answer.json["type"], answer.json["error"]["type"]) == (status, "error", kind), path


@pytest.mark.parametrize("model", [CLAUDE, GPT])
async def test_a_stream_that_breaks_says_so(sdk: anthropic.AsyncAnthropic, claude: AnthropicVendor, vendor: FakeVendor, model: str) -> None:
    """In-band, as an error that the SDK raises; no normal end."""
    claude.say(Fault("overloaded_error", "Overloaded", events=5))
    vendor.script.fail("cut")
    with pytest.raises(anthropic.APIStatusError):
        async with sdk.messages.stream(model=model, max_tokens=500, messages=ASKED) as stream:
            await stream.until_done()


async def test_keys_are_taken_as_anthropics_sdks_send_them(tmp_path: Path, claude: AnthropicVendor, vendor: FakeVendor) -> None:
    """``x-api-key`` or a bearer; a wrong one is an authentication error, and never reaches the vendor."""
    async with running(tmp_path, *documents(claude, vendor, auth={"apiKeysSecretRef": {"name": "keys"}})) as pod:
        body = {"model": CLAUDE, "max_tokens": 9, "messages": ASKED}
        for headers, status in (({"x-api-key": "sk-acme"}, 200), ({"Authorization": "Bearer sk-acme"}, 200), ({"x-api-key": "sk-no"}, 401), ({}, 401)):
            answer = await pod.send("POST", "/v1/messages", json=body, headers=headers)
            assert answer.status == status
            if status == 401:
                assert answer.json["error"]["type"] == "authentication_error"
    assert "sk-acme" not in json.dumps([dict(each.headers) for each in claude.requests])
