"""The Responses API through the ``openai`` SDK: over vendors that serve it, whose bytes are passed on, and over those that do not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import openai
import pytest
from openai.types.responses import Response, ResponseFunctionToolCall
from pydantic import BaseModel

from builders import model, pool, provider, runtime, secret, until
from fakes.azurevendor import FakeAzure
from fakes.vendor import FakeVendor, Reply
from pod import Pod, running, served_by

Kind = Literal["openai", "openaicompatible"]
BOTH = pytest.mark.parametrize("kind", ["openai", "openaicompatible"])
TOOL: Any = {"type": "function", "name": "lookup", "description": "Looks up.", "strict": True, "parameters": {
    "type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"], "additionalProperties": False}}


class Invoice(BaseModel):
    """Asked for in structured form."""

    id: str
    amount: float


@asynccontextmanager
async def serving(path: Path, *vendors: tuple[FakeVendor, Kind], **fields: Any) -> AsyncIterator[tuple[Pod, openai.AsyncOpenAI]]:
    """Vendors of these types by priority, and the SDK."""
    served = [served_by(vendor, f"p{number}", model("gpt-4o"), model("o3", upstreamName="gpt-4o-mini"), type=kind, priority=number)
              for number, (vendor, kind) in enumerate(vendors)]
    documents = [runtime(execution={"retryDelayMs": 1}, **fields), pool("chat", *served), secret("vendor", apiKey=vendors[0][0].api_key)]
    async with running(path, *documents) as pod, openai.AsyncOpenAI(base_url=pod.base_url, api_key="x", max_retries=0, timeout=20) as sdk:
        yield pod, sdk


# --- both ways the same -------------------------------------------------------------------------------------------------


@BOTH
async def test_a_response_has_text_status_and_usage(tmp_path: Path, vendor: FakeVendor, kind: Kind) -> None:
    """And the caller's parameters repeated."""
    async with serving(tmp_path, (vendor, kind)) as (_, sdk):
        raw = await sdk.responses.with_raw_response.create(
            model="gpt-4o", input="Where is my invoice?", instructions="Be brief.", max_output_tokens=40, temperature=0.5, metadata={"a": "b"})
        answer = raw.parse()
        assert answer.output_text.startswith('You asked: "Where is my invoice?"')
        assert (answer.status, answer.object, answer.store, answer.error) == ("completed", "response", False, None)
        assert (answer.instructions, answer.max_output_tokens, answer.temperature, answer.metadata) == ("Be brief.", 40, 0.5, {"a": "b"})
        assert answer.id.startswith("resp_")
        assert answer.usage is not None
        assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens > 0
        assert raw.headers["x-strata-provider"] == "p0"
        Response.model_validate(json.loads(raw.content))


@BOTH
@pytest.mark.parametrize("reply", [
    Reply(text="In the drawer."), Reply(refusal="No."), Reply(text="Yes.", reasoning="Let me see."),
    Reply(tool_calls=(("lookup", '{"id": "1"}'), ("lookup", '{"id": "2"}'))), Reply(text="Cut", finish_reason="length")])
async def test_a_stream_amounts_to_the_whole_answer(tmp_path: Path, vendor: FakeVendor, kind: Kind, reply: Reply) -> None:
    """The SDK folds the events itself; their numbers are without a gap."""
    fields = {"model": "gpt-4o", "input": "Where is it?", "tools": [TOOL]}
    async with serving(tmp_path, (vendor, kind), cache={"enabled": False}) as (_, sdk):
        vendor.script.say(reply)
        whole = await sdk.responses.create(**fields)
        vendor.script.say(reply)
        async with sdk.responses.stream(**fields) as stream:
            events = [event async for event in stream]
        last: Any = events[-1]
        assert [each.sequence_number for each in events if hasattr(each, "sequence_number")] == list(range(len(events)))
        assert last.type == f"response.{whole.status}"
        told = [each.type for each in whole.output]
        # OpenAI's chats tell thoughts in streams at most; a fake that is asked for a chat does the same.
        assert [each.type for each in last.response.output if kind == "openai" or each.type != "reasoning"] == told
        assert last.response.output_text == whole.output_text == (reply.text or "")
        assert last.response.usage.output_tokens == whole.usage.output_tokens  # type: ignore[union-attr]
        assert whole.incomplete_details is None or whole.incomplete_details.reason == "max_output_tokens"
        assert (whole.status, bool(reply.finish_reason)) in {("completed", False), ("incomplete", True)}
        added = [each.type for each in events].count("response.output_item.added")
        assert added == [each.type for each in events].count("response.output_item.done") == len(last.response.output)
        calls = [each for each in whole.output if isinstance(each, ResponseFunctionToolCall)]
        assert [(each.name, json.loads(each.arguments)) for each in calls] == [(name, json.loads(given)) for name, given in reply.tool_calls]


