"""What describes an operation, and short words for JSON Schema.

Schemas are JSON Schema 2020-12, as OpenAPI 3.1 has them; a mapping ``{"$ref": ...}`` names a shared one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Schema = dict[str, Any]

Method = Literal["get", "post", "delete"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method on one path.

    ``request``, ``reply`` and ``event`` name schemas: of the JSON body, of the whole answer (``other``: of another that it may
    be), and of each server-sent event where the call may be streamed; all may be empty. ``error`` names the schema of the API's errors, ``errors`` the
    statuses it may have besides those that every call has. ``parameters`` name shared ones (``envelope.PARAMETERS``),
    ``path_parameters`` are the path's own with their meanings. ``public``: no API key is asked. ``media`` is the whole
    answer's type. ``example`` is a request's body.
    """

    method: Method
    path: str
    id: str
    summary: str
    description: str = ""
    request: str = ""
    reply: str = ""
    other: str = ""
    event: str = ""
    error: str = "Error"
    errors: tuple[int, ...] = ()
    parameters: tuple[str, ...] = ()
    path_parameters: Mapping[str, str] = field(default_factory=dict)
    headers: tuple[str, ...] = ()
    public: bool = False
    media: str = "application/json"
    example: Mapping[str, Any] | None = None


def ref(name: str) -> Schema:
    """A shared schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def obj(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None, *, about: str = "") -> Schema:
    """An object; further properties may come with later versions."""
    schema: Schema = {"type": "object", "properties": {**required, **(optional or {})}}
    if required:
        schema["required"] = list(required)
    return said(schema, about)


def mapping(of: Schema, about: str = "") -> Schema:
    """An object with any names."""
    return said({"type": "object", "additionalProperties": of}, about)


def array(of: Schema, about: str = "") -> Schema:
    """A list."""
    return said({"type": "array", "items": of}, about)


def text(about: str = "", **more: Any) -> Schema:
    """A string."""
    return said({"type": "string", **more}, about)


def integer(about: str = "", **more: Any) -> Schema:
    """A whole number."""
    return said({"type": "integer", **more}, about)


def number(about: str = "", **more: Any) -> Schema:
    """Any number."""
    return said({"type": "number", **more}, about)


def boolean(about: str = "") -> Schema:
    """True or false."""
    return said({"type": "boolean"}, about)


def constant(value: str) -> Schema:
    """Always this."""
    return {"type": "string", "const": value}


def word(*values: str, about: str = "") -> Schema:
    """One of a closed list."""
    return said({"type": "string", "enum": list(values)}, about)


def anything(about: str = "") -> Schema:
    """Any JSON value."""
    return said({}, about)


def nullable(schema: Schema) -> Schema:
    """The same, or null."""
    if "$ref" in schema or "oneOf" in schema or not isinstance(schema.get("type"), str):
        about = schema.get("description", "")
        return said({"oneOf": [{key: value for key, value in schema.items() if key != "description"}, {"type": "null"}]}, about)
    return {**schema, "type": [schema["type"], "null"]}


def either(*schemas: Schema, about: str = "") -> Schema:
    """Exactly one of these."""
    return said({"oneOf": list(schemas)}, about)


def said(schema: Schema, about: str) -> Schema:
    """The schema with what it means."""
    return {**schema, "description": about} if about else schema
