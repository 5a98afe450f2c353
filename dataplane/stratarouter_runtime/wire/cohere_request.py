"""Cohere's chat API, version 2: the canonical request as its body.

Source: Cohere API reference, "Chat (v2)", and its guides on tools, documents, structured outputs and reasoning. Its
own parameters (``documents``, ``citation_options``, ``safety_mode``, ``thinking``, ...) are taken from the canonical body under
their own names. Invariants: total; what has no place there is left out and named by ``unsupported``, nothing else is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from . import reading
from .cohere_messages import messages_of
from .support import Unsupported

OWN = ("documents", "citation_options", "safety_mode", "strict_tools", "priority", "k", "p", "raw_prompting")
"""Cohere's parameters that no canonical one stands for."""

_SAME = ("temperature", "seed")
_HINTS: Mapping[str, str] = {
    "metadata": "it stores no metadata", "parallel_tool_calls": "how many tools are called at once is the model's choice",
    "prediction": "it takes no predicted output", "prompt_cache_key": "it caches prompts by itself",
    "prompt_cache_retention": "it caches prompts by itself", "safety_identifier": "it takes no end user",
    "service_tier": "it has no service tiers", "store": "it stores no answers", "user": "it takes no end user",
    "verbosity": "it takes no verbosity"}
_HERE = frozenset({"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "top_p", "top_k", "stop",
                   "n", "logprobs", "top_logprobs", "frequency_penalty", "presence_penalty", "tools", "tool_choice",
                   "response_format", "reasoning_effort", "thinking", "modalities", *OWN, *_SAME})
_TOKENS_OF_EFFORT: Mapping[str, int | None] = {"minimal": 512, "low": 2_048, "medium": 8_192, "high": None, "xhigh": None}
"""How many tokens a model may think; None: as many as it likes."""

MAX_STOPS = 5


def upstream_chat(body: Mapping[str, Any], *, model: str, stream: bool) -> bytes:
    """The vendor's body."""
    return orjson.dumps({"model": model, "stream": stream, **_Encoding(body).fields})


def unsupported(body: Mapping[str, Any]) -> list[Unsupported]:
    """What ``upstream_chat`` leaves out."""
    return _Encoding(body).left