@BOTH
async def test_a_loop_of_tools(tmp_path: Path, vendor: FakeVendor, kind: Kind) -> None:
    """The output goes back as input, thoughts and all, with the result."""
    async with serving(tmp_path, (vendor, kind)) as (_, sdk):
        conversation: list[Any] = [{"role": "user", "content": "Please lookup invoice 7"}]
        vendor.script.say(Reply(reasoning="I must look.", tool_calls=(("lookup", '{"id": "7"}'),)))
        first = await sdk.responses.create(model="gpt-4o", input=conversation, tools=[TOOL], include=["reasoning.encrypted_content"])
        (call,) = [each for each in first.output if isinstance(each, ResponseFunctionToolCall)]
        conversation += first.output
        conversation.append({"type": "function_call_output", "call_id": call.call_id, "output": "paid"})
        second = await sdk.responses.create(model="gpt-4o", input=conversation, tools=[TOOL])
        assert second.output_text.startswith("You asked:")


@BOTH
async def test_structured_output_is_parsed(tmp_path: Path, vendor: FakeVendor, kind: Kind) -> None:
    """Whole and streamed."""
    async with serving(tmp_path, (vendor, kind)) as (_, sdk):
        parsed = await sdk.responses.parse(model="gpt-4o", input="Which?", text_format=Invoice)
        assert parsed.output_parsed == Invoice(id="example", amount=1.5)
        async with sdk.responses.stream(model="gpt-4o", input="Which one?", text_format=Invoice) as stream:
            final = await stream.get_final_response()
        assert final.output_parsed == Invoice(id="example", amount=1.5)


@BOTH
async def test_a_stored_answer_is_given_again(tmp_path: Path, vendor: FakeVendor, kind: Kind) -> None:
    """Whole and streamed, with an id of its own; the vendor is asked once."""
    async with serving(tmp_path, (vendor, kind)) as (pod, sdk):
        first = await sdk.responses.create(model="gpt-4o", input="Twice?")
        await until(lambda: pod.server.runtime.cache_stats()["entries"] > 0)
        second = await sdk.responses.create(model="gpt-4o", input="Twice?")
        async with sdk.responses.stream(model="gpt-4o", input="Twice?") as stream:
            third = await stream.get_final_response()
        assert first.output_text == second.output_text == third.output_text
        assert len({first.id, second.id, third.id}) == 3
        assert vendor.record.total == 1


@BOTH
async def test_a_stream_that_breaks_says_so_and_the_sdk_raises(tmp_path: Path, vendor: FakeVendor, kind: Kind) -> None:
    """After the first words: a failed response with the words so far, then the error."""
    async with serving(tmp_path, (vendor, kind)) as (_, sdk):
        for name in ("cut_connection", "error_event"):
            vendor.script.fail(name, after=7)
            stream = await sdk.responses.create(model="gpt-4o", input=f"Where? {name}", stream=True)
            seen: list[Any] = []
            with pytest.raises(openai.APIError) as caught:
                seen.extend([seen.append(event) async for event in stream])
            assert isinstance(caught.value.body, dict)
            failed = seen[-1]
            assert (failed.type, failed.response.status) == ("response.failed", "failed")
            assert failed.response.error.code == "server_error"
            assert failed.response.id == seen[0].response.id
            assert [each.sequence_number for each in seen] == list(range(len(seen)))
            assert "response.completed" not in {each.type for each in seen}


