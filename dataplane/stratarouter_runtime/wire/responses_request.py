"""OpenAI's Responses API, requests: the caller's body checked, and what it is as a chat.

Source: OpenAI API reference, "Create a model response". The door is stateless: nothing is kept between two requests, so that
``previous_response_id``, ``conversation``, ``item_reference`` and ``background`` are refused, and a conversation is sent whole.

Invariants: pure and total; what the chat form does not carry is named, as a hint where it does not change what is asked; a
``RequestError`` names the parameter. Items of one turn of the assistant (thoughts, text, calls) become one message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stratarouter_runtime.model.request import ChatRequest, Native

from . import openai_checks as checks
from .responses_items import Conversation
from .support import Unsupported

ENCRYPTED = "reasoning.encrypted_content"
LOGPROBS = "message.output_text.logprobs"

_CHECKS: Mapping[str, checks.Check] = {
    "background": checks.boolean, "include": checks.strings, "instructions": checks.string, "max_output_tokens": checks.positive,
    "max_tool_calls": checks.positive, "metadata": checks.mapping, "parallel_tool_calls": checks.boolean,
    "prompt_cache_key": checks.string, "reasoning": checks.mapping, "safety_identifier": checks.string, "service_tier": checks.string,
    "store": checks.boolean, "stream": checks.boolean, "stream_options": checks.mapping, "temperature": checks.not_negative,
    "text": checks.mapping, "tool_choice": checks.string_or_object, "tools": checks.objects, "top_logprobs": checks.integer,
    "top_p": checks.not_negative, "truncation": checks.string, "user": checks.string}

_STATE: Mapping[str, str] = {
    "previous_response_id": "responses are not kept here: send the whole conversation as 'input'",
    "conversation": "conversations are not kept here: send the whole conversation as 'input'",
    "background": "responses are not kept here to be fetched later"}

_SAME = ("temperature", "top_p", "parallel_tool_calls", "metadata", "user", "service_tier", "safety_identifier", "prompt_cache_key",
         "prompt_cache_retention")
"""What a chat has under the same name."""

_HINTS: Mapping[str, str] = {
    "max_tool_calls": "it bounds the vendor's own tools only", "prompt_cache_options": "it is about the vendor's prompt cache"}

_READ = frozenset({"model", "input", "instructions", "stream", "stream_options", "store", "include", "max_output_tokens", "reasoning",
                   "text", "tools", "tool_choice", "top_logprobs", "truncation", *_STATE, *_SAME})


def parse_responses(raw: bytes) -> ChatRequest:
    """A client's body as a validated request. Raises ``RequestError`` naming the parameter."""
    return check_responses(checks.parse_object(raw))


def check_responses(body: Mapping[str, Any]) -> ChatRequest:
    """A mapping in the API's shape as a validated request, with the body itself as ``native``. Raises ``RequestError``."""
    checks.check_model(body)
    checks.check_fields(body, _CHECKS)
    for name, why in _STATE.items():
        if body.get(name):
            raise checks.refusal(f"Unsupported parameter: '{name}': {why}.", param=name, code="unsupported_parameter")
    given = body.get("input")
    if given is None and body.get("prompt") is None:
        raise checks.missing("input")
    translation = _Translation(body)
    return ChatRequest(translation.made, native=Native("responses", body, tuple(translation.beyond), translated=translation.made))


