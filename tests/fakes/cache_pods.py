"""What the cache's tests on a real Redis share: keys, entries, an embedder of letters, and waiting until."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import numpy as np

from stratarouter_runtime.model.cache import CacheEntry, CacheKey

DIMENSIONS = 16


class Letters:
    """An embedder whose vectors count letters: enough to find a text again, deterministic in every process."""

    id = "letters"
    threshold = 0.95

    def fits(self, text):
        return True

    async def embed(self, text):
        vector = np.full(DIMENSIONS, 0.01, dtype=np.float32)
        for char in text.lower():
            vector[ord(char) % DIMENSIONS] += 1
        return vector / np.linalg.norm(vector)

    async def aclose(self):
        pass


def make_key(text="How do I pay?", partition="p", scope="s", since=""):
    return CacheKey(scope=scope, partition=partition, exact=f"{partition}:{text}", family="chat", tenant="t", route="r", model="m",
                    text=text, since=since)


def make_entry(key, **fields):
    given = {"partition": key.partition, "exact": key.exact, "body": b'{"answer":"42"}', "pool": "c", "provider": "p", "model": "m",
             "region": "eu", "created": time.time(), "ttl": 60.0, "text": key.text, **fields}
    return CacheEntry(**given)


async def eventually(check: Callable[[], Awaitable[bool]], seconds: float = 10.0) -> float:
    """Wait until ``check`` holds; the seconds it took."""
    began = time.monotonic()
    while not await check():
        assert time.monotonic() - began < seconds, "it did not happen in time"
        await asyncio.sleep(0.002)
    return time.monotonic() - began