@BOTH
async def test_what_fails_before_the_first_word_fails_over_in_silence(tmp_path: Path, vendor: FakeVendor, second: FakeVendor, kind: Kind) -> None:
    """From a vendor of one dialect to one of the other."""
    other: Kind = "openaicompatible" if kind == "openai" else "openai"
    async with serving(tmp_path, (vendor, kind), (second, other)) as (_, sdk):
        for name in ("http_500", "error_event_first"):
            vendor.script.fail(name)
            async with sdk.responses.stream(model="gpt-4o", input=f"Where? {name}") as stream:
                final = await stream.get_final_response()
            assert final.output_text.startswith("You asked:")
        assert second.record.total == 2


@BOTH
@pytest.mark.parametrize(("fields", "param", "code"), [
    ({"previous_response_id": "resp_1"}, "previous_response_id", "unsupported_parameter"),
    ({"conversation": "conv_1"}, "conversation", "unsupported_parameter"), ({"background": True}, "background", "unsupported_parameter"),
    ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]", "unsupported_parameter"),
    ({"input": []}, "input", "empty_array"), ({"input": None}, "input", "missing_required_parameter"), ({"input": 5}, "input", "invalid_type"),
    ({"temperature": "hot"}, "temperature", "invalid_type"), ({"input": [{"role": "user"}]}, "input[0].content", "missing_required_parameter"),
    ({"input": [{"type": "function_call", "name": "x", "arguments": "{}"}]}, "input[0].call_id", "missing_required_parameter"),
    ({"input": [{"role": "critic", "content": "x"}]}, "input[0].role", "invalid_value"), ({"model": "gpt-9"}, "model", "model_not_found")])
async def test_what_is_wrong_is_refused_by_name(  # noqa: PLR0917 (what pytest fills in)
        tmp_path: Path, vendor: FakeVendor, kind: Kind, fields: Any, param: str, code: str) -> None:
    """Before anything is spent, in OpenAI's shape."""
    async with serving(tmp_path, (vendor, kind)) as (pod, _):
        answer = await pod.send("POST", "/v1/responses", json={"model": "gpt-4o", "input": "x", **fields})
        assert (answer.status, answer.error["param"], answer.error["code"]) == (404 if param == "model" else 400, param, code)
        assert vendor.record.total == 0


async def test_nothing_is_kept_to_be_fetched(pod: Pod, second: FakeVendor) -> None:
    """Whatever the SDK asks of a response by its id is a 404 of OpenAI's shape."""
    async with openai.AsyncOpenAI(base_url=pod.base_url, api_key="x", max_retries=0) as sdk:
        with pytest.raises(openai.NotFoundError) as caught:
            await sdk.responses.retrieve("resp_1")
        assert caught.value.code == "response_not_found"
        with pytest.raises(openai.NotFoundError):
            await sdk.responses.delete("resp_1")
    assert (await pod.send("GET", "/v1/responses")).status == 405


# --- over a vendor that serves the API ------------------------------------------------------------------------------------


async def test_the_vendors_own_bytes_are_passed_on(tmp_path: Path, vendor: FakeVendor) -> None:
    """Unknown parameters and fields survive; nothing is stored there that was not asked to be."""
    body = {"model": "gpt-4o", "input": [{"role": "user", "content": [{"type": "input_text", "text": "Where?"}]}], "x_new": {"deep": [1, None]},
            "truncation": "auto", "include": ["file_search_call.results"], "text": {"verbosity": "low"}}
    async with serving(tmp_path, (vendor, "openai")) as (pod, _):
        answer = await pod.send("POST", "/v1/responses", json=body)
        assert answer.status == 200
        assert vendor.record.last.path == "/v1/responses"
        assert vendor.record.last.json == {**body, "store": False}
        assert answer.body.startswith(b'{\n  "id": "resp_')
        assert "x-strata-warning" not in answer.headers
        streamed = await pod.send("POST", "/v1/responses", json={**body, "stream": True, "store": True})
        assert vendor.record.last.json == {**body, "stream": True, "store": True}
        assert streamed.body.startswith(b'event: response.created\ndata: {"type":"response.created","sequence_number":0,')


