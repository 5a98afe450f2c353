"""Bounds of the contract, taken from the contract: the bound itself is accepted, the next value is not."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from builders import FULL_POOL, FULL_RUNTIME, put
from stratarouter_runtime.config import KINDS, fields

WORDS = ("Url", "ndpoint", "apiVersion", "interval", ".from", ".to", "timeZone")
"""Texts of a form of their own: a row of letters is none of them."""

FULL = {"RuntimeConfig": FULL_RUNTIME, "ProviderPool": FULL_POOL}


@functools.cache
def whole_schema(kind: str) -> dict[str, Any]:
    """The JSON schema of a kind's spec."""
    return KINDS[kind].model_json_schema(by_alias=True)


def leaf(kind: str, path: str) -> dict[str, Any]:
    """The JSON schema of a leaf without references and without null."""
    whole = whole_schema(kind)
    schema: dict[str, Any] = whole
    for part in path.split("."):
        schema = resolve(resolve(schema, whole)["properties"][part.removesuffix("[]")], whole)
        if part.endswith("[]"):
            schema = resolve(schema["items"], whole)
    return schema


def resolve(schema: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference; of an optional value, the value."""
    for option in schema.get("anyOf", ()):
        if option.get("type") != "null":
            return resolve(option, whole)
    return resolve(whole["$defs"][schema["$ref"].removeprefix("#/$defs/")], whole) if "$ref" in schema else schema


def bounds() -> Iterator[tuple[str, str, Any, Any]]:
    """Kind, path, the last accepted value, the first refused one."""
    for field in fields():
        schema = leaf(field.kind, field.path)
        step = 1 if schema.get("type") == "integer" else 0.001
        for bound, sign in (("minimum", -1), ("maximum", 1)):
            if bound in schema and schema["type"] in ("integer", "number"):
                yield field.kind, field.path, schema[bound], schema[bound] + sign * step
        if "exclusiveMinimum" in schema:
            yield field.kind, field.path, schema["exclusiveMinimum"] + step, schema["exclusiveMinimum"]
        if schema.get("type") == "string" and "maxLength" in schema and not field.path.endswith(WORDS):
            yield field.kind, field.path, "a" * schema["maxLength"], "a" * (schema["maxLength"] + 1)


BOUNDS = list(bounds())


@pytest.mark.parametrize(("kind", "path", "accepted", "refused"), BOUNDS,
                         ids=[f"{kind}.{path}:{str(refused)[:12]}" for kind, path, _, refused in BOUNDS])
def test_a_bound_is_inclusive_and_the_next_value_is_refused(kind: str, path: str, accepted: Any, refused: Any) -> None:
    """For each bounded number and text of the contract, and the error is at that field."""
    spec, model = FULL[kind], KINDS[kind]
    model.model_validate(put(spec, path, accepted))
    with pytest.raises(ValidationError) as caught:
        model.model_validate(put(spec, path, refused))
    first = caught.value.errors()[0]["loc"]
    assert ".".join(str(part) for part in first if isinstance(part, str)) == path.replace("[]", "")


def test_most_numbers_are_bounded() -> None:
    """The generator sees the contract: it finds the bounds one would look up by hand."""
    found = {(kind, path): accepted for kind, path, accepted, _ in BOUNDS}
    assert found["RuntimeConfig", "execution.maxRetries"] == 20
    assert found["RuntimeConfig", "cache.similarityThreshold"] == 0.001
    assert found["ProviderPool", "providers[].timeouts.totalMs"] == 3_600_000
    assert len(found) > 40


@pytest.mark.parametrize("field", list(fields()), ids=lambda field: f"{field.kind}.{field.path}")
def test_every_number_list_and_map_has_a_bound(field: Any) -> None:
    """CEL rules have a cost budget that unbounded lists and maps exceed; numbers without bounds break arithmetic."""
    schema = leaf(field.kind, field.path)
    if schema.get("x-kubernetes-preserve-unknown-fields") or field.path in ("template.resources", "template.affinity"):
        return  # fragments that Kubernetes itself defines
    if field.path.endswith(("PerMillionTokens", "PerRequestUsd")):
        return  # a decimal is bounded by its digits
    needed = {"integer": "maximum", "number": "maximum", "array": "maxItems", "object": "maxProperties"}.get(schema.get("type", ""))
    assert needed is None or needed in schema or "pattern" in schema
