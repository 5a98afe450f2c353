"""OpenAI's Responses API, whole answers: a chat's answer as a response object, and a vendor's response object as a chat's answer.

Source: OpenAI API reference, "The response object". Invariants: pure; what cannot be read is an ``AnswerError``; the object has
every field that the API's own has, with the caller's parameters repeated.
"""

from __future__ import annotations

import secrets as entropy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stratarouter_runtime.model.response import ChatResponse

from . import openai_chat
from .answers import AnswerError, VendorError, bad_answer, reported
from .reading import count, items, text
from .responses_items import OPENAI, pack

Item = dict[str, Any]

_REPEATED: Mapping[str, Any] = {
    "instructions": None, "max_output_tokens": None, "max_tool_calls": None, "parallel_tool_calls": True, "prompt_cache_key": None,
    "safety_identifier": None, "temperature": 1.0, "tool_choice": "auto", "tools": [], "top_logprobs": 0, "top_p": 1.0,
    "truncation": "disabled", "user": None, "metadata": {}}
"""The caller's parameters that an answer repeats, each with its default."""

_INCOMPLETE: Mapping[str, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}
_FINISHES: Mapping[str, str] = {"max_output_tokens": "length", "content_filter": "content_filter"}


def identity(prefix: str) -> str:
    """An id as OpenAI's look."""
    return f"{prefix}_{entropy.token_hex(24)}"


def outline(asked: Mapping[str, Any], *, id: str, created: int) -> Item:  # noqa: A002 (OpenAI's name)
    """A response that has only begun; ``asked`` is the caller's body."""
    text, reasoning = asked.get("text") or {}, asked.get("reasoning") or {}
    repeated = {name: default if asked.get(name) is None else asked[name] for name, default in _REPEATED.items()}
    return {
        "id": id, "object": "response", "created_at": created, "status": "in_progress", "background": False, "completed_at": None,
        "error": None, "incomplete_details": None, "model": asked.get("model"), "output": [], "previous_response_id": None,
        "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")}, "service_tier": "default", "store": False,
        "text": {"format": text.get("format") or {"type": "text"}, "verbosity": text.get("verbosity") or "medium"}, "usage": None,
        **repeated}


def ended(begun: Item, *, model: str, output: Sequence[Item], finish: str | None, usage: Any, now: int) -> Item:
    """The same once it is over: ``completed``, or ``incomplete`` where it was cut off."""
    reason = _INCOMPLETE.get(finish or "")
    return {**begun, "model": model or begun["model"], "status": "incomplete" if reason else "completed",
            "completed_at": None if reason else now, "incomplete_details": {"reason": reason} if reason else None,
            "output": list(output), "usage": usage_object(usage)}


def response_object(asked: Mapping[str, Any], completion: Mapping[str, Any], *, created: int) -> Item:
    """A chat's answer as a response. Only its first choice counts: a response has one."""
    choice = completion["choices"][0]
    finish = choice.get("finish_reason")
    status = "incomplete" if finish in _INCOMPLETE else "completed"
    begun = outline(asked, id=identity("resp"), created=created)
    output = list(_items(choice["message"], choice.get("logprobs"), status))
    return ended(begun, model=openai_chat.model_of(completion), output=output, finish=finish, usage=completion.get("usage"), now=created)


def reasoning_item(texts: Sequence[str], details: list[Any], status: str = "completed") -> Item:
    """A turn's thoughts."""
    item: Item = {"id": identity("rs"), "type": "reasoning", "summary": [{"type": "summary_text", "text": each} for each in texts],
                  "status": status}
    sealed = pack(details) if details else None
    return {**item, "encrypted_content": sealed} if sealed else item


def message_item(content: Sequence[Item], status: str) -> Item:
    """What the assistant said."""
    return {"id": identity("msg"), "type": "message", "status": status, "role": "assistant", "content": list(content)}


def call_item(call: Mapping[str, Any], status: str = "completed") -> Item:
    """A call of a function."""
    function = _mapping(call.get("function"))
    return {"id": identity("fc"), "type": "function_call", "status": status, "arguments": text(function.get("arguments")),
            "call_id": text(call.get("id")) or identity("call"), "name": text(function.get("name"))}


def text_part(text: str, annotations: Any = None, logprobs: Any = None) -> Item:
    """A piece of what was said."""
    return {"type": "output_text", "annotations": [annotation(each) for each in items(annotations) if isinstance(each, Mapping)],
            "logprobs": items(_mapping(logprobs).get("content")), "text": text}


def annotation(given: Mapping[str, Any]) -> Item:
    """A citation: a chat has its fields in an object of their own, a response beside the type."""
    kind = given.get("type")
    inner = given.get(kind) if isinstance(kind, str) else None
    return {"type": kind, **inner} if isinstance(inner, Mapping) else dict(given)


def usage_object(usage: Any) -> Item | None:
    """Tokens under the API's names."""
    if not isinstance(usage, Mapping):
        return None
    cached, thought = _mapping(usage.get("prompt_tokens_details")), _mapping(usage.get("completion_tokens_details"))
    asked, said = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
    return {"input_tokens": asked, "input_tokens_details": {"cached_tokens": count(cached.get("cached_tokens")),
                                                           "cache_write_tokens": count(cached.get("cache_creation_tokens"))},
            "output_tokens": said, "output_tokens_details": {"reasoning_tokens": count(thought.get("reasoning_tokens"))},
            "total_tokens": asked + said}


