"""What the caller caused, what a filter cut, and what a vendor must not make us repeat."""

from __future__ import annotations

import pytest

from fakes.vendor import Reply, fault
from faults.case import Case, everywhere
from faults.checks import meets, the_books_are_right
from faults.expected import ANSWERED, NOT_KEPT, callers, misconfigured, transient
from faults.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

CASES = [
    everywhere("context_length", callers(400, "ContextLengthExceeded", "context_length_exceeded", failover=True)),
    everywhere("content_policy", callers(400, "ContentPolicyViolation", "content_policy_violation")),
    everywhere("quota", misconfigured("QuotaExhausted")),
    everywhere("key_echo", transient("ServerError")),
    everywhere("key_echo_refused", callers(400, "InvalidRequest").but(kind="server_error"), fault=fault("key_echo", status=400)),
    everywhere("key_echo_limited", misconfigured("ProviderUnauthorized"), fault=fault("key_echo", status=401)),
    Case("filtered", NOT_KEPT, NOT_KEPT, fault=Reply(text="I will", finish_reason="content_filter")),
    Case("cut_by_length", NOT_KEPT, NOT_KEPT, fault=Reply(text="I will", finish_reason="length")),
    Case("refusal", ANSWERED, ANSWERED, fault=Reply(refusal="No.")),
    Case("filtered_at_once", NOT_KEPT, NOT_KEPT, fault=Reply(text="", finish_reason="content_filter")),
    Case("reasoning_only", ANSWERED, ANSWERED, fault=Reply(reasoning="Hm.")),
    *(everywhere(f"redirect_{status}", misconfigured("ProviderNotFound"), fault=fault("redirect", status=status))
      for status in (301, 302, 303, 307, 308)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda each: each.name)
async def test_it_ends_as_it_must(world: World, case: Case) -> None:
    """Whatever was asked, with nobody behind and with a healthy provider."""
    await meets(world, case)


async def test_the_books_are_right(world: World) -> None:
    """After all of them: in the metrics, and with no call open and no place taken."""
    await the_books_are_right(world)
