"""Whose object is it, does it say what we want, and who may change which of its fields?

Pure. Invariants: an object is ours only by its controller reference to our owner's UID, never by name or label; drift
is a field that we set, what others add stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .cluster import MANAGER, Manifest, controller_uid, metadata


def is_ours(live: Manifest, owner_uid: str) -> bool:
    """Whether the RuntimeConfig of this UID controls the object."""
    return controller_uid(live) == owner_uid


def needs_apply(wanted: Manifest, live: Manifest) -> bool:
    """Whether an apply would change something.

    A field that is no longer wanted shows in the digest of the manifest, which is itself a field of it.
    """
    return not covers(live, wanted)


def covers(live: Any, wanted: Any) -> bool:
    """Whether ``live`` has all of ``wanted``; false alarms (``0.5`` kept as ``500m``) only cost an apply without effect."""
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(key in live and covers(live[key], value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(live, list) and _covers_list(live, wanted)
    return bool(live == wanted)


def _covers_list(live: list[Any], wanted: list[Any]) -> bool:
    if all(isinstance(each, dict) and "name" in each for each in wanted):
        # A list that merges by name: a sidecar that somebody injects is no drift.
        by_name = {each.get("name"): each for each in live if isinstance(each, dict)}
        return all(covers(by_name.get(each["name"]), each) for each in wanted)
    return len(live) == len(wanted) and all(covers(one, other) for one, other in zip(live, wanted, strict=True))


def adopted_fields(live: Manifest) -> list[Manifest] | None:
    """The managed fields as they should be; None where they are.

    A POST makes us owner by *update*, beside which a later apply is a second owner: a field dropped from the apply
    would then stay for ever. So the record is rewritten as an apply, but for ``replicas``, which is nobody's: an apply
    without it must not reset it.
    """
    fields: list[Manifest] = metadata(live).get("managedFields") or []
    if not any(_by_update(each) for each in fields):
        return None
    applied = any(each.get("manager") == MANAGER and each.get("operation") == "Apply" for each in fields)
    rest = [each for each in fields if not _by_update(each)]
    return rest if applied else [*rest, *(_as_apply(each) for each in fields if _by_update(each))]


def _by_update(entry: Mapping[str, Any]) -> bool:
    return entry.get("manager") == MANAGER and entry.get("operation") == "Update" and not entry.get("subresource")


def _as_apply(entry: Manifest) -> Manifest:
    fields = dict(entry.get("fieldsV1") or {})
    if "f:replicas" in fields.get("f:spec", {}):
        fields["f:spec"] = {key: value for key, value in fields["f:spec"].items() if key != "f:replicas"}
    return {**entry, "operation": "Apply", "fieldsV1": fields}
