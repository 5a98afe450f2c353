"""OpenAI chat completions: requests and complete answers. Streams are in ``openai_stream``.

Source: OpenAI API reference, "Create chat completion". Invariant: what is not understood is kept, in both directions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from stratarouter_runtime.model.request import ChatRequest
from stratarouter_runtime.model.response import ChatResponse, Usage

from . import nesting
from . import openai_checks as checks
from .answers import bad_answer, reported
from .openai_errors import error_in


def _stream_options(value: Any, param: str) -> None:
    checks.mapping(value, param)
    for name in ("include_usage", "include_obfuscation"):
        if value.get(name) is not None:
            checks.boolean(value[name], f"{param}.{name}")


_CHECKS: Mapping[str, checks.Check] = {
    "audio": checks.mapping, "frequency_penalty": checks.decimal, "logit_bias": checks.mapping, "logprobs": checks.boolean,
    "max_completion_tokens": checks.positive, "max_tokens": checks.positive, "metadata": checks.mapping,
    "modalities": checks.string_or_strings, "n": checks.positive, "parallel_tool_calls": checks.boolean,
    "presence_penalty": checks.decimal, "reasoning_effort": checks.string, "response_format": checks.mapping,
    "seed": checks.integer, "service_tier": checks.string, "stop": checks.string_or_strings, "store": checks.boolean,
    "stream": checks.boolean, "stream_options": _stream_options, "temperature": checks.not_negative,
    "tool_choice": checks.string_or_object, "tools": checks.objects, "top_logprobs": checks.integer,
    "top_p": checks.not_negative, "user": checks.string}


def parse_chat(raw: bytes) -> ChatRequest:
    """A client's body as a validated request. Raises ``RequestError`` naming the parameter."""
    return check_chat(checks.parse_object(raw))


def check_chat(body: Mapping[str, Any]) -> ChatRequest:
    """An OpenAI-shaped mapping as a validated request. Raises ``RequestError`` naming the parameter."""
    checks.check_model(body)
    messages = body.get("messages")
    if messages is None:
        raise checks.missing("messages")
    if not isinstance(messages, list):
        raise checks.wrong_type("messages", "an array of objects", messages)
    if not messages:
        raise checks.refusal("Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty "
                             "array instead.", param="messages", code="empty_array")
    for index, message in enumerate(messages):
        _check_message(message, f"messages[{index}]")
    checks.check_fields(body, _CHECKS)
    if body.get("stream_options") is not None and not body.get("stream"):
        raise checks.refusal("The 'stream_options' parameter is only allowed when 'stream' is enabled.",
                             param="stream_options")
    return ChatRequest(body)


def upstream_chat(request: ChatRequest, *, model: str, stream: bool) -> bytes:
    """The body for a vendor of the same wire: the client's, with only what must change.

    A stream always asks for its usage, so that it is known; whoever forwards the events drops that chunk again where
    the client did not ask for it (``client_frames``).
    """
    body = {**request.body, "model": model}
    if stream:
        body["stream"] = True
        body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    else:
        body.pop("stream", None)
        body.pop("stream_options", None)
    return orjson.dumps(body)


def read_chat(raw: bytes) -> ChatResponse:
    """A vendor's successful body as a response; ``raw`` is kept as it is. Raises ``AnswerError``."""
    return chat_response(read_object(raw), raw)


def chat_response(body: Mapping[str, Any], raw: bytes | None = None) -> ChatResponse:
    """A completion as a response. Raises ``AnswerError`` where it has not the shape of one."""
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices:
        raise bad_answer("the vendor's answer has no choices")
    for choice in choices:
        if not isinstance(choice, Mapping) or not isinstance(choice.get("message"), Mapping):
            raise bad_answer("the vendor's answer has a choice without a message")
        content, calls = choice["message"].get("content"), choice["message"].get("tool_calls")
        if content is not None and not isinstance(content, str | list):
            raise bad_answer("the vendor's answer has content that is no text")
        if calls and not (isinstance(calls, list) and all(isinstance(call, Mapping) for call in calls)):
            raise bad_answer("the vendor's answer has tool calls that are no list of objects")
    finish = choices[0].get("finish_reason")
    return ChatResponse(raw=orjson.dumps(body) if raw is None else raw, body=body, model=model_of(body),
                        finish_reason=finish if isinstance(finish, str) else None, usage=usage_of(body))


def refreshed(body: Mapping[str, Any], *, id: str, created: int) -> bytes:  # noqa: A002 (OpenAI's name)
    """A stored completion as a new one: everything but its id and its time."""
    return orjson.dumps({**body, "id": id, "created": created})


def read_object(raw: bytes) -> dict[str, Any]:
    """A vendor's successful body as an object. Raises ``AnswerError``: not JSON, no object, or an error inside a 200."""
    if not raw.strip():
        raise bad_answer("the vendor's answer is empty")
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise bad_answer("the vendor's answer is not valid JSON") from None
    if not isinstance(body, dict) or nesting.too_deep(body, raw):
        raise bad_answer("the vendor's answer is not a JSON object, or nested too deeply")
    error = error_in(body)
    if error is not None:
        raise reported(error)
    return body


def model_of(body: Mapping[str, Any]) -> str:
    """The model that the vendor reports; empty where it reports none."""
    model = body.get("model")
    return model if isinstance(model, str) else ""


def usage_of(body: Mapping[str, Any]) -> Usage | None:
    """The tokens that a body reports, None where it reports none."""
    usage = body.get("usage")
    if not isinstance(usage, Mapping):
        return None
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not isinstance(prompt, int) and not isinstance(completion, int):
        return None
    details = usage.get("prompt_tokens_details")
    if not isinstance(details, Mapping):
        return Usage(input=_count(prompt), output=_count(completion), billed=_billed(usage.get("billed_units")))
    return Usage(input=_count(prompt), output=_count(completion), cached=_count(details.get("cached_tokens")),
                 billed=_billed(usage.get("billed_units")), stored=_count(details.get("cache_creation_tokens")))


def _billed(units: Any) -> tuple[int, int] | None:
    return (_count(units.get("input_tokens")), _count(units.get("output_tokens"))) if isinstance(units, Mapping) else None


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _check_message(message: Any, where: str) -> None:
    if type(message) is not dict:
        raise checks.wrong_type(where, "an object", message)
    role = message.get("role")
    if role is None:
        raise checks.missing(f"{where}.role")
    checks.string(role, f"{where}.role")
    content = message.get("content")
    if content is None:
        # Assistant turns may consist of tool calls alone.
        if role != "assistant":
            raise _no_content(message, f"{where}.content")
    elif type(content) is list:
        for index, part in enumerate(content):
            _check_part(part, f"{where}.content[{index}]")
    elif type(content) is not str:
        raise checks.wrong_type(f"{where}.content", "one of a string or array of objects", content)
    calls = message.get("tool_calls")
    if calls is not None:
        checks.objects(calls, f"{where}.tool_calls")


def _check_part(part: Any, where: str) -> None:
    if type(part) is not dict:
        raise checks.wrong_type(where, "an object", part)
    kind = part.get("type")
    if kind is None:
        raise checks.missing(f"{where}.type")
    checks.string(kind, f"{where}.type")
    if kind == "text":
        if part.get("text") is None:
            raise checks.missing(f"{where}.text")
        checks.string(part["text"], f"{where}.text")


def _no_content(message: Mapping[str, Any], param: str) -> Exception:
    if "content" in message:
        return checks.wrong_type(param, "one of a string or array of objects", None)
    return checks.missing(param)
