"""``docs/reference.md``: every field of both resources, for people.

Pure and deterministic. Each model is a section with a table; a field whose value is a model links to its section.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from stratarouter_runtime.config import API_VERSION, ProviderPool, RuntimeConfig

from .schema import Schema, structural
from .status import ProviderPoolStatus, RuntimeConfigStatus

HEAD = f"""# Reference

<!-- Generated from the configuration contract by `make generate`; edits here are lost. -->

The resources of `{API_VERSION}`. `strata-runtime serve --config` reads the same YAML without Kubernetes.

*Applied* says what a change does: `hot` is taken by the running pods without a restart or a dropped stream, `roll` replaces
the pods one after another. Unknown fields are refused.
"""


def reference() -> str:
    """The whole page."""
    parts = [HEAD]
    for model, status in ((RuntimeConfig, RuntimeConfigStatus), (ProviderPool, ProviderPoolStatus)):
        parts.append(f"## {model.__name__}\n")
        for section in _models(model):
            title = "spec" if section is model else section.__name__
            parts.append(_section(f"{model.__name__} {title}" if section is model else title, section, applied=True))
        for section in _models(status):
            title = f"{model.__name__} status" if section is status else section.__name__
            if section is status or model is RuntimeConfig:  # the inner ones are shared
                parts.append(_section(title, section, applied=False))
    return "\n".join(parts)


def _models(model: type[BaseModel], seen: set[type[BaseModel]] | None = None) -> Iterator[type[BaseModel]]:
    """A model and those of its fields, each once, in the order in which they are met."""
    seen = set() if seen is None else seen
    if model in seen:
        return
    seen.add(model)
    yield model
    for info in model.model_fields.values():
        if (inner := _model_of(info.annotation)) is not None:
            yield from _models(inner, seen)


def _model_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _model_of(each)) is not None), None)


def _section(title: str, model: type[BaseModel], *, applied: bool) -> str:
    schema = structural(model)
    head = ["Field", "Type", "Default", "Bounds", *(["Applied"] if applied else []), "Description"]
    lines = [f"### {title}\n", f"{_text(schema.get('description', ''))}\n", _row(head), _row(["---"] * len(head))]
    for name, info in model.model_fields.items():
        written = info.alias or name
        field: Schema = schema["properties"][written]
        cells = [f"`{written}`", _type(field, info), _default(field, info), _bounds(field)]
        if applied:
            cells.append(_applied(info))
        lines.append(_row([*cells, _text(field.get("description", ""))]))
    lines += [f"\nRule: {rule['message']}." for rule in schema.get("x-kubernetes-validations", ())]
    return "\n".join(lines) + "\n"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _text(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _type(field: Schema, info: FieldInfo) -> str:
    inner = _model_of(info.annotation)
    if field.get("x-kubernetes-preserve-unknown-fields"):
        return "Kubernetes fragment"
    if field["type"] == "array":
        return f"list of {_link(inner) if inner else _scalar(field['items'])}"
    if inner is not None:
        return _link(inner)
    if field["type"] == "object":
        return f"map of {_scalar(field['additionalProperties'])}"
    return _scalar(field)


def _link(model: type[BaseModel]) -> str:
    return f"[{model.__name__}](#{model.__name__.lower()})"


def _scalar(schema: Schema) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    return "Kubernetes fragment" if schema.get("x-kubernetes-preserve-unknown-fields") else str(schema["type"])


def _default(field: Schema, info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    if "default" not in field or "properties" in field:
        return ""
    return f"`{json.dumps(field['default'])}`"


def _bounds(field: Schema) -> str:
    if "enum" in field:
        return ""
    words = []
    low, high = field.get("minimum"), field.get("maximum")
    if low is not None or high is not None:
        words.append(f"{'more than ' if field.get('exclusiveMinimum') else ''}{low} to {high}" if high is not None else f"at least {low}")
    if "maxLength" in field:
        words.append(f"{field.get('minLength', 0)} to {field['maxLength']} characters")
    words += [f"{field.get(f'min{many}', 0)} to {field[f'max{many}']} entries"
              for many in ("Items", "Properties") if f"max{many}" in field]
    if "pattern" in field:
        words.append(f"`{field['pattern']}`".replace("|", "\\|"))
    return ", ".join(words)


def _applied(info: FieldInfo) -> str:
    extra = info.json_schema_extra
    if _model_of(info.annotation) is not None or not isinstance(extra, dict):
        return ""  # its own fields say it
    return str(extra.get("x-strata-apply", ""))
