"""Streams that are empty, strange, broken off or endless: silent failover before the first content, an error in the stream after."""

from __future__ import annotations

import pytest

from fakes.vendor import fault
from faults.case import Case, hangs
from faults.checks import meets, the_books_are_right
from faults.expected import ANSWERED, Ends, broke_off, transient
from faults.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

BAD, CUT, TIMEOUT = transient("BadResponse"), transient("Truncated"), transient("Timeout")
BROKEN_OFF, BAD_INSIDE, SILENT = broke_off("Truncated", "truncated"), broke_off("BadResponse", "bad_response"), broke_off("Timeout", "timeout")


def stream(name: str, ends: Ends, **fields: object) -> Case:
    """A fault of streams alone."""
    return Case(name, None, ends, **fields)  # type: ignore[arg-type]


CASES = [
    # empty
    stream("stream_empty", CUT), stream("stream_done_only", BAD), stream("stream_role_done", BAD), stream("stream_role_cut", CUT),
    stream("stream_no_choices", BAD),
    # not what it says
    stream("stream_ndjson", BAD), stream("stream_json_lines", CUT), stream("stream_html", BAD), stream("stream_html_as_events", CUT),
    stream("stream_text_plain", ANSWERED), stream("stream_no_space", ANSWERED), stream("stream_named_events", ANSWERED),
    *(stream(name, ANSWERED) for name in ("crlf", "cr", "comments", "multi_line_data", "bom", "split_bytes", "gzip", "no_usage")),
    # events of another shape
    *(stream(name, BAD) for name in (
        "event_choices_text", "event_choices_number", "event_delta_text", "event_delta_list", "event_index_object", "event_number",
        "event_invalid_utf8", "event_nan", "event_deep")),
    stream("event_finish_object", ANSWERED),
    stream("event_null_content", ANSWERED), stream("event_wrong_usage", ANSWERED), stream("event_twice", ANSWERED),
    stream("garbage_event", BAD_INSIDE), stream("huge_event", BROKEN_OFF, within=5), stream("cut_in_character", BROKEN_OFF),
    # broken off
    stream("cut", BROKEN_OFF), stream("cut_connection", BROKEN_OFF), stream("reset_mid_stream", BROKEN_OFF), stream("tool_call_cut", BROKEN_OFF),
    stream("reset_after_headers", CUT),
    # whole, but for the end
    stream("no_done", ANSWERED), stream("finish_no_done", ANSWERED), stream("done_then_more", ANSWERED), stream("done_then_reset", ANSWERED),
    stream("done_then_stall", ANSWERED, within=1), stream("finish_then_error", broke_off("ServerError", "server_error")),
    stream("finish_then_reset", BROKEN_OFF),
    # errors
    stream("error_event_first", transient("ServerError")), stream("error_first", transient("ServerError")),
    stream("error_as_text", transient("ServerError")), stream("error_named", transient("Overloaded")),
    stream("error_event", broke_off("ServerError", "server_error")), stream("error_after_content", broke_off("ServerError", "server_error")),
    stream("error_then_done", broke_off("ServerError", "server_error")),
    stream("error_key_mid_stream", broke_off("ProviderUnauthorized", "provider_unauthorized").but(
        state="Degraded", why="ProviderUnauthorized")),
    stream("error_limit_mid_stream", broke_off("RateLimited", "rate_limit_exceeded").but(kind="requests", state="Healthy", why="")),
    stream("error_filter_mid_stream", broke_off("ContentPolicyViolation", "content_filter").but(
        kind="invalid_request_error", state="Healthy", why="")),
    # silent or endless
    *(hangs(name, None, TIMEOUT) for name in (
        "headers_stall", "role_stall", "comments_forever", "preambles_forever", "event_forever", "slow_first_token")),
    *(hangs(name, None, SILENT) for name in (
        "stall", "content_stall", "content_comments_forever", "content_event_forever", "finish_then_stall")),
    hangs("trickle_slower_than_idle", None, SILENT, fault=fault("trickle", delay=0.5)), stream("trickle", ANSWERED, within=2),
    hangs("content_forever", None, SILENT, provider={"timeouts": {"totalMs": 400}}),
    stream("event_endless", BAD, within=8), stream("lines_endless", BAD_INSIDE, within=8),
]


@pytest.mark.parametrize("case", CASES, ids=lambda each: each.name)
async def test_it_ends_as_it_must(world: World, case: Case) -> None:
    """With nobody behind and with a healthy provider."""
    await meets(world, case)


async def test_the_books_are_right(world: World) -> None:
    """After all of them: in the metrics, and with no call open and no place taken."""
    await the_books_are_right(world)
