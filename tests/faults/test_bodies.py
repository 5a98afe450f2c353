"""Successful replies that are no answers: a 200 alone proves nothing."""

from __future__ import annotations

import pytest

from faults.case import Case, everywhere
from faults.checks import meets, the_books_are_right
from faults.expected import ANSWERED, NOT_KEPT, transient
from faults.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

BAD, CUT = transient("BadResponse"), transient("Truncated")

CASES = [
    *(everywhere(name, BAD) for name in (
        "empty_200", "blank_200", "empty_object", "json_null", "json_array", "json_text", "truncated_json", "trailing_json", "invalid_utf8",
        "json_nan", "json_deep", "json_very_deep", "empty_choices", "null_choices", "text_choice", "html_200", "no_message", "wrong_shape")),
    everywhere("error_in_200", transient("ServerError")),
    everywhere("wrong_length", CUT),
    Case("huge_body", BAD, None, within=8),
    Case("wrong_content_type", ANSWERED, CUT, ANSWERED),
    Case("number_content", BAD, BAD),
    Case("text_tool_calls", BAD, BAD),
    Case("odd_tool_calls", BAD, BAD),
    Case("null_content", ANSWERED, ANSWERED),
    Case("odd_finish", NOT_KEPT, NOT_KEPT),
    Case("no_finish", NOT_KEPT, None),
    everywhere("odd_usage", ANSWERED),
    everywhere("unstreamed", ANSWERED),
    *(Case(name, None, None, BAD) for name in ("rows_missing", "rows_twice", "rows_indices", "rows_text", "rows_empty", "rows_words", "rows_nulls")),
]


@pytest.mark.parametrize("case", CASES, ids=lambda each: each.name)
async def test_it_ends_as_it_must(world: World, case: Case) -> None:
    """Whatever was asked, with nobody behind and with a healthy provider."""
    await meets(world, case)


async def test_the_books_are_right(world: World) -> None:
    """After all of them: in the metrics, and with no call open and no place taken."""
    await the_books_are_right(world)
