"""A chat request as the body of Anthropic's Messages API.

Source: Anthropic API reference, "Create a Message" (version 2023-06-01), and its guides to tools, thinking, effort and
structured outputs. Parameters that Anthropic's API itself knows under the same name (``thinking``, ``top_k``, ...) pass as
they are. Invariants: pure and total; ``unsupported`` names exactly what the body lacks of the request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from .anthropic_blocks import Conversation
from .anthropic_models import Traits, traits
from .anthropic_schema import native_schema
from .anthropic_tools import Tooling
from .support import Unsupported

VERSION = "2023-06-01"

BUDGETS: Mapping[str, int] = {"minimal": 1_024, "low": 4_096, "medium": 10_240, "high": 24_576, "xhigh": 32_768, "max": 49_152}
"""Tokens to think with, for models that are given a budget."""
MIN_BUDGET = 1_024
ANSWER_SHARE = 5
"""At least a fifth of the caller's limit is left for the answer itself: thinking counts towards the same limit."""
MAX_USER_ID = 256

_SAME = ("thinking", "top_k", "cache_control", "container", "context_management", "mcp_servers", "inference_geo", "speed", "diagnostics")
_DONE = frozenset({
    "model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "tools",
    "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort", "user", "safety_identifier", "metadata",
    "service_tier", *_SAME})
_NEUTRAL: Mapping[str, Any] = {"n": 1, "frequency_penalty": 0, "presence_penalty": 0, "logprobs": False, "logit_bias": {},
                               "modalities": ["text"], "top_logprobs": 0, "store": False}
"""Values that ask for nothing."""
_HINTS = frozenset({"store", "prompt_cache_key", "prompt_cache_retention", "prediction", "verbosity"})
_REASONS: Mapping[str, str] = {
    "n": "it gives one answer to a request", "logprobs": "it tells no log probabilities", "top_logprobs": "it tells no log probabilities",
    "seed": "it takes no seed", "logit_bias": "it takes no bias of tokens", "frequency_penalty": "it takes no penalties",
    "presence_penalty": "it takes no penalties", "modalities": "it answers with text only", "audio": "it answers with text only",
    "functions": "it knows tools, not functions", "function_call": "it knows tools, not functions",
    "store": "it stores nothing", "prediction": "it takes no predicted output"}


def encode(body: Mapping[str, Any], *, model: str, stream: bool) -> bytes:
    """The vendor's body for a request in canonical form."""
    return orjson.dumps(_Encoding(body, model).body(stream=stream))


def unsupported(body: Mapping[str, Any], model: str = "", public: str = "") -> list[Unsupported]:  # noqa: ARG001 (as other codecs)
    """What Anthropic has no place for, of a request in canonical form; ``model``, the vendor's name for it, tells more."""
    encoding = _Encoding(body, model)
    encoding.body(stream=False)
    return encoding.notes


def structured(body: Mapping[str, Any]) -> bool:
    """Whether JSON is asked for, which may come as the call of ``ANSWER``."""
    form = body.get("response_format")
    return isinstance(form, Mapping) and form.get("type") in ("json_schema", "json_object")


