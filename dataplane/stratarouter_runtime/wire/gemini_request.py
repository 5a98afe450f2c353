"""Canonical chat requests as the bodies of Gemini's ``generateContent`` and ``streamGenerateContent``.

Sources: Gemini API reference, "GenerateContentRequest" and "GenerationConfig"; Google's table of ``reasoning_effort`` in
"OpenAI compatibility"; Vertex AI takes the same. Invariant: the encoder leaves out exactly what ``unsupported`` names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from . import gemini_thoughts as thoughts
from .gemini_contents import Contents
from .gemini_tools import choice_of, tools_of
from .reading import inner, items, text
from .support import Unsupported

MAX_STOPS = 5
_SEEDS = range(-2**31, 2**31)

_PLAIN: Mapping[str, str] = {"temperature": "temperature", "top_p": "topP", "top_k": "topK", "n": "candidateCount",
                             "presence_penalty": "presencePenalty", "frequency_penalty": "frequencyPenalty"}
_ELSEWHERE = frozenset({"model", "messages", "tools", "tool_choice", "web_search_options", "stream", "stream_options"})
"""What other functions translate, or what is said by the address."""
_HINTS: Mapping[str, str] = {
    "user": "Gemini knows no end users", "metadata": "Gemini keeps no metadata", "store": "Gemini keeps no answers",
    "service_tier": "Gemini has other tiers", "prediction": "Gemini takes no predicted output",
    "cache_control": "Gemini caches by itself", "prompt_cache_key": "Gemini caches by itself", "prompt_cache_retention": "Gemini caches by itself",
    "safety_identifier": "Gemini knows no end users", "verbosity": "Gemini's answers have no such setting"}
_NOTHING_ASKED: Mapping[str, tuple[Any, ...]] = {
    "service_tier": ("auto", "default"), "store": (False,), "logit_bias": ({},), "verbosity": ("medium",), "metadata": ({},),
    "parallel_tool_calls": (True,), "functions": ([],), "function_call": ("auto", "none")}
"""Values by which a parameter asks for what Gemini does anyway."""

_BUDGETS: Mapping[str, int] = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 24_576}
_LEVELS: Mapping[str, str] = {"none": "MINIMAL", "minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "HIGH"}
_LEVELS_PRO: Mapping[str, str] = {**_LEVELS, "none": "LOW", "minimal": "LOW"}
"""Pro models always think."""


def upstream_chat(body: Mapping[str, Any], *, model: str) -> bytes:
    """The body for the vendor; ``model`` as the vendor knows it. Whether it is streamed is said by the address."""
    return orjson.dumps(translate(body, model)[0])


def unsupported(body: Mapping[str, Any]) -> list[Unsupported]:
    """All of a request that Gemini has no place for. Never raises, whatever JSON the body is."""
    return translate(body)[1]


def translate(body: Mapping[str, Any], model: str = "") -> tuple[dict[str, Any], list[Unsupported]]:
    """The vendor's request, and what is left out of it."""
    contents = Contents(body.get("messages"), model)
    left_out = contents.left_out
    made: dict[str, Any] = {"contents": contents.contents}
    if contents.system:
        made["systemInstruction"] = {"parts": contents.system}
    tools = tools_of(body, left_out)
    if tools:
        made["tools"] = tools
    choice = choice_of(body, model, left_out)
    if choice is not None and tools and "functionDeclarations" in tools[0]:
        made["toolConfig"] = {"functionCallingConfig": choice}
    config = _Config(body, model, left_out)
    if config.made:
        made["generationConfig"] = config.made
    made |= config.beside
    return made, left_out


