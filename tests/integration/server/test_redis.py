"""Pods on one Redis: shared entries, scopes, tenants, and a Redis that is down, dies, hangs or comes back."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from builders import Document, model, pool, runtime, secret, until
from fakes.vendor import FakeVendor
from fixtures_redis import RedisServer, free_port
from pod import Pod, resources, running, served_by

REDIS = {"backend": "redis", "redis": {"urlSecretRef": {"name": "redis", "key": "url"}}, "embedder": {"type": "none"}}


def documents(vendor: FakeVendor, url: str, *, name: str = "", **fields: Any) -> list[Document]:
    """Resources whose cache is that Redis; names differ from test to test, because the session's Redis is shared."""
    cache = {**REDIS, **fields.pop("cache", {})}
    return [*resources(runtime(name or f"a{uuid.uuid4().hex[:12]}", cache=cache, **fields), vendor), secret("redis", url=url)]


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Ends what a test starts."""
    async with AsyncExitStack() as made:
        yield made


async def pods(stack: AsyncExitStack, folder: Path, *each: list[Document]) -> list[Pod]:
    """A running pod for each configuration."""
    made = []
    for number, resources_ in enumerate(each):
        place = folder / str(number)
        place.mkdir()
        made.append(await stack.enter_async_context(running(place, *resources_)))
    for pod in made:
        await until(lambda pod=pod: pod.server.runtime.cache_stats().get("backend") == "up")
    return made


async def stored(pod: Pod, text: str, **fields: Any) -> None:
    """Ask, and wait until the answer is kept (storing comes after the reply)."""
    assert (await pod.chat(text, **fields)).status == 200
    await until(lambda: not pod.server.runtime._background)


def is_hit(answer: Any) -> bool:
    """Whether the cache answered."""
    return "hit" in answer.cache.parameters


# --- sharing --------------------------------------------------------------------------------------------------------------


async def test_two_pods_of_one_runtime_config_share_their_entries(
        tmp_path: Path, stack: AsyncExitStack, vendor: FakeVendor, redis_url: str) -> None:
    """What one stores the other answers, streamed too."""
    shared = documents(vendor, redis_url)
    one, other = await pods(stack, tmp_path, shared, shared)
    await stored(one, "shared")
    assert is_hit(await other.chat("shared"))
    assert is_hit(await other.chat("shared", stream=True))
    assert vendor.record.total == 1


async def test_two_runtime_configs_on_one_redis_never_hit_each_others_entries(
        tmp_path: Path, stack: AsyncExitStack, vendor: FakeVendor, redis_url: str) -> None:
    """Equal in everything but name, or but namespace."""
    same = f"a{uuid.uuid4().hex[:12]}"
    first, second, third = (documents(vendor, redis_url, name=name) for name in (same, f"{same}b", same))
    for document in third:
        document["metadata"]["namespace"] = "elsewhere"
    one, other, elsewhere = await pods(stack, tmp_path, first, second, third)
    await stored(one, "mine")
    assert not is_hit(await other.chat("mine"))
    assert not is_hit(await elsewhere.chat("mine"))
    assert is_hit(await one.chat("mine"))


async def test_with_the_same_scope_they_do(tmp_path: Path, stack: AsyncExitStack, vendor: FakeVendor, redis_url: str) -> None:
    """And with another scope, or one where the other has none, they do not."""
    scope = uuid.uuid4().hex
    one, other, different, none = await pods(
        stack, tmp_path, documents(vendor, redis_url, cache={"scope": scope}), documents(vendor, redis_url, cache={"scope": scope}),
        documents(vendor, redis_url, cache={"scope": f"{scope}b"}), documents(vendor, redis_url))
    await stored(one, "ours")
    assert is_hit(await other.chat("ours"))
    assert not is_hit(await different.chat("ours"))
    assert not is_hit(await none.chat("ours"))


async def test_tenants_never_share_an_entry(tmp_path: Path, stack: AsyncExitStack, vendor: FakeVendor, redis_url: str) -> None:
    """Not on one pod, not on two, not where a gateway names them; the same tenant's two keys do."""
    guarded = [*documents(vendor, redis_url, auth={"apiKeysSecretRef": {"name": "keys"}, "trustedTenantHeader": True}),
               secret("keys", {"team-a": "sk-a1\nsk-a2", "team-b": "sk-b"})]
    one, other = await pods(stack, tmp_path, guarded, guarded)
    await stored(one, "private", key="sk-a1")
    assert not is_hit(await one.chat("private", key="sk-b"))
    assert not is_hit(await other.chat("private", key="sk-b", headers={"x-strata-tenant": "team-c"}))
    assert is_hit(await other.chat("private", key="sk-a2"))
    assert is_hit(await other.chat("private", key="sk-b", headers={"x-strata-tenant": "team-a"}))