class _Translation:
    """One request on its way into the chat form: ``made``, and what lies ``beyond`` it."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._body = body
        self.beyond: list[Unsupported] = []
        self.made: dict[str, Any] = {"model": body["model"], "messages": self._messages()}
        if body.get("stream"):
            # The last event tells the usage.
            self.made |= {"stream": True, "stream_options": {"include_usage": True}}
        self._put("max_tokens", body.get("max_output_tokens"))
        for name in _SAME:
            self._put(name, body.get(name))
        if body.get("store"):
            self.made["store"] = True
        self._reasoning()
        self._text()
        self._tools()
        self._included()
        if body.get("truncation") not in (None, "disabled"):
            self._beyond("truncation", "it has no such parameter", hint=True)
        for name, value in body.items():
            if name not in _READ and value is not None:
                self._beyond(name, _HINTS.get(name, "only the Responses API has it"), hint=name in _HINTS)

    def _put(self, name: str, value: Any) -> None:
        if value is not None:
            self.made[name] = value

    def _beyond(self, param: str, reason: str, *, hint: bool = False) -> None:
        self.beyond.append(Unsupported(param, reason, hint=hint))

    def _messages(self) -> list[Any]:
        conversation = Conversation(self.beyond)
        instructions, given = self._body.get("instructions"), self._body.get("input")
        if instructions:
            conversation.said("system", instructions)
        if isinstance(given, str):
            conversation.said("user", given)
        elif given is not None:
            conversation.items(given)
        messages = conversation.messages()
        if given == [] or not (messages or self.beyond or self._body.get("prompt")):
            raise checks.refusal("Invalid 'input': empty array. Expected an array with minimum length 1, but got an empty array instead.",
                                 param="input", code="empty_array")
        return messages

    def _reasoning(self) -> None:
        for name, value in (self._body.get("reasoning") or {}).items():
            if name == "effort":
                if value is not None:
                    checks.string(value, "reasoning.effort")
                    self.made["reasoning_effort"] = value
            elif value is not None:
                self._beyond(f"reasoning.{name}", "thoughts are told as the vendor tells them", hint=True)

    def _text(self) -> None:
        for name, value in (self._body.get("text") or {}).items():
            if value is None:
                continue
            if name == "verbosity":
                self.made["verbosity"] = value
            elif name == "format":
                self._format(value)
            else:
                self._beyond(f"text.{name}", "only the Responses API has it")

    def _format(self, value: Any) -> None:
        checks.mapping(value, "text.format")
        kind = value.get("type")
        if kind == "json_schema":
            if value.get("name") is None or value.get("schema") is None:
                raise checks.missing("text.format.name" if value.get("name") is None else "text.format.schema")
            inner = {name: value[name] for name in ("name", "description", "schema", "strict") if value.get(name) is not None}
            self.made["response_format"] = {"type": "json_schema", "json_schema": inner}
        elif kind == "json_object":
            self.made["response_format"] = {"type": "json_object"}
        elif kind != "text":
            self._beyond("text.format", "only the Responses API has it")

    def _tools(self) -> None:
        tools = []
        for index, tool in enumerate(self._body.get("tools") or ()):
            if tool.get("type") == "function":
                tools.append({"type": "function", "function": _function(tool, f"tools[{index}]")})
            else:
                self._beyond(f"tools[{index}]", "it is a tool of the Responses API, not a function")
        if tools:
            self.made["tools"] = tools
        choice = self._body.get("tool_choice")
        if isinstance(choice, str):
            if tools or choice not in ("auto", "none"):
                self.made["tool_choice"] = choice
        elif choice is not None:
            chosen = _choice(choice)
            if chosen is None:
                self._beyond("tool_choice", "it chooses a tool of the Responses API")
            else:
                self.made["tool_choice"] = chosen

    def _included(self) -> None:
        top = self._body.get("top_logprobs")
        self._put("top_logprobs", top or None)
        for index, name in enumerate(self._body.get("include") or ()):
            if name == LOGPROBS:
                self.made["logprobs"] = True
            elif name != ENCRYPTED:
                self._beyond(f"include[{index}]", "it is about tools of the Responses API", hint=True)
        if top:
            self.made["logprobs"] = True


def _function(tool: Mapping[str, Any], where: str) -> dict[str, Any]:
    if tool.get("name") is None:
        raise checks.missing(f"{where}.name")
    checks.string(tool["name"], f"{where}.name")
    return {name: tool[name] for name in ("name", "description", "parameters", "strict") if tool.get(name) is not None}


def _choice(choice: Mapping[str, Any]) -> Any:
    """A choice in the chat's shape; None where it has none."""
    if choice.get("type") == "function" and isinstance(choice.get("name"), str):
        return {"type": "function", "function": {"name": choice["name"]}}
    if choice.get("type") == "allowed_tools":
        listed = choice.get("tools")
        allowed = [{"type": "function", "function": {"name": each["name"]}} for each in (listed if isinstance(listed, list) else ())
                   if isinstance(each, Mapping) and each.get("type") == "function" and isinstance(each.get("name"), str)]
        if allowed and isinstance(listed, list) and len(allowed) == len(listed):
            return {"type": "allowed_tools", "allowed_tools": {"mode": choice.get("mode", "auto"), "tools": allowed}}
    return None


