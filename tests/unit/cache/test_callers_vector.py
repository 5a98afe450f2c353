"""A caller that brings its question's vector: the entry is stored with it, whatever the embedder would have made of the text."""

from __future__ import annotations

import numpy as np
import pytest

from stratarouter_runtime.cache import MemoryStore, SemanticCache, VectorIndex
from stratarouter_runtime.model.cache import CacheEntry, CacheKey, Hit, Miss

NOW = 1_000.0
THEIRS = np.array([0.0, 1.0, 0.0, 0.0], dtype=np.float32)
NEAR_THEIRS = np.array([0.1, 1.0, 0.0, 0.0], dtype=np.float32)


class OtherSpace:
    """An embedder whose vectors are all of another direction than the caller's."""

    id = "other"
    threshold = 0.9

    def fits(self, text):
        return True

    async def embed(self, text):
        return np.array([1.0, 0.0, 0.0, 0.0], dtype=np.float32)

    async def aclose(self):
        pass


@pytest.fixture
async def cache():
    made = SemanticCache(MemoryStore(max_entries=10, clock=lambda: NOW), VectorIndex(max_entries=10, max_bytes=1_000_000),
                         OtherSpace(), clock=lambda: NOW)
    await made.start()
    yield made
    await made.aclose()


def key_of(text: str) -> CacheKey:
    return CacheKey(scope="s", partition="p", exact=text, family="chat", tenant="t", route="r", model="m", text=text)


def entry_of(key: CacheKey) -> CacheEntry:
    return CacheEntry(partition=key.partition, exact=key.exact, body=b"{}", pool="p", provider="p", model="m", region="",
                      created=NOW, ttl=60, text=key.text)


async def test_the_first_entry_of_a_partition_is_stored_with_the_callers_vector(cache):
    """The look-up that misses gives the vector on, also where there is nothing to compare it with yet."""
    asked = key_of("how do I reset my password?")
    missed = await cache.lookup_semantic(asked, vector=THEIRS)
    assert isinstance(missed, Miss)
    assert await cache.store(asked, entry_of(asked), vector=missed.vector)
    found = await cache.lookup_semantic(key_of("how can I reset my password?"), vector=NEAR_THEIRS)
    assert isinstance(found, Hit)
    assert found.entry.text == "how do I reset my password?"
