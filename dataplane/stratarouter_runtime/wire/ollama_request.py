"""Ollama's own chat and embedding API: canonical requests as its bodies.

Source: Ollama's API documentation (``docs/api.md``) and its translation of OpenAI's requests. Its own parameters (``options``, ``keep_alive``,
``think``, ...) are taken from the canonical body under their own names. Invariants: total; what has no place there is left
out and named by ``unsupported``, nothing else is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from stratarouter_runtime.model.errors import RequestError
from stratarouter_runtime.model.request import EmbeddingsRequest

from . import reading
from .ollama_messages import messages_of
from .support import Unsupported

OWN = ("keep_alive", "truncate", "shift")
"""Its parameters beside ``options``, ``format`` and ``think``, which are translated to as well."""
OPTIONS = ("temperature", "top_p", "seed", "frequency_penalty", "presence_penalty", "top_k", "min_p", "repeat_penalty", "num_ctx")
"""Parameters that it takes among its options under the same name."""

_HINTS: Mapping[str, str] = {
    "metadata": "it stores no metadata", "parallel_tool_calls": "how many tools are called at once is the model's choice",
    "prediction": "it takes no predicted output", "prompt_cache_key": "it caches prompts by itself",
    "prompt_cache_retention": "it caches prompts by itself", "safety_identifier": "it takes no end user",
    "service_tier": "it has no service tiers", "store": "it stores no answers", "user": "it takes no end user",
    "verbosity": "it takes no verbosity"}
_HERE = frozenset({"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "stop", "n", "logprobs", "top_logprobs",
                   "tools", "tool_choice", "response_format", "format", "reasoning_effort", "think", "modalities", "options", *OWN, *OPTIONS})
_EFFORTS: Mapping[str, Any] = {"none": False, "minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high"}


def upstream_chat(body: Mapping[str, Any], *, model: str, stream: bool) -> bytes:
    """The server's body."""
    return orjson.dumps({"model": model, "stream": stream, **_Encoding(body).fields})


def unsupported(body: Mapping[str, Any]) -> list[Unsupported]:
    """What ``upstream_chat`` leaves out."""
    return _Encoding(body).left


def upstream_embeddings(request: EmbeddingsRequest, *, model: str) -> bytes:
    """The server's body for all inputs. Raises ``RequestError`` for inputs that are tokens."""
    if any(not isinstance(each, str) for each in request.inputs):
        raise RequestError("InvalidRequest", "Invalid 'input': the provider takes texts, not tokens.", param="input", code="invalid_type")
    names = ("dimensions", "truncate", "keep_alive", "options")
    return orjson.dumps({"model": model, "input": request.inputs, **{name: request.body[name] for name in names if request.body.get(name) is not None}})


class _Encoding:
    """One request on its way into the dialect: ``fields`` go out, ``left`` have no place there."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._body = body
        self.left: list[Unsupported] = []
        self.fields: dict[str, Any] = {"messages": messages_of(body.get("messages"), self.left)}
        self.fields |= {name: body[name] for name in OWN if body.get(name) is not None}
        self._options()
        self._tools()
        self._format()
        self._think()
        self._probabilities()
        for name, value in body.items():
            if name not in _HERE and value is not None:
                self._leave(name, _HINTS.get(name, "it has no such parameter"), hint=name in _HINTS)

    def _leave(self, param: str, reason: str, *, hint: bool = False) -> None:
        self.left.append(Unsupported(param, reason, hint=hint))

    def _options(self) -> None:
        body = self._body
        given = body.get("options")
        if given is not None and not isinstance(given, Mapping):
            self._leave("options", "it takes an object of options")
        options = dict(given) if isinstance(given, Mapping) else {}
        options |= {name: body[name] for name in OPTIONS if body.get(name) is not None}
        limit = body.get("max_completion_tokens")
        limit = body.get("max_tokens") if limit is None else limit
        if limit is not None:
            options["num_predict"] = limit
        stop = body.get("stop")
        if stop:
            options["stop"] = [stop] if isinstance(stop, str) else stop
        if options:
            self.fields["options"] = options
        if (body.get("n") or 1) != 1:
            self._leave("n", "it gives one answer a request")
        modalities = body.get("modalities")
        if modalities and modalities not in ("text", ["text"]):
            self._leave("modalities", "it answers in text only")

    def _tools(self) -> None:
        choice = self._body.get("tool_choice")
        named = None
        if isinstance(choice, Mapping) and choice.get("type") == "allowed_tools":
            allowed = reading.inner(choice, "allowed_tools")
            choice = allowed.get("mode")
            named = [reading.inner(tool, "function").get("name") for tool in reading.objects(allowed.get("tools"))]
        tools = [tool for tool in self._functions() if named is None or tool["function"]["name"] in named]
        if choice not in (None, "auto", "none"):
            self._leave("tool_choice", "it leaves the choice of a tool to the model")
        # Without the tools none can be called.
        if tools and choice != "none":
            self.fields["tools"] = tools

    def _functions(self) -> list[dict[str, Any]]:
        tools = []
        for index, tool in enumerate(self._body.get("tools") or ()):
            function = reading.inner(tool, "function")
            if tool.get("type", "function") != "function" or not isinstance(function.get("name"), str):
                self._leave(f"tools[{index}]", "it takes functions only")
                continue
            parameters = function.get("parameters")
            made = {"name": function["name"], "description": reading.text(function.get("description")),
                    "parameters": parameters if isinstance(parameters, Mapping) else {"type": "object", "properties": {}}}
            tools.append({"type": "function", "function": made})
        return tools

    def _format(self) -> None:
        own, wanted = self._body.get("format"), self._body.get("response_format")
        kind = wanted.get("type") if isinstance(wanted, Mapping) else None
        schema = reading.inner(wanted, "json_schema").get("schema")
        if own is not None:
            self.fields["format"] = own
        elif kind == "json_object":
            self.fields["format"] = "json"
        elif kind == "json_schema" and isinstance(schema, Mapping):
            self.fields["format"] = schema
        elif wanted is not None and kind != "text":
            self._leave("response_format", "it knows text, json_object and json_schema")

    def _think(self) -> None:
        given, effort = self._body.get("think"), self._body.get("reasoning_effort")
        if given is not None:
            self.fields["think"] = given
        elif isinstance(effort, str) and effort in _EFFORTS:
            self.fields["think"] = _EFFORTS[effort]
        elif effort is not None:
            self._leave("reasoning_effort", "it knows none, minimal, low, medium and high", hint=True)

    def _probabilities(self) -> None:
        if self._body.get("logprobs"):
            self.fields["logprobs"] = True
            if self._body.get("top_logprobs"):
                self.fields["top_logprobs"] = self._body["top_logprobs"]
        elif self._body.get("top_logprobs"):
            self._leave("top_logprobs", "it gives them with logprobs only")
