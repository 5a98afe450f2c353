"""Every status a vendor or a proxy before it may answer with: with the vendor's own body, a web page, or none."""

from __future__ import annotations

import pytest

from faults.case import Case, everywhere
from faults.checks import meets, the_books_are_right
from faults.expected import ATTEMPTS, callers, limited, misconfigured, transient, unjudged
from faults.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNAUTHORIZED, NOT_FOUND = misconfigured("ProviderUnauthorized"), misconfigured("ProviderNotFound")
QUOTA = misconfigured("QuotaExhausted")
TIMEOUT, CONFLICT = transient("Timeout"), unjudged("Conflict")
OVERLOADED, SERVER = transient("Overloaded"), transient("ServerError")
BY_STATUS = {
    400: callers(400, "InvalidRequest"), 401: UNAUTHORIZED, 402: QUOTA, 403: UNAUTHORIZED, 404: NOT_FOUND, 405: NOT_FOUND, 408: TIMEOUT,
    409: CONFLICT, 413: callers(413, "InvalidRequest"), 422: callers(422, "InvalidRequest"), 425: CONFLICT, 500: SERVER, 501: SERVER,
    502: SERVER, 503: OVERLOADED, 504: TIMEOUT, 520: SERVER, 524: TIMEOUT, 529: OVERLOADED,
    429: limited(1, 1).but(attempts=ATTEMPTS, state="Healthy", why="")}
"""A 429 that does not say for how long is tried again, and its caller sent away for a moment."""

UNSAID = {"headers": {"x-ratelimit-reset-requests": "", "x-ratelimit-reset-tokens": ""}}
"""A proxy before the vendor knows nothing of its limits."""

CASES = [
    *(everywhere(f"http_{status}", ends) for status, ends in BY_STATUS.items() if status not in (413, 429)),
    everywhere("http_413", BY_STATUS[413].but(kind="server_error")),  # the vendor's own word
    everywhere("http_429", limited(18, 20)),
    *(Case(f"bare_{status}", ends, ends, changes=UNSAID) for status, ends in BY_STATUS.items()),
    *(Case(f"html_{status}", BY_STATUS[status], BY_STATUS[status], changes=UNSAID) for status in (401, 403, 404, 413, 429, 502, 503, 504, 520)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda each: each.name)
async def test_it_ends_as_it_must(world: World, case: Case) -> None:
    """Whatever was asked, with nobody behind and with a healthy provider."""
    await meets(world, case)


async def test_the_books_are_right(world: World) -> None:
    """After all of them: in the metrics, and with no call open and no place taken."""
    await the_books_are_right(world)
