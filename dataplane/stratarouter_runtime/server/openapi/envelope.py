"""What all operations share: headers both ways, API keys, errors.

Sources: RFC 9110 (Retry-After), RFC 9111 (Cache-Control, Age), RFC 9211 (Cache-Status), W3C Server-Timing and Trace
Context, and OpenAI's API reference (the error object).
"""

from __future__ import annotations

from .operation import Schema, integer, nullable, number, obj, text

SECURITY: dict[str, Schema] = {
    "bearer": {"type": "http", "scheme": "bearer",
               "description": "An API key of a tenant, as OpenAI's SDKs send it. Not asked for where the configuration has no `auth`."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "api-key", "description": "The same key, as Azure's SDKs send it."},
    "xApiKey": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "The same key, as Anthropic's SDKs send it."},
}


def _header(name: str, meaning: str, schema: Schema, example: str) -> Schema:
    return {"name": name, "in": "header", "description": meaning, "schema": schema, "example": example}


PARAMETERS: dict[str, Schema] = {
    "route": _header("x-strata-route", "The route to take, whatever `model` says.", text(), "billing"),
    "timeout": _header("x-strata-timeout-ms", "A shorter deadline than the configured one, in milliseconds.",
                       number(minimum=1, maximum=3_600_000), "20000"),
    "similarity": _header("x-strata-similarity-threshold", "A higher threshold of the semantic cache than the configured one.",
                          number(minimum=0, maximum=1), "0.97"),
    "unsupported": _header("x-strata-unsupported", "`drop`: a parameter that a vendor has no place for is left out, instead of being a reason "
                           "not to ask that vendor (`refuse`).", text(examples=["drop", "refuse"]), "drop"),
    "cacheControl": _header(
        "Cache-Control", "`no-store` (neither look-up nor store), `no-cache` (store only), `only-if-cached` (else 504), "
                         "`max-age` in seconds (RFC 9111).", text(), "no-cache"),
    "requestId": _header("x-request-id", "Given back, and in logs and traces: 1 to 128 printable ASCII characters.", text(), "req-4711"),
    "tenant": _header("x-strata-tenant", "The tenant, where the configuration trusts a gateway to name it (`auth.trustedTenantHeader`).",
                      text(), "team-a"),
    "traceparent": _header("traceparent", "The trace to go on with (W3C Trace Context).", text(),
                           "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    "dryRun": {"name": "dryRun", "in": "query", "description": "`true`: explain the plan and call nobody.",
               "schema": {"type": "string", "enum": ["true", "false", "1", "0"]}},
}
"""Request headers and query parameters by the words that operations use."""

ALWAYS = ("requestId", "traceparent", "tenant")
"""Parameters of every call."""
EXECUTED = ("route", "timeout", "similarity", "unsupported", "cacheControl")
"""Parameters of the calls that execute a request."""


def _reply_header(meaning: str, example: str, schema: Schema | None = None) -> Schema:
    return {"description": meaning, "schema": schema or text(), "example": example}


HEADERS: dict[str, Schema] = {
    "x-request-id": _reply_header("The caller's, or one of ours.", "req-6a5f"),
    "x-strata-execution-id": _reply_header("Names the execution: in logs, traces and `/v1/feedback`.", "exec-0f3c5d7e9b1a2c4d6e8f0a1b"),
    "x-strata-route": _reply_header("The route that was taken.", "default"),
    "x-strata-confidence": _reply_header("The confidence of the routing decision, where there was one.", "0.93"),
    "x-strata-provider": _reply_header("The provider that answered, be it earlier.", "fallback"),
    "x-strata-model": _reply_header("The model that answered, by its configured name.", "gpt-4o-mini"),
    "x-strata-attempts": _reply_header("Calls to providers that it took; a stream's so far.", "2", integer(minimum=0)),
    "x-strata-cost-usd": _reply_header("US dollars, a decimal; `0` for a cache hit; absent where unknown.", "0.0000111"),
    "x-strata-policy": _reply_header("What the route's policy found (a list as RFC 9651 writes it).", "allowedRegions;effect=leftOut"),
    "x-strata-warning": _reply_header("Parameters that were left out for the vendor that answered.", "dropped: metadata"),
    "Cache-Status": _reply_header("What the cache did (RFC 9211).", "stratarouter; hit; ttl=3599; detail=exact"),
    "Age": _reply_header("Seconds since a cached answer was made (RFC 9111).", "12", integer(minimum=0)),
    "Server-Timing": _reply_header("Milliseconds of each part of the way.", "policy;dur=0.05, upstream;dur=512.33"),
    "Retry-After": _reply_header("Seconds after which to try again; on 429 and 503.", "3", integer(minimum=1)),
}
"""Reply headers."""

EVERY_REPLY = ("x-request-id", "x-strata-execution-id")
OF_EXECUTION = ("x-strata-route", "x-strata-confidence", "x-strata-provider", "x-strata-model", "x-strata-attempts",
                "x-strata-cost-usd", "x-strata-policy", "x-strata-warning", "Cache-Status", "Age", "Server-Timing")

STATUSES = {
    400: "The request is wrong, or the vendor refused it as such.",
    401: "The API key is missing or wrong; never a provider's.",
    403: "The route's policy refuses the request.",
    404: "There is no such model, route or execution.",
    408: "The request's body did not arrive in time.",
    409: "The request does not fit what was said before.",
    413: "The body is larger than `server.maxBodyBytes`.",
    422: "The vendor cannot process the request.",
    429: "All providers are limited.",
    500: "A defect of the runtime; the message names the execution.",
    502: "All attempts failed; the message says how each.",
    503: "No provider is available, API keys are missing, the pod is shutting down, or a back end is away.",
    504: "The deadline has passed, or only a cached answer was allowed and there is none.",
}
"""What an error's status means."""

EVERY_CALL = (401, 500, 503)
EXECUTING = (400, 403, 404, 408, 413, 422, 429, 502, 504)
"""Statuses of the calls that execute a request, besides ``EVERY_CALL``."""

SCHEMAS: dict[str, Schema] = {
    "Error": obj({"error": obj({
        "message": text("What is wrong, for people; names the parameter or the cause."),
        "type": text("OpenAI's class of errors.", examples=["invalid_request_error"]),
        "param": nullable(text("The parameter, header or policy rule that is meant.")),
        "code": nullable(text("For programs: our reason in snake case, or the vendor's own code.", examples=["model_not_found"])),
    })}, about="An error, in OpenAI's shape. In a stream that has begun it is the last event."),
}
