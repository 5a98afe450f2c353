"""JSON schemas as Anthropic's structured outputs take them.

Source: Anthropic's guide to structured outputs and the transformation that its SDK makes: objects are closed, only a core of
JSON schema is enforced, references must not be recursive. Constraints beyond that core go into the description, so that
the model still reads them. Invariant: pure and total; None where a schema cannot be said this way without meaning something
else (open maps, recursion, conditions), and then the answer is asked for through a tool.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})
_PLAIN = ("type", "enum", "const", "title", "description")
_ELSEWHERE = frozenset({"$defs", "definitions", "$ref", "properties", "required", "additionalProperties", "items", "anyOf", "oneOf",
                        "allOf", "$schema", "$id", "strict", *_PLAIN})
_CONDITIONS = frozenset({"not", "if", "then", "else", "patternProperties", "unevaluatedProperties", "dependentSchemas",
                         "prefixItems", "dependentRequired", "propertyNames", "$dynamicRef", "$anchor"})
_DEEPEST = 64


class _Inexpressible(Exception):  # noqa: N818 (a way out, not a failure)
    pass


def native_schema(schema: Any) -> dict[str, Any] | None:
    """The schema as ``output_config.format`` takes it; None where it must go through a tool."""
    try:
        if not isinstance(schema, Mapping) or _recursive(schema):
            return None
        return _converted(schema, _DEEPEST)
    except _Inexpressible:
        return None


def strict(schema: Any) -> bool:
    """Whether OpenAI's strict mode takes a schema as it is: each object closed, and all its properties required."""
    if isinstance(schema, list):
        return all(strict(each) for each in schema)
    if not isinstance(schema, Mapping):
        return True
    if schema.get("type") == "object" or "properties" in schema:
        properties, required = schema.get("properties"), schema.get("required")
        if schema.get("additionalProperties") is not False or not isinstance(properties, Mapping):
            return False
        if not isinstance(required, list) or not all(name in required for name in properties):
            return False
    return all(strict(value) for name, value in schema.items() if name not in ("enum", "const", "default", "examples"))


def _converted(schema: Any, depth: int) -> dict[str, Any]:
    if not isinstance(schema, Mapping) or depth == 0 or not _CONDITIONS.isdisjoint(schema):
        raise _Inexpressible
    made: dict[str, Any] = {}
    for name in ("$defs", "definitions"):
        if isinstance(schema.get(name), Mapping):
            made[name] = {key: _converted(value, depth - 1) for key, value in schema[name].items()}
    if "$ref" in schema:
        return {**made, "$ref": schema["$ref"]}
    made |= {name: schema[name] for name in _PLAIN if name in schema}
    for name, own in (("anyOf", "anyOf"), ("oneOf", "anyOf"), ("allOf", "allOf")):
        if isinstance(schema.get(name), list):
            made[own] = [_converted(each, depth - 1) for each in schema[name]]
    if schema.get("type") == "object" or "properties" in schema:
        _object(schema, made, depth)
    if "items" in schema:
        made["items"] = _converted(schema["items"], depth - 1)
    if not ({"type", "enum", "const", "anyOf", "allOf"} & made.keys()):
        raise _Inexpressible  # anything at all
    return _explained(schema, made)


def _object(schema: Mapping[str, Any], made: dict[str, Any], depth: int) -> None:
    properties = schema.get("properties", {})
    if not isinstance(properties, Mapping) or schema.get("additionalProperties") not in (None, False):
        raise _Inexpressible
    if not properties and schema.get("additionalProperties") is not False:
        raise _Inexpressible  # an open object, not one without anything
    made["properties"] = {name: _converted(each, depth - 1) for name, each in properties.items()}
    made["additionalProperties"] = False
    if isinstance(schema.get("required"), list):
        made["required"] = schema["required"]


def _explained(schema: Mapping[str, Any], made: dict[str, Any]) -> dict[str, Any]:
    """What is not enforced is said in words."""
    rest = {name: value for name, value in schema.items() if name not in _ELSEWHERE}
    if rest.get("format") in _FORMATS if isinstance(rest.get("format"), str) else False:
        made["format"] = rest.pop("format")
    if rest.get("minItems") in (0, 1):
        made["minItems"] = rest.pop("minItems")
    if rest:
        words = "{" + ", ".join(f"{name}: {orjson.dumps(value).decode()}" for name, value in rest.items()) + "}"
        told = made.get("description")
        made["description"] = f"{told}\n\n{words}" if isinstance(told, str) and told else words
    return made


def _recursive(schema: Mapping[str, Any]) -> bool:
    """Whether a definition leads back to itself, or a reference leads elsewhere than to a definition."""
    known: dict[str, Any] = {"#": schema}
    for name in ("$defs", "definitions"):
        if isinstance(schema.get(name), Mapping):
            known |= {f"#/{name}/{key}": value for key, value in schema[name].items()}
    edges: dict[str, set[str]] = {}
    for place, value in known.items():
        edges[place] = set(_references(value, own=place == "#"))
        if not edges[place] <= known.keys():
            return True
    done: set[str] = set()
    return any(_loops(place, edges, (), done) for place in known)


def _references(value: Any, *, own: bool) -> list[str]:
    if isinstance(value, list):
        return [found for each in value for found in _references(each, own=False)]
    if not isinstance(value, Mapping):
        return []
    found = [str(value["$ref"])] if isinstance(value.get("$ref"), str) else []
    for name, each in value.items():
        if not (own and name in ("$defs", "definitions")):
            found += _references(each, own=False)
    return found


def _loops(place: str, edges: Mapping[str, set[str]], above: tuple[str, ...], done: set[str]) -> bool:
    if place in above:
        return True
    if place in done:
        return False
    found = any(_loops(each, edges, (*above, place), done) for each in edges[place])
    done.add(place)
    return found
