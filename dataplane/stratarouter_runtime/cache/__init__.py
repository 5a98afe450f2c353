"""Exact and semantic cache: keys, guard, index, embedder, and entries in memory or in a shared Redis.

Invariant: it is given an ``Embedder`` and never knows a provider.
"""

from __future__ import annotations

from stratarouter_runtime.config import CacheConfig
from stratarouter_runtime.model.cache import Embedder

from .guard import verdict
from .index import VectorIndex
from .key import derive_key
from .memory import MemoryStore
from .minilm import open_minilm
from .service import SemanticCache
from .store import MissingStore, Store, StoreUnavailable

__all__ = ["MemoryStore", "SemanticCache", "Store", "StoreUnavailable", "VectorIndex", "derive_key", "open_cache", "open_minilm",
           "same_question"]

MAX_INDEX_BYTES = 1024 * 1024 * 1024
"""Bytes of vectors a pod keeps, whatever ``maxEntries`` allows."""


async def open_cache(config: CacheConfig, *, url: str | None, scope: str, embedder: Embedder | None) -> SemanticCache:
    """The cache of a configuration, started. ``url`` None with backend ``redis``: its Secret is missing, all is a miss."""
    index = VectorIndex(max_entries=config.max_entries, max_bytes=MAX_INDEX_BYTES) if embedder is not None else None
    cache = SemanticCache(_store(config, url, scope, embedder), index, embedder)
    await cache.start()
    return cache


def _store(config: CacheConfig, url: str | None, scope: str, embedder: Embedder | None) -> Store:
    if config.backend == "memory":
        return MemoryStore(max_entries=config.max_entries)
    if url is None:
        return MissingStore()
    # redis takes some 40 ms to import, and only this back end needs it.
    from .redis_store import RedisStore  # noqa: PLC0415

    return RedisStore(url, scope=scope, embedder=embedder.id if embedder else "", max_entries=config.max_entries)


def same_question(a: str, b: str) -> bool:
    """Whether the guard lets the answer to one question be given to the other."""
    return verdict(a, b).allowed
