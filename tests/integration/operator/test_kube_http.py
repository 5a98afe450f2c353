"""The client over real HTTP: every answer an API server or a pod can give becomes one of our errors.

No cluster is needed: a small server says what the test wants said.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from aiohttp import web

from stratarouter_operator import kube as module
from stratarouter_operator.cluster import CONFIG_MAP, LEASE, POD, Manifest
from stratarouter_operator.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    Invalid,
    KubeError,
    LeadershipLost,
    NotFound,
    Unavailable,
    Unreachable,
)
from stratarouter_operator.kube import MAX_PLATFORM_BYTES, Kube, in_cluster
from stratarouter_operator.metrics import Metrics

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
FIRST = "first"
BODY = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}}


class Server:
    """Answers as told and keeps what it was asked."""

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.answer: Answer = self.fine
        self.url = ""

    async def fine(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({"metadata": {"name": "one"}})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        self.requests.append(request)
        return await self.answer(request)

    def says(self, status: int, body: Any = None, headers: dict[str, str] | None = None) -> None:
        async def answer(_: web.Request) -> web.StreamResponse:
            if isinstance(body, str):
                return web.Response(status=status, text=body, headers=headers)
            return web.json_response(body, status=status, headers=headers)
        self.answer = answer


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


def kubeconfig(path: Path, url: str, token: str = FIRST) -> Path:
    path.write_text(yaml.safe_dump({
        "apiVersion": "v1", "kind": "Config", "current-context": "x", "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": token}}], "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}]}))
    return path


@pytest_asyncio.fixture
async def kube(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Kube]:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "config", server.url)))
    async with Kube.connect("proxy", Metrics()) as connected:
        yield connected


@pytest.mark.parametrize("case", [
    (403, {"reason": "Forbidden", "message": "no"}, Forbidden, "Forbidden"),
    (404, {"reason": "NotFound", "message": "not there"}, NotFound, "NotFound"),
    (404, "404 page not found\n", NotFound, "Http404"),
    (409, {"reason": "AlreadyExists", "message": "taken"}, AlreadyExists, "AlreadyExists"),
    (409, {"reason": "Conflict", "message": "changed"}, Conflict, "Conflict"),
    (422, {"reason": "Invalid", "message": "spec.x: bad"}, Invalid, "Invalid"),
    (422, {"reason": "Invalid", "message": "metadata.uid: field is immutable"}, Conflict, "Conflict"),
    (400, {"reason": "BadRequest", "message": "strict decoding error"}, Invalid, "Invalid"),
    (413, "too large", Invalid, "Invalid"),
    (500, {"message": "failed to create typed patch object (x): .spec.y: field not declared in schema"}, Invalid, "Invalid"),
    (500, {"message": "failed to convert new object (x) to proper version"}, Invalid, "Invalid"),
    (500, {"reason": "InternalError", "message": "etcd is unwell"}, Unavailable, "InternalError"),
    (502, "<html>Bad Gateway</html>", Unavailable, "Http502"),
    (503, "", Unavailable, "Http503"),
    (410, {"reason": "Expired", "message": "continue token"}, Unavailable, "Expired"),
])
async def test_an_answer_becomes_an_error_named_by_what_to_do(
        kube: Kube, server: Server, case: tuple[int, Any, type[KubeError], str]) -> None:
    status, body, expected, reason = case
    server.says(status, body)
    with pytest.raises(KubeError) as caught:
        await kube.apply(CONFIG_MAP, "default", BODY)
    assert type(caught.value) is expected
    assert (caught.value.reason, caught.value.status) == (reason, status)


async def test_a_server_that_is_busy_says_for_how_long(kube: Kube, server: Server) -> None:
    server.says(429, {"reason": "TooManyRequests", "message": "slow down"}, {"Retry-After": "7"})
    with pytest.raises(Unavailable) as caught:
        await kube.get(CONFIG_MAP, "default", "one")
    assert caught.value.retry_after == 7


async def test_a_server_that_is_away_or_hangs_is_unavailable(kube: Kube, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.05)
    hangs = asyncio.Event()

    async def hang(_: web.Request) -> web.StreamResponse:
        await hangs.wait()
        return web.Response()

    server.answer = hang
    with pytest.raises(Unavailable, match="no answer in time"):
        await kube._call("get", "GET", CONFIG_MAP, CONFIG_MAP.path("default", "one"), seconds=0.05)
    hangs.set()
    kube._api.configuration.host = "http://127.0.0.1:1"
    with pytest.raises(Unavailable, match="onnect"):
        await kube.get(CONFIG_MAP, "default", "one")


async def test_an_expired_token_is_read_again_once(kube: Kube, server: Server, tmp_path: Path) -> None:
    async def only_second(request: web.Request) -> web.StreamResponse:
        fresh = request.headers.get("Authorization") == "Bearer second"
        return web.json_response({"metadata": {}}, status=200) if fresh else web.json_response({"reason": "Unauthorized"}, status=401)

    server.answer = only_second
    with pytest.raises(Forbidden):
        await kube.get(CONFIG_MAP, "default", "one")
    assert len(server.requests) == 2
    kubeconfig(tmp_path / "config", server.url, "second")
    assert await kube.get(CONFIG_MAP, "default", "one") == {"metadata": {}}


async def test_lists_are_read_page_by_page(kube: Kube, server: Server) -> None:
    async def pages(request: web.Request) -> web.StreamResponse:
        more = "continue" not in request.query
        return web.json_response({"metadata": {"continue": "next"} if more else {},
                                  "items": [{"metadata": {"name": "a" if more else "b"}}]})

    server.answer = pages
    found = await kube.find(CONFIG_MAP, None, labels={"b": "2", "a": "1"})
    assert [each["metadata"]["name"] for each in found] == ["a", "b"]
    assert server.requests[0].query["labelSelector"] == "a=1,b=2"
    assert server.requests[0].path == "/api/v1/configmaps"


async def test_writes_say_who_writes_and_are_judged_strictly(kube: Kube, server: Server) -> None:
    await kube.create(CONFIG_MAP, "default", BODY, dry_run=True)
    await kube.apply(CONFIG_MAP, "default", BODY)
    created, applied = server.requests
    assert dict(created.query) == {"fieldManager": "stratarouter-operator", "fieldValidation": "Strict", "dryRun": "All"}
    assert dict(applied.query) == {"fieldManager": "stratarouter-operator", "fieldValidation": "Strict", "force": "true"}
    assert applied.content_type == "application/apply-patch+yaml"


async def test_without_the_fences_consent_nothing_is_written_but_the_lease(kube: Kube, server: Server) -> None:
    def closed() -> None:
        raise LeadershipLost("LeadershipLost", "gone")

    kube.fence = closed
    writes: list[Callable[[], Awaitable[object]]] = [
        lambda: kube.create(CONFIG_MAP, "default", BODY), lambda: kube.apply(CONFIG_MAP, "default", BODY),
        lambda: kube.apply_status(CONFIG_MAP, "default", BODY), lambda: kube.replace(CONFIG_MAP, "default", BODY),
        lambda: kube.scale(CONFIG_MAP, "default", "one", 1), lambda: kube.annotate(POD, "default", "one", "u", {}),
        lambda: kube.delete(CONFIG_MAP, "default", "one", "u"),
        lambda: kube.adopt(CONFIG_MAP, "default", {"metadata": {"name": "one", "resourceVersion": "1"}}, [])]
    for write in writes:
        with pytest.raises(LeadershipLost):
            await write()
    assert server.requests == []
    await kube.get(CONFIG_MAP, "default", "one")
    await kube.replace(LEASE, "default", {"metadata": {"name": "one"}})
    assert len(server.requests) == 2


async def test_kopfs_session_carries_the_same_token(kube: Kube, server: Server) -> None:
    async with kube.session() as session:
        await session.get(server.url)
    assert server.requests[0].headers["Authorization"] == "Bearer first"


# --- pods ---------------------------------------------------------------------------------------------------------------


def pod(ip: str = "127.0.0.1") -> Manifest:
    return {"metadata": {"name": "p", "namespace": "default"}, "status": {"podIP": ip}}


async def test_outside_a_cluster_pods_are_reached_through_the_api_server(kube: Kube, server: Server) -> None:
    server.says(200, {"hash": "x"})
    assert await kube.platform(pod(), "/config") == {"hash": "x"}
    assert server.requests[0].path == "/api/v1/namespaces/default/pods/p:9090/proxy/config"


@pytest_asyncio.fixture
async def direct(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Kube]:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "config", server.url)))
    monkeypatch.setattr(module, "PLATFORM_PORT", int(server.url.rpartition(":")[2]))
    monkeypatch.setattr(module, "PLATFORM_TIMEOUT", 0.2)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with Kube.connect("direct", Metrics()) as connected:
        yield connected


async def test_inside_a_cluster_pods_are_reached_straight_past_any_proxy(direct: Kube, server: Server) -> None:
    server.says(200, {"hash": "x"})
    assert await direct.platform(pod(), "/config") == {"hash": "x"}
    assert server.requests[0].path == "/config"
    assert "Authorization" not in server.requests[0].headers


@pytest.mark.parametrize(("status", "body", "words"), [
    (503, "starting", "HTTP 503"), (200, "hello", "not JSON"), (200, [1], "not a JSON object"), (302, "", "HTTP 302"),
])
async def test_a_pod_that_answers_otherwise_is_unreachable(direct: Kube, server: Server, status: int, body: Any, words: str) -> None:
    server.says(status, body, {"Location": "http://169.254.169.254/"} if status == 302 else None)
    with pytest.raises(Unreachable, match=words):
        await direct.platform(pod(), "/config")
    assert len(server.requests) == 1, "a redirect is not followed"


async def test_a_pod_that_does_not_answer_costs_a_moment(direct: Kube, server: Server) -> None:
    async def hang(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(2)
        return web.Response()

    server.answer = hang
    with pytest.raises(Unreachable, match="no answer in time"):
        await direct.platform(pod(), "/config")


async def test_a_pod_without_an_address_is_unreachable(direct: Kube) -> None:
    with pytest.raises(Unreachable, match="no address"):
        await direct.platform({"metadata": {"name": "p"}, "status": {}}, "/config")


async def test_an_answer_without_end_is_cut(direct: Kube, server: Server) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(64):
            await response.write(b"x" * 65536)
        return response

    server.answer = endless
    with pytest.raises(Unreachable, match="not JSON"):
        await direct.platform(pod(), "/config")
    assert MAX_PLATFORM_BYTES < 64 * 65536


# --- configuration --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [None, "", "not: a kubeconfig", "{"])
async def test_without_a_usable_configuration_there_is_a_clear_error(
        content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("KUBECONFIG", str(file))
    with pytest.raises(Unavailable, match="kubeconfig"):
        async with Kube.connect("auto", Metrics()):
            pass


def test_a_kubeconfig_wins_over_the_cluster_around() -> None:
    assert in_cluster({"KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    assert not in_cluster({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBECONFIG": "/x"})
    assert not in_cluster({})


async def test_a_token_that_the_kubelet_renews_is_picked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    file.write_text("renewed")
    monkeypatch.setattr(module, "TOKEN_FILE", file)
    moment = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: moment[0])
    configuration = module.client.Configuration()
    configuration.api_key["BearerToken"] = "Bearer old"
    renew = module._renewed_token()
    await renew(configuration)
    assert configuration.api_key["BearerToken"] == "Bearer old"
    moment[0] = 61.0
    await renew(configuration)
    assert configuration.api_key["BearerToken"] == "Bearer renewed"


async def test_metrics_count_calls_by_verb_kind_and_status(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "config", server.url)))
    metrics = Metrics()
    async with Kube.connect("proxy", metrics) as kube:
        await kube.get(CONFIG_MAP, "default", "one")
        server.says(404, json.loads("{}"))
        with pytest.raises(NotFound):
            await kube.get(CONFIG_MAP, "default", "one")
    exposed = metrics.expose().decode()
    assert 'stratarouter_operator_kube_requests_total{resource="configmaps",status="200",verb="get"} 1.0' in exposed
    assert 'stratarouter_operator_kube_requests_total{resource="configmaps",status="404",verb="get"} 1.0' in exposed
