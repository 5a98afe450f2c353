"""From an event to the keys that want attention.

Level-triggered: an event says only *that* something has changed. Invariants: what changes nothing that a reconcile
looks at marks nothing (a status of ours, a touch, a renewed managed field); whatever is lost here, the resync finds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from .cluster import INSTANCE_LABEL, POD, PROVIDER_POOL, RUNTIME_CONFIG, Kind, Manifest, labels_of, metadata, uid_of
from .desired.base import digest_of
from .index import Index, named
from .pods import is_ready, template_of
from .queue import Key

MAX_REMEMBERED = 50_000
NOISE = frozenset({"managedFields", "resourceVersion"})


class Events:
    """Remembers of each object what mattered of it last, and marks keys."""

    def __init__(self, index: Index, mark: Callable[[Key], None]) -> None:
        self._index = index
        self._mark = mark
        self._seen: OrderedDict[str, str] = OrderedDict()

    def take(self, kind: Kind, change: str | None, manifest: Manifest) -> None:
        """An object is there (``change`` is None), was added, modified or deleted (``DELETED``)."""
        gone = change == "DELETED"
        if not self._news(kind, manifest, gone=gone):
            return
        if kind is RUNTIME_CONFIG:
            self._runtime(manifest, gone=gone)
        elif kind is PROVIDER_POOL:
            self._pool(manifest)
        elif (owner := _owner(manifest)) is not None:
            self._mark(owner)

    def _runtime(self, manifest: Manifest, *, gone: bool) -> None:
        namespace, name = named(manifest)
        pools = self._index.forget((namespace, name)) if gone else self._index.learn(manifest)
        self._mark(Key(RUNTIME_CONFIG.name, namespace, name))
        for pool in sorted(pools):
            self._mark(Key(PROVIDER_POOL.name, namespace, pool))

    def _pool(self, manifest: Manifest) -> None:
        namespace, name = named(manifest)
        self._mark(Key(PROVIDER_POOL.name, namespace, name))
        for user in self._index.users((namespace, name)):
            self._mark(Key(RUNTIME_CONFIG.name, *user))

    def _news(self, kind: Kind, manifest: Manifest, *, gone: bool) -> bool:
        uid = uid_of(manifest)
        if gone:
            self._seen.pop(uid, None)
            return True
        now = digest_of(_matters(kind, manifest))
        before = self._seen.get(uid)
        self._seen[uid] = now
        self._seen.move_to_end(uid)
        if len(self._seen) > MAX_REMEMBERED:
            self._seen.popitem(last=False)
        return before != now


def _matters(kind: Kind, manifest: Manifest) -> Any:
    """What of an object a reconcile looks at."""
    meta = metadata(manifest)
    if kind in (RUNTIME_CONFIG, PROVIDER_POOL):
        return [meta.get("generation"), meta.get("deletionTimestamp")]
    if kind is POD:
        status = manifest.get("status", {})
        return [meta.get("deletionTimestamp"), meta.get("labels"), status.get("phase"), status.get("podIP"), is_ready(manifest),
                template_of(manifest)]
    rest = {key: value for key, value in manifest.items() if key not in ("metadata", "status")}
    return [{key: value for key, value in meta.items() if key not in NOISE}, rest, _status(manifest.get("status") or {})]


def _status(status: Mapping[str, Any]) -> Any:
    """Of a Deployment: how many pods, and what hinders it; without the times at which somebody last looked."""
    conditions = [[each.get(key) for key in ("type", "status", "reason", "message")] for each in status.get("conditions") or ()]
    return [status.get("replicas"), status.get("observedGeneration"), conditions]


def _owner(manifest: Manifest) -> Key | None:
    owners = metadata(manifest).get("ownerReferences") or ()
    controller = next((each["name"] for each in owners if each.get("controller") and each.get("kind") == RUNTIME_CONFIG.name), None)
    name = controller or labels_of(manifest).get(INSTANCE_LABEL)
    return Key(RUNTIME_CONFIG.name, metadata(manifest)["namespace"], name) if name else None
