"""Cohere's error bodies: ``{"id": ..., "message": ...}``.

Source: Cohere documentation, "Errors" and "Rate limits". A trial key has a limit of calls a minute, after which waiting
helps, and one of calls a month, after which it does not: only the message tells them apart.
"""

from __future__ import annotations

import re

from . import openai_errors
from .answers import VendorError

_MONTHLY = re.compile(r"/ ?month\b|per month|monthly", re.IGNORECASE)
MONTHLY_LIMIT = "monthly_limit_exceeded"


def parse_error(raw: bytes) -> VendorError:
    """The vendor's words in the body of an error reply."""
    error = openai_errors.parse_error(raw)
    if not error.code and _MONTHLY.search(error.message):
        return VendorError(message=error.message, type=error.type, param=error.param, code=MONTHLY_LIMIT)
    return error
