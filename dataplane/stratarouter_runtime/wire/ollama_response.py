"""Ollama's own chat and embedding API: its answers, whole and streamed, in canonical form.

Source: Ollama's API documentation (``docs/api.md``). Its answers have no id, and older servers give calls none either: ``identity`` is what
both are made of. Invariants: total; raises nothing but ``AnswerError``; a stream is whole with ``done``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from stratarouter_runtime.model.request import EmbeddingsRequest
from stratarouter_runtime.model.response import Batch, ChatResponse, EmbeddingsResponse

from . import openai_errors, reading
from .answers import VendorError, bad_answer, reported
from .canonical_events import LENGTH, STOP, TOOL_CALLS, ChunkWriter, usage_object
from .json_events import JsonEventStream
from .ndjson import NdjsonDecoder
from .openai_chat import chat_response, model_of, read_object
from .openai_embeddings import embeddings_response
from .sse import MAX_EVENT

_LOADING = frozenset({"load", "unload"})
"""Reasons of a reply that is about the model in memory, not an answer."""
_NOT_FOUND = re.compile(r"\bmodel\b.*\bnot found\b|not found, try pulling it", re.IGNORECASE)


def parse_error(raw: bytes) -> VendorError:
    """The server's words in the body of an error reply."""
    return _told_apart(openai_errors.parse_error(raw))


def read_chat(raw: bytes, *, identity: str, created: int) -> ChatResponse:
    """The server's body as a response. Raises ``AnswerError``."""
    body = _good(read_object(raw))
    if not isinstance(body.get("message"), Mapping) or body.get("done") is False:
        raise bad_answer("the vendor's answer has no message, or is not complete")
    message = body["message"]
    calls = [_call(call, number, identity) for number, call in enumerate(reading.objects(message.get("tool_calls")))]
    made: dict[str, Any] = {"role": "assistant", "content": reading.text(message.get("content")) or (None if calls else "")}
    if reading.text(message.get("thinking")):
        made["reasoning_content"] = message["thinking"]
    if calls:
        made["tool_calls"] = calls
    choice = {"index": 0, "message": made, "logprobs": _logprobs(body.get("logprobs")), "finish_reason": _finish(body, called=bool(calls))}
    whole = {"id": f"chatcmpl-{identity}", "object": "chat.completion", "created": created, "model": model_of(body), "choices": [choice]}
    usage = _usage(body)
    return chat_response(whole | ({"usage": usage} if usage is not None else {}))


def read_embeddings(raw: bytes, request: EmbeddingsRequest) -> EmbeddingsResponse:
    """The server's vectors as a response. Raises ``AnswerError``."""
    body = _good(read_object(raw))
    vectors = body.get("embeddings")
    if not isinstance(vectors, list):
        raise bad_answer("the vendor's answer has no list of embeddings")
    tokens = reading.count(body.get("prompt_eval_count")) if "prompt_eval_count" in body else None
    return embeddings_response(vectors, request, model=model_of(body), tokens=tokens)


class OllamaStream(JsonEventStream):
    """Reads one stream of lines."""

    def __init__(self, *, identity: str, created: int, max_line: int = MAX_EVENT) -> None:
        super().__init__(NdjsonDecoder(max_line=max_line))
        self._identity = identity
        self._chunks = ChunkWriter(model="", created=created)
        self._chunks.named(id=f"chatcmpl-{identity}")
        self._opened = False
        self._calls = 0

    def _events(self, body: dict[str, Any]) -> Batch:
        _good(body)
        self._chunks.named(model=model_of(body))
        events: Batch = []
        if not self._opened:
            self._opened = True
            events.append(self._chunks.opening())
        events += self._said(reading.inner(body, "message"), body)
        if body.get("done") is True:
            events.append(self._chunks.finish(_finish(body, called=self._calls > 0)))
            usage = _usage(body)
            if usage is not None:
                events.append(self._chunks.usage(usage))
            events.append(self._chunks.done())
        return events

    def _said(self, message: Mapping[str, Any], body: Mapping[str, Any]) -> Batch:
        events: Batch = []
        thought, said = reading.text(message.get("thinking")), reading.text(message.get("content"))
        if thought:
            events.append(self._chunks.content({"reasoning_content": thought}))
        if said:
            events.append(self._chunks.content({"content": said}, logprobs=_logprobs(body.get("logprobs"))))
        for call in reading.objects(message.get("tool_calls")):
            events.append(self._chunks.content({"tool_calls": [{"index": self._calls, **_call(call, self._calls, self._identity)}]}))
            self._calls += 1
        return events


def _good(body: dict[str, Any]) -> dict[str, Any]:
    """The body where it reports no error."""
    error = openai_errors.error_in(body)
    if error is not None:
        raise reported(_told_apart(error))
    return body


def _told_apart(error: VendorError) -> VendorError:
    """In mid-stream an error has no status: a missing model shows in its words alone."""
    if not error.code and _NOT_FOUND.search(error.message):
        return VendorError(message=error.message, type=error.type, param=error.param, code="model_not_found")
    return error


def _finish(body: Mapping[str, Any], *, called: bool) -> str:
    reason = body.get("done_reason")
    if isinstance(reason, str) and reason in _LOADING:
        raise bad_answer("the vendor loaded or unloaded the model and gave no answer")
    if reason == "length":
        return LENGTH
    return TOOL_CALLS if called else STOP


def _call(call: Mapping[str, Any], number: int, identity: str) -> dict[str, Any]:
    function = reading.inner(call, "function")
    arguments = function.get("arguments")
    return {"id": reading.text(call.get("id")) or f"call_{identity}_{number}", "type": "function", "function": {
        "name": reading.text(function.get("name")), "arguments": arguments if isinstance(arguments, str) else _dumped(arguments)}}


def _dumped(arguments: Any) -> str:
    return orjson.dumps({} if arguments is None else arguments).decode()


def _usage(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """Without the input's count (servers leave it out for a prompt they had cached) the vendor has not told."""
    if "prompt_eval_count" not in body:
        return None
    return usage_object(input=reading.count(body["prompt_eval_count"]), output=reading.count(body.get("eval_count")))


def _logprobs(items: Any) -> dict[str, Any] | None:
    content = [{**made, "top_logprobs": [each for other in reading.objects(item.get("top_logprobs")) if (each := _logprob(other)) is not None]}
               for item in reading.objects(items) if (made := _logprob(item)) is not None]
    return {"content": content, "refusal": None} if content else None


def _logprob(item: Mapping[str, Any]) -> dict[str, Any] | None:
    token, number = item.get("token"), item.get("logprob")
    if not isinstance(token, str) or isinstance(number, bool) or not isinstance(number, int | float):
        return None
    return {"token": token, "logprob": number, "bytes": list(token.encode("utf-8", "replace"))}
