"""A request in the Responses format on its way to OpenAI: the caller's body, with only what must change.

Nothing is stored at the vendor unless the caller asks for it: without ``store`` it is sent as false, and a reasoning model is
asked for its thoughts in encrypted form, so that the conversation can go on wherever it is sent next. Thoughts that the vendor
could not read (another vendor's, or only its own id of what it did not keep) are left out. What route and policy changed of the
canonical form is carried over: prompts at the front, metadata, the limit of the output. Invariant: pure; where something else
was changed, the request is not sent as it came but translated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from stratarouter_runtime.model.request import ChatRequest

from . import openai_models
from .responses_items import PACKED
from .responses_request import ENCRYPTED

_CARRIED = frozenset({"messages", "max_tokens", "metadata"})


def carries(request: ChatRequest) -> bool:
    """Whether the caller's own body can be sent."""
    native = request.native
    if native is None or native.dialect != "responses":
        return False
    before, after = native.translated, request.body
    if before is after:
        return True
    return all(before.get(name) == after.get(name) for name in {*before, *after} - _CARRIED) and _prompts(before, after) is not None


def upstream(request: ChatRequest, *, model: str, stream: bool) -> bytes:
    """The vendor's body. ``carries`` must hold."""
    own = request.asked_in("responses") or {}
    body: dict[str, Any] = {**own, "model": model}
    if request.native is not None and request.body is not request.native.translated:
        _carry_over(request.native.translated, request.body, body)
    body.pop("stream", None)
    if stream:
        body["stream"] = True
    else:
        body.pop("stream_options", None)
    if not body.get("store"):
        _unstored(body, openai_models.reasons(model, request.model))
    return orjson.dumps(body)


def _carry_over(before: Mapping[str, Any], after: Mapping[str, Any], body: dict[str, Any]) -> None:
    prompts = _prompts(before, after)
    if prompts:
        body["instructions"] = "\n\n".join([*prompts, *filter(None, [body.get("instructions")])])
    if after.get("max_tokens") != before.get("max_tokens"):
        body["max_output_tokens"] = after["max_tokens"]
    if after.get("metadata") != before.get("metadata"):
        body["metadata"] = after["metadata"]


def _prompts(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str] | None:
    """System messages that were put at the front; None where the messages were changed in another way."""
    old, new = before.get("messages"), after.get("messages")
    if old is new:
        return []
    if not isinstance(old, list) or not isinstance(new, list) or len(new) < len(old):
        return None
    added = len(new) - len(old)
    contents = [message.get("content") for message in new[:added] if isinstance(message, Mapping) and message.get("role") == "system"]
    prompts = [each for each in contents if isinstance(each, str)]
    same = all(mine is theirs for mine, theirs in zip(old, new[added:], strict=True))
    return prompts if same and len(prompts) == added else None


def _unstored(body: dict[str, Any], reasons: bool) -> None:
    body["store"] = False
    include = body.get("include") or []
    if reasons and ENCRYPTED not in include:
        body["include"] = [*include, ENCRYPTED]
    items = body.get("input")
    if isinstance(items, list):
        body["input"] = [item for item in items if not _unreadable(item)]


def _unreadable(item: Any) -> bool:
    if not isinstance(item, Mapping) or item.get("type") != "reasoning":
        return False
    sealed = item.get("encrypted_content")
    return not isinstance(sealed, str) or not sealed or sealed.startswith(PACKED)
