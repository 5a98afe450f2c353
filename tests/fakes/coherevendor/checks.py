"""What Cohere refuses of a request; sources as in ``server``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fakes.scripted import Refused

CHAT_FIELDS = frozenset({
    "stream", "model", "messages", "tools", "strict_tools", "documents", "citation_options", "response_format", "safety_mode",
    "max_tokens", "stop_sequences", "temperature", "seed", "frequency_penalty", "presence_penalty", "k", "p", "logprobs",
    "tool_choice", "thinking", "priority", "raw_prompting"})
EMBED_FIELDS = frozenset({"texts", "images", "inputs", "model", "input_type", "max_tokens", "output_dimension", "embedding_types",
                          "truncate", "priority"})
_MESSAGE_FIELDS: Mapping[str, frozenset[str]] = {
    "system": frozenset({"role", "content"}), "user": frozenset({"role", "content"}),
    "assistant": frozenset({"role", "content", "tool_calls", "tool_plan", "citations"}),
    "tool": frozenset({"role", "content", "tool_call_id"})}
_PARTS: Mapping[str, frozenset[str]] = {
    "system": frozenset({"text"}), "user": frozenset({"text", "image_url"}), "assistant": frozenset({"text", "thinking"}),
    "tool": frozenset({"text", "document"})}
_RANGES: Mapping[str, tuple[float, float]] = {"frequency_penalty": (0, 1), "presence_penalty": (0, 1), "p": (0.01, 0.99), "k": (0, 500)}


def check_chat(body: Any) -> None:
    """Raise ``Refused`` where the vendor would."""
    _known(body, CHAT_FIELDS)
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refused(400, "invalid request: message must be at least 1 token long or tool results must be specified.")
    for message in messages:
        _check_message(message)
    for name, (low, high) in _RANGES.items():
        if name in body and not low <= body[name] <= high:
            raise Refused(400, f"invalid request: {name} must be between {low} and {high} inclusive.")
    if len(body.get("stop_sequences", ())) > 5:
        raise Refused(400, "invalid request: a maximum of 5 stop_sequences are allowed.")
    if body.get("tool_choice") not in (None, "REQUIRED", "NONE") or ("tool_choice" in body and not body.get("tools")):
        raise Refused(400, "invalid request: tool_choice must be REQUIRED or NONE and needs tools.")
    _check_format(body)
    for tool in body.get("tools", ()):
        if set(tool) != {"type", "function"} or not set(tool["function"]) <= {"name", "description", "parameters"}:
            raise Refused(422, "unknown field: parameter in tools is not a valid field")
        if not isinstance(tool["function"]["parameters"], dict):
            raise Refused(400, "invalid request: tool parameters must be an object.")


def _check_format(body: Mapping[str, Any]) -> None:
    wanted = body.get("response_format")
    if wanted is None:
        return
    if wanted.get("type") not in ("text", "json_object") or not set(wanted) <= {"type", "json_schema"}:
        raise Refused(400, "invalid request: response_format must be text or json_object.")
    if body.get("documents") or body.get("tools"):
        raise Refused(400, "invalid request: response_format is not supported with RAG.")


def _check_message(message: Any) -> None:
    role = message.get("role") if isinstance(message, dict) else None
    if role not in _MESSAGE_FIELDS:
        raise Refused(400, f"invalid request: unsupported role {role!r}")
    _known(message, _MESSAGE_FIELDS[role])
    content = message.get("content")
    if isinstance(content, list):
        for part in content:
            kind = part.get("type")
            if kind not in _PARTS[role] or kind not in part:
                raise Refused(400, f"invalid request: content of type {kind!r} is not supported in a message of role {role}")
    elif not isinstance(content, str) and not (role == "assistant" and message.get("tool_calls")):
        raise Refused(400, "message must not be empty in a turn")
    if role == "tool" and not message.get("tool_call_id"):
        raise Refused(400, "invalid request: tool_call_id must be specified")


def check_embed(body: Any) -> int:
    """How many inputs there are; raises ``Refused``."""
    _known(body, EMBED_FIELDS)
    given = [name for name in ("texts", "images", "inputs") if body.get(name)]
    if len(given) != 1:
        raise Refused(400, "invalid request: exactly one of texts, images and inputs must be set")
    if body.get("input_type") not in ("search_document", "search_query", "classification", "clustering", "image"):
        raise Refused(400, "invalid request: valid input_type must be provided with the provided model")
    count = len(body[given[0]])
    if count > 96:
        raise Refused(400, f"invalid request: total number of texts must be at most 96 - received {count}")
    if not set(body.get("embedding_types", ["float"])) <= {"float", "int8", "uint8", "binary", "ubinary", "base64"}:
        raise Refused(400, "invalid request: embedding_types is not valid")
    return count


def _known(body: Any, fields: Iterable[str]) -> None:
    if not isinstance(body, dict):
        raise Refused(400, "invalid request: the body is not a JSON object")
    odd = sorted(set(body) - set(fields))
    if odd:
        raise Refused(422, f"unknown field: parameter '{odd[0]}' is not a valid field")