def _items(message: Mapping[str, Any], logprobs: Any, status: str) -> Iterator[Item]:
    thought = message.get("reasoning_content") or message.get("reasoning")
    details = items(message.get("reasoning_details"))
    if (isinstance(thought, str) and thought) or details:
        yield reasoning_item([thought] if isinstance(thought, str) and thought else [], details)
    content = message.get("content")
    text = content if isinstance(content, str) else "".join(
        text(part.get("text")) for part in items(content) if isinstance(part, Mapping))
    parts = [text_part(text, message.get("annotations"), logprobs)] if text else []
    if isinstance(message.get("refusal"), str) and message["refusal"]:
        parts.append({"type": "refusal", "refusal": message["refusal"]})
    calls = [each for each in items(message.get("tool_calls")) if isinstance(each, Mapping)]
    if parts or not calls:
        yield message_item(parts or [text_part("")], status)
    for call in calls:
        yield call_item(call)


# --- a vendor's response ------------------------------------------------------------------------------------------------------


def read_response(raw: bytes) -> ChatResponse:
    """A vendor's successful body as a chat's answer, with its own bytes as ``native``. Raises ``AnswerError``."""
    body = openai_chat.read_object(raw)
    made = openai_chat.chat_response(completion(body))
    return ChatResponse(raw=made.raw, body=made.body, model=made.model, finish_reason=made.finish_reason, usage=made.usage, native=raw)


def completion(body: Mapping[str, Any]) -> Item:
    """A response object that is over as a completion. Raises ``AnswerError``, also for one that failed."""
    if body.get("status") in ("failed", "cancelled"):
        raise failed(body)
    output = body.get("output")
    if not isinstance(output, list):
        raise bad_answer("the vendor's answer has no output")
    message = _message(output)
    created = body.get("created_at")
    made = {"id": text(body.get("id")), "object": "chat.completion", "created": int(created) if isinstance(created, int | float) else 0,
            "model": text(body.get("model")),
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish_of(body, calls="tool_calls" in message)}]}
    usage = chat_usage(body.get("usage"))
    return made if usage is None else {**made, "usage": usage}


def failed(body: Mapping[str, Any]) -> AnswerError:
    """The vendor's words about a response that failed."""
    error = _mapping(body.get("error"))
    return reported(VendorError(message=text(error.get("message")) or "the response failed", code=text(error.get("code")),
                                type=text(error.get("type"))))


def finish_of(body: Mapping[str, Any], *, calls: bool) -> str:
    """Why a response ended, in a chat's words."""
    if body.get("status") == "incomplete":
        reason = _mapping(body.get("incomplete_details")).get("reason")
        return _FINISHES.get(reason, "length") if isinstance(reason, str) else "length"
    return "tool_calls" if calls else "stop"


def chat_usage(usage: Any) -> Item | None:
    """Tokens under a chat's names."""
    if not isinstance(usage, Mapping):
        return None
    asked, said = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
    cached, thought = _mapping(usage.get("input_tokens_details")), _mapping(usage.get("output_tokens_details"))
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said,
            "prompt_tokens_details": {"cached_tokens": count(cached.get("cached_tokens"))},
            "completion_tokens_details": {"reasoning_tokens": count(thought.get("reasoning_tokens"))}}


def sealed_details(item: Mapping[str, Any]) -> list[Any]:
    """What a vendor wants back of a reasoning item."""
    content = item.get("encrypted_content")
    return [{"type": "reasoning.encrypted", "format": OPENAI, "id": item.get("id"), "data": content}] if isinstance(content, str) else []


def _message(output: Sequence[Any]) -> Item:
    texts: list[str] = []
    refusals: list[str] = []
    thoughts: list[str] = []
    annotations: list[Any] = []
    details: list[Any] = []
    calls: list[Item] = []
    for item in output:
        if not isinstance(item, Mapping):
            raise bad_answer("the vendor's answer has an output that is no object")
        for part in items(item.get("content")) + items(item.get("summary")):
            if isinstance(part, Mapping):
                kind = part.get("type")
                found = {"output_text": texts, "refusal": refusals, "summary_text": thoughts, "reasoning_text": thoughts}.get(text(kind))
                if found is not None:
                    found.append(text(part.get("refusal" if kind == "refusal" else "text")))
                annotations += items(part.get("annotations"))
        if item.get("type") == "reasoning":
            details += sealed_details(item)
        elif item.get("type") == "function_call":
            calls.append({"id": text(item.get("call_id")), "type": "function",
                          "function": {"name": text(item.get("name")), "arguments": text(item.get("arguments"))}})
    message: Item = {"role": "assistant", "content": "".join(texts) if texts or not calls else None,
                     "refusal": "".join(refusals) or None}
    more = {"reasoning_content": "\n\n".join(thoughts), "reasoning_details": details, "annotations": annotations, "tool_calls": calls}
    return message | {name: value for name, value in more.items() if value}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
