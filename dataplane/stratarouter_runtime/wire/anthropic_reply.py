"""Answers in canonical form as messages of Anthropic's API, whole; as events they are in ``anthropic_events``.

Source: Anthropic API reference, "Message". Invariants: pure and total; what ``anthropic_response`` made of a message becomes that
message again; opaque parts of other vendors travel sealed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from .anthropic_blocks import FORMAT, Block, arguments
from .anthropic_sealed import sealed
from .reading import count, objects, text

STOP: Mapping[str, str] = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "function_call": "tool_use",
                           "content_filter": "refusal"}
"""From a finish reason to a stop reason; another one is ``end_turn``."""

CITED = frozenset({"char_location", "page_location", "content_block_location", "web_search_result_location", "search_result_location"})
"""Citations that are Anthropic's own."""

_OWN = frozenset({"id", "type", "function", "index"})
_SPAN = ("start_index", "end_index")


def message_bytes(body: Mapping[str, Any]) -> bytes:
    """A chat completion as a message."""
    return orjson.dumps(message(body))


def message(body: Mapping[str, Any]) -> dict[str, Any]:
    """A chat completion as a message."""
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], Mapping) else {}
    told = choice.get("message")
    said: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
    calls = list(objects(said.get("tool_calls")))
    return {"id": identity(body.get("id")), "type": "message", "role": "assistant", "model": text(body.get("model")),
            "content": [*_thoughts(said), *_texts(said), *_refused(choice, said), *_calls(calls)], **stopped(choice, text(said.get("refusal")), called=bool(calls)),
            "usage": usage(body.get("usage"))}


def identity(given: Any) -> str:
    """An id as Anthropic's look, out of any."""
    known = text(given)
    return known if known.startswith("msg_") else "msg_" + known.removeprefix("chatcmpl-")


def stopped(choice: Mapping[str, Any], refusal: str, *, called: bool) -> dict[str, Any]:
    """Why the answer ended."""
    finish, matched = text(choice.get("finish_reason")), choice.get("stop_reason")
    reason = "tool_use" if called and finish == "stop" else STOP.get(finish, "end_turn")
    if refusal and reason == "end_turn":
        reason = "refusal"
    sequence = matched if reason == "end_turn" and isinstance(matched, str) and matched else None
    made: dict[str, Any] = {"stop_reason": "stop_sequence" if sequence else reason, "stop_sequence": sequence}
    if reason == "refusal":
        made["stop_details"] = {"type": "refusal", "category": None, "explanation": refusal or None}
    return made


def usage(told: Any) -> dict[str, Any]:
    """Tokens as Anthropic tells them: the input without what came from or went into a prompt cache."""
    if not isinstance(told, Mapping):
        told = {}
    details, of_output = told.get("prompt_tokens_details"), told.get("completion_tokens_details")
    inner: Mapping[str, Any] = details if isinstance(details, Mapping) else {}
    cached = count(inner.get("cached_tokens"))
    written = count(inner.get("cache_creation_tokens")) or count(inner.get("cache_write_tokens"))
    made: dict[str, Any] = {
        "input_tokens": max(0, count(told.get("prompt_tokens")) - cached - written), "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cached, "output_tokens": count(told.get("completion_tokens"))}
    if isinstance(of_output, Mapping) and count(of_output.get("reasoning_tokens")):
        made["output_tokens_details"] = {"thinking_tokens": of_output["reasoning_tokens"]}
    return made


def blocks_of(details: Any) -> Iterator[Block]:
    """Parts of ``reasoning_details`` as blocks; those of other vendors sealed."""
    for each in details if isinstance(details, list) else ():
        if not isinstance(each, Mapping):
            continue
        kind = each.get("type")
        if each.get("format") != FORMAT:
            yield sealed({"detail": dict(each)})
        elif kind == "reasoning.text":
            yield {"type": "thinking", "thinking": text(each.get("text")), "signature": text(each.get("signature"))}
        elif kind == "reasoning.encrypted":
            yield {"type": "redacted_thinking", "data": text(each.get("data"))}
        elif isinstance(each.get("block"), Mapping):
            yield dict(each["block"])


def extra_of(call: Mapping[str, Any]) -> Block | None:
    """What a call carries besides Anthropic's fields, to come before it."""
    extra = {name: value for name, value in call.items() if name not in _OWN and value is not None}
    return sealed({"call": text(call.get("id")), "extra": extra}) if extra else None


def citations_of(delta: Mapping[str, Any]) -> list[tuple[dict[str, Any], Any, Any]]:
    """Anthropic's own citations, each with where its text begins and ends."""
    found = delta.get("citations")
    return [({name: value for name, value in each.items() if name not in _SPAN}, each.get(_SPAN[0]), each.get(_SPAN[1]))
            for each in (found if isinstance(found, list) else ()) if isinstance(each, Mapping) and each.get("type") in CITED]


def plain(content: Any) -> str:
    """Content as text."""
    if isinstance(content, list):
        return "".join(text(each.get("text")) for each in content if isinstance(each, Mapping))
    return text(content)


def _thoughts(said: Mapping[str, Any]) -> Iterator[Block]:
    blocks = list(blocks_of(said.get("reasoning_details")))
    shown = text(said.get("reasoning_content")) or text(said.get("reasoning"))
    if shown and not any(block.get("type") == "thinking" for block in blocks):
        yield {"type": "thinking", "thinking": shown, "signature": ""}
    yield from blocks


def _texts(said: Mapping[str, Any]) -> Iterator[Block]:
    whole = plain(said.get("content"))
    spans: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for citation, start, end in citations_of(said):
        if type(start) is int and type(end) is int and 0 <= start < end <= len(whole):
            spans.setdefault((start, end), []).append(citation)
    position = 0
    for start, end in sorted(spans):
        if start < position:
            continue
        if start > position:
            yield {"type": "text", "text": whole[position:start]}
        yield {"type": "text", "text": whole[start:end], "citations": spans[start, end]}
        position = end
    if position < len(whole):
        yield {"type": "text", "text": whole[position:]}


def refused_text(choice: Mapping[str, Any], refusal: str) -> str:
    """A refusal that the model wrote as its answer; one of a filter is only told as the reason of the stop."""
    return "" if choice.get("finish_reason") == "content_filter" else refusal


def _refused(choice: Mapping[str, Any], said: Mapping[str, Any]) -> Iterator[Block]:
    written = refused_text(choice, text(said.get("refusal")))
    if written and not plain(said.get("content")):
        yield {"type": "text", "text": written}


def _calls(calls: list[Mapping[str, Any]]) -> Iterator[Block]:
    for call in calls:
        extra = extra_of(call)
        if extra is not None:
            yield extra
        function = call.get("function")
        inner: Mapping[str, Any] = function if isinstance(function, Mapping) else {}
        yield {"type": "tool_use", "id": text(call.get("id")), "name": text(inner.get("name")), "input": arguments(inner.get("arguments"))}
