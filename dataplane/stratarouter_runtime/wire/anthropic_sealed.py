"""What other vendors want back with an answer, inside the blocks that Anthropic's clients send back untouched.

Clients of the Messages API return ``redacted_thinking`` as they got it, without reading it. So the opaque parts of another
vendor's answer (thought signatures, encrypted reasoning) travel there, and come out again when the conversation goes on.
Invariants: pure; what was not sealed here is never opened; none of it is ever sent to Anthropic.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import orjson

from . import nesting

_MARK = "strata."


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """A block that carries an object."""
    return {"type": "redacted_thinking", "data": _MARK + base64.urlsafe_b64encode(orjson.dumps(value)).decode()}


def is_sealed(block: Mapping[str, Any]) -> bool:
    """Whether a block is one of ours."""
    data = block.get("data")
    return block.get("type") == "redacted_thinking" and isinstance(data, str) and data.startswith(_MARK)


def opened(block: Mapping[str, Any]) -> dict[str, Any]:
    """What a block carries; empty where it is none of ours or was tampered with."""
    if not is_sealed(block):
        return {}
    try:
        raw = base64.b64decode(block["data"][len(_MARK):], altchars=b"-_", validate=True)
        value = orjson.loads(raw)
    except (binascii.Error, ValueError):
        return {}
    return value if isinstance(value, dict) and not nesting.too_deep(value, raw) else {}


def unsigned(block: Mapping[str, Any]) -> bool:
    """Whether a block of thinking has no signature: another model's, which Anthropic would refuse."""
    return block.get("type") == "thinking" and not block.get("signature")
