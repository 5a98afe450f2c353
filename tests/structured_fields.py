"""A strict reader of structured header fields (RFC 8941): lists of items with parameters, as ``Cache-Status`` is one.

Written from the RFC's parsing algorithm (section 4.2), apart from the code under test; it refuses what the RFC refuses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_TOKEN = re.compile(r"[A-Za-z*][-!#$%&'*+.^_`|~0-9A-Za-z:/]*")
_KEY = re.compile(r"[a-z*][-_.*a-z0-9]*")
_NUMBER = re.compile(r"-?(\d{1,12}\.\d{1,3}|\d{1,15})(?![\d.])")
_STRING = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')

Bare = str | int | float | bool


class Token(str):
    """A token, which is not a string."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Item:
    """A bare item and its parameters, in order."""

    value: Bare
    parameters: dict[str, Bare] = field(default_factory=dict)


def parse_list(text: str) -> list[Item]:
    """A list of items; raises ``ValueError`` that names the rest that cannot be read. Inner lists are not needed here."""
    items: list[Item] = []
    rest = text.lstrip(" ")
    while rest:
        item, rest = _item(rest)
        items.append(item)
        rest = rest.lstrip(" \t")
        if not rest:
            return items
        if not rest.startswith(","):
            raise ValueError(f"expected a comma: {rest!r}")
        rest = rest[1:].lstrip(" \t")
        if not rest:
            raise ValueError("a list must not end with a comma")
    return items


def _item(text: str) -> tuple[Item, str]:
    value, rest = _bare(text)
    parameters: dict[str, Bare] = {}
    while rest.startswith(";"):
        rest = rest[1:].lstrip(" ")
        found = _KEY.match(rest)
        if not found:
            raise ValueError(f"expected a parameter's key: {rest!r}")
        rest, given = rest[found.end():], True
        parameter: Bare = given
        if rest.startswith("="):
            parameter, rest = _bare(rest[1:])
        parameters[found.group()] = parameter
    return Item(value, parameters), rest


def _bare(text: str) -> tuple[Bare, str]:
    if found := _STRING.match(text):
        return re.sub(r"\\(.)", r"\1", found.group(1)), text[found.end():]
    if found := _NUMBER.match(text):
        number = found.group()
        return float(number) if "." in number else int(number), text[found.end():]
    if text.startswith("?") and text[1:2] in ("0", "1"):
        return text[1] == "1", text[2:]
    if found := _TOKEN.match(text):
        return Token(found.group()), text[found.end():]
    raise ValueError(f"not a bare item: {text!r}")