async def test_a_semantic_hit_on_the_other_pod(tmp_path: Path, stack: AsyncExitStack, vendor: FakeVendor, redis_url: str) -> None:
    """A paraphrase through a pool's embeddings; another number is refused by the guard; tenants and routes stay apart."""
    embedder = {"type": "pool", "pool": "vectors", "model": "text-embedding-3-small", "similarityThreshold": 0.6}
    shared = documents(vendor, redis_url, cache={"embedder": embedder},
                       routes=[{"name": "billing", "pools": [{"name": "chat", "model": "gpt-4o-mini"}]}])
    shared.append(pool("vectors", served_by(vendor, "v", model("text-embedding-3-small", capabilities=["embeddings"]))))
    one, other = await pods(stack, tmp_path, shared, shared)
    await stored(one, "Where can I find my invoice 4711?")

    def indexed() -> bool:
        """the other pod has the entry"""
        return int(other.server.runtime.cache_stats()["entries"]) >= 1

    await until(indexed)
    hit = await other.chat("Where can I locate my invoice 4711?")
    assert is_hit(hit)
    assert str(hit.cache.parameters["detail"]).startswith("semantic score=")
    near = await other.chat("Where can I find my invoice 4712?")
    assert not is_hit(near)
    assert "guard" in str(near.cache.parameters["detail"])
    assert not is_hit(await other.chat("Where can I locate my invoice 4711?", model="billing"))
    raised = await other.chat("Where can I see my invoice 4711?", headers={"x-strata-similarity-threshold": "1"})
    assert not is_hit(raised)


# --- a Redis in trouble ---------------------------------------------------------------------------------------------------


async def test_a_redis_that_is_down_at_start(tmp_path: Path, vendor: FakeVendor) -> None:
    """The pod starts, is ready and answers from the vendor; once Redis is there, it is used."""
    port = free_port()
    folder = tmp_path / "redis"
    folder.mkdir()
    async with running(tmp_path, *documents(vendor, f"redis://127.0.0.1:{port}/0")) as pod:
        assert (await pod.send("GET", f"{pod.platform}/readyz")).status == 200
        for _ in range(2):
            answer = await pod.chat()
            assert (answer.status, is_hit(answer)) == (200, False)
            assert "backend" in str(answer.cache.parameters["detail"])
        assert (await pod.config())["cache"]["backend"] == "down"
        assert await pod.figure("stratarouter_runtime_backend_up", backend="redis") == 0
        server = RedisServer(folder, port=port)
        await asyncio.to_thread(server.start)
        try:
            await until(lambda: pod.server.runtime.cache_stats()["backend"] == "up", within=30)
            await stored(pod, "now")
            assert is_hit(await pod.chat("now"))
        finally:
            server.stop()


async def test_a_redis_that_dies_later(tmp_path: Path, vendor: FakeVendor, redis_server: RedisServer) -> None:
    """Every call is answered, hits become misses within tens of milliseconds, and the figures say so."""
    async with running(tmp_path, *documents(vendor, redis_server.url)) as pod:
        await until(lambda: pod.server.runtime.cache_stats()["backend"] == "up")
        await stored(pod, "kept")
        assert is_hit(await pod.chat("kept"))
        redis_server.stop()
        for _ in range(20):
            answer = await pod.chat("kept")
            assert (answer.status, is_hit(answer)) == (200, False)
        assert (await pod.config())["cache"]["backend"] == "down"
        assert (await pod.config())["ready"] is True
        await asyncio.to_thread(redis_server.start)
        await until(lambda: pod.server.runtime.cache_stats()["backend"] == "up", within=30)
        await stored(pod, "kept")
        assert is_hit(await pod.chat("kept"))


async def test_a_redis_that_hangs_costs_tens_of_milliseconds(tmp_path: Path, vendor: FakeVendor, redis_server: RedisServer) -> None:
    """Connected and silent: the first calls wait for its timeout, then a breaker keeps it off the path."""
    async with running(tmp_path, *documents(vendor, redis_server.url)) as pod:
        await until(lambda: pod.server.runtime.cache_stats()["backend"] == "up")
        await stored(pod, "kept")
        redis_server.pause()
        try:
            waits = []
            for _ in range(20):
                started = time.monotonic()
                assert (await pod.chat("kept")).status == 200
                waits.append(time.monotonic() - started)
            assert max(waits) < 0.5
            assert sorted(waits)[10] < 0.1
        finally:
            redis_server.resume()
        await until(lambda: pod.server.runtime.cache_stats()["backend"] == "up", within=30)


async def test_a_redis_whose_url_is_missing_is_a_miss(tmp_path: Path, vendor: FakeVendor) -> None:
    """The Secret is named as missing; once it is there, it is used without a restart."""
    resources_ = documents(vendor, "redis://unused")[:-1]
    async with running(tmp_path, *resources_) as pod:
        answer = await pod.chat()
        assert (answer.status, is_hit(answer)) == (200, False)
        assert (await pod.config())["missingSecrets"] == [{"secret": "redis", "key": "url", "usedBy": "cache.redis"}]


async def test_a_redis_that_asks_for_a_password(tmp_path: Path, vendor: FakeVendor) -> None:
    """It comes from the URL; a wrong one is a miss, and is shown nowhere."""
    folder = tmp_path / "redis"
    folder.mkdir()
    server = RedisServer(folder, "--requirepass", "hush")
    await asyncio.to_thread(server.start)
    try:
        resources_ = documents(vendor, f"redis://:wrong-hush@127.0.0.1:{server.port}/0")
        async with running(tmp_path, *resources_) as pod:
            answer = await pod.chat()
            assert (answer.status, is_hit(answer)) == (200, False)
            assert "hush" not in str(await pod.config())
            resources_[-1] = secret("redis", url=f"redis://:hush@127.0.0.1:{server.port}/0")
            await pod.reload(*resources_)
            await until(lambda: pod.server.runtime.cache_stats()["backend"] == "up")
            await stored(pod, "kept")
            assert is_hit(await pod.chat("kept"))
    finally:
        server.stop()
