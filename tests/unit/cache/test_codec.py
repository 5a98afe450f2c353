"""Entries as bytes: what goes in comes out, and what cannot be read is an absent entry."""

from __future__ import annotations

import zlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratarouter_runtime.cache.codec import COMPRESS_ABOVE, MAX_ENTRY_BYTES, VERSION, decode, encode
from stratarouter_runtime.model.cache import CacheEntry


def entry(**fields):
    given = {"partition": "p" * 64, "exact": "e" * 64, "body": b'{"id":"x"}', "pool": "chat", "provider": "a", "model": "m",
             "region": "eu", "created": 1_700_000_000.25, "ttl": 60.0, **fields}
    return CacheEntry(**given)


@given(body=st.binary(max_size=5_000), text=st.none() | st.text(max_size=50), cost=st.none() | st.just("0.00012"))
def test_an_entry_survives(body, text, cost):
    """Whatever the body's bytes are, newlines included."""
    original = entry(body=body, text=text, cost_usd=cost, input_tokens=7, output_tokens=9, route="r", tenant="t")
    value = encode(original)
    if value is None:
        assert any("\ud800" <= char <= "\udfff" for char in text or "")
    else:
        assert decode(value) == original


def test_large_entries_are_compressed_and_small_ones_are_not():
    """Compressing a short answer costs more than it saves."""
    assert len(encode(entry(body=b"a" * COMPRESS_ABOVE * 4))) < COMPRESS_ABOVE
    assert b'{"id":"x"}' in encode(entry())


def test_what_is_too_large_is_not_kept():
    """The bound holds before compression, so that nothing larger has to be unpacked later."""
    assert encode(entry(body=b"a" * MAX_ENTRY_BYTES)) is None


META = {"partition": "p", "exact": "e", "pool": "c", "provider": "a", "model": "m", "region": "", "created": 1.0, "ttl": 1.0,
        "text": None, "input_tokens": 0, "output_tokens": 0, "cost_usd": None, "route": "", "tenant": ""}


def packed(meta, flags=0, version=VERSION):
    return bytes((version, flags)) + orjson.dumps(meta) + b"\n{}"


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\x01",
        b"hello world",
        packed(META, version=VERSION + 1),
        packed(META, flags=1),
        packed([1, 2]),
        packed({}),
        packed({**META, "created": "yesterday"}),
        packed({**META, "ttl": None}),
        packed({**META, "text": 5}),
        packed({**META, "ttl": True}),
        bytes((VERSION, 1)) + zlib.compress(b"\0" * (MAX_ENTRY_BYTES + 1)),
        bytes((VERSION, 1)) + zlib.compress(orjson.dumps(META) + b"\n{}")[:-5],
    ],
)
def test_what_cannot_be_read_is_absent(value):
    """Another version, damage, a bomb, or fields of other types: never an exception, never half an entry."""
    assert decode(value) is None


def test_the_table_of_this_test_is_readable_itself():
    """Else the test above would prove nothing."""
    assert decode(packed(META)) is not None


@given(st.binary(max_size=300))
def test_any_bytes_are_an_entry_or_absent(value):
    """Nothing read from a store may raise."""
    decode(bytes((VERSION, 0)) + value)
    decode(value)
