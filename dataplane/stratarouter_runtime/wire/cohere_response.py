"""Cohere's chat API, version 2: its whole answers in canonical form.

Source: Cohere API reference, "Chat (v2)". Its answers name no model and no time: both are given by the caller. Thoughts
and plans become ``reasoning_content``; citations become ``annotations`` and stay under ``citations``, so that they can go
back with the conversation. Invariant: total; raises nothing but ``AnswerError``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stratarouter_runtime.model.errors import Failure
from stratarouter_runtime.model.response import ChatResponse

from . import reading
from .answers import AnswerError, VendorError, bad_answer, reported
from .canonical_events import CONTENT_FILTER, LENGTH, STOP, TOOL_CALLS, usage_object
from .openai_chat import chat_response, read_object

_FINISH: Mapping[str, str] = {"COMPLETE": STOP, "STOP_SEQUENCE": STOP, "MAX_TOKENS": LENGTH, "ERROR_LIMIT": LENGTH,
                              "TOOL_CALL": TOOL_CALLS, "ERROR_TOXIC": CONTENT_FILTER}


def read_chat(raw: bytes, *, model: str, created: int) -> ChatResponse:
    """The vendor's body as a response. Raises ``AnswerError``."""
    body = read_object(raw)
    message = body.get("message")
    if not isinstance(message, Mapping):
        raise said_instead(body) or bad_answer("the vendor's answer has no message")
    calls = [call_of(each) for each in reading.objects(message.get("tool_calls"))]
    reason = finish_reason(body)
    made: dict[str, Any] = {"role": "assistant", "content": _joined(message, "text") or (None if calls else "")}
    thought = _joined(message, "thinking") + reading.text(message.get("tool_plan"))
    if thought:
        made["reasoning_content"] = thought
    if calls:
        made["tool_calls"] = calls
    citations = [dict(each) for each in reading.objects(message.get("citations"))]
    if citations:
        made |= {"annotations": [note for each in citations for note in annotations_of(each)], "citations": citations}
    choice = {"index": 0, "message": made, "logprobs": logprobs_of(body.get("logprobs")), "finish_reason": reason}
    usage = usage_of(body.get("usage"))
    whole = {"id": reading.text(body.get("id")), "object": "chat.completion", "created": created, "model": model, "choices": [choice]}
    return chat_response(whole | ({"usage": usage} if usage is not None else {}))


def said_instead(body: Mapping[str, Any]) -> AnswerError | None:
    """The error in the place of an answer: its error bodies have a message that is text."""
    message = body.get("message")
    return reported(VendorError(message=message)) if isinstance(message, str) and message else None


def finish_reason(body: Mapping[str, Any]) -> str:
    """The canonical reason. Raises ``AnswerError`` where the answer was given up."""
    reason = body.get("finish_reason")
    if reason in ("ERROR", "TIMEOUT"):
        message = reading.text(body.get("error"))
        if reason == "TIMEOUT":
            raise AnswerError(Failure.TIMEOUT, message or "the vendor gave up the answer: it took too long")
        raise reported(VendorError(message=message or "the vendor gave up the answer because of an error", type="server_error"))
    return _FINISH.get(reading.text(reason), STOP)


def call_of(call: Mapping[str, Any]) -> dict[str, Any]:
    """One call of a tool."""
    function = reading.inner(call, "function")
    return {"id": reading.text(call.get("id")), "type": "function",
            "function": {"name": reading.text(function.get("name")), "arguments": reading.text(function.get("arguments"))}}


def annotations_of(citation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A citation as OpenAI's annotations, one a source: with the source's address where it has one."""
    place = {"start_index": reading.count(citation.get("start")), "end_index": reading.count(citation.get("end"))}
    found = []
    for source in reading.objects(citation.get("sources")):
        document = reading.inner(source, "document") or reading.inner(source, "tool_output")
        url, title = reading.text(document.get("url")), reading.text(document.get("title"))
        name = reading.text(source.get("id")) or reading.text(document.get("id"))
        found.append({"type": "url_citation", "url_citation": {**place, "url": url, "title": title or name}} if url else
                     {"type": "file_citation", "file_citation": {**place, "file_id": name, "filename": title or name}})
    return found


def logprobs_of(items: Any) -> dict[str, Any] | None:
    """Log probabilities as OpenAI writes them: those of a piece of several tokens are added up, as they are one event."""
    content = []
    for item in reading.objects(items):
        numbers = item.get("logprobs")
        piece = item.get("text")
        if isinstance(piece, str) and isinstance(numbers, list) and all(isinstance(each, int | float) for each in numbers):
            content.append({"token": piece, "logprob": float(sum(numbers)), "bytes": list(piece.encode("utf-8", "replace")), "top_logprobs": []})
    return {"content": content, "refusal": None} if content else None


def usage_of(usage: Any) -> dict[str, Any] | None:
    """Tokens as OpenAI writes them: all that the model read and wrote. ``billed_units`` has those that are paid for."""
    tokens, billed = reading.inner(usage, "tokens"), reading.inner(usage, "billed_units")
    known = tokens or billed
    if "input_tokens" not in known and "output_tokens" not in known:
        return None
    units = {name: reading.count(billed[name]) for name in ("input_tokens", "output_tokens") if name in billed}
    return usage_object(input=reading.count(known.get("input_tokens")), output=reading.count(known.get("output_tokens")),
                        cached=reading.count(reading.inner(usage).get("cached_tokens")), extra={"billed_units": units} if units else {})


def _joined(message: Mapping[str, Any], kind: str) -> str:
    """All texts of one kind of a message's content."""
    content = message.get("content")
    if isinstance(content, str):
        return content if kind == "text" else ""
    return "".join(_texts(reading.objects(content), kind))


def _texts(parts: Iterable[Mapping[str, Any]], kind: str) -> Iterable[str]:
    return (reading.text(part.get(kind)) for part in parts)
