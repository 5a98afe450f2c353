"""A request in Anthropic's own format on its way to Anthropic: the caller's body, with only what must change.

What route and policy changed of the canonical form is carried over: system prompts put before the conversation, and the limit
of the output. Invariant: pure; where something else was changed, the request is not sent as it came but translated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from stratarouter_runtime.model.request import ChatRequest

from .anthropic_sealed import is_sealed, unsigned

_CARRIED = frozenset({"messages", "max_tokens", "max_completion_tokens", "metadata"})
"""Metadata of routes and contexts stays here: Anthropic keeps none."""


def upstream(request: ChatRequest, *, model: str, stream: bool) -> bytes | None:
    """The vendor's body; None where the request did not come in this format or was changed in another way."""
    own = request.asked_in("anthropic")
    if own is None or request.native is None:
        return None
    body = {**own, "model": model, "messages": _without_foreign(own["messages"])}
    if not _carried_over(request.native.translated, request.body, body):
        return None
    body.pop("stream", None)
    if stream:
        body["stream"] = True
    return orjson.dumps(body)


def _without_foreign(messages: list[Any]) -> list[Any]:
    """Without what earlier turns had from other vendors: thinking that Anthropic did not sign, and what we sealed."""
    return [_clean(message) if message["role"] == "assistant" and isinstance(message["content"], list) else message for message in messages]


def _clean(message: Mapping[str, Any]) -> Mapping[str, Any]:
    kept = [block for block in message["content"] if not is_sealed(block) and not unsigned(block)]
    return message if len(kept) == len(message["content"]) else {**message, "content": kept}


def _carried_over(before: Mapping[str, Any], after: Mapping[str, Any], body: dict[str, Any]) -> bool:
    if before is after:
        return True
    if any(before.get(name) != after.get(name) for name in {*before, *after} - _CARRIED):
        return False
    limit = after.get("max_completion_tokens") or after.get("max_tokens")
    if limit != (before.get("max_completion_tokens") or before.get("max_tokens")):
        body["max_tokens"] = limit
    return _prompted(before.get("messages"), after.get("messages"), body)


def _prompted(before: Any, after: Any, body: dict[str, Any]) -> bool:
    """Put system messages that were added at the front before the caller's own."""
    if before is after:
        return True
    if not isinstance(before, list | tuple) or not isinstance(after, list | tuple) or len(after) < len(before):
        return False
    added = len(after) - len(before)
    prompts = [message.get("content") if isinstance(message, Mapping) and message.get("role") == "system" else None
               for message in after[:added]]
    # The rest are the very same messages: only the front was added to.
    if not all(isinstance(each, str) for each in prompts) or any(old is not new for old, new in zip(before, after[added:], strict=True)):
        return False
    system = body.get("system")
    own = [{"type": "text", "text": system}] if isinstance(system, str) and system else system if isinstance(system, list) else []
    body["system"] = [*({"type": "text", "text": each} for each in prompts if each), *own]
    return True
