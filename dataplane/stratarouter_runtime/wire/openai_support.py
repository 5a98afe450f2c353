"""What OpenAI's own API, and Azure's, refuses of a chat request in canonical form.

Those refuse parameters they do not know, so that what only other vendors understand must not reach them: the thoughts of
another vendor's earlier turns, marks for another vendor's prompt cache. Reasoning models refuse to be told how to sample.
Invariants: ``accepted`` leaves out what ``unsupported`` names, and beside that only what asks for nothing (a temperature of
1 where it cannot be another); an unknown parameter is passed on, because OpenAI adds some every month.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from . import openai_models
from .support import Unsupported

_FOREIGN = frozenset({"reasoning", "reasoning_content", "reasoning_details", "thinking_blocks", "citations", "cache_control", "extra_content", "images"})
"""What other vendors' messages and tools have besides OpenAI's fields."""

_INSIDE: Mapping[str, tuple[str, str]] = {
    "content": ("cache_control", "OpenAI caches by itself"), "tool_calls": ("extra_content", "it means something to another vendor only")}
"""The same of what messages have lists of."""

_DEFAULTS: Mapping[str, Any] = {
    "temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0, "logprobs": False, "top_logprobs": 0, "logit_bias": {}}
"""What reasoning models refuse, unless it is this or null."""

_FIXED = "this model's sampling cannot be changed"


def unsupported(body: Mapping[str, Any], *names: str) -> Sequence[Unsupported]:
    """What is left out for a model of these names."""
    return list(_unsupported(body, names))


def accepted(body: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """The body as the vendor takes it for a model of these names; the same where nothing must change."""
    changed: dict[str, Any] = {}
    left_out = {each.param for each in _top(body, names)}
    if openai_models.fixes_sampling(*names):
        left_out |= _DEFAULTS.keys() & body.keys()
    if body.get("max_tokens") is not None and openai_models.reasons(*names):
        left_out.add("max_tokens")
        if body.get("max_completion_tokens") is None:
            changed["max_completion_tokens"] = body["max_tokens"]
    for name in ("messages", "tools"):
        kept = _without_foreign(body.get(name))
        if kept is not None:
            changed[name] = kept
    if not left_out and not changed:
        return body
    return {**{name: value for name, value in body.items() if name not in left_out}, **changed}


def _unsupported(body: Mapping[str, Any], names: Sequence[str]) -> Iterator[Unsupported]:
    yield from _top(body, names)
    for name in ("messages", "tools"):
        for index, item in enumerate(_list(body.get(name))):
            yield from _foreign_in(item, f"{name}[{index}]")


def _top(body: Mapping[str, Any], names: Sequence[str]) -> Iterator[Unsupported]:
    if body.get("metadata") is not None and not body.get("store"):
        yield Unsupported("metadata", "OpenAI takes it only where the answer is stored", hint=True)
    if body.get("reasoning_effort") is not None and openai_models.never_reasons(*names):
        yield Unsupported("reasoning_effort", "this model does not reason", hint=True)
    if openai_models.fixes_sampling(*names):
        for name, default in _DEFAULTS.items():
            value = body.get(name)
            if value is not None and value != default:
                yield Unsupported(name, _FIXED)
        if body.get("stop") and openai_models.takes_no_stop(*names):
            yield Unsupported("stop", "this model takes no stop sequences")


def _foreign_in(item: Any, where: str) -> Iterator[Unsupported]:
    if not isinstance(item, Mapping):
        return
    for name in item:
        if name in _FOREIGN:
            yield Unsupported(f"{where}.{name}", "it means something to another vendor only", hint=True)
    for name, (foreign, reason) in _INSIDE.items():
        for number, part in enumerate(_list(item.get(name))):
            if isinstance(part, Mapping) and foreign in part:
                yield Unsupported(f"{where}.{name}[{number}].{foreign}", reason, hint=True)


def _without_foreign(items: Any) -> list[Any] | None:
    """The list without what is foreign; None where nothing is."""
    kept = [_clean(each) for each in _list(items)]
    return kept if any(new is not old for new, old in zip(kept, _list(items), strict=True)) else None


def _clean(item: Any) -> Any:
    if not isinstance(item, Mapping):
        return item
    changed: dict[str, Any] = {}
    for name, (foreign, _) in _INSIDE.items():
        parts = _list(item.get(name))
        if any(isinstance(each, Mapping) and foreign in each for each in parts):
            changed[name] = [_dropped(each, foreign) if isinstance(each, Mapping) else each for each in parts]
    if not changed and not any(name in _FOREIGN for name in item):
        return item
    return {**{name: value for name, value in item.items() if name not in _FOREIGN}, **changed}


def _dropped(part: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return {key: value for key, value in part.items() if key != name}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
