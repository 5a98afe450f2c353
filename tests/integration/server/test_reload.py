"""Hot reload of a running data plane: nothing is dropped, what is in force is acknowledged by its hash."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest

from builders import Document, mount, pool, runtime, secret, until
from fakes.vendor import ALWAYS, FakeVendor, Reply
from pod import Pod, line, question, resources, running, served_by

LONG = Reply(text=" ".join(f"word{number}" for number in range(60)))


async def test_a_new_configuration_is_acknowledged_by_its_hash(tmp_path: Path, vendor: FakeVendor) -> None:
    """SHA-256 of the file's bytes, within a second."""
    documents = resources(runtime(generation=1), vendor)
    async with running(tmp_path, *documents) as pod:
        before = await pod.config()
        assert before["hash"] == hashlib.sha256(pod.path.read_bytes()).hexdigest()
        documents[0] = runtime(generation=2, execution={"maxRetries": 0})
        digest = pod.rewrite(*documents)
        await until(lambda: pod.server.status.snapshot is not None and pod.server.status.snapshot.digest == digest, within=1)
        after = await pod.config()
        assert (after["hash"], after["generation"], after["lastError"]) == (digest, 2, None)
        assert after["loadedAt"] > before["loadedAt"]


async def test_a_stream_in_flight_is_not_dropped(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """It ends on the parts it began with, although its provider, its cache and its pool are gone from the configuration."""
    async with running(tmp_path, *resources(runtime(), vendor)) as pod:
        vendor.script.fail("stall", after=20)
        async with pod.session.post(f"{pod.base_url}/chat/completions", json=question(LONG.text or "", stream=True)) as response:
            first = await response.content.readuntil(b"\n\n")
            await pod.reload(*resources(runtime(cache={"enabled": False}), second))
            assert (await pod.chat("meanwhile")).status == 200
            assert second.record.total == 1
            await until(lambda: vendor.holding == 1)
            vendor.release()
            rest = await response.read()
        assert (first + rest).endswith(b"data: [DONE]\n\n")
        assert b"word59" in rest


async def test_connections_of_a_provider_that_is_gone_are_closed_with_its_last_request(
        tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """Not before, and not much later."""
    async with running(tmp_path, *resources(runtime(), vendor)) as pod:
        vendor.script.fail("stall", after=5)
        async with pod.session.post(f"{pod.base_url}/chat/completions", json=question(stream=True)) as response:
            await response.content.readuntil(b"\n\n")
            old = pod.server.runtime.parts
            await pod.reload(*resources(runtime(), second))
            assert old.shared
            await until(lambda: vendor.holding == 1)
            vendor.release()
            await response.read()
        await until(lambda: not old.shared)


async def test_what_did_not_change_is_taken_over(tmp_path: Path, vendor: FakeVendor) -> None:
    """Connections, cached answers and breakers survive a reload that does not concern them."""
    documents = resources(runtime(), vendor)
    async with running(tmp_path, *documents) as pod:
        await pod.chat("kept")
        documents[0] = runtime(observability={"logLevel": "warning"})
        await pod.reload(*documents)
        assert (await pod.chat("kept")).cache.parameters["hit"] is True
        await pod.chat("another")
        assert vendor.record.connections == 1


async def test_a_bad_configuration_keeps_the_last_good_one_serving(tmp_path: Path, vendor: FakeVendor) -> None:
    """It is shown with its hash, reason and words; the pod stays ready, and the good one clears it."""
    documents = resources(runtime(), vendor)
    async with running(tmp_path, *documents) as pod:
        good = (await pod.config())["hash"]
        bad = pod.rewrite(runtime(defaultRoute={"pools": [{"name": "gone"}]}), *documents[1:])
        await until(lambda: pod.server.reloader.rejection is not None)
        shown = await pod.config()
        assert shown["hash"] == good
        assert shown["lastError"] == {
            "hash": bad, "reason": "PoolNotFound",
            "message": "RuntimeConfig/assistant: spec.defaultRoute.pools[0]: ProviderPool 'gone' does not exist in this namespace"}
        assert shown["ready"] is True
        assert (await pod.chat()).status == 200
        assert await pod.figure("stratarouter_runtime_config_reloads_total", outcome="failure") == 1
        await pod.reload(*resources(runtime(execution={"maxRetries": 1}), vendor))
        assert (await pod.config())["lastError"] is None


async def test_a_bad_ca_bundle_changes_nothing(tmp_path: Path, vendor: FakeVendor) -> None:
    """It only shows while the parts are built: those that were are given back, and the old ones serve."""
    async with running(tmp_path, *resources(runtime(), vendor)) as pod:
        broken = served_by(vendor, "primary", caBundleSecretRef={"name": "ca", "key": "ca.crt"})
        for bundle, words in (("hello", "holds no PEM certificate"), ("-----BEGIN CERTIFICATE-----\nx", "PEM certificate")):
            digest = pod.rewrite(runtime(), pool("chat", broken), secret("vendor", apiKey=vendor.api_key), secret("ca", {"ca.crt": bundle}))
            await until(lambda wanted=digest: (pod.server.reloader.rejection or _nothing).digest == wanted)
            assert pod.server.reloader.rejection is not None
            assert pod.server.reloader.rejection.reason == "InvalidCaBundle"
            assert words in pod.server.reloader.rejection.message
            assert (await pod.chat()).status == 200


async def test_a_reload_that_fails_half_way_leaves_the_old_parts_as_they_were(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """Also those that both would have shared: the embedder goes on asking the old providers."""
    embedder = {"type": "pool", "pool": "chat", "model": "text-embedding-3-small"}
    redis = {"backend": "redis", "redis": {"urlSecretRef": {"name": "redis", "key": "url"}}}
    async with running(tmp_path, *resources(runtime(cache={"embedder": embedder}), vendor)) as pod:
        await pod.chat("one")
        old = pod.server.runtime.parts
        digest = pod.rewrite(*resources(runtime(cache={"embedder": embedder, **redis}), second), secret("redis", url="http://no-redis"))
        await until(lambda: pod.server.reloader.rejection is not None and pod.server.reloader.rejection.digest == digest)
        assert pod.server.runtime.parts is old
        before = embeddings(vendor)
        await pod.chat("another")
        assert (embeddings(vendor), embeddings(second)) == (before + 1, 0)


def embeddings(vendor: FakeVendor) -> int:
    """Calls for vectors."""
    return len([each for each in vendor.record.requests if each.path.endswith("/embeddings")])


async def test_a_key_that_rotates_together_with_a_mistake_counts_once_that_is_repaired(tmp_path: Path, vendor: FakeVendor) -> None:
    """The refused configuration must not make the new key look like the old one."""
    documents = [runtime(), pool("chat", served_by(vendor)), secret("vendor", apiKey="sk-old")]
    async with running(tmp_path, *documents) as pod:
        assert (await pod.chat()).status == 502
        good = [*documents[:2], secret("vendor", apiKey=vendor.api_key)]
        broken = served_by(vendor, "broken", caBundleSecretRef={"name": "ca", "key": "ca.crt"}, priority=1)
        pod.rewrite(documents[0], pool("chat", served_by(vendor), broken), good[2], secret("ca", {"ca.crt": "hello"}))
        await until(lambda: pod.server.reloader.rejection is not None)
        await pod.reload(*good)
        assert [each["state"] for each in (await pod.config())["providers"]] == ["Healthy"]
        assert (await pod.chat()).status == 200


class _nothing:  # noqa: N801 (stands for no rejection)
    digest = ""


@pytest.mark.parametrize("appears", [True, False], ids=["appears", "rotates"])
async def test_a_providers_key_is_taken_without_a_restart(tmp_path: Path, vendor: FakeVendor, appears: bool) -> None:
    """From a mounted volume; a provider that was out for its key is asked at once."""
    secrets = tmp_path / "secrets"
    mount(secrets, "vendor", None if appears else {"apiKey": "sk-old"})
    async with running(tmp_path, runtime(), pool("chat", served_by(vendor)), secrets=secrets) as pod:
        refused = await pod.chat()
        assert refused.status == (503 if appears else 502)
        assert [each["state"] for each in (await pod.config())["providers"]] != ["Healthy"]
        mount(secrets, "vendor", {"apiKey": vendor.api_key})
        await until(lambda: not pod.server.status.missing_secrets() and pod.server.status.secrets.read("vendor", "apiKey")  # type: ignore[union-attr]
                    == vendor.api_key.encode())
        answer = await pod.chat()
        assert (answer.status, answer.headers["x-strata-provider"]) == (200, "primary")
        assert [each["state"] for each in (await pod.config())["providers"]] == ["Healthy"]


async def test_api_keys_are_rotated_without_a_restart_and_an_emptied_secret_locks_nobody_out(tmp_path: Path, vendor: FakeVendor) -> None:
    """The old key ends with the new one; after a bad rotation the last good keys stay."""
    secrets = tmp_path / "secrets"
    mount(secrets, "vendor", {"apiKey": vendor.api_key})
    mount(secrets, "keys", {"team": "sk-1"})
    documents = [runtime(auth={"apiKeysSecretRef": {"name": "keys"}}), pool("chat", served_by(vendor))]
    async with running(tmp_path, *documents, secrets=secrets) as pod:
        assert (await pod.chat(key="sk-1")).status == 200
        mount(secrets, "keys", {"team": "sk-2\nsk-3"})
        await until(lambda: pod.server.authenticator._tenants.__len__() == 2)
        assert [(await pod.chat(key=key)).status for key in ("sk-1", "sk-2", "sk-3")] == [401, 200, 200]
        mount(secrets, "keys", None)
        await until(lambda: pod.server.status.secrets is not None and pod.server.status.secrets.keys("keys") is None)
        assert (await pod.chat(key="sk-2")).status == 200
        assert (await pod.send("GET", f"{pod.platform}/readyz")).status == 200


async def test_load_through_a_dozen_reloads_loses_nothing(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """Whole and streamed calls while providers, cache and deadline change all the time."""
    variants: list[list[Document]] = [
        resources(runtime(), vendor, second), resources(runtime(cache={"enabled": False}), second),
        resources(runtime(cache={"embedder": {"type": "none"}, "scope": "x"}, execution={"timeoutSeconds": 30}), second, vendor),
        resources(runtime(server={"keepaliveSeconds": 1}), vendor)]
    async with running(tmp_path, *variants[0]) as pod:
        answers: list[Any] = []
        stop = asyncio.Event()

        async def load(number: int) -> None:
            count = 0
            while not stop.is_set():
                count += 1
                answers.append(await pod.chat(f"{number} {count}", stream=bool(number % 2)))

        workers = [asyncio.create_task(load(number)) for number in range(4)]
        for number in range(12):
            await pod.reload(*variants[(number + 1) % len(variants)])
        stop.set()
        await asyncio.gather(*workers)
        assert {answer.status for answer in answers} == {200}
        assert all(answer.events[-1] == "[DONE]" for answer in answers if answer.headers["Content-Type"].startswith("text/"))
        assert len(answers) > 12
        assert len(pod.server.runtime._background) <= 4


async def test_a_reload_while_a_body_arrives_uses_one_configuration(tmp_path: Path, vendor: FakeVendor) -> None:
    """The request is planned by what is in force when it is understood."""
    async with running(tmp_path, *resources(runtime(), vendor)) as pod, line(pod) as slow:
        body = b'{"model":"billing","messages":[{"role":"user","content":"x"}]}'
        await slow.send(f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode(), body[:10])
        await until(lambda: pod.server.drain.in_flight == 1)
        routes = [{"name": "billing", "pools": [{"name": "chat", "model": "gpt-4o"}]}]
        await pod.reload(*resources(runtime(routes=routes), vendor))
        await slow.send(body[10:])
        head = await slow.head()
        assert head.startswith("HTTP/1.1 200 ")
        assert "x-strata-route: billing" in head


async def test_a_stalled_vendor_does_not_hold_up_a_reload(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> None:
    """The new parts serve at once while old requests still hang."""
    async with running(tmp_path, *resources(runtime(), vendor)) as pod:
        vendor.script.fail("black_hole", times=ALWAYS)
        hanging = [asyncio.create_task(_ignored(pod)) for _ in range(5)]
        await until(lambda: vendor.record.total == 5)
        await pod.reload(*resources(runtime(), second))
        assert (await pod.chat("another")).status == 200
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)


async def _ignored(pod: Pod) -> None:
    await pod.chat(headers={"Cache-Control": "no-store"})
