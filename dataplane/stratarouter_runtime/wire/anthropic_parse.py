"""Requests of Anthropic's Messages API at our door, in canonical form.

Source: Anthropic API reference, "Create a Message" and "Count Message tokens". Refusals are in Anthropic's words. What the
canonical form has no place for is named as ``beyond``: only Anthropic can serve it, which gets the caller's own body.
Invariants: pure; whatever JSON is given, nothing but ``RequestError`` is raised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stratarouter_runtime.model.errors import RequestError
from stratarouter_runtime.model.request import ChatRequest, Native

from . import openai_checks
from .anthropic_schema import strict
from .anthropic_turns import Turns
from .support import Unsupported

HEADERS = ("anthropic-beta", "anthropic-version")
"""Headers of a caller that belong to its request."""

MAX_USER = 256

_SAID = frozenset({
    "model", "messages", "max_tokens", "system", "metadata", "stop_sequences", "stream", "temperature", "top_p", "top_k", "tools",
    "tool_choice", "thinking", "output_config", "output_format"})
"""Fields that the canonical form carries."""
_HINTS: Mapping[str, str] = {
    "cache_control": "only Anthropic's prompt cache is told what to keep", "service_tier": "only Anthropic has its tiers",
    "speed": "only Anthropic has its speeds", "diagnostics": "only Anthropic tells them", "context_management": "only Anthropic edits contexts",
    "user_profile_id": "only Anthropic knows it", "workspace_id": "only Anthropic knows it"}
"""Fields that change nothing of what is asked."""
_BUDGETS = ((2_048, "minimal"), (8_192, "low"), (16_384, "medium"))
"""Thinking budgets below these are such an effort; larger ones are ``high``."""
_CHOICES: Mapping[str, str] = {"auto": "auto", "any": "required", "none": "none"}


def parse_messages(raw: bytes, headers: Mapping[str, str] | None = None, *, counting: bool = False) -> ChatRequest:
    """A client's body as a request with the body itself as ``native``. ``counting``: its tokens are to be counted, so that no
    ``max_tokens`` is needed. ``headers`` in any case. Raises ``RequestError``.
    """
    body = _object(raw)
    _check(body, counting=counting)
    kept = {name: value for name in HEADERS if (value := (headers or {}).get(name))}
    translation = _Translation(body)
    return ChatRequest(translation.made, native=Native("anthropic", body, tuple(translation.beyond), translated=translation.made, headers=kept))


def _object(raw: bytes) -> dict[str, Any]:
    try:
        return openai_checks.parse_object(raw)
    except RequestError as error:
        told = "The request body is not valid JSON" if error.message == openai_checks.UNPARSABLE else error.message
        raise _refused(told, None) from None


def _refused(message: str, param: str | None) -> RequestError:
    return RequestError("InvalidRequest", message, param=param)


def _check(body: Mapping[str, Any], *, counting: bool) -> None:
    for name in ("model", "messages") if counting else ("model", "max_tokens", "messages"):
        if body.get(name) is None:
            raise _refused(f"{name}: Field required", name)
    _is(body["model"], str, "model", "string")
    if not body["model"]:
        raise _refused("model: String should have at least 1 character", "model")
    if len(body["model"]) > openai_checks.MAX_MODEL:
        openai_checks.check_model(body)
    _is(body["messages"], list, "messages", "list")
    if not body["messages"]:
        raise _refused("messages: at least one message is required", "messages")
    for name, kind, word in _OPTIONAL:
        if body.get(name) is not None:
            _is(body[name], kind, name, word)
    if (body.get("max_tokens") or 0) < 0:
        raise _refused("max_tokens: Input should be greater than or equal to 0", "max_tokens")
    for index, message in enumerate(body["messages"]):
        _check_message(message, f"messages.{index}")


_NUMBER = (int, float)
_OPTIONAL: tuple[tuple[str, type | tuple[type, ...], str], ...] = (
    ("max_tokens", int, "integer"), ("stream", bool, "boolean"), ("system", (str, list), "string"), ("tools", list, "list"), ("tool_choice", dict, "dictionary"),
    ("metadata", dict, "dictionary"), ("stop_sequences", list, "list"), ("thinking", dict, "dictionary"), ("output_config", dict, "dictionary"),
    ("temperature", _NUMBER, "number"), ("top_p", _NUMBER, "number"), ("top_k", int, "integer"))


def _is(value: Any, kind: type | tuple[type, ...], where: str, word: str) -> None:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise _refused(f"{where}: Input should be a valid {word}", where)


def _check_message(message: Any, where: str) -> None:
    _is(message, dict, where, "dictionary")
    role = message.get("role")
    if role not in ("user", "assistant", "system"):
        raise _refused(f"{where}.role: Input should be 'user' or 'assistant'" if role is not None else f"{where}.role: Field required", where)
    if message.get("content") is None:
        raise _refused(f"{where}.content: Field required", where)
    _is(message["content"], (str, list), f"{where}.content", "list")
    blocks = message["content"] if isinstance(message["content"], list) else ()
    for index, block in enumerate(blocks):
        _is(block, dict, f"{where}.content.{index}", "dictionary")
        if not isinstance(block.get("type"), str):
            raise _refused(f"{where}.content.{index}.type: Field required", where)


class _Translation:
    """One request on its way: ``made`` in canonical form, and what lies ``beyond`` it."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._body = body
        turns = Turns()
        turns.system(body.get("system"))
        for index, message in enumerate(body["messages"]):
            turns.add(message, f"messages[{index}]")
        self.beyond: list[Unsupported] = turns.beyond
        self.made: dict[str, Any] = {"model": body["model"], "messages": turns.messages}
        steps: tuple[Callable[[], None], ...] = (self._limits, self._tools, self._choice, self._thinking, self._format, self._rest)
        for step in steps:
            step()

    def _leave(self, param: str, reason: str, *, hint: bool = False) -> None:
        self.beyond.append(Unsupported(param, reason, hint))

    def _limits(self) -> None:
        body, made = self._body, self.made
        if body.get("stream"):
            # The last events tell the usage.
            made |= {"stream": True, "stream_options": {"include_usage": True}}
        if body.get("max_tokens"):
            made["max_tokens"] = body["max_tokens"]
        elif body.get("max_tokens") == 0:
            self._leave("max_tokens", "only Anthropic fills its prompt cache without answering")
        made |= {name: body[name] for name in ("temperature", "top_p", "top_k") if body.get(name) is not None}
        stops = [each for each in body.get("stop_sequences") or () if isinstance(each, str)]
        if stops:
            made["stop"] = stops
        user = (body.get("metadata") or {}).get("user_id")
        if isinstance(user, str) and 0 < len(user) <= MAX_USER:
            made["user"] = user

    def _tools(self) -> None:
        tools = []
        for index, tool in enumerate(self._body.get("tools") or ()):
            if not isinstance(tool, Mapping) or tool.get("type") not in (None, "custom") or not isinstance(tool.get("name"), str):
                self._leave(f"tools[{index}]", "only Anthropic has this tool")
                continue
            function: dict[str, Any] = {"name": tool["name"], "parameters": tool.get("input_schema") or {"type": "object", "properties": {}}}
            if isinstance(tool.get("description"), str):
                function["description"] = tool["description"]
            if tool.get("strict") is True and strict(function["parameters"]):
                function["strict"] = True
            tools.append({"type": "function", "function": function})
        if tools:
            self.made["tools"] = tools

    def _choice(self) -> None:
        choice = self._body.get("tool_choice")
        if not choice or "tools" not in self.made:
            return
        kind = choice.get("type")
        if kind in _CHOICES:
            self.made["tool_choice"] = _CHOICES[kind]
        elif kind == "tool" and isinstance(choice.get("name"), str):
            self.made["tool_choice"] = {"type": "function", "function": {"name": choice["name"]}}
        else:
            raise _refused(f"tool_choice: Input tag '{str(kind)[:64]}' found using 'type' does not match any of the expected tags: 'auto', 'any', "
                           "'tool', 'none'", "tool_choice")
        if choice.get("disable_parallel_tool_use") is True:
            self.made["parallel_tool_calls"] = False

    def _thinking(self) -> None:
        thinking, config = self._body.get("thinking") or {}, self._body.get("output_config") or {}
        budget, effort = thinking.get("budget_tokens"), config.get("effort")
        if thinking.get("type") == "enabled" and type(budget) is int:
            self.made["reasoning_effort"] = next((name for most, name in _BUDGETS if budget < most), "high")
        elif thinking.get("type") in ("disabled", "between_tools"):
            return  # what a model does that is told nothing
        elif isinstance(effort, str):
            self.made["reasoning_effort"] = "xhigh" if effort == "max" else effort

    def _format(self) -> None:
        config = self._body.get("output_config") or {}
        form = config.get("format") or self._body.get("output_format")
        if not isinstance(form, Mapping):
            return
        if form.get("type") != "json_schema" or not isinstance(form.get("schema"), Mapping):
            self._leave("output_config.format", "only Anthropic has this format")
            return
        schema: dict[str, Any] = {"name": "answer", "schema": form["schema"]}
        if strict(form["schema"]):
            schema["strict"] = True
        self.made["response_format"] = {"type": "json_schema", "json_schema": schema}

    def _rest(self) -> None:
        for name, value in self._body.items():
            if name in _SAID or value is None:
                continue
            hint = name in _HINTS
            self._leave(name, _HINTS.get(name, "only Anthropic may have a place for it"), hint=hint)


