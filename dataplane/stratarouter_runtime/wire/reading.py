"""Reading values out of JSON of which nothing is promised.

Invariant: total; what has another type than asked for counts as absent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from . import nesting

_NOTHING: Mapping[str, Any] = {}


def inner(value: Any, *names: str) -> Mapping[str, Any]:
    """The object under these names, one inside the other; empty where there is none."""
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else _NOTHING


def text(value: Any) -> str:
    """A text; empty for anything else."""
    return value if isinstance(value, str) else ""


def count(value: Any) -> int:
    """A whole number from 0, also where it was written as a decimal (``12.0``); 0 for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        return 0
    return int(value)


def objects(value: Any) -> Iterator[Mapping[str, Any]]:
    """The objects of a list, or the one object that stands in its place."""
    if isinstance(value, Mapping):
        yield value
    elif isinstance(value, list | tuple):
        yield from (each for each in value if isinstance(each, Mapping))


def items(value: Any) -> list[Any]:
    """A list; empty for anything else."""
    return value if isinstance(value, list) else []


def parsed(value: str) -> Any:
    """JSON in a text; None where it is none, or too deep to be written again."""
    try:
        raw = value.encode()
        found = orjson.loads(raw)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        return None
    return None if nesting.too_deep(found, raw) else found