async def test_its_own_tools_are_used(tmp_path: Path, vendor: FakeVendor) -> None:
    """A search is in the output, whole and streamed; such an answer is not cached."""
    fields: Any = {"model": "gpt-4o", "input": "Where?", "tools": [{"type": "web_search"}]}
    async with serving(tmp_path, (vendor, "openai")) as (pod, sdk):
        whole = await sdk.responses.create(**fields)
        assert [each.type for each in whole.output] == ["web_search_call", "message"]
        async with sdk.responses.stream(**fields) as stream:
            kinds = {event.type async for event in stream}
        assert "response.web_search_call.searching" in kinds
        assert vendor.record.total == 2
        answer = await pod.send("POST", "/v1/responses", json=fields)
        assert answer.cache.parameters["detail"] == "ineligible native"


async def test_thoughts_are_asked_for_sealed_and_only_those_it_can_read_go_back(tmp_path: Path, vendor: FakeVendor) -> None:
    """A conversation goes on although nothing is stored and another vendor has answered before."""
    async with serving(tmp_path, (vendor, "openai")) as (_, sdk):
        vendor.script.say(Reply(text="Yes.", reasoning="Hm."))
        first = await sdk.responses.create(model="o3", input="Really?")
        assert vendor.record.last.json["include"] == ["reasoning.encrypted_content"]
        foreign: list[Any] = [{"type": "reasoning", "id": "rs_x", "summary": [], "encrypted_content": "strata1.W10="},
                              {"type": "reasoning", "id": "rs_y", "summary": []}]
        await sdk.responses.create(model="o3", input=[*foreign, *first.output, {"role": "user", "content": "Sure?"}])
        kinds = [each.get("type") for each in vendor.record.last.json["input"]]
        assert kinds == ["reasoning", "message", None]


async def test_what_a_route_adds_reaches_it(tmp_path: Path, vendor: FakeVendor) -> None:
    """The prompt before the caller's instructions, metadata beside the caller's."""
    route = {"pools": [{"name": "chat"}], "context": {"systemPrompt": "Be kind.", "metadata": {"team": "billing"}}}
    async with serving(tmp_path, (vendor, "openai"), defaultRoute=route) as (_, sdk):
        await sdk.responses.create(model="gpt-4o", input="Where?", instructions="Be brief.", metadata={"a": "b"})
        sent = vendor.record.last.json
        assert (sent["instructions"], sent["metadata"], sent["input"]) == ("Be kind.\n\nBe brief.", {"a": "b", "team": "billing"}, "Where?")


async def test_azures_route_without_versions_serves_it_too(tmp_path: Path) -> None:
    """By deployment the API has no versions; with a version it is translated."""
    async with FakeAzure(models={"chat-eu": "gpt-4o"}) as azure:
        for block, path in ((None, "/openai/v1/responses"), ({"apiVersion": "2024-10-21"}, "/openai/deployments/chat-eu/chat/completions?")):
            served = provider("azure", model("gpt-4o", upstreamName="chat-eu"), type="azureopenai", endpoint=azure.endpoint,
                              credentialsSecretRef={"name": "azure", "key": "apiKey"}, **({"azureopenai": block} if block else {}))
            folder = tmp_path / path.split("/")[2]
            folder.mkdir()
            async with running(folder, runtime(), pool("chat", served), secret("azure", apiKey=azure.api_key)) as pod:
                for stream in (False, True):
                    answer = await pod.send("POST", "/v1/responses", json={"model": "gpt-4o", "input": "Where?", "stream": stream})
                    assert answer.status == 200
                    assert azure.record.last.path.startswith(path)


# --- over a vendor that does not --------------------------------------------------------------------------------------------


