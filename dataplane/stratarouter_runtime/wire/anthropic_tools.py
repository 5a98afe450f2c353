"""Tools and the choice among them, as Anthropic's API takes them.

Functions become tools with an ``input_schema``; tools of Anthropic's own (``web_search_20250305``) pass as they are. A
structured answer that the model cannot give natively is asked for as the call of one more tool. Invariants: pure and total;
what has no place is noted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .anthropic_schema import native_schema
from .support import Unsupported

ANSWER = "strata_structured_answer"
"""The tool through which structured answers come."""

_OWN = re.compile(r"^[a-z_]+_20\d{6}$")
_ANSWER_TOLD = "Gives the final answer to the user. Call it exactly once, when the answer is complete."


class Tooling:
    """The tools of one request. ``strict``: whether the model can be held to a schema."""

    def __init__(self, body: Mapping[str, Any], notes: list[Unsupported], *, strict: bool) -> None:
        self._notes = notes
        self._strict = strict
        self._body = body
        self._extra: dict[str, Any] | None = None

    def answer_with(self, schema: Mapping[str, Any], told: str) -> None:
        """The answer is to be an object of this schema."""
        self._extra = {"name": ANSWER, "description": f"{_ANSWER_TOLD} {told}".rstrip(), "input_schema": {"type": "object", **schema}}

    def fields(self) -> dict[str, Any]:
        """``tools`` and ``tool_choice``, where there are any."""
        listed = self._body.get("tools")
        tools = [made for index, tool in enumerate(listed if isinstance(listed, list | tuple) else ())
                 if (made := self._tool(tool, f"tools[{index}]")) is not None]
        choice = self._choice()
        chosen = self._allowed()
        if chosen is not None:
            tools = [tool for tool in tools if tool.get("name") in chosen]
        if self._extra is not None:
            # With other tools about, the model may still call those first.
            forced = {"type": "tool", "name": ANSWER} if not tools or choice == {"type": "none"} else {"type": "any"}
            tools, choice = [*([] if choice == {"type": "none"} else tools), self._extra], forced
        if not tools:
            return {}
        if self._body.get("parallel_tool_calls") is False and choice != {"type": "none"}:
            choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
        return {"tools": tools, "tool_choice": choice} if choice is not None else {"tools": tools}

    def _leave(self, param: str, reason: str, *, hint: bool = False) -> None:
        self._notes.append(Unsupported(param, reason, hint))

    def _tool(self, tool: Any, where: str) -> dict[str, Any] | None:
        if isinstance(tool, Mapping):
            kind, function = tool.get("type"), tool.get("function")
            if isinstance(kind, str) and _OWN.match(kind):
                return dict(tool)
            if kind == "function" and isinstance(function, Mapping) and isinstance(function.get("name"), str):
                return self._function(function, tool, where)
        self._leave(where, "it knows functions and its own tools")
        return None

    def _choice(self) -> dict[str, Any] | None:
        choice = self._body.get("tool_choice")
        if choice is None:
            return None
        if choice in ("auto", "none"):
            return {"type": choice}
        if choice == "required":
            return {"type": "any"}
        if isinstance(choice, Mapping):
            function, allowed = choice.get("function"), choice.get("allowed_tools")
            if choice.get("type") == "function" and isinstance(function, Mapping) and isinstance(function.get("name"), str):
                return {"type": "tool", "name": function["name"]}
            if choice.get("type") == "allowed_tools" and isinstance(allowed, Mapping) and self._allowed() is not None:
                return {"type": "any" if allowed.get("mode") == "required" else "auto"}
        self._leave("tool_choice", "it knows the choices auto, none, required, a function, and allowed functions")
        return None

    def _allowed(self) -> frozenset[str] | None:
        """Names of the only tools that may be called."""
        choice = self._body.get("tool_choice")
        allowed = choice.get("allowed_tools") if isinstance(choice, Mapping) and choice.get("type") == "allowed_tools" else None
        tools = allowed.get("tools") if isinstance(allowed, Mapping) else None
        if not isinstance(tools, list | tuple):
            return None
        functions = [tool.get("function") for tool in tools if isinstance(tool, Mapping)]
        return frozenset(str(function.get("name")) for function in functions if isinstance(function, Mapping))

    def _function(self, function: Mapping[str, Any], tool: Mapping[str, Any], where: str) -> dict[str, Any]:
        parameters = function.get("parameters")
        schema: dict[str, Any] = {"type": "object", "properties": {}}
        if isinstance(parameters, Mapping) and parameters:
            schema = {"type": "object", **parameters}
        made: dict[str, Any] = {"name": function["name"], "input_schema": schema}
        if isinstance(function.get("description"), str) and function["description"]:
            made["description"] = function["description"]
        if function.get("strict") is True:
            held = native_schema(schema) if self._strict else None
            if held is None:
                self._leave(f"{where}.function.strict", "it cannot be held to that schema", hint=True)
            else:
                made |= {"input_schema": held, "strict": True}
        control = tool.get("cache_control", function.get("cache_control"))
        if isinstance(control, Mapping):
            made["cache_control"] = control
        return made
