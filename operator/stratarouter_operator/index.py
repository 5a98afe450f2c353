"""Whom does a change concern?

Answers only that: what is true of a resource is always read live. It may know resources that have vanished meanwhile
(their keys then turn out to be gone) until the next resync replaces it; it learns of a resource from the same event
that marks it, so a pool's event that comes before its users' loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .cluster import Manifest, metadata, name_of

Named = tuple[str, str]
"""Namespace and name."""


def named(manifest: Mapping[str, Any]) -> Named:
    """Namespace and name of an object."""
    return str(metadata(manifest)["namespace"]), name_of(manifest)


def pools_of(runtime: Mapping[str, Any]) -> frozenset[str]:
    """Names of the pools a RuntimeConfig mentions, valid or not: in each route's chain, and of its embedder."""
    spec = runtime.get("spec") or {}
    routes = [*(spec.get("routes") or ()), spec.get("defaultRoute") or {}]
    names = {pool.get("name") for route in routes for pool in route.get("pools") or ()}
    names.add(((spec.get("cache") or {}).get("embedder") or {}).get("pool"))
    return frozenset(name for name in names if isinstance(name, str))


class Index:
    """Which RuntimeConfigs mention which pools."""

    def __init__(self) -> None:
        self._pools: dict[Named, frozenset[str]] = {}

    def learn(self, runtime: Manifest) -> frozenset[str]:
        """Take note of a RuntimeConfig; returns the pools it mentions now or mentioned before."""
        key, now = named(runtime), pools_of(runtime)
        before = self._pools.get(key, frozenset())
        self._pools[key] = now
        return now | before

    def forget(self, key: Named) -> frozenset[str]:
        """A RuntimeConfig is gone; returns the pools it mentioned."""
        return self._pools.pop(key, frozenset())

    def replace(self, runtimes: Iterable[Manifest]) -> None:
        """Know exactly these."""
        self._pools = {named(each): pools_of(each) for each in runtimes}

    def users(self, pool: Named) -> list[Named]:
        """The RuntimeConfigs that mention a pool."""
        namespace, name = pool
        return sorted(key for key, pools in self._pools.items() if key[0] == namespace and name in pools)
