"""A release: one accepted configuration of one RuntimeConfig, as it is handed to the pods and remembered.

It is kept in a ConfigMap as two documents: ``snapshot.yaml``, which the pods read, and ``shape.yaml``, which only the
operator needs (how many pods, of what template). Together they are the whole configuration, so the last good one can
be run again by an operator that has just started. Pure.

Invariants: a release is valid; ``config_hash`` is the SHA-256 of the exact bytes of ``snapshot``; a release that is
recalled has the very bytes that were stored.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError

from stratarouter_runtime.config import (
    OPERATOR_FIELDS,
    ConfigError,
    Contract,
    RuntimeConfig,
    SecretKeyRef,
    SecretRef,
    Snapshot,
    digest,
    select,
)

from .cluster import Manifest
from .errors import Refused

SNAPSHOT_FILE = "snapshot.yaml"
SHAPE_FILE = "shape.yaml"
MAX_SNAPSHOT = 900 * 1024
"""A ConfigMap ends at 1 MiB, with its metadata."""

_APPLY = "x-strata-apply"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Release:
    """What a data plane runs, and in what shape."""

    name: str
    namespace: str
    generation: int
    runtime: RuntimeConfig
    snapshot: bytes
    shape: bytes
    config_hash: str
    secrets: tuple[str, ...]
    """Names of all Secrets that the configuration refers to, sorted: they are mounted."""

    @property
    def roll_hash(self) -> str:
        """Changes with every setting that needs new pods; Secrets' names count through the volumes they become."""
        values = sorted(_rolled(self.runtime, ""))
        return hashlib.sha256(json.dumps(values, default=str).encode()).hexdigest()[:10]


def accept(runtime: Manifest, pools: Iterable[Manifest]) -> Release:
    """The release of a RuntimeConfig and the pools of its namespace; raises ``Refused``."""
    try:
        snapshot = Snapshot.build(runtime, pools)
    except ConfigError as error:
        raise Refused(error.reason, "; ".join(error.problems)) from None
    content = snapshot.to_yaml()
    if len(content) > MAX_SNAPSHOT:
        raise Refused("SnapshotTooLarge", f"the configuration has {len(content)} bytes; a ConfigMap can carry {MAX_SNAPSHOT}")
    return _release(snapshot, content, _shape(snapshot.runtime))


def recall(data: Mapping[str, str]) -> Release:
    """The release that a ConfigMap keeps; raises ``Refused`` where this version cannot read it."""
    try:
        content, shape = data[SNAPSHOT_FILE].encode(), data[SHAPE_FILE].encode()
        snapshot = select(list(yaml.load_all(content, Loader=_LOADER)), digest=digest(content))
        kept = yaml.safe_load(shape)
        spec = _merge(snapshot.runtime.document(), kept["spec"])
        whole = Snapshot(snapshot.name, snapshot.namespace, snapshot.generation, RuntimeConfig.model_validate(spec),
                         snapshot.pools, snapshot.digest)
    except (KeyError, TypeError, AttributeError, yaml.YAMLError, ConfigError, ValidationError) as error:
        raise Refused("LastGoodUnreadable", f"the last good configuration cannot be read: {error}") from None
    return _release(whole, content, shape)


def _release(snapshot: Snapshot, content: bytes, shape: bytes) -> Release:
    return Release(
        name=snapshot.name, namespace=snapshot.namespace, generation=snapshot.generation, runtime=snapshot.runtime,
        snapshot=content, shape=shape, config_hash=digest(content), secrets=tuple(snapshot.secret_names()))


def _shape(runtime: RuntimeConfig) -> bytes:
    spec: dict[str, Any] = {}
    document = runtime.document()
    for path in OPERATOR_FIELDS:
        source: Any = document
        for part in path:
            source = source.get(part) if isinstance(source, dict) else None
        if source is None:
            continue
        target = spec
        for part in path[:-1]:
            target = target.setdefault(part, {})
        target[path[-1]] = source
    # Escaped: a raw U+0085 or U+2028 would come back as a line break.
    return yaml.safe_dump({"spec": spec}, sort_keys=True, allow_unicode=False).encode()


def _merge(into: dict[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value
    return into


def _parts(value: Any) -> Iterator[Contract]:
    """The models inside a field's value."""
    if isinstance(value, Contract):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from _parts(each)
    elif isinstance(value, dict):
        for each in value.values():
            yield from _parts(each)


def _rolled(model: Contract, path: str) -> Iterator[tuple[str, Any]]:
    """Every ``roll`` setting that is not at its default: a new default in a new version rolls by its image anyway."""
    if isinstance(model, SecretKeyRef | SecretRef):
        return
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        here = f"{path}.{name}"
        if parts := list(_parts(value)):
            for index, part in enumerate(parts):
                yield from _rolled(part, f"{here}[{index}]")
        elif isinstance(info.json_schema_extra, dict) and info.json_schema_extra.get(_APPLY) == "roll" and value != info.default:
            yield here, value
