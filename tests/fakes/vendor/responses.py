"""The Responses API of the fake vendor: checks, response objects and event streams, as OpenAI sends them.

Written apart from the product's own codec, from the API reference and the types of the Python SDK. The words come from the same
place as those of chats, so that both APIs of one fake say the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from .answers import Reply, reply_to, words
from .bodies import base62
from .errors import ApiError

JsonObject = dict[str, Any]
ITEMS = ("message", "reasoning", "function_call", "function_call_output", "web_search_call")
SEALED = "gAAAAA"
"""How encrypted thoughts begin."""
_ECHOED = {"instructions": None, "max_output_tokens": None, "max_tool_calls": None, "parallel_tool_calls": True, "prompt_cache_key": None,
           "safety_identifier": None, "temperature": 1.0, "tool_choice": "auto", "tools": [], "top_logprobs": 0, "top_p": 1.0,
           "truncation": "disabled", "user": None, "metadata": {}}
_KNOWN = frozenset({*_ECHOED, "model", "input", "stream", "stream_options", "store", "include", "reasoning", "text", "service_tier", "background"})


def check(body: Mapping[str, Any]) -> None:
    """What the API refuses."""
    for name in body:
        if name not in _KNOWN and not name.startswith("x_"):
            raise ApiError(400, f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
    if body.get("input") is None:
        raise ApiError(400, "Missing required parameter: 'input'.", param="input", code="missing_required_parameter")
    for index, item in enumerate(body["input"] if isinstance(body["input"], list) else []):
        if item.get("type", "message") not in ITEMS:
            raise ApiError(400, f"Invalid value: '{item.get('type')}'.", param=f"input[{index}]", code="invalid_value")
        if item.get("type") == "reasoning" and not body.get("store", True) and not str(item.get("encrypted_content", "")).startswith(SEALED):
            raise ApiError(404, f"Item with id '{item.get('id')}' not found. Items are not persisted when `store` is set to false.")


def reply(body: Mapping[str, Any]) -> Reply:
    """What is said to a request: as to a chat of the same words."""
    return reply_to(_chat(body))


def _chat(body: Mapping[str, Any]) -> JsonObject:
    given = body["input"] if isinstance(body["input"], list) else [{"role": "user", "content": body["input"]}]
    messages = []
    for item in given:
        if item.get("type") == "function_call_output":
            messages.append({"role": "tool", "content": item["output"]})
        elif "role" in item:
            content = item["content"]
            text = content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)
            messages.append({"role": item["role"], "content": text})
    tools = [{"function": tool} for tool in body.get("tools") or [] if tool["type"] == "function"]
    choice = body.get("tool_choice", "auto")
    wanted = (body.get("text") or {}).get("format") or {}
    chat: JsonObject = {"messages": messages or [{}], "tools": tools, "max_tokens": body.get("max_output_tokens"),
                        "tool_choice": {"function": {"name": choice["name"]}} if isinstance(choice, dict) else choice}
    if wanted.get("type") == "json_schema":
        chat["response_format"] = {"type": "json_schema", "json_schema": wanted}
    return chat


def whole(body: Mapping[str, Any], said: Reply, *, number: int, model: str, created: int) -> JsonObject:
    """The response object."""
    base = _begun(body, number=number, model=model, created=created)
    return _over(base, list(_output(body, said, number)), said)


def events(body: Mapping[str, Any], said: Reply, *, number: int, model: str, created: int) -> Iterator[JsonObject]:
    """All events of a stream, numbered."""
    for count, event in enumerate(_events(body, said, number=number, model=model, created=created)):
        yield {"type": event.pop("type"), "sequence_number": count, **event}


def framed(event: JsonObject) -> bytes:
    """As it is sent."""
    return f"event: {event['type']}\ndata: {json.dumps(event, separators=(',', ':'), ensure_ascii=False)}\n\n".encode()


def _begun(body: Mapping[str, Any], *, number: int, model: str, created: int) -> JsonObject:
    reasoning, text = body.get("reasoning") or {}, body.get("text") or {}
    return {"id": "resp_" + base62(f"response {number}", 48).lower(), "object": "response", "created_at": created, "status": "in_progress",
            "background": False, "error": None, "incomplete_details": None, "model": model, "output": [], "previous_response_id": None,
            "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")}, "service_tier": "default",
            "store": body.get("store", True), "text": {"format": text.get("format", {"type": "text"}), "verbosity": "medium"}, "usage": None,
            **{name: body.get(name, default) for name, default in _ECHOED.items()}}


def _over(base: JsonObject, output: list[JsonObject], said: Reply) -> JsonObject:
    cut = said.finish_reason == "length"
    usage = {"input_tokens": 12, "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0}, "output_tokens": said.tokens,
             "output_tokens_details": {"reasoning_tokens": len(words(said.reasoning or ""))}, "total_tokens": 12 + said.tokens}
    return {**base, "status": "incomplete" if cut else "completed", "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "output": output, "usage": usage}


def _output(body: Mapping[str, Any], said: Reply, number: int) -> Iterator[JsonObject]:
    state = "incomplete" if said.finish_reason == "length" else "completed"
    if any(tool["type"] == "web_search" for tool in body.get("tools") or []):
        yield {"id": "ws_" + base62(f"search {number}", 48), "type": "web_search_call", "status": "completed",
               "action": {"type": "search", "query": "invoice"}}
    if said.reasoning:
        item: JsonObject = {"id": "rs_" + base62(f"thought {number}", 48), "type": "reasoning",
                            "summary": [{"type": "summary_text", "text": said.reasoning}]}
        if "reasoning.encrypted_content" in (body.get("include") or []):
            item["encrypted_content"] = SEALED + base62(f"sealed {number}", 60)
        yield item
    if said.text is not None or said.refusal is not None:
        part = {"type": "refusal", "refusal": said.refusal} if said.text is None else {
            "type": "output_text", "annotations": [], "logprobs": [], "text": said.text}
        yield {"id": "msg_" + base62(f"message {number}", 48), "type": "message", "status": state, "content": [part], "role": "assistant"}
    for index, (name, arguments) in enumerate(said.tool_calls):
        yield {"id": "fc_" + base62(f"item {number} {index}", 48), "type": "function_call", "status": "completed", "arguments": arguments,
               "call_id": "call_" + base62(f"call {number} {index}", 24), "name": name}


def _events(body: Mapping[str, Any], said: Reply, *, number: int, model: str, created: int) -> Iterator[JsonObject]:
    base = _begun(body, number=number, model=model, created=created)
    yield {"type": "response.created", "response": base}
    yield {"type": "response.in_progress", "response": base}
    output = list(_output(body, said, number))
    for index, item in enumerate(output):
        empty = {"content": [], "arguments": "", "summary": []}
        opened = {name: empty.get(name, value) for name, value in item.items() if name != "encrypted_content"}
        yield {"type": "response.output_item.added", "output_index": index,
               "item": {**opened, "status": "in_progress"} if "status" in item else opened}
        place = {"item_id": item["id"], "output_index": index}
        yield from _PARTS[item["type"]](item, place)
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    over = _over(base, output, said)
    yield {"type": f"response.{over['status']}", "response": over}


def _message(item: JsonObject, place: JsonObject) -> Iterator[JsonObject]:
    (part,) = item["content"]
    place = {**place, "content_index": 0}
    kind, field = ("output_text", "text") if "text" in part else ("refusal", "refusal")
    more: JsonObject = {"logprobs": []} if field == "text" else {}
    yield {"type": "response.content_part.added", **place, "part": {**part, field: ""}}
    for piece in words(part[field]):
        yield {"type": f"response.{kind}.delta", **place, "delta": piece, **more}
    yield {"type": f"response.{kind}.done", **place, field: part[field], **more}
    yield {"type": "response.content_part.done", **place, "part": part}


def _reasoning(item: JsonObject, place: JsonObject) -> Iterator[JsonObject]:
    place = {**place, "summary_index": 0}
    text = item["summary"][0]["text"]
    yield {"type": "response.reasoning_summary_part.added", **place, "part": {"type": "summary_text", "text": ""}}
    for piece in words(text):
        yield {"type": "response.reasoning_summary_text.delta", **place, "delta": piece}
    yield {"type": "response.reasoning_summary_text.done", **place, "text": text}
    yield {"type": "response.reasoning_summary_part.done", **place, "part": item["summary"][0]}


def _call(item: JsonObject, place: JsonObject) -> Iterator[JsonObject]:
    for piece in words(item["arguments"]):
        yield {"type": "response.function_call_arguments.delta", **place, "delta": piece}
    yield {"type": "response.function_call_arguments.done", **place, "arguments": item["arguments"]}


def _search(item: JsonObject, place: JsonObject) -> Iterator[JsonObject]:
    for state in ("in_progress", "searching", "completed"):
        yield {"type": f"response.web_search_call.{state}", **place}


_PARTS = {"message": _message, "reasoning": _reasoning, "function_call": _call, "web_search_call": _search}
