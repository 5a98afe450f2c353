"""Anthropic's error bodies, both ways: ours to the client, the vendor's to its fields.

Source: Anthropic API reference, "Errors". Invariant: an error's type agrees with its status, so that SDKs map both to the
same exception.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from stratarouter_runtime.model.errors import StrataError

from . import openai_errors
from .answers import VendorError

TYPES: Mapping[int, str] = {
    400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error", 404: "not_found_error",
    408: "timeout_error", 409: "conflict_error", 413: "request_too_large", 422: "invalid_request_error", 429: "rate_limit_error",
    500: "api_error", 503: "overloaded_error", 504: "timeout_error", 529: "overloaded_error"}
"""By status; another one in the four hundreds is the request's, any other the server's."""


def type_of(status: int) -> str:
    """The error's type for a status."""
    return TYPES.get(status) or ("invalid_request_error" if 400 <= status < 500 else "api_error")


def error_object(error: StrataError, request_id: str = "") -> dict[str, Any]:
    """An error of ours in Anthropic's shape; ``code`` and ``param`` go where its clients look for a cause's name."""
    told = openai_errors.error_object(error)["error"]
    details = {"error_code": told["code"], **({"param": told["param"]} if told["param"] else {})}
    body: dict[str, Any] = {"type": "error", "error": {"type": type_of(error.status), "message": told["message"], "details": details}}
    return {**body, "request_id": request_id} if request_id else body


def error_body(error: StrataError, request_id: str = "") -> bytes:
    """The body of an error reply."""
    return orjson.dumps(error_object(error, request_id))


def error_frame(error: StrataError, request_id: str = "") -> bytes:
    """The in-band event that ends a stream which had begun: no ``message_stop`` follows."""
    return b"event: error\ndata: " + error_body(error, request_id) + b"\n\n"


def parse_error(raw: bytes) -> VendorError:
    """The vendor's words in the body of an error reply; empty where there are none."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return VendorError()
    if isinstance(body, Mapping) and isinstance(body.get("error"), Mapping):
        return error_in(body)
    return openai_errors.parse_error(raw)  # a proxy's


def error_in(body: Mapping[str, Any]) -> VendorError:
    """The error of an ``error`` event, or of a body with one."""
    error = body.get("error")
    if not isinstance(error, Mapping):
        return openai_errors.error_in(body) or VendorError()
    told = openai_errors.error_in({"error": error}) or VendorError()
    details = error.get("details")
    code = details.get("error_code") if isinstance(details, Mapping) else None
    return VendorError(message=told.message, type=told.type, param=told.param, code=code if isinstance(code, str) else told.code)
