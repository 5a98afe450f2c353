"""Entries and vectors as bytes.

Layout of an entry: one byte of version, one of flags (1: the rest is zlib), then JSON metadata, a newline, and the
answer's body as it is. Nothing is pickled. Invariant: what cannot be decoded is None, never an exception: another
version or a damaged value is an absent entry.
"""

from __future__ import annotations

import zlib
from dataclasses import fields
from typing import Any

import orjson

from stratarouter_runtime.model.cache import CacheEntry

VERSION = 1
COMPRESSED = 1
COMPRESS_ABOVE = 2_048
"""Bytes above which an entry is compressed: below, zlib costs more than it saves."""
MAX_ENTRY_BYTES = 4 * 1024 * 1024
"""Larger answers are not stored, and a larger value is not unpacked."""

_META = tuple(each.name for each in fields(CacheEntry) if each.name != "body")


def encode(entry: CacheEntry) -> bytes | None:
    """The entry as bytes; None where it is too large to keep."""
    meta = orjson.dumps({name: getattr(entry, name) for name in _META})
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


def _entry(meta: dict[str, Any], body: bytes) -> CacheEntry:
    return CacheEntry(body=body, **{name: meta[name] for name in _META})