class _Encoding:
    """One request on its way; ``notes`` is complete once ``body`` was called."""

    def __init__(self, body: Mapping[str, Any], model: str) -> None:
        self._asked = body
        self._model = model
        self._traits: Traits = traits(model)
        self._made: dict[str, Any] = {}
        self._conversation = Conversation()
        self.notes = self._conversation.notes

    def body(self, *, stream: bool) -> dict[str, Any]:
        asked, made = self._asked, self._made
        made["model"] = self._model
        self._conversation.add(asked.get("messages"))
        made["messages"] = self._conversation.turns
        system = self._conversation.system
        if system:
            made["system"] = system[0]["text"] if len(system) == 1 and "cache_control" not in system[0] else system
        for name in _SAME:
            if asked.get(name) is not None:
                made[name] = asked[name]
        made["max_tokens"] = self._limit() or self._traits.max_tokens
        self._tools()
        self._reasoning()
        self._sampling()
        self._stop()
        self._account()
        self._rest()
        made["messages"] = [_short(turn) for turn in made["messages"]]
        if stream:
            made["stream"] = True
        return made

    def _leave(self, param: str, reason: str, *, hint: bool = False) -> None:
        self.notes.append(Unsupported(param, reason, hint))

    def _limit(self) -> int | None:
        given = [value for name in ("max_completion_tokens", "max_tokens")
                 if type(value := self._asked.get(name)) is int and value >= 1]
        return max(given) if given else None

    # --- tools and structured answers -------------------------------------------------------------------------------
    def _tools(self) -> None:
        tooling = Tooling(self._asked, self.notes, strict=self._traits.schemas)
        self._structured(tooling)
        self._made |= tooling.fields()

    def _structured(self, tooling: Tooling) -> None:
        form = self._asked.get("response_format")
        if form is None:
            return
        kind = form.get("type") if isinstance(form, Mapping) else None
        if kind == "text":
            return
        if kind == "json_object":
            tooling.answer_with({"type": "object", "additionalProperties": True}, "")
            return
        inner = form.get("json_schema") if isinstance(form, Mapping) and kind == "json_schema" else None
        schema = inner.get("schema") if isinstance(inner, Mapping) else None
        if not isinstance(inner, Mapping) or not isinstance(schema, Mapping):
            self._leave("response_format", "it knows the formats text, json_object and json_schema")
            return
        native = native_schema(schema) if self._traits.schemas else None
        if native is not None:
            self._made["output_config"] = {"format": {"type": "json_schema", "schema": native}}
        elif schema.get("type", "object") == "object":
            told = inner.get("description")
            tooling.answer_with(schema, told if isinstance(told, str) else "")
        else:
            self._leave("response_format", "its structured answers are objects")

    # --- thinking and sampling --------------------------------------------------------------------------------------
    def _reasoning(self) -> None:
        effort = self._asked.get("reasoning_effort")
        if effort is None:
            return
        known = self._traits.thinking
        if effort not in ("none", *BUDGETS):
            self._leave("reasoning_effort", "it knows the efforts " + ", ".join(("none", *BUDGETS)))
        elif "thinking" in self._made and known != "adaptive":
            self._leave("reasoning_effort", "its thinking is given as thinking", hint=True)
        elif effort == "none":
            if self._traits.rests and "thinking" not in self._made:
                self._made["thinking"] = {"type": "disabled"}
        elif known == "none":
            self._leave("reasoning_effort", "the model does not think", hint=True)
        elif known == "adaptive":
            self._adaptive(effort)
        else:
            self._budget(effort)

    def _adaptive(self, effort: str) -> None:
        levels = self._traits.efforts
        wanted = "low" if effort == "minimal" else effort
        if wanted not in levels:
            wanted = "high" if wanted == "xhigh" else levels[-1]
        self._made["output_config"] = {**self._made.get("output_config", {}), "effort": wanted}
        if self._forced() or "thinking" in self._made:
            return  # it may not think where a tool is forced, but the effort holds for the rest
        self._made["thinking"] = {"type": "adaptive", "display": "summarized"}

    def _budget(self, effort: str) -> None:
        limit = self._limit()
        budget = BUDGETS[effort]
        if limit is not None:
            budget = min(budget, limit - limit // ANSWER_SHARE)
        if budget < MIN_BUDGET:
            self._leave("reasoning_effort", f"it thinks with at least {MIN_BUDGET} tokens, which the limit does not leave", hint=True)
        elif self._forced():
            self._leave("reasoning_effort", "it does not think where a tool is forced", hint=True)
        elif self._unsigned_calls():
            self._leave("reasoning_effort", "it goes on thinking only where its last calls have their thinking with them", hint=True)
        else:
            self._made["thinking"] = {"type": "enabled", "budget_tokens": budget}
            if limit is None:
                self._made["max_tokens"] += budget

    def _forced(self) -> bool:
        return self._made.get("tool_choice", {}).get("type") in ("any", "tool")

    def _unsigned_calls(self) -> bool:
        """Whether the conversation stands in the middle of calls whose thinking is not there (another model's)."""
        turns = self._conversation.turns
        if len(turns) < 2 or turns[-1]["role"] != "user" or turns[-2]["role"] != "assistant":
            return False
        content = turns[-2]["content"]
        called = any(block.get("type") == "tool_use" for block in content)
        return called and content[0].get("type") not in ("thinking", "redacted_thinking")

    def _sampling(self) -> None:
        asked, known = self._asked, self._traits
        temperature, top_p = _number(asked.get("temperature")), _number(asked.get("top_p"))
        thinking = self._made.get("thinking")
        thinks = isinstance(thinking, Mapping) and thinking.get("type") not in ("disabled", "between_tools")
        why = ("the model is not sampled with parameters" if not known.sampling else
               "it samples with its own temperature while it thinks" if thinks else "")
        if why:
            # One is what there is anyway.
            for name, value in (("temperature", temperature), ("top_p", top_p)):
                if value not in (None, 1):
                    self._leave(name, why)
            if self._made.pop("top_k", None) is not None:
                self._leave("top_k", why)
            return
        if temperature is not None and temperature > 1:
            self._leave("temperature", "it takes temperatures from 0 to 1")
            temperature = None
        if temperature is not None and top_p is not None and not known.combined:
            if top_p == 1:
                top_p = None
            elif temperature == 1:
                temperature = None
            else:
                self._leave("top_p", "it takes either a temperature or top_p")
                top_p = None
        self._made |= {name: value for name, value in (("temperature", temperature), ("top_p", top_p)) if value is not None}

    # --- the rest ---------------------------------------------------------------------------------------------------
    def _stop(self) -> None:
        stop = self._asked.get("stop")
        given = [stop] if isinstance(stop, str) else stop if isinstance(stop, list | tuple) else []
        usable = [each for each in given if isinstance(each, str) and each.strip()]
        if len(usable) < len(given):
            self._leave("stop", "it stops only at sequences that are more than white space")
        if usable:
            self._made["stop_sequences"] = usable

    def _account(self) -> None:
        asked, metadata = self._asked, self._asked.get("metadata")
        own = metadata.get("user_id") if isinstance(metadata, Mapping) else None
        user = next((each for each in (asked.get("user"), asked.get("safety_identifier"), own) if isinstance(each, str) and each), None)
        if user is not None and len(user) <= MAX_USER_ID:
            self._made["metadata"] = {"user_id": user}
        elif user is not None:
            self._leave("user", f"it takes ids of at most {MAX_USER_ID} characters", hint=True)
        if isinstance(metadata, Mapping) and set(metadata) - {"user_id"}:
            self._leave("metadata", "it keeps no metadata", hint=True)
        tier = asked.get("service_tier")
        if tier in ("auto", "standard_only"):
            self._made["service_tier"] = tier
        elif tier == "default":
            self._made["service_tier"] = "standard_only"
        elif tier is not None:
            self._leave("service_tier", "it knows the tiers auto and default", hint=True)

    def _rest(self) -> None:
        for name, value in self._asked.items():
            if name in _DONE or value is None or _NEUTRAL.get(name, _ABSENT) == value:
                continue
            self._leave(name, _REASONS.get(name, "it knows no such parameter"), hint=name in _HINTS)


_ABSENT = object()


def _short(turn: dict[str, Any]) -> dict[str, Any]:
    """A turn of one text as just that."""
    content = turn["content"]
    only = content[0] if len(content) == 1 else {}
    return {**turn, "content": only["text"]} if only.keys() == {"type", "text"} else turn


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
