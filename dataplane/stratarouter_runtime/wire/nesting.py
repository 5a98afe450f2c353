"""How deep JSON may be nested: orjson reads 1024 levels but writes only 254, so what it reads need not be writable."""

from __future__ import annotations

from typing import Any

import orjson

SPARE = 8
"""Levels that later steps may wrap around a body."""

_SUSPICIOUS = 254 - SPARE


def too_deep(value: Any, raw: bytes) -> bool:
    """Whether ``value``, parsed from ``raw``, could not be written again inside a few more levels."""
    if len(raw) < 2 * _SUSPICIOUS or raw.count(b"{") + raw.count(b"[") < _SUSPICIOUS:
        return False
    for _ in range(SPARE):
        value = [value]
    try:
        orjson.dumps(value)
    except TypeError:
        return True
    return False
