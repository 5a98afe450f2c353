"""What a request that meets a fault must end as, by DESIGN's sections 5 and 6: the few ways there are.

Pure. A way says what the caller gets from the faulty provider alone, what is told of each attempt, whether another
provider answers instead, and what the operator is told of the provider afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import openai

ATTEMPTS = 2
"""1 + ``maxRetries`` of the configuration here."""


@dataclass(frozen=True, slots=True)
class Ends:
    """How a request ends. ``reason`` is each attempt's failure, ``code`` the one in the caller's error."""

    status: int = 200
    code: str = ""
    kind: str = ""
    """The error's ``type``."""
    reason: str = ""
    attempts: int = 1
    failover: bool = False
    """Whether a healthy provider is asked instead, and its answer given."""
    in_band: bool = False
    """Whether the error comes inside a stream that had begun."""
    retry_after: tuple[int, int] | None = None
    """The least and the most seconds of ``Retry-After``."""
    state: str = "Healthy"
    why: str = ""
    """The provider's state in ``/config`` and its reason, after the requests to it alone."""
    raises: type[Exception] | None = None
    """What the official SDK raises."""
    stored: bool = True
    """Whether a good answer goes into the cache."""

    def but(self, **changes: Any) -> Ends:
        """The same in all but some."""
        return replace(self, **changes)


ANSWERED = Ends()
"""However odd, it is an answer."""
NOT_KEPT = Ends(stored=False)
"""An answer that must not be given to the next caller."""


def transient(reason: str) -> Ends:
    """The provider failed: it is tried again where there is no other; 502 when all attempts are spent; the breaker counts."""
    return Ends(502, "all_attempts_failed", "server_error", reason, ATTEMPTS, failover=True, state="Unavailable", why="BreakerOpen",
                raises=openai.InternalServerError)


def unjudged(reason: str) -> Ends:
    """As transient, but it says nothing of the provider's health."""
    return transient(reason).but(state="Healthy", why="")


def misconfigured(reason: str) -> Ends:
    """Our configuration is wrong: never tried again by this request, never the caller's error, told to the operator."""
    return transient(reason).but(attempts=1, state="Degraded", why=reason)


def limited(least: int, most: int) -> Ends:
    """The vendor wants to be left alone for so long, longer than the request has: 429 tells the caller how long."""
    return Ends(429, "rate_limited", "rate_limit_error", "RateLimited", failover=True, retry_after=(least, most), state="Degraded",
                why="RateLimited", raises=openai.RateLimitError)


def overloaded(least: int, most: int) -> Ends:
    """Overloaded and saying for how long."""
    return transient("Overloaded").but(attempts=1, state="Degraded", why="Overloaded", retry_after=None)


def callers(status: int, reason: str, code: str = "invalid_request", *, kind: str = "invalid_request_error", failover: bool = False) -> Ends:
    """The caller caused it: the vendor's status, and no other provider is asked unless it could do better."""
    raises = {400: openai.BadRequestError, 422: openai.UnprocessableEntityError}.get(status, openai.APIStatusError)
    return Ends(status, code, kind, reason, failover=failover, raises=raises)


def broke_off(reason: str, code: str) -> Ends:
    """It failed after its first content: an error inside the stream, no ``[DONE]``, nobody else is asked."""
    return Ends(200, code, "server_error", reason, in_band=True, state="Unavailable", why="BreakerOpen", raises=openai.APIError)
