"""Broken HTTP: heads that are cut, lengths that lie, torn chunks, resets, compression that is none, answers that never end."""

from __future__ import annotations

import pytest

from fakes.vendor import fault
from faults.case import Case, everywhere, hangs
from faults.checks import meets, the_books_are_right
from faults.expected import ANSWERED, broke_off, transient
from faults.world import World
from stratarouter_runtime.providers import http

pytestmark = pytest.mark.asyncio(loop_scope="module")

BAD, CUT, LOST, TIMEOUT = transient("BadResponse"), transient("Truncated"), transient("ConnectionLost"), transient("Timeout")
BROKEN_OFF, BAD_INSIDE = broke_off("Truncated", "truncated"), broke_off("BadResponse", "bad_response")

CASES = [
    # no answer, or no HTTP
    everywhere("reset_before_headers", LOST), everywhere("close_before_headers", LOST), everywhere("half_closed", LOST),
    everywhere("headers_cut", LOST), everywhere("headers_reset", LOST),
    everywhere("garbage_status", BAD), everywhere("huge_header", BAD), everywhere("length_garbage", BAD), everywhere("length_negative", BAD),
    everywhere("lengths_differ", BAD), everywhere("endless_headers", BAD, within=5),
    # odd, and an answer
    everywhere("early_hints", ANSWERED), everywhere("no_length", ANSWERED), everywhere("deflate", ANSWERED), everywhere("cookie", ANSWERED),
    everywhere("second_answer", ANSWERED), everywhere("slow_headers", ANSWERED, within=1),
    # no content
    everywhere("no_content", transient("ServerError")), everywhere("switching_protocols", transient("ServerError"), within=2),
    # cut
    Case("length_beyond", CUT, BROKEN_OFF, CUT), everywhere("length_short", BAD), Case("no_length_cut", BAD, BROKEN_OFF, BAD),
    Case("chunk_cut", CUT, BROKEN_OFF, CUT), Case("chunk_reset", CUT, BROKEN_OFF, CUT), Case("body_reset", CUT, BROKEN_OFF, CUT),
    Case("body_half_closed", CUT, BROKEN_OFF, CUT), *(Case(name, CUT, BROKEN_OFF, CUT, within=1) for name in ("chunk_size_garbage", "chunk_size_huge", "chunk_torn")),
    # refused, and the reason never comes
    everywhere("refusal_stall", transient("Overloaded"), within=2), everywhere("refusal_cut", transient("Overloaded")),
    everywhere("refusal_endless", transient("Overloaded")), hangs("json_stall", TIMEOUT, TIMEOUT, TIMEOUT),
    # compressed, or not
    Case("gzip", ANSWERED, ANSWERED, ANSWERED), Case("gzip_cut", BAD, BROKEN_OFF, BAD), Case("gzip_garbage", CUT, CUT, CUT),
    everywhere("deflate_cut", BAD), Case("unknown_encoding", ANSWERED, ANSWERED, ANSWERED), Case("gzip_bomb", BAD, BAD_INSIDE, within=8),
    # without end
    hangs("black_hole", TIMEOUT, TIMEOUT, TIMEOUT), hangs("headers_trickle", TIMEOUT, TIMEOUT, TIMEOUT),
    hangs("continue_forever", TIMEOUT, TIMEOUT, TIMEOUT), hangs("body_missing", TIMEOUT, TIMEOUT, TIMEOUT),
    hangs("body_trickle", TIMEOUT, TIMEOUT, TIMEOUT), hangs("body_stall", TIMEOUT, None, TIMEOUT),
    hangs("slow_headers_too", TIMEOUT, TIMEOUT, TIMEOUT, fault=fault("slow_headers", delay=3.0)),
]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error's body is waited for a fifth of a second instead of two."""
    monkeypatch.setattr(http, "ERROR_SECONDS", 0.2)


@pytest.mark.parametrize("case", CASES, ids=lambda each: each.name)
async def test_it_ends_as_it_must(world: World, case: Case) -> None:
    """Whatever was asked, with nobody behind and with a healthy provider."""
    await meets(world, case)


async def test_the_books_are_right(world: World) -> None:
    """After all of them: in the metrics, and with no call open and no place taken."""
    await the_books_are_right(world)