class _Config:
    """``generationConfig``, and what stands beside it in the request."""

    def __init__(self, body: Mapping[str, Any], model: str, left_out: list[Unsupported]) -> None:
        self.made: dict[str, Any] = {}
        self.beside: dict[str, Any] = {}
        self._model = model
        self._left_out = left_out
        for name, value in body.items():
            if value is None or name in _ELSEWHERE or _asks_nothing(name, value):
                continue
            plain = _PLAIN.get(name)
            if plain is not None:
                self.made[plain] = value
            else:
                special = getattr(self, f"_{name}", None) if name in _SPECIAL else None
                if special is not None:
                    special(value)
                else:
                    self._leave(name, _HINTS.get(name) or "Gemini has no such parameter", hint=name in _HINTS)
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        if limit is not None:
            self.made["maxOutputTokens"] = limit
        if "logprobs" in self.made and "responseLogprobs" not in self.made:
            del self.made["logprobs"]
            self._leave("top_logprobs", "log probabilities are not asked for")

    def _leave(self, param: str, reason: str, *, hint: bool = False) -> None:
        self._left_out.append(Unsupported(param, reason, hint=hint))

    def _stop(self, value: Any) -> None:
        stops = [value] if isinstance(value, str) else items(value)
        if len(stops) > MAX_STOPS:
            self._leave("stop", f"Gemini takes at most {MAX_STOPS} stop sequences")
        elif stops:
            self.made["stopSequences"] = stops

    def _seed(self, value: Any) -> None:
        if isinstance(value, int) and value in _SEEDS:
            self.made["seed"] = value
        else:
            self._leave("seed", "Gemini's seeds have 32 bits")

    def _logprobs(self, value: Any) -> None:
        if value is True:
            self.made["responseLogprobs"] = True

    def _top_logprobs(self, value: Any) -> None:
        self.made["logprobs"] = value

    def _parallel_tool_calls(self, value: Any) -> None:  # noqa: ARG002 (only false comes here)
        self._leave("parallel_tool_calls", "Gemini decides itself how many tools it calls at once", hint=True)

    def _modalities(self, value: Any) -> None:
        wanted = [text(each) for each in items(value)]
        if not wanted or not set(wanted) <= {"text", "image"}:
            self._leave("modalities", "Gemini answers here with text and images alone")
        elif "image" in wanted:
            self.made["responseModalities"] = [each.upper() for each in wanted]

    def _response_format(self, value: Any) -> None:
        kind = inner(value).get("type")
        if kind == "text":
            return
        schema = inner(inner(value).get("json_schema")).get("schema")
        if kind == "json_object" or (kind == "json_schema" and schema is None):
            self.made["responseMimeType"] = "application/json"
        elif kind == "json_schema" and isinstance(schema, Mapping):
            self.made |= {"responseMimeType": "application/json", "responseJsonSchema": schema}
        else:
            self._leave("response_format", "Gemini answers with text, JSON, or JSON after a schema alone")

    def _reasoning_effort(self, value: Any) -> None:
        effort = text(value)
        if effort not in _BUDGETS:
            self._leave("reasoning_effort", "Gemini knows no such effort")
        elif thoughts.version(self._model) >= 3:
            levels = _LEVELS_PRO if "pro" in self._model else _LEVELS
            self._think({"thinkingLevel": levels[effort], "includeThoughts": effort != "none"})
        elif effort == "none":
            self._think({"thinkingBudget": 0})
        else:
            self._think({"thinkingBudget": _BUDGETS[effort], "includeThoughts": True})

    def _thinking(self, value: Any) -> None:
        """As Anthropic's API says it: on with a budget, on without one, off."""
        kind, budget = inner(value).get("type"), inner(value).get("budget_tokens")
        if kind == "enabled" and isinstance(budget, int):
            self._think({"thinkingBudget": budget, "includeThoughts": True})
        elif kind in ("enabled", "adaptive"):
            self._think({"includeThoughts": True})
        elif kind == "disabled":
            self._think({"thinkingBudget": 0})
        else:
            self._leave("thinking", "Gemini knows no such thinking")

    def _extra_body(self, value: Any) -> None:
        """``extra_body.google``, as Google's own OpenAI-compatible API takes it."""
        given = inner(value)
        google = inner(given.get("google"))
        for name in given:
            if name != "google":
                self._leave(f"extra_body.{name}", "only extra_body.google is for Gemini")
        for name, setting in google.items():
            if name == "thinking_config" and isinstance(setting, Mapping):
                self._think({_camel(key): each for key, each in setting.items()})
            elif name in _BESIDE:
                self.beside[_BESIDE[name]] = setting
            else:
                self._leave(f"extra_body.google.{name}", "Gemini has no such setting")

    def _think(self, setting: Mapping[str, Any]) -> None:
        self.made["thinkingConfig"] = {**self.made.get("thinkingConfig", {}), **setting}

    def _max_tokens(self, value: Any) -> None:
        """Read together, once all is known."""

    _max_completion_tokens = _max_tokens


_BESIDE: Mapping[str, str] = {"cached_content": "cachedContent", "safety_settings": "safetySettings"}
_SPECIAL = frozenset({"stop", "seed", "logprobs", "top_logprobs", "parallel_tool_calls", "modalities", "response_format",
                      "reasoning_effort", "thinking", "extra_body", "max_tokens", "max_completion_tokens"})


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _asks_nothing(name: str, value: Any) -> bool:
    same = _NOTHING_ASKED.get(name, ())
    # True is 1 in Python, and nothing in JSON.
    return any(type(value) is type(each) and value == each for each in same)
