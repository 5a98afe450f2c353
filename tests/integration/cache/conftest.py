"""Scopes and pods for the cache's tests on a real Redis."""

from __future__ import annotations

import itertools
import os
import time

import pytest

from fakes.cache_pods import Letters
from stratarouter_runtime.cache import SemanticCache, VectorIndex
from stratarouter_runtime.cache.redis_store import RedisStore

_numbers = itertools.count()


@pytest.fixture
def scope():
    """A scope that no other test uses, so that a shared Redis stays clean for all."""
    return f"test-{os.getpid()}-{next(_numbers)}-{time.time_ns()}"


@pytest.fixture
async def pods():
    """A factory of pods that share a Redis and a scope; all are closed at the end."""
    opened: list[SemanticCache] = []

    async def open_pod(url, scope, max_entries=1_000, **options):
        # Patient by default: only the tests of patience itself depend on how busy the machine is.
        options = {"command_seconds": 10, "store_seconds": 10, **options}
        store = RedisStore(url, scope=scope, embedder=Letters.id, max_entries=max_entries, **options)
        pod = SemanticCache(store, VectorIndex(max_entries=max_entries, max_bytes=10**8), Letters())
        await pod.start()
        opened.append(pod)
        return pod

    yield open_pod
    for pod in opened:
        await pod.aclose()
