"""``CacheManager`` in memory and over a real Redis: one behaviour."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from builders import until
from stratarouter_runtime import CachedResponse, CacheManager, ConfigError, ExecutionError, ExecutionResult
from stratarouter_runtime.model.cache import Vector

INVOICE, NEAR, FAR = [1.0, 0.0, 0.0], [0.99, 0.1, 0.0], [0.0, 1.0, 0.0]


@pytest.fixture(params=["memory", "redis"])
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[CacheManager]:
    url = request.getfixturevalue("redis_url") if request.param == "redis" else None
    async with CacheManager(backend=request.param, redis_url=url, ttl=3600, similarity_threshold=0.95, max_entries=10_000,
                            scope=f"test-{secrets.token_hex(4)}") as manager:
        yield manager


async def test_the_documented_calls(cache: CacheManager) -> None:
    """Nothing, then the same question, then the same in other words."""
    assert await cache.get_exact("Where is my invoice?") is None
    assert await cache.get_semantic("Where is my invoice?", INVOICE) is None
    assert await cache.set("Where is my invoice?", INVOICE, "In your account.")
    hit = await cache.get_exact("Where is my invoice?")
    assert hit is not None
    assert (hit.response, hit.tier, hit.score, hit.query) == ("In your account.", "exact", 1.0, "Where is my invoice?")
    near = await cache.get_semantic("where's my invoice", NEAR)
    assert near is not None
    assert (near.response, near.tier, near.query) == ("In your account.", "semantic", "Where is my invoice?")
    assert 0.95 < near.score < 1
    assert await cache.get_semantic("where's my invoice", FAR) is None


async def test_the_guard_reads_what_vectors_do_not_tell(cache: CacheManager) -> None:
    """Another number is another question, however near."""
    await cache.set("Where is invoice 1001?", INVOICE, "there")
    assert await cache.get_semantic("Where is invoice 1002?", INVOICE) is None
    assert await cache.get_semantic("where is invoice 1001", INVOICE) is not None


async def test_partitions_never_answer_each_other(cache: CacheManager) -> None:
    """Whatever is asked."""
    await cache.set("q", INVOICE, "a", partition="one")
    for partition in ("default", "two"):
        assert await cache.get_exact("q", partition=partition) is None
        assert await cache.get_semantic("q", INVOICE, partition=partition) is None
    assert await cache.get("q", INVOICE, partition="one") is not None


@pytest.mark.parametrize("response", ["text", {"a": [1, None, "ü"]}, [], None, 3])
async def test_a_response_comes_back_as_it_was_set(cache: CacheManager, response: Any) -> None:
    """Whatever JSON can hold; a hit is a value even where the response is none."""
    await cache.set("q", None, response)
    hit = await cache.get_exact("q")
    assert isinstance(hit, CachedResponse)
    assert hit.response == response
    assert await cache.get("q") == hit or (await cache.get("q")) is not None


async def test_the_same_question_again_replaces_the_answer(cache: CacheManager) -> None:
    """Delete forgets it; clear forgets all."""
    await cache.set("q", INVOICE, "old")
    await cache.set("q", INVOICE, "new")
    await cache.set("other", FAR, "x")
    hit = await cache.get_exact("q")
    assert hit is not None
    assert hit.response == "new"
    assert await cache.delete("q")
    assert await cache.get("q", INVOICE) is None
    assert await cache.get("other") is not None
    assert await cache.clear()
    assert await cache.get("other", FAR) is None


async def test_an_answer_may_live_shorter_than_the_others(cache: CacheManager) -> None:
    """By its own ``ttl``."""
    await cache.set("q", INVOICE, "a", ttl=0.05)

    async def gone() -> bool:
        """it has expired"""
        return await cache.get("q", INVOICE) is None

    await until(gone)


@pytest.mark.parametrize("vector", [[], [0, 0], [float("nan")], [[1, 2]], "abc", 3])
async def test_what_is_no_vector_is_refused(cache: CacheManager, vector: Any) -> None:
    """At storing and at looking."""
    with pytest.raises((ValueError, TypeError)):
        await cache.set("q", vector, "a")
    with pytest.raises((ValueError, TypeError)):
        await cache.get_semantic("q", vector)


async def test_a_vector_of_another_length_is_a_miss(cache: CacheManager) -> None:
    """Vectors of two models never mix."""
    await cache.set("q", INVOICE, "a")
    assert await cache.get_semantic("q?", [1.0, 0.0]) is None


async def test_wrong_arguments_are_told(cache: CacheManager) -> None:
    """By type."""
    for call in (cache.get_exact(3), cache.get_exact("q", partition=3), cache.set("q", None, object())):  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            await call
    with pytest.raises(ValueError, match="ttl"):
        await cache.set("q", None, "a", ttl=0)
    with pytest.raises(ValueError, match="embedding"):
        await cache.get_semantic("q")


async def test_an_execution_result_is_kept_by_its_text(cache: CacheManager) -> None:
    """So that the bridge's answers can be kept as they come."""
    await cache.set("q", None, ExecutionResult(response="text", completion=None, execution_id="exec-1", cost_usd=Decimal(1)))
    hit = await cache.get_exact("q")
    assert hit is not None
    assert hit.response == "text"


