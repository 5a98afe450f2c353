"""Server-side apply, as far as the operator's objects go: who owns which field, and what an apply changes.

A field set is a set of paths. A path's parts are field names and, inside lists that are maps, the keys of an item. The
form on the wire is that of ``fieldsV1``, so that tests can read and rewrite it as the operator does.
"""

from __future__ import annotations

import copy
import json
from typing import Any

Part = str
Path = tuple[Part, ...]

KEYS: dict[str, tuple[str, ...]] = {
    "containers": ("name",), "volumes": ("name",), "env": ("name",), "volumeMounts": ("mountPath",), "ports": ("port", "protocol"),
    "ownerReferences": ("uid",), "conditions": ("type",), "providers": ("pool", "name"), "routes": ("name",), "models": ("name",),
}
"""Lists that are maps, by field name; all others are atomic."""

META_FREE = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "name", "namespace", "deletionTimestamp")


def keys_of(field: str, item: Any) -> Part | None:
    """The part of an item in a list that is a map; None where the list is atomic."""
    names = KEYS.get(field)
    if names == ("port", "protocol") and isinstance(item, dict) and "containerPort" in item:
        names = ("containerPort", "protocol")
    if names is None or not isinstance(item, dict) or any(name not in item for name in names):
        return None
    return "k:" + json.dumps({name: item[name] for name in names}, sort_keys=True, separators=(",", ":"))


def paths(value: Any, prefix: Path = ()) -> set[Path]:
    """All fields that ``value`` sets."""
    if isinstance(value, dict) and value:
        found: set[Path] = set()
        for name, inner in value.items():
            found |= paths(inner, (*prefix, f"f:{name}"))
        return found
    if isinstance(value, list) and value:
        parts = [keys_of(prefix[-1].removeprefix("f:"), item) for item in value]
        if None not in parts:
            found = set()
            for part, item in zip(parts, value, strict=True):
                found |= {(*prefix, str(part))} | paths(item, (*prefix, str(part)))
            return found
    return {prefix}


def owned(manifest: dict[str, Any]) -> set[Path]:
    """The fields of an object that anybody can own."""
    meta = {key: value for key, value in manifest["metadata"].items() if key not in META_FREE}
    rest = {key: value for key, value in manifest.items() if key not in ("apiVersion", "kind", "metadata")}
    return paths({**rest, **({"metadata": meta} if meta else {})})


def encode(found: set[Path]) -> dict[str, Any]:
    """A field set as ``fieldsV1``."""
    tree: dict[str, Any] = {}
    for path in sorted(found):
        node = tree
        for part in path:
            node = node.setdefault(part, {})
    return tree


def decode(tree: dict[str, Any], prefix: Path = ()) -> set[Path]:
    """``fieldsV1`` as a field set."""
    found: set[Path] = set()
    for part, inner in tree.items():
        path = (*prefix, part)
        if part.startswith("k:"):
            found.add(path)
        found |= decode(inner, path) if inner else {path}
    return found


def merge(live: Any, wanted: Any, field: str = "") -> Any:
    """``wanted`` over ``live``: maps and lists that are maps are merged, everything else replaced."""
    if isinstance(live, dict) and isinstance(wanted, dict):
        return {**live, **{key: merge(live.get(key), value, key) for key, value in wanted.items()}}
    if isinstance(wanted, list) and isinstance(live, list) and wanted and all(keys_of(field, each) for each in wanted):
        result = copy.deepcopy(live)
        for item in wanted:
            part = keys_of(field, item)
            index = next((i for i, each in enumerate(result) if keys_of(field, each) == part), None)
            if index is None:
                result.append(copy.deepcopy(item))
            else:
                result[index] = merge(result[index], item)
        return result
    return copy.deepcopy(wanted)


def remove(value: Any, path: Path) -> None:
    """Take a field out, and what becomes empty by it."""
    part, rest = path[0], path[1:]
    if part.startswith("k:"):
        wanted = json.loads(part[2:])
        index = next((i for i, each in enumerate(value) if all(each.get(k) == v for k, v in wanted.items())), None)
        if index is None:
            return
        if rest:
            remove(value[index], rest)
        else:
            del value[index]
        return
    name = part.removeprefix("f:")
    if not isinstance(value, dict) or name not in value:
        return
    if rest:
        remove(value[name], rest)
        if value[name] in ({}, []):
            del value[name]
    else:
        del value[name]
