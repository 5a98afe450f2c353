"""A pydantic model's JSON schema as a Kubernetes structural schema.

Structural schemas know no ``$ref``, no ``anyOf`` with ``null``, no ``title`` and no ``additionalProperties: false``
(unknown fields are pruned and, by ``kubectl``, refused). Pure and deterministic.

Invariants: an object of which every field has a default or is optional gets a default, so that the API server fills
in what is inside; a default of ``null`` is no default; whatever this module does not know is an error, so that
nothing of the contract is lost silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]

LONGEST_STRING = 4096
"""Strings without a bound of their own (``str_max_length`` of the contract)."""

MONEY: Schema = {"type": "string", "maxLength": 20, "pattern": r"^[0-9]{1,9}(\.[0-9]{1,9})?$"}
"""Decimals: pydantic also takes numbers, which the contract refuses where they are floats."""

_KEPT = (  # in the order they are written
    "description", "type", "default", "enum", "format", "pattern", "minLength", "maxLength", "minimum", "exclusiveMinimum",
    "maximum", "exclusiveMaximum", "minItems", "maxItems", "minProperties", "maxProperties", "required",
    "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-validations", "x-kubernetes-preserve-unknown-fields",
)
_DROPPED = frozenset({"title", "propertyNames", "x-strata-apply", "decimal_places", "max_digits", "ge", "const"})
_HANDLED = frozenset({"$ref", "$defs", "anyOf", "items", "properties", "additionalProperties"})


def structural(model: type[BaseModel]) -> Schema:
    """The structural schema of a model."""
    whole = model.model_json_schema(by_alias=True)
    return _convert(whole, whole.get("$defs", {}))


def _convert(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    schema = _resolved(schema, definitions)
    if unknown := set(schema) - set(_KEPT) - _DROPPED - _HANDLED:
        raise TypeError(f"no structural form is known for {sorted(unknown)}")
    result: Schema = {key: schema[key] for key in _KEPT if key in schema}
    if "const" in schema:
        result["enum"] = [schema["const"]]
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if exclusive in result:  # OpenAPI 3.0 has a flag where JSON schema has a number
            result[bound], result[exclusive] = result[exclusive], True
    if result.get("type") == "number" and isinstance(low := result.get("minimum"), float) and not low.is_integer():
        # The API server cuts a bound to an integer before it compares a value that is written as one: 0 would pass 0.1.
        result["x-kubernetes-validations"] = [{"rule": f"self >= {low}", "message": f"should be greater than or equal to {low}"}]
    if result.get("default", ...) is None:
        del result["default"]
    if result.get("type") == "string" and not {"enum", "format", "maxLength"} & set(result):
        result["maxLength"] = LONGEST_STRING
    if "items" in schema:
        result["items"] = _convert(schema["items"], definitions)
    if result.get("type") == "object":
        _object(result, schema, definitions)
    return result


def _object(result: Schema, schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> None:
    properties = schema.get("properties")
    values = schema.get("additionalProperties")
    if properties:
        result["properties"] = {name: _convert(each, definitions) for name, each in properties.items()}
        if "default" in result:
            result["default"] = _default(result)
    elif isinstance(values, dict) and values:
        result["additionalProperties"] = _convert(values, definitions)
    elif not result.get("x-kubernetes-preserve-unknown-fields"):
        raise TypeError(f"an object without fields would lose all it is given: {schema.get('description')}")


def _default(schema: Schema) -> Schema:
    """``{}``: the inner defaults say the rest. But rules are tried on a default as it is written, so where there are
    rules, what they look at is written out.
    """
    if not _has_rules(schema):
        return {}
    return {name: _default(inner) if "properties" in inner else inner["default"]
            for name, inner in schema["properties"].items() if "default" in inner}


def _has_rules(schema: Schema) -> bool:
    inner = schema.get("properties", {})  # rules of a single value see nothing that could be absent
    return bool(inner) and ("x-kubernetes-validations" in schema or any(_has_rules(each) for each in inner.values()))


def _resolved(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without references and alternatives: what the field says of itself outweighs what its type says."""
    if "$ref" in schema:
        inner = definitions[schema["$ref"].removeprefix("#/$defs/")]
        return _resolved({**inner, **{key: value for key, value in schema.items() if key != "$ref"}}, definitions)
    if "anyOf" in schema:
        options = [option for option in schema["anyOf"] if option.get("type") != "null"]
        outer = {key: value for key, value in schema.items() if key != "anyOf"}
        if sorted(option.get("type", "") for option in options) == ["number", "string"]:
            return {**outer, **MONEY}
        if len(options) != 1:
            raise TypeError(f"alternatives have no structural form: {schema['anyOf']}")
        return _resolved({**options[0], **outer}, definitions)
    return schema
