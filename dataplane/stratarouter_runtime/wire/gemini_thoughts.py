"""Thought signatures: opaque proofs of what a model thought, which it wants back with the turn they came with.

Sources: Gemini API guide "Thought signatures"; "OpenAI compatibility" (``extra_content.google.thought_signature`` of a tool call).
In canonical form a tool call carries its own in ``extra_content``; all stand in the message's ``reasoning_details``, as OpenRouter
writes them (``reasoning.encrypted`` with ``data``, and the ``id`` of the call), marked with our ``FORMAT``: clients keep one or the
other, and front doors of other dialects only the second. Invariant: no other vendor's signature is ever sent to Gemini.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .reading import inner, objects, text

FORMAT = "google-gemini-v1"

UNSIGNED = "skip_thought_signature_validator"
"""What Gemini documents for a call that came from another model: without it Gemini 3 refuses the conversation."""

_VERSION = re.compile(r"gemini-(\d+)")
_LATEST = re.compile(r"gemini-[a-z-]*latest")


def extra_of(signature: str) -> dict[str, Any]:
    """What a tool call carries."""
    return {"google": {"thought_signature": signature}}


def detail_of(signature: str, call: str = "") -> dict[str, Any]:
    """The entry of ``reasoning_details`` for a signature; ``call`` is the id of the tool call that it signs."""
    made = {"type": "reasoning.encrypted", "data": signature, "format": FORMAT}
    return {**made, "id": call} if call else made


def of_call(call: Mapping[str, Any], message: Mapping[str, Any]) -> str:
    """The signature of a tool call; empty for none."""
    own = text(inner(inner(call.get("extra_content")).get("google")).get("thought_signature"))
    if own:
        return own
    return next((text(each.get("data")) for each in _ours(message) if each.get("id") and each.get("id") == call.get("id")), "")


def of_text(message: Mapping[str, Any]) -> str:
    """The signature of the message's text; empty for none."""
    return next((text(each.get("data")) for each in reversed(_ours(message)) if not each.get("id")), "")


def must_sign(model: str) -> bool:
    """Whether the model refuses calls without a signature: Gemini from version 3 on."""
    return version(model) >= 3 or _LATEST.search(model) is not None


def version(model: str) -> int:
    """The major version of a Gemini model, 0 for other names."""
    found = _VERSION.search(model)
    return int(found[1]) if found and len(found[1]) < 4 else 0


def _ours(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [each for each in objects(message.get("reasoning_details"))
            if each.get("format") == FORMAT and each.get("type") == "reasoning.encrypted"]