async def test_figures_are_told(cache: CacheManager) -> None:
    """Of this process."""
    await cache.set("q", INVOICE, "a")
    await cache.get_exact("q")
    await cache.get_exact("nothing")
    stats = await cache.stats()
    assert (stats["exactHits"], stats["backend"]) == (1, "up")


async def test_managers_of_one_scope_share_a_redis(redis_url: str) -> None:
    """Others do not; what is deleted is gone for all."""
    scope = f"test-{secrets.token_hex(4)}"
    async with CacheManager("redis", redis_url, scope=scope) as one, CacheManager("redis", redis_url, scope=scope) as two, \
            CacheManager("redis", redis_url, scope=f"{scope}x") as other:
        await one.set("q", INVOICE, "a")
        assert await two.get_exact("q") is not None
        assert await other.get_exact("q") is None

        async def told() -> bool:
            """the other process has heard of the vector"""
            return await two.get_semantic("Q", INVOICE) is not None

        await until(told)
        await two.clear()
        assert await one.get("q", INVOICE) is None


async def test_a_redis_that_is_gone_is_a_miss() -> None:
    """And nothing is stored; nobody waits."""
    async with CacheManager("redis", "redis://:hunter2@127.0.0.1:1/0") as cache:
        assert await cache.get_exact("q") is None
        assert not await cache.set("q", None, "a")
        assert not await cache.clear()


@pytest.mark.parametrize(("given", "why"), [
    ({"backend": "redis"}, "needs redis_url"), ({"redis_url": "redis://:hunter2@h"}, "used by backend='redis' only"),
    ({"ttl": 0}, "ttl"), ({"backend": "disk"}, "backend"), ({"similarity_threshold": 2}, "similarity")])
def test_what_is_wrong_with_a_manager_is_told(given: dict[str, Any], why: str) -> None:
    """Before it is used, and without its URL."""
    with pytest.raises(ValueError, match=why) as raised:
        CacheManager(**given)
    assert "hunter2" not in str(raised.value)


async def test_a_url_that_is_none_is_told_by_the_first_use() -> None:
    """Without quoting it."""
    with pytest.raises(ConfigError) as raised:
        await CacheManager("redis", "http://:hunter2@h").get_exact("q")
    assert "hunter2" not in str(raised.value)


async def test_a_closed_manager_says_so() -> None:
    """Also one that was never used."""
    cache = CacheManager()
    await cache.aclose()
    await cache.aclose()
    with pytest.raises(ExecutionError, match="closed"):
        await cache.get_exact("q")


async def test_first_uses_at_once_open_it_once() -> None:
    """However many."""
    cache = CacheManager()
    await asyncio.gather(*(cache.set(f"q{number}", None, number) for number in range(16)))
    assert (await cache.stats())["entries"] == 16
    await cache.aclose()


class Letters:
    """Embeds by counting vowels."""

    id = "letters"
    threshold = 0.99

    def fits(self, text: str) -> bool:
        return len(text) < 100

    async def embed(self, text: str) -> Vector | None:
        import numpy as np

        vector = np.asarray([1 + text.count(letter) for letter in "aeiou"], dtype=np.float32)
        return vector / np.linalg.norm(vector)

    async def aclose(self) -> None:
        raise AssertionError("it belongs to the app")


async def test_an_embedder_makes_the_vectors_that_nobody_brings() -> None:
    """For storing and for looking."""
    async with CacheManager(embedder=Letters()) as cache:
        await cache.set("where is it", None, "there")
        assert await cache.get_semantic("where is it?") is not None
        assert await cache.get("Where is it") is not None
