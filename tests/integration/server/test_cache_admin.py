"""``/cache`` of the platform port: who may look and delete, what is explained, and deletions that hold on every pod."""

from __future__ import annotations

import asyncio
import io
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from builders import Document, model, pool, runtime, secret, until, write
from fakes.vendor import FakeVendor
from fixtures_redis import RedisServer, free_port
from pod import Answer, Pod, bearing, question, resources, running, served_by

ADMIN = "sk-of-the-admin"
AUTH = {"apiKeysSecretRef": {"name": "keys"}, "adminKeysSecretRef": {"name": "admins"}}
POOL = {"type": "pool", "pool": "vectors", "model": "text-embedding-3-small", "similarityThreshold": 0.6}
DIGEST = "0" * 64
ONLY_CACHED = {"Cache-Control": "only-if-cached"}


def documents(vendor: FakeVendor, url: str = "", *, cache: Document | None = None, **fields: Any) -> list[Document]:
    """Two tenants, an admin, and a cache in memory or in Redis."""
    given: Document = {"embedder": {"type": "none"}, **(cache or {})}
    if url:
        given |= {"backend": "redis", "redis": {"urlSecretRef": {"name": "redis", "key": "url"}}}
    made = [*resources(runtime(f"a{uuid.uuid4().hex[:12]}", cache=given, auth=AUTH, **fields), vendor),
            secret("keys", {"team-a": "sk-a", "team-b": "sk-b"}), secret("admins", one=ADMIN), secret("redis", url=url or "redis://unused")]
    if given["embedder"]["type"] == "pool":
        made.append(pool("vectors", served_by(vendor, "v", model("text-embedding-3-small", capabilities=["embeddings"]))))
    return made


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Ends what a test starts."""
    async with AsyncExitStack() as made:
        yield made


@pytest.fixture
async def alone(tmp_path: Path, vendor: FakeVendor) -> AsyncIterator[Pod]:
    """One pod with a cache in memory."""
    async with running(tmp_path, *documents(vendor)) as made:
        yield made


async def admin(pod: Pod, method: str, path: str = "", key: str = ADMIN, **options: Any) -> Answer:
    """Call an admin endpoint of the cache."""
    return await pod.send(method, f"{pod.platform}/cache{path}", headers=bearing(key), **options)


async def explain(pod: Pod, text: str = "Where is my invoice?", *, tenant: str = "team-a", **more: Any) -> dict[str, Any]:
    """What the cache would do with a question of a tenant."""
    answer = await admin(pod, "POST", "/explain", json={"request": question(text), "tenant": tenant, **more})
    assert answer.status == 200, answer.body
    document: dict[str, Any] = answer.json
    return document


async def stored(pod: Pod, text: str = "Where is my invoice?", key: str = "sk-a", **fields: Any) -> None:
    """Ask, and wait until the answer is kept."""
    assert (await pod.chat(text, key=key, **fields)).status == 200
    await until(lambda: not pod.server.runtime._background)


# --- who and what ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["", "sk-a", "sk-of-the-admi"])
async def test_only_an_admin_may_look_or_delete(alone: Pod, key: str) -> None:
    """A tenant's key is no admin's; nothing is deleted."""
    await stored(alone)
    for method, path in (("GET", ""), ("POST", "/explain"), ("DELETE", "?tenant=team-a")):
        refused = await admin(alone, method, path, key=key, json={"request": question()} if method == "POST" else None)
        assert (refused.status, refused.error["code"], refused.headers["WWW-Authenticate"]) == (401, "invalid_api_key", "Bearer")
    assert (await alone.chat(key="sk-a", headers=ONLY_CACHED)).status == 200


async def test_without_admin_keys_or_without_a_cache_there_is_nothing(tmp_path: Path, vendor: FakeVendor) -> None:
    """404, which says what to set."""
    async with running(tmp_path, *resources(runtime(), vendor)) as pod:
        assert (await admin(pod, "GET")).error["code"] == "admin_disabled"
        await pod.reload(*documents(vendor, cache={"enabled": False}))
        for method, path in (("GET", ""), ("POST", "/explain"), ("DELETE", "?tenant=team-a")):
            off = await admin(pod, method, path, json={"request": question()} if method == "POST" else None)
            assert (off.status, off.error["code"]) == (404, "cache_disabled")


@pytest.mark.parametrize("query", ["", "?all=true", "?tenant=", "?tenant=a/b", "?key=abc", "?partition=*", f"?key={DIGEST}&tenant=team-a"])
async def test_what_does_not_name_exactly_one_thing_deletes_nothing(alone: Pod, query: str) -> None:
    """A slip of the pen costs nothing."""
    await stored(alone)
    refused = await admin(alone, "DELETE", query)
    assert (refused.status, refused.error["code"]) == (400, "invalid_selection")
    assert (await alone.chat(key="sk-a", headers=ONLY_CACHED)).status == 200


@pytest.mark.parametrize(("body", "param"), [
    ({}, "request"), ({"request": "Hi"}, "request"), ({"request": {"model": "gpt-4o"}}, "messages"),
    ({"request": question(), "tenant": 1}, "tenant"), ({"request": question(), "similarityThreshold": "high"}, "similarityThreshold"),
    ({"request": question(), "embedding": ["a"]}, "embedding"), ({"request": question(), "prompt": "x"}, "prompt"),
    ({"request": question(), "route": "nowhere"}, "x-strata-route")])
async def test_what_cannot_be_explained_is_refused_by_its_parameter(alone: Pod, body: Document, param: str) -> None:
    """As the request itself would be."""
    refused = await admin(alone, "POST", "/explain", json=body)
    assert refused.status in (400, 404)
    assert refused.error["param"] == param


async def test_a_body_without_end_is_refused(alone: Pod) -> None:
    """The platform port takes little."""
    refused = await admin(alone, "POST", "/explain", data=io.BytesIO(b" " * 2_000_000))
    assert (refused.status, refused.error["code"]) == (413, "request_too_large")


# --- explained ------------------------------------------------------------------------------------------------------------


async def test_figures_and_the_exact_tier(alone: Pod, vendor: FakeVendor) -> None:
    """Before, after, for another tenant, and what is never cached; nobody is called."""
    assert (await explain(alone))["outcome"] == "absent no-embedder"
    await stored(alone)
    calls = vendor.record.total
    told = await explain(alone)
    assert (told["outcome"], told["cacheable"], told["exact"]["provider"], told["exact"]["tenant"]) == ("hit exact", True, "primary", "team-a")
    assert 0 < told["exact"]["expires_seconds"] <= 3_600
    assert "answer" not in str(told)
    assert (await explain(alone, tenant="team-b"))["exact"] is None
    hot = await admin(alone, "POST", "/explain", json={"request": question(temperature=1.5), "tenant": "team-a"})
    assert (hot.json["cacheable"], hot.json["outcome"]) == (False, "ineligible temperature")
    embedded = await admin(alone, "POST", "/explain", json={"request": {"model": "text-embedding-3-small", "input": "a"}})
    assert embedded.json["outcome"] == "absent embeddings"
    figures = (await admin(alone, "GET")).json
    assert (figures["entries"], figures["backend"], figures["embedder"]) == (1, "up", "")
    assert vendor.record.total == calls


async def test_neighbours_are_explained_by_score_and_guard(tmp_path: Path, vendor: FakeVendor) -> None:
    """By the caller's vector; a pool's embedder is not asked for one."""
    async with running(tmp_path, *documents(vendor, cache={"embedder": POOL})) as pod:
        text = "Where can I find my invoice 4711?"
        await stored(pod, text)
        await stored(pod, "Please sing me a song about bicycles")
        calls = vendor.record.total
        assert (await explain(pod, "Where can I locate my invoice 4711?"))["unsearched"] == "embedder"
        assert vendor.record.total == calls
        embedder = pod.server.runtime.parts.embedder
        assert embedder is not None
        made = await embedder.embed(text)
        assert made is not None
        vector = [float(each) for each in made]
        near = await explain(pod, "Where can I locate my invoice 4711?", embedding=vector)
        assert near["outcome"] == "hit semantic"
        best, other = near["neighbours"]
        assert (best["question"], best["close"], best["guard"]["allowed"], best["policy"]) == (text, True, True, None)
        assert best["score"] > other["score"]
        assert other["close"] is False
        another = await explain(pod, "Where can I find my invoice 4712?", embedding=vector)
        assert (another["outcome"], another["neighbours"][0]["guard"]["reason"]) == ("guard number", "number")
        far = await explain(pod, "Where can I find my bill?", embedding=[-each for each in vector])
        assert far["outcome"] == "below-threshold"


async def test_a_policy_that_forbids_the_entry_is_named(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """What is there need not be given."""
    def configured(**policy: Any) -> list[Document]:
        made = documents(vendor, defaultRoute={"pools": [{"name": "chat"}], "policy": policy})
        made[0]["metadata"]["name"] = "assistant"
        made[1] = pool("chat", served_by(vendor, "primary"), served_by(second, "second", priority=1))
        return made

    async with running(tmp_path, *configured()) as pod:
        await stored(pod)
        await pod.reload(*configured(blockedProviders=["primary"]))
        told = await explain(pod)
        assert (told["exact"]["policy"], told["outcome"]) == ("blockedProviders", "policy blockedProviders")


# --- deleted --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["memory", "redis"])
async def test_a_key_a_partition_and_a_tenant_are_deleted_and_no_more(
        tmp_path: Path, vendor: FakeVendor, redis_url: str, backend: str) -> None:
    """What is left is still given."""
    async with running(tmp_path, *documents(vendor, redis_url if backend == "redis" else "")) as pod:
        await until(lambda: pod.server.runtime.cache_stats().get("backend") == "up")
        for text in ("one", "two"):
            await stored(pod, text)
        await stored(pod, "one", key="sk-b")
        for what in ("key", "partition"):
            told = await explain(pod, "one")
            assert (await admin(pod, "DELETE", f"?{what}={told[what]}")).json == {"deleted": 1}
            assert (await admin(pod, "DELETE", f"?{what}={told[what]}")).json == {"deleted": 0}
            assert (await pod.chat("one", key="sk-a", headers=ONLY_CACHED)).status == 504
            await stored(pod, "one")
        assert (await admin(pod, "DELETE", "?tenant=team-a")).json["deleted"] == 2
        assert (await admin(pod, "DELETE", f"?key={DIGEST}")).json == {"deleted": 0}
        for text in ("one", "two"):
            assert (await explain(pod, text))["exact"] is None
        assert (await explain(pod, "one", tenant="team-b"))["exact"] is not None


async def test_while_redis_is_away_nothing_is_said_to_be_deleted(tmp_path: Path, vendor: FakeVendor, redis_server: RedisServer) -> None:
    """503, to be tried again; figures are still told."""
    async with running(tmp_path, *documents(vendor, redis_server.url)) as pod:
        await stored(pod)
        redis_server.pause()
        try:
            for path in (f"?key={DIGEST}", f"?partition={DIGEST}", "?tenant=team-a"):
                refused = await admin(pod, "DELETE", path)
                assert (refused.status, refused.error["code"], refused.headers["Retry-After"]) == (503, "cache_unavailable", "5")
            assert (await admin(pod, "POST", "/explain", json={"request": question()})).status == 503
            assert (await admin(pod, "GET")).status == 200
        finally:
            redis_server.resume()


@asynccontextmanager
async def process(path: Path) -> AsyncIterator[tuple[str, str]]:
    """A real server process; the URLs of its two ports."""
    port, platform = free_port(), free_port()
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "stratarouter_runtime.cli", "serve", "--config", str(path), "--port", str(port), "--platform-port",
        str(platform), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}", f"http://127.0.0.1:{platform}"
    finally:
        started.kill()
        await started.wait()


async def test_two_processes_on_one_redis_forget_a_tenant_together(
        tmp_path: Path, stack: AsyncExitStack, vendor: FakeVendor, redis_url: str) -> None:
    """Both tiers: what one deletes the other neither gives nor finds by similarity."""
    path = write(tmp_path / "all.yaml", *documents(vendor, redis_url, cache={"embedder": POOL}))
    (one, _), (other, other_platform) = [await stack.enter_async_context(process(path)) for _ in range(2)]
    session = await stack.enter_async_context(aiohttp.ClientSession())

    async def status(url: str, text: str, **headers: str) -> int:
        async with session.post(f"{url}/v1/chat/completions", json=question(text), headers={**bearing("sk-a"), **headers}) as answer:
            await answer.read()
            return answer.status

    async def figures() -> dict[str, Any]:
        async with session.get(f"{other_platform}/cache", headers=bearing(ADMIN)) as answer:
            document: dict[str, Any] = await answer.json()
            return document

    async def up() -> bool:
        """both serve"""
        try:
            return (await status(one, "Where can I find my invoice 4711?"), await status(other, "Where is my parcel 42?")) == (200, 200)
        except aiohttp.ClientError:
            return False

    async def shared() -> bool:
        """each gives what the other stored, by similarity"""
        return (await status(other, "Where can I locate my invoice 4711?", **ONLY_CACHED), (await figures())["indexed"]) == (200, 2)

    async def forgotten() -> bool:
        """the other process has nothing left"""
        return (await figures())["indexed"] == 0

    await until(up, within=60)
    await until(shared, within=30)
    async with session.delete(f"{other_platform}/cache?tenant=team-a", headers=bearing(ADMIN)) as deleted:
        assert await deleted.json() == {"deleted": 2}
    for url in (one, other):
        for text in ("Where can I find my invoice 4711?", "Where can I locate my invoice 4711?", "Where is my parcel 42?"):
            assert await status(url, text, **ONLY_CACHED) == 504
    await until(forgotten)
