"""Google's refusals: ``google.rpc.Status`` as JSON, indented by two, as the Gemini API and Vertex AI send them."""

from __future__ import annotations

import json
from typing import Any

JsonObject = dict[str, Any]

STATUSES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "ABORTED",
            429: "RESOURCE_EXHAUSTED", 499: "CANCELLED", 500: "INTERNAL", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}
MESSAGES = {
    400: "Request contains an invalid argument.",
    401: "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication "
         "credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
    403: "The caller does not have permission",
    404: "models/x is not found for API version v1beta, or is not supported for generateContent. Call ListModels to see the list of "
         "available models and their supported methods.",
    429: "You exceeded your current quota, please check your plan and billing details. For more information on this error, head to: "
         "https://ai.google.dev/gemini-api/docs/rate-limits.\n* Quota exceeded for metric: generativelanguage.googleapis.com/"
         "generate_content_free_tier_requests, limit: 10\nPlease retry in 21.5s.",
    500: "An internal error has occurred. Please retry or report in https://developers.generativeai.google/guide/troubleshooting",
    503: "The model is overloaded. Please try again later.",
    504: "Deadline expired before operation could complete."}
TYPE = "type.googleapis.com/google.rpc."


class ApiError(Exception):
    """A refusal to be sent."""

    def __init__(self, status: int, message: str = "", *, name: str = "", details: list[JsonObject] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = status_body(status, message, name=name, details=details)


def status_body(code: int, message: str = "", *, name: str = "", details: list[JsonObject] | None = None) -> JsonObject:
    """The object under ``error``, and it."""
    error: JsonObject = {"code": code, "message": message or MESSAGES.get(code, "error"), "status": name or STATUSES.get(code, "UNKNOWN")}
    return {"error": {**error, "details": details} if details else error}


def dump(shape: Any) -> bytes:
    """A whole reply's body."""
    return json.dumps(shape, indent=2, ensure_ascii=False).encode() + b"\n"


def invalid(message: str, field: str = "") -> ApiError:
    """A 400 of a body that does not fit."""
    violation = {"@type": TYPE + "BadRequest", "fieldViolations": [{**({"field": field} if field else {}), "description": message}]}
    return ApiError(400, message, details=[violation])


def wrong_key(message: str = "API key not valid. Please pass a valid API key.") -> ApiError:
    """A bad key is a 400 here."""
    return ApiError(400, message, details=[
        {"@type": TYPE + "ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com",
         "metadata": {"service": "generativelanguage.googleapis.com"}},
        {"@type": TYPE + "LocalizedMessage", "locale": "en-US", "message": message}])


def no_key() -> ApiError:
    """Neither key nor token."""
    return ApiError(403, "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other "
                         "form of API consumer identity to call this API.")


def exhausted(delay: str = "21s", quota: str = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier", value: str = "10") -> ApiError:
    """A limit that was reached."""
    return ApiError(429, details=[
        {"@type": TYPE + "QuotaFailure", "violations": [{
            "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests", "quotaId": quota,
            "quotaDimensions": {"model": "gemini-2.5-flash", "location": "global"}, "quotaValue": value}]},
        {"@type": TYPE + "Help", "links": [{"description": "Learn more about Gemini API quotas",
                                            "url": "https://ai.google.dev/gemini-api/docs/rate-limits"}]},
        {"@type": TYPE + "RetryInfo", "retryDelay": delay}])


def token_refused() -> ApiError:
    """An access token that is not valid (any more)."""
    return ApiError(401, details=[{"@type": TYPE + "ErrorInfo", "reason": "ACCESS_TOKEN_TYPE_UNSUPPORTED", "domain": "googleapis.com"}])
