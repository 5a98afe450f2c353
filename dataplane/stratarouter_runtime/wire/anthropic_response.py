"""Anthropic's whole answers in canonical form.

Source: Anthropic API reference, "Message". What a chat completion has no place for goes where OpenAI-compatible gateways put
it: thinking into ``reasoning_content`` and, with its signatures and redacted parts, into ``reasoning_details``; the matched
stop sequence into the choice's ``stop_reason``; sources into ``citations`` and, where they are web pages, ``annotations``.
Blocks of Anthropic's own tools are kept in ``reasoning_details`` too, so that they can be sent back. Invariants: pure; raises
nothing but ``AnswerError``; the prompt's tokens are all that were read, cached ones included.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from stratarouter_runtime.model.response import ChatResponse

from . import openai_chat
from .answers import bad_answer, reported
from .anthropic_blocks import FORMAT
from .anthropic_errors import error_in
from .anthropic_tools import ANSWER
from .reading import count, text

FINISH: Mapping[str, str] = {
    "end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls", "refusal": "content_filter",
    # Neither is a whole answer: one waits to be sent back, the other ran out of room.
    "pause_turn": "length", "model_context_window_exceeded": "length"}
"""From a stop reason to a finish reason; one that nobody has heard of is ``stop``."""

_TIERS: Mapping[str, str] = {"standard": "default", "priority": "priority", "batch": "flex"}


def read_message(raw: bytes, *, created: int, answered: bool = False, native: bool = False) -> ChatResponse:
    """A vendor's successful body. ``created`` in Unix seconds, which the vendor does not tell; ``answered``: the structured
    answer comes as the call of a tool; ``native``: the caller speaks this dialect. Raises ``AnswerError``.
    """
    message = read_object(raw)
    body = completion(message, created=created, answered=answered)
    response = openai_chat.chat_response(body)
    if not native:
        return response
    return ChatResponse(raw=response.raw, body=response.body, model=response.model, finish_reason=response.finish_reason,
                        usage=response.usage, native=raw)


def read_object(raw: bytes) -> dict[str, Any]:
    """A vendor's body as an object. Raises ``AnswerError``: another shape, or an error inside a 200."""
    body = openai_chat.read_object(raw)
    if body.get("type") == "error":
        raise reported(error_in(body))
    return body


def completion(message: Mapping[str, Any], *, created: int, answered: bool) -> dict[str, Any]:
    """A message as a chat completion."""
    content = message.get("content")
    if not isinstance(content, list):
        raise bad_answer("the vendor's answer has no content")
    reading = _Reading(answered=answered)
    for block in content:
        if not isinstance(block, Mapping):
            raise bad_answer("the vendor's answer has content that is no list of blocks")
        reading.add(block)
    reason = message.get("stop_reason")
    choice: dict[str, Any] = {"index": 0, "message": reading.message(message), "logprobs": None,
                              "finish_reason": finish(reason, answered=reading.answer is not None and not reading.calls)}
    if reason == "stop_sequence" and isinstance(message.get("stop_sequence"), str):
        choice["stop_reason"] = message["stop_sequence"]
    made: dict[str, Any] = {"id": text(message.get("id")), "object": "chat.completion", "created": created,
                            "model": text(message.get("model")), "choices": [choice]}
    told = message.get("usage")
    if isinstance(told, Mapping):
        made["usage"] = usage(told)
        made |= tier(told)
    return made


def finish(reason: Any, *, answered: bool) -> str:
    """A finish reason. ``answered``: the only call is the structured answer, which is no call to its caller."""
    found = FINISH.get(reason, "stop") if isinstance(reason, str) else "stop"
    return "stop" if answered and found == "tool_calls" else found


def usage(told: Mapping[str, Any]) -> dict[str, Any]:
    """Tokens as a completion tells them."""
    fresh, written = count(told.get("input_tokens")), count(told.get("cache_creation_input_tokens"))
    cached, output = count(told.get("cache_read_input_tokens")), count(told.get("output_tokens"))
    prompt = fresh + written + cached
    made: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output,
                            "prompt_tokens_details": {"cached_tokens": cached, "cache_creation_tokens": written}}
    details = told.get("output_tokens_details")
    if isinstance(details, Mapping):
        made["completion_tokens_details"] = {"reasoning_tokens": count(details.get("thinking_tokens"))}
    return made


