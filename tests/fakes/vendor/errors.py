"""Error bodies, byte for byte as each vendor sends them.

Sources: the OpenAI error guide and recorded replies; vLLM ``ErrorResponse`` (new: an ``error`` object with a numeric
code; before 0.11: the same fields at the top with ``"object":"error"``); Ollama ``openai.NewError``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

Flavour = Literal["openai", "vllm", "vllm-old", "ollama"]


@dataclass(slots=True)
class ApiError(Exception):
    """A refusal by the vendor."""

    status: int
    message: str
    type: str = "invalid_request_error"
    param: str | None = None
    code: str | None = None


VLLM_TYPES = {400: "BadRequestError", 401: "AuthenticationError", 404: "NotFoundError",
              429: "RateLimitError", 500: "InternalServerError", 503: "ServiceUnavailableError"}
OLLAMA_TYPES = {400: "invalid_request_error", 404: "not_found_error"}


def error_body(error: ApiError, flavour: Flavour) -> bytes:
    """The reply's body."""
    shape = error_object(error, flavour)
    if flavour == "openai":
        return json.dumps(shape, indent=2, ensure_ascii=False).encode() + b"\n"
    return json.dumps(shape, separators=(",", ":"), ensure_ascii=False).encode()


def error_event(error: ApiError, flavour: Flavour) -> bytes:
    """The data of the event that reports a failure inside a stream (vLLM uses the default separators there)."""
    shape = error_object(error, "vllm" if flavour == "vllm-old" else flavour)
    spaced = flavour.startswith("vllm")
    return json.dumps(shape, separators=None if spaced else (",", ":"), ensure_ascii=False).encode()


def error_object(error: ApiError, flavour: Flavour) -> dict[str, Any]:
    """The reply's body as an object."""
    if flavour == "openai":
        return {"error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}}
    if flavour == "ollama":
        return {"error": {"message": error.message, "type": OLLAMA_TYPES.get(error.status, "api_error"),
                          "param": None, "code": None}}
    kind = VLLM_TYPES.get(error.status, "Error")
    fields = {"message": error.message, "type": kind, "param": error.param, "code": error.status}
    return {"object": "error", **fields} if flavour == "vllm-old" else {"error": fields}


def missing_key() -> ApiError:
    """No ``Authorization`` header."""
    return ApiError(401, "You didn't provide an API key. You need to provide your API key in an Authorization header "
                    "using Bearer auth (i.e. Authorization: Bearer YOUR_KEY). You can obtain an API key from "
                    "https://platform.openai.com/account/api-keys.")


def wrong_key(key: str) -> ApiError:
    """A key the vendor does not know; it is echoed masked, as the vendor does."""
    masked = key[:8] + "*" * max(3, len(key) - 12) + key[-4:] if len(key) > 12 else "*" * len(key)
    return ApiError(401, f"Incorrect API key provided: {masked}. You can find your API key at "
                    "https://platform.openai.com/account/api-keys.", code="invalid_api_key")


def unknown_model(model: str, flavour: Flavour) -> ApiError:
    """A model that is not served here."""
    if flavour == "ollama":
        return ApiError(404, f'model "{model}" not found, try pulling it first')
    if flavour.startswith("vllm"):
        return ApiError(404, f"The model `{model}` does not exist.", param="model")
    return ApiError(404, f"The model `{model}` does not exist or you do not have access to it.",
                    code="model_not_found")


def of_status(status: int, model: str, code: str = "") -> ApiError:
    """What the vendor says with a status; ``code`` picks among those that have several meanings."""
    if (status, code) in _SPECIAL:
        return _SPECIAL[(status, code)]
    if status == 429:
        return ApiError(429, f"Rate limit reached for {model} in organization org-fake on requests per min (RPM): "
                        "Limit 3, Used 3, Requested 1. Please try again in 20s. Visit "
                        "https://platform.openai.com/account/rate-limits to learn more.",
                        "requests", code="rate_limit_exceeded")
    if status == 404:
        return unknown_model(model, "openai")
    message, kind = _BY_STATUS.get(status, (f"Status {status}", "server_error" if status >= 500 else
                                            "invalid_request_error"))
    return ApiError(status, message, kind)


_SPECIAL = {
    (429, "insufficient_quota"): ApiError(
        429, "You exceeded your current quota, please check your plan and billing details. For more information on "
        "this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.",
        "insufficient_quota", code="insufficient_quota"),
    (400, "context_length_exceeded"): ApiError(
        400, "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens. "
        "Please reduce the length of the messages.", param="messages", code="context_length_exceeded"),
    (400, "content_policy_violation"): ApiError(
        400, "Your request was rejected as a result of our safety system. Your prompt may contain text that is not "
        "allowed by our safety system.", code="content_policy_violation"),
    (401, ""): ApiError(401, "Incorrect API key provided: sk-fake*********1234. You can find your API key at "
                        "https://platform.openai.com/account/api-keys.", code="invalid_api_key"),
    (403, ""): ApiError(403, "Country, region, or territory not supported", "request_forbidden",
                        code="unsupported_country_region_territory"),
    (413, ""): ApiError(413, "Maximum content size limit (26214400) exceeded (26323182 bytes read)", "server_error"),
}
_BY_STATUS = {
    400: ("Invalid request.", "invalid_request_error"),
    408: ("Request timed out.", "timeout"),
    409: ("The resource was updated by another process; try again.", "conflict"),
    422: ("Unprocessable entity.", "invalid_request_error"),
    500: ("The server had an error while processing your request. Sorry about that!", "server_error"),
    502: ("Bad gateway.", "server_error"),
    503: ("The engine is currently overloaded, please try again later", "server_error"),
    504: ("The server timed out.", "server_error"),
    529: ("Overloaded", "overloaded_error"),
}
