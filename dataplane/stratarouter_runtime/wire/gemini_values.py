"""What the codec of Gemini reads JSON of unknown shape with: everything is what it should be, or empty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from . import nesting

_NOTHING: Mapping[str, Any] = {}


def mapping(value: Any) -> Mapping[str, Any]:
    """An object, empty where it is none."""
    return value if isinstance(value, Mapping) else _NOTHING


def items(value: Any) -> list[Any]:
    """A list, empty where it is none."""
    return value if isinstance(value, list) else []


def objects(value: Any) -> list[Mapping[str, Any]]:
    """The objects of a list."""
    return [item for item in items(value) if isinstance(item, Mapping)]


def text(value: Any) -> str:
    """A text, empty where it is none."""
    return value if isinstance(value, str) else ""


def count(value: Any) -> int:
    """A number of tokens, 0 where it is none."""
    return value if isinstance(value, int) and value > 0 else 0


def parsed(value: str) -> Any:
    """JSON in a text; None where it is none, or too deep to be written again."""
    try:
        found = orjson.loads(value)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        return None
    return None if nesting.too_deep(found, value.encode()) else found