class _Encoding:
    """One request on its way into the dialect: ``fields`` go out, ``left`` have no place there."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._body = body
        self.left: list[Unsupported] = []
        self.fields: dict[str, Any] = {"messages": messages_of(body.get("messages"), self.left)}
        for name in (*OWN, *_SAME):
            self._put(name, body.get(name))
        self._limits()
        self._sampling()
        self._probabilities()
        self._tools()
        self._format()
        self._thinking()
        for name, value in body.items():
            if name not in _HERE and value is not None:
                self._leave(name, _HINTS.get(name, "it has no such parameter"), hint=name in _HINTS)

    def _put(self, name: str, value: Any) -> None:
        if value is not None:
            self.fields[name] = value

    def _leave(self, param: str, reason: str, *, hint: bool = False) -> None:
        self.left.append(Unsupported(param, reason, hint=hint))

    def _limits(self) -> None:
        body = self._body
        wanted = body.get("max_completion_tokens")
        self._put("max_tokens", body.get("max_tokens") if wanted is None else wanted)
        stop = body.get("stop")
        stops = [stop] if isinstance(stop, str) else stop
        if stops and len(stops) > MAX_STOPS:
            self._leave("stop", f"it takes no more than {MAX_STOPS} stop sequences")
        elif stops:
            self.fields["stop_sequences"] = stops
        if (body.get("n") or 1) != 1:
            self._leave("n", "it gives one answer a request")
        modalities = body.get("modalities")
        if modalities and modalities not in ("text", ["text"]):
            self._leave("modalities", "it answers in text only")

    def _sampling(self) -> None:
        body = self._body
        for theirs, ours in (("p", "top_p"), ("k", "top_k")):
            if theirs not in self.fields:
                self._put(theirs, body.get(ours))
        for name in ("frequency_penalty", "presence_penalty"):
            value = body.get(name)
            if isinstance(value, int | float) and not 0 <= value <= 1:
                self._leave(name, "it takes penalties from 0 to 1")
            else:
                self._put(name, value)

    def _probabilities(self) -> None:
        if self._body.get("logprobs"):
            self.fields["logprobs"] = True
        if self._body.get("top_logprobs"):
            self._leave("top_logprobs", "it gives log probabilities of the chosen tokens only")

    def _tools(self) -> None:
        tools, strict = self._functions()
        choice = self._body.get("tool_choice")
        named = None
        if isinstance(choice, Mapping):
            choice, named = self._narrowed(choice)
        if named is not None:
            tools = [tool for tool in tools if tool["function"]["name"] in named]
        if choice not in (None, "auto", "none", "required") or (named is not None and not tools):
            self._leave("tool_choice", "it knows no such choice")
        elif tools and choice in ("none", "required"):
            self.fields["tool_choice"] = choice.upper()
        elif choice == "required":
            self._leave("tool_choice", "it has no tool to choose")
        if tools:
            self.fields["tools"] = tools
            if strict and "strict_tools" not in self.fields:
                self.fields["strict_tools"] = True

    def _functions(self) -> tuple[list[dict[str, Any]], bool]:
        tools: list[dict[str, Any]] = []
        strict = False
        for index, tool in enumerate(self._body.get("tools") or ()):
            function = reading.inner(tool, "function")
            name = reading.text(function.get("name"))
            if tool.get("type", "function") != "function" or not name:
                self._leave(f"tools[{index}]", "it takes functions only")
                continue
            strict = strict or function.get("strict") is True
            parameters = function.get("parameters")
            made = {"name": name, "parameters": parameters if isinstance(parameters, Mapping) else {"type": "object", "properties": {}}}
            if isinstance(function.get("description"), str):
                made["description"] = function["description"]
            tools.append({"type": "function", "function": made})
        return tools, strict

    @staticmethod
    def _narrowed(choice: Mapping[str, Any]) -> tuple[Any, frozenset[str] | None]:
        """A choice among some tools as a choice among all: the others are not sent."""
        kind = choice.get("type")
        if kind == "allowed_tools":
            allowed = reading.inner(choice, "allowed_tools")
            names = frozenset(reading.text(reading.inner(tool, "function").get("name")) for tool in reading.objects(allowed.get("tools")))
            return allowed.get("mode"), names
        name = reading.inner(choice, "function").get("name")
        return ("required", frozenset({name})) if kind == "function" and isinstance(name, str) else (kind or "", None)

    def _format(self) -> None:
        wanted = self._body.get("response_format")
        kind = wanted.get("type") if isinstance(wanted, Mapping) else None
        if wanted is None or kind == "text":
            return
        schema = reading.inner(wanted, "json_schema").get("schema")
        if kind not in ("json_object", "json_schema") or (kind == "json_schema" and not isinstance(schema, Mapping)):
            self._leave("response_format", "it knows text, json_object and json_schema")
        elif "tools" in self.fields or self.fields.get("documents"):
            self._leave("response_format", "it takes no format together with tools or documents")
        else:
            # Its own name for the schema stands beside the type.
            own = wanted.get("schema", wanted.get("json_schema")) if kind == "json_object" else schema
            self.fields["response_format"] = {"type": "json_object", **({"json_schema": own} if isinstance(own, Mapping) else {})}

    def _thinking(self) -> None:
        given, effort = self._body.get("thinking"), self._body.get("reasoning_effort")
        if isinstance(given, Mapping):
            thinking = dict(given)
            budget = thinking.pop("budget_tokens", None)
            if budget is not None:
                thinking.setdefault("token_budget", budget)
            self.fields["thinking"] = thinking
        elif given is not None:
            self._leave("thinking", "it takes an object with a type")
        elif effort == "none":
            self.fields["thinking"] = {"type": "disabled"}
        elif isinstance(effort, str) and effort in _TOKENS_OF_EFFORT:
            budget = _TOKENS_OF_EFFORT[effort]
            self.fields["thinking"] = {"type": "enabled"} | ({"token_budget": budget} if budget else {})
        elif effort is not None:
            self._leave("reasoning_effort", "it knows none, minimal, low, medium and high", hint=True)
