"""Puts the descriptions of all APIs together into one OpenAPI 3.1 document.

Server-sent events: OpenAPI 3.1 has no word for them; as in OpenAI's own document, the schema under ``text/event-stream``
is that of each event.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from types import ModuleType
from typing import Any

from stratarouter_runtime._version import __version__

from . import about, anthropic, envelope, execute, feedback, openai
from .operation import Operation, Schema, ref

APIS: tuple[ModuleType, ...] = (openai, anthropic, execute, feedback, about)
"""Each API's module, in the order of the page."""

_ABOUT = """Routed LLM requests, executed reliably: ordered candidates under one deadline and one budget of attempts, an exact and \
a semantic cache, policies, and replies that say what was done.

Paths are relative to this server's client port. A streamed call answers errors that come before its first event like any \
other; a later one is its last event."""


@cache
def document() -> dict[str, Any]:
    """The document: made once, from values that do not change."""
    schemas = {name: schema for api in (envelope, *APIS) for name, schema in sorted(api.SCHEMAS.items())}
    return {
        "openapi": "3.1.0",
        "info": {"title": "StrataRouter Runtime", "version": __version__, "description": _ABOUT,
                 "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "servers": [{"url": "/"}],
        "tags": [{"name": api.TAG[0], "description": api.TAG[1]} for api in APIS],
        "paths": _paths(),
        "components": {
            "schemas": schemas, "parameters": envelope.PARAMETERS, "headers": envelope.HEADERS, "securitySchemes": envelope.SECURITY},
    }


def operations() -> list[tuple[str, Operation]]:
    """All operations, each with its tag."""
    return [(api.TAG[0], operation) for api in APIS for operation in api.OPERATIONS]


def _paths() -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for tag, operation in operations():
        paths.setdefault(operation.path, {})[operation.method] = _described(tag, operation)
    return paths


def _described(tag: str, operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {"operationId": operation.id, "tags": [tag], "summary": operation.summary}
    if operation.description:
        described["description"] = operation.description
    parameters = [*({"name": name, "in": "path", "required": True, "description": meaning, "schema": {"type": "string"}}
                    for name, meaning in operation.path_parameters.items()),
                  *({"$ref": f"#/components/parameters/{name}"} for name in _parameters(operation))]
    if parameters:
        described["parameters"] = parameters
    if operation.request:
        content: dict[str, Any] = {"schema": ref(operation.request)}
        if operation.example is not None:
            content["example"] = dict(operation.example)
        described["requestBody"] = {"required": True, "content": {"application/json": content}}
    described["responses"] = _responses(operation)
    # An empty requirement says that a key is not asked everywhere: without `auth` it is not.
    described["security"] = [] if operation.public else [*({name: []} for name in envelope.SECURITY), {}]
    return described


def _parameters(operation: Operation) -> Iterable[str]:
    return operation.parameters if operation.public else (*operation.parameters, *envelope.ALWAYS)


def _responses(operation: Operation) -> dict[str, Any]:
    schema = ref(operation.reply)
    if operation.other:
        schema = {"anyOf": [schema, ref(operation.other)]}
    content: dict[str, Schema] = {operation.media: {"schema": schema}}
    if operation.event:
        content["text/event-stream"] = {"schema": ref(operation.event)}
    answered: dict[str, Any] = {"description": "Done.", "content": content}
    if operation.public:
        return {"200": answered}
    answered["headers"] = _headers((*envelope.EVERY_REPLY, *operation.headers))
    responses: dict[str, Any] = {"200": answered}
    for status in sorted({*envelope.EVERY_CALL, *operation.errors}):
        headers = (*envelope.EVERY_REPLY, *operation.headers, *(("Retry-After",) if status in (429, 503) else ()))
        responses[str(status)] = {"description": envelope.STATUSES[status], "headers": _headers(headers),
                                  "content": {"application/json": {"schema": ref(operation.error)}}}
    responses["default"] = {"description": "Another status of the vendor, whose request it refused.",
                            "headers": _headers((*envelope.EVERY_REPLY, *operation.headers)),
                            "content": {"application/json": {"schema": ref(operation.error)}}}
    return responses


def _headers(names: Iterable[str]) -> dict[str, Schema]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