async def test_a_request_becomes_a_chat(tmp_path: Path, vendor: FakeVendor) -> None:
    """Instructions, pictures, calls and results, tools and their choice, format, effort."""
    body = {
        "model": "gpt-4o", "instructions": "Be brief.", "max_output_tokens": 50, "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}, "strict": True}}, "tools": [TOOL],
        "tool_choice": {"type": "function", "name": "lookup"}, "parallel_tool_calls": False,
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "What?"}, {"type": "input_image", "image_url": "data:x", "detail": "low"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]},
            {"type": "function_call", "call_id": "c1", "name": "lookup", "arguments": "{}"},
            {"type": "function_call", "call_id": "c2", "name": "lookup", "arguments": "[]"},
            {"type": "function_call_output", "call_id": "c1", "output": "one"},
            {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "two"}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Done."}]}, {"role": "user", "content": "More"}]}
    async with serving(tmp_path, (vendor, "openaicompatible")) as (pod, _):
        answer = await pod.send("POST", "/v1/responses", json=body)
        assert (answer.status, answer.headers["x-strata-warning"]) == (200, "dropped: reasoning.summary")
        called = lambda name, given: {"id": name, "type": "function", "function": {"name": "lookup", "arguments": given}}
        assert vendor.record.last.json == {
            "model": "gpt-4o", "max_tokens": 50, "reasoning_effort": "low", "parallel_tool_calls": False,
            "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}, "strict": True}},
            "tools": [{"type": "function", "function": {name: TOOL[name] for name in ("name", "description", "parameters", "strict")}}],
            "tool_choice": {"type": "function", "function": {"name": "lookup"}},
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": "data:x", "detail": "low"}}]},
                {"role": "assistant", "content": None, "reasoning_content": "Hm.", "tool_calls": [called("c1", "{}"), called("c2", "[]")]},
                {"role": "tool", "tool_call_id": "c1", "content": "one"},
                {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "two"}]},
                {"role": "assistant", "content": [{"type": "text", "text": "Done."}]}, {"role": "user", "content": "More"}]}


@pytest.mark.parametrize(("fields", "param"), [
    ({"tools": [{"type": "web_search"}]}, "tools[0]"), ({"input": [{"type": "mcp_call", "id": "x"}]}, "input[0]"), ({"x_new": 1}, "x_new"),
    ({"input": [{"role": "user", "content": [{"type": "input_file", "file_url": "https://x/y.pdf"}]}]}, "input[0].content[0]"),
    ({"prompt": {"id": "pmpt_1"}}, "prompt"), ({"tool_choice": {"type": "web_search"}}, "tool_choice")])
async def test_what_only_that_api_has_is_asked_of_who_has_it(tmp_path: Path, vendor: FakeVendor, second: FakeVendor, fields: Any, param: str) -> None:
    """Else it is refused by name, or dropped with leave and named."""
    body = {"model": "gpt-4o", "input": [{"role": "user", "content": "Where?"}], **fields}
    async with serving(tmp_path, (vendor, "openaicompatible")) as (pod, _):
        refused = await pod.send("POST", "/v1/responses", json=body)
        assert (refused.status, refused.error["code"], refused.error["param"]) == (400, "unsupported_parameter", param)
        if param != "input[0]":  # with that left out nothing would be left
            dropped = await pod.send("POST", "/v1/responses", json=body, headers={"x-strata-unsupported": "drop"})
            assert dropped.headers["x-strata-warning"] == f"dropped: {param}"


async def test_thoughts_of_another_vendor_are_told_and_come_back(tmp_path: Path) -> None:
    """In a summary, whole and streamed; sent back they reach the vendor again."""
    async with FakeVendor(flavour="vllm-old", models=["gpt-4o", "gpt-4o-mini"]) as vendor, serving(tmp_path, (vendor, "openaicompatible")) as (_, sdk):
        vendor.script.say(Reply(text="Yes.", reasoning="Let me see."), times=2)
        whole = await sdk.responses.create(model="gpt-4o", input="Really?")
        async with sdk.responses.stream(model="gpt-4o", input="Really, though?") as stream:
            streamed = await stream.get_final_response()
        for answer in (whole, streamed):
            thought: Any = answer.output[0]
            assert (thought.type, [each.text for each in thought.summary]) == ("reasoning", ["Let me see."])
            assert answer.output_text == "Yes."
        again: list[Any] = [{"role": "user", "content": "Really?"}, *whole.output, {"role": "user", "content": "Sure?"}]
        await sdk.responses.create(model="gpt-4o", input=again)
        assert vendor.record.last.json["messages"][1] == {
            "role": "assistant", "content": [{"type": "text", "text": "Yes."}], "reasoning_content": "Let me see."}