def tier(told: Mapping[str, Any]) -> dict[str, str]:
    """The service tier that a usage tells, in OpenAI's words."""
    found = told.get("service_tier")
    return {"service_tier": _TIERS[found]} if isinstance(found, str) and found in _TIERS else {}


def thought(text_of_it: str, signature: str) -> dict[str, Any]:
    """A thinking block as a part of ``reasoning_details``."""
    return {"type": "reasoning.text", "text": text_of_it, "signature": signature, "format": FORMAT}


def kept(block: Mapping[str, Any]) -> dict[str, Any]:
    """A block that only Anthropic reads, as a part of ``reasoning_details``."""
    if block.get("type") == "redacted_thinking":
        return {"type": "reasoning.encrypted", "data": text(block.get("data")), "format": FORMAT}
    return {"type": "anthropic.block", "block": dict(block), "format": FORMAT}


def annotation(citation: Mapping[str, Any], start: int, end: int) -> dict[str, Any] | None:
    """A source on the web as OpenAI annotates it; None for another one."""
    url = citation.get("url")
    if not isinstance(url, str) or not url:
        return None
    return {"type": "url_citation", "url_citation": {"start_index": start, "end_index": end, "url": url,
                                                     "title": text(citation.get("title"))}}


def refusal_of(details: Any) -> str:
    """The vendor's words about a refusal; empty where it has none."""
    return text(details.get("explanation")) if isinstance(details, Mapping) else ""


class _Reading:
    """One message's blocks, sorted into the places of a completion."""

    def __init__(self, *, answered: bool) -> None:
        self._answered = answered
        self._texts: list[str] = []
        self._length = 0
        self._thoughts: list[str] = []
        self._details: list[dict[str, Any]] = []
        self._citations: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self.calls: list[dict[str, Any]] = []
        self.answer: str | None = None

    def add(self, block: Mapping[str, Any]) -> None:
        kind = block.get("type")
        if kind == "text":
            self._text(block)
        elif kind == "thinking":
            self._thoughts.append(text(block.get("thinking")))
            self._details.append(thought(text(block.get("thinking")), text(block.get("signature"))))
        elif kind == "tool_use":
            self._call(block)
        else:
            self._details.append(kept(block))

    def _text(self, block: Mapping[str, Any]) -> None:
        said = text(block.get("text"))
        start, self._length = self._length, self._length + len(said)
        self._texts.append(said)
        cited = block.get("citations")
        for citation in cited if isinstance(cited, list) else ():
            if isinstance(citation, Mapping):
                self._citations.append({**citation, "start_index": start, "end_index": self._length})
                page = annotation(citation, start, self._length)
                if page is not None:
                    self._annotations.append(page)

    def _call(self, block: Mapping[str, Any]) -> None:
        given = orjson.dumps(block.get("input") or {}).decode()
        if self._answered and block.get("name") == ANSWER:
            self.answer = given
            return
        self.calls.append({"id": text(block.get("id")), "type": "function",
                           "function": {"name": text(block.get("name")), "arguments": given}})

    def message(self, message: Mapping[str, Any]) -> dict[str, Any]:
        said = "".join(self._texts) if self.answer is None else self.answer
        refused = refusal_of(message.get("stop_details")) if message.get("stop_reason") == "refusal" else ""
        made: dict[str, Any] = {"role": "assistant", "content": said or (None if self.calls or refused else said),
                                "refusal": refused or None}
        if self.calls:
            made["tool_calls"] = self.calls
        if any(self._thoughts):
            made["reasoning_content"] = "\n\n".join(each for each in self._thoughts if each)
        if self._details:
            made["reasoning_details"] = self._details
        if self._annotations:
            made["annotations"] = self._annotations
        if self._citations:
            made["citations"] = self._citations
        return made
