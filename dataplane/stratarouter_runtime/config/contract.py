"""The contract as a whole: its version and its fields.

Invariant: every leaf field is ``hot`` or ``roll``; the digest changes exactly when what may be written changes, not
when a description does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

from .base import APPLY, Apply, Contract
from .pool import ProviderPool
from .runtime import RuntimeConfig

KINDS: dict[str, type[Contract]] = {"RuntimeConfig": RuntimeConfig, "ProviderPool": ProviderPool}


@dataclass(frozen=True, slots=True)
class ContractField:
    """A leaf of the contract: ``routes[].pools[].model`` of ``RuntimeConfig``, say."""

    kind: str
    path: str
    apply: Apply
    description: str


def fields() -> Iterator[ContractField]:
    """Every leaf field of both kinds, in the order of the models."""
    for kind, model in KINDS.items():
        yield from _fields(kind, model, "")


def _fields(kind: str, model: type[Contract], prefix: str) -> Iterator[ContractField]:
    for name, info in model.model_fields.items():
        path = f"{prefix}{info.alias or name}"
        inner = _model(info.annotation)
        extra = info.json_schema_extra
        apply = extra.get(APPLY) if isinstance(extra, dict) else None
        if apply not in ("hot", "roll"):
            raise TypeError(f"{kind}.{path} is neither hot nor roll")
        if inner is None:
            yield ContractField(kind, path, apply, info.description or "")  # type: ignore[arg-type]  # checked above
        else:
            many = "[]" if _is_list(info.annotation) else ""
            yield from _fields(kind, inner, f"{path}{many}.")


def _model(annotation: Any) -> type[Contract] | None:
    if isinstance(annotation, type) and issubclass(annotation, Contract):
        return annotation
    return next((found for each in get_args(annotation) if (found := _model(each))), None)


def _is_list(annotation: Any) -> bool:
    return getattr(annotation, "__origin__", None) is tuple or any(_is_list(each) for each in get_args(annotation))


@cache
def contract_digest() -> str:
    """Ten hex digits that name this version of the contract; part of the snapshot ConfigMap's name."""
    schemas = {kind: _bare(model.model_json_schema(by_alias=True)) for kind, model in KINDS.items()}
    return hashlib.sha256(json.dumps(schemas, sort_keys=True).encode()).hexdigest()[:10]


def _bare(schema: Any, *, names: bool = False) -> Any:
    """The schema without words; below ``properties`` and ``$defs`` keys are names, not keywords."""
    if isinstance(schema, dict):
        return {key: _bare(value, names=not names and key in ("properties", "$defs")) for key, value in schema.items()
                if names or key not in ("description", "title")}
    return [_bare(each) for each in schema] if isinstance(schema, list) else schema
