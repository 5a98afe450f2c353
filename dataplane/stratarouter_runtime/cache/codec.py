"""Entries and vectors as bytes.

Layout of an entry: one byte of version, one of flags (1: the rest is zlib), then JSON metadata, a newline, and the
answer's body as it is. Nothing is pickled. Invariant: what cannot be decoded is None, never an exception: another
version or a damaged value is an absent entry.
"""

from __future__ import annotations

import zlib
from typing import Any

import orjson

from stratarouter_runtime.model.cache import CacheEntry

VERSION = 1
COMPRESSED = 1
COMPRESS_ABOVE = 2_048
"""Bytes above which an entry is compressed: below, zlib costs more than it saves."""
MAX_ENTRY_BYTES = 4 * 1024 * 1024
"""Larger answers are not stored, and a larger value is not unpacked."""

_NUMBER, _STRING = (int, float), (str,)
_TYPES: dict[str, tuple[type, ...]] = {
    "partition": _STRING, "exact": _STRING, "pool": _STRING, "provider": _STRING, "model": _STRING, "region": _STRING,
    "created": _NUMBER, "ttl": _NUMBER, "text": (str, type(None)), "input_tokens": (int,), "output_tokens": (int,),
    "cost_usd": (str, type(None)), "route": _STRING, "tenant": _STRING,
}
"""The metadata and what each may be: fields of other types come from nobody of ours."""


def encode(entry: CacheEntry) -> bytes | None:
    """The entry as bytes; None where it cannot be kept: too large, or no valid text."""
    try:
        meta = orjson.dumps({name: getattr(entry, name) for name in _TYPES})
    except TypeError:
        # A text that JSON cannot say, such as half of a surrogate pair.
        return None
    content = meta + b"\n" + entry.body
    if len(content) > MAX_ENTRY_BYTES:
        return None
    if len(content) > COMPRESS_ABOVE:
        return bytes((VERSION, COMPRESSED)) + zlib.compress(content, 1)
    return bytes((VERSION, 0)) + content


def decode(value: bytes | None) -> CacheEntry | None:
    """The entry, or None where the value is absent, damaged or of another version."""
    if not value or len(value) < 2 or value[0] != VERSION:
        return None
    content: bytes | None = value[2:]
    if value[1] & COMPRESSED:
        content = _inflate(value[2:])
    if content is None:
        return None
    meta, _, body = content.partition(b"\n")
    try:
        return _entry(orjson.loads(meta), body)
    except (orjson.JSONDecodeError, TypeError, KeyError):
        return None


def _inflate(value: bytes) -> bytes | None:
    inflater = zlib.decompressobj()
    try:
        content = inflater.decompress(value, MAX_ENTRY_BYTES)
    except zlib.error:
        return None
    return content if inflater.eof else None


def _entry(meta: dict[str, Any], body: bytes) -> CacheEntry | None:
    values = {name: meta[name] for name in _TYPES}
    sound = all(isinstance(value, _TYPES[name]) and not isinstance(value, bool) for name, value in values.items())
    return CacheEntry(body=body, **values) if sound else None
