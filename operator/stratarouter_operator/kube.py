"""``KubeApi`` over the async client of the ``kubernetes`` package: the only module that imports it.

Of that client only the connection is used (kubeconfig, tokens, TLS, the request): its models and its discovery would
add copies and a writable cache. Invariants: every call has a time limit; every error is of the ``KubeError`` tree;
no write leaves without the fence's consent; answers of pods are read up to a size.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.aio import client, config

from .cluster import LEASE, MANAGER, PLATFORM_PORT, POD, Kind, Manifest, metadata, name_of
from .errors import AlreadyExists, Conflict, Forbidden, Invalid, KubeError, NotFound, Unavailable, Unreachable
from .metrics import Metrics
from .settings import PlatformAccess

TIMEOUT = 10.0
LIST_TIMEOUT = 30.0
PLATFORM_TIMEOUT = 1.0
PAGE = 500
MAX_PLATFORM_BYTES = 1024 * 1024

TOKEN_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
TOKEN_SECONDS = 60.0

JSON = "application/json"
APPLY_PATCH = "application/apply-patch+yaml"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"

APPLY_REFUSALS = ("failed to create typed patch object", "failed to convert new object")
"""What server-side apply says, with status 500, of a field the kind does not have and of a value it cannot take."""

Query = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    query: Query
    body: Any
    content: str
    seconds: float


def no_fence() -> None:
    """Consent to every write."""


def in_cluster(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is a pod that no kubeconfig sends elsewhere."""
    return "KUBERNETES_SERVICE_HOST" in environment and "KUBECONFIG" not in environment


class Kube:
    """The API server that the pod's service account or the kubeconfig names."""

    def __init__(self, api: client.ApiClient, access: PlatformAccess, metrics: Metrics) -> None:
        self._api = api
        self._direct = access == "direct" or (access == "auto" and in_cluster())
        self._metrics = metrics
        self._pods: aiohttp.ClientSession | None = None
        self._refreshing = asyncio.Lock()
        self.fence: Callable[[], None] = no_fence
        """Called before each write but those of Leases; raises where this process may not write."""

    @classmethod
    @asynccontextmanager
    async def connect(cls, access: PlatformAccess, metrics: Metrics) -> AsyncIterator[Kube]:
        """An open connection; raises ``Unavailable`` where no configuration is found."""
        kube = cls(await _client(), access, metrics)
        try:
            yield kube
        finally:
            await kube._close()

    @property
    def server(self) -> str:
        """Base URL of the API server."""
        return str(self._api.configuration.host)

    def session(self) -> aiohttp.ClientSession:
        """A new HTTP session for other clients of the same server, with this connection's TLS and current token."""
        configuration = self._api.configuration

        async def authorize(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
            token = await configuration.get_api_key_with_prefix("BearerToken")
            if token:
                request.headers["Authorization"] = token
            return await handler(request)

        tls: ssl.SSLContext = self._api.rest_client.ssl_context
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=tls), middlewares=(authorize,), trust_env=True,
            proxy=configuration.proxy)

    async def refresh(self) -> None:
        """Read the configuration again: a token has expired, or certificates have been renewed."""
        stale = self._api
        async with self._refreshing:
            if self._api is stale:
                self._api = await _client()
                await stale.close()  # type: ignore[no-untyped-call]  # the client's own omission

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest:
        return await self._call("get", "GET", kind, kind.path(namespace, name))

    async def find(self, kind: Kind, namespace: str | None, *, labels: Mapping[str, str] | None = None) -> list[Manifest]:
        query = [("limit", str(PAGE))]
        if labels:
            query.append(("labelSelector", ",".join(f"{key}={value}" for key, value in sorted(labels.items()))))
        found: list[Manifest] = []
        following: Query = ()
        while True:
            page = await self._call("list", "GET", kind, kind.path(namespace), query=[*query, *following], seconds=LIST_TIMEOUT)
            # Items of a list come without their kind.
            found += [{"apiVersion": kind.api_version, "kind": kind.name, **item} for item in page["items"]]
            if not (token := page["metadata"].get("continue")):
                return found
            following = [("continue", token)]

    async def serves(self, kind: Kind) -> bool:
        try:
            known = await self._call("discover", "GET", kind, kind.group_path)
        except NotFound:
            return False
        return any(each.get("name") == kind.plural for each in known.get("resources", ()))

    async def create(self, kind: Kind, namespace: str, body: Manifest, *, dry_run: bool = False) -> Manifest:
        query = [("fieldManager", MANAGER), ("fieldValidation", "Strict"), *_dry(dry_run)]
        return await self._call("create", "POST", kind, kind.path(namespace), query=query, body=body)

    async def apply(self, kind: Kind, namespace: str, body: Manifest, *, dry_run: bool = False) -> Manifest:
        query = [("fieldManager", MANAGER), ("force", "true"), ("fieldValidation", "Strict"), *_dry(dry_run)]
        path = kind.path(namespace, name_of(body))
        return await self._call("apply", "PATCH", kind, path, query=query, body=body, content=APPLY_PATCH)

    async def adopt(self, kind: Kind, namespace: str, live: Manifest, managed_fields: list[Manifest]) -> Manifest:
        body = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": metadata(live)["resourceVersion"]},
            {"op": "replace", "path": "/metadata/managedFields", "value": managed_fields},
        ]
        path = kind.path(namespace, name_of(live))
        try:
            return await self._call("adopt", "PATCH", kind, path, query=[("fieldManager", MANAGER)], body=body, content=JSON_PATCH)
        except Invalid as error:  # what a JSON patch answers whose test fails
            raise Conflict("Conflict", error.message, status=error.status) from None

    async def replace(self, kind: Kind, namespace: str, body: Manifest) -> Manifest:
        path = kind.path(namespace, name_of(body))
        return await self._call("replace", "PUT", kind, path, query=[("fieldManager", MANAGER)], body=body)

    async def apply_status(self, kind: Kind, namespace: str, body: Manifest) -> Manifest:
        query = [("fieldManager", MANAGER), ("force", "true")]
        path = kind.path(namespace, name_of(body), "status")
        return await self._call("status", "PATCH", kind, path, query=query, body=body, content=APPLY_PATCH)

    async def scale(self, kind: Kind, namespace: str, name: str, replicas: int) -> None:
        path, body = kind.path(namespace, name, "scale"), {"spec": {"replicas": replicas}}
        await self._call("scale", "PATCH", kind, path, query=[("fieldManager", MANAGER)], body=body, content=MERGE_PATCH)

    async def annotate(self, kind: Kind, namespace: str, name: str, uid: str, annotations: Mapping[str, str]) -> Manifest:
        body = {"metadata": {"uid": uid, "annotations": dict(annotations)}}
        path = kind.path(namespace, name)
        return await self._call("annotate", "PATCH", kind, path, query=[("fieldManager", MANAGER)], body=body, content=MERGE_PATCH)

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        try:
            await self._call("delete", "DELETE", kind, kind.path(namespace, name), body=body)
        except NotFound:
            return

    async def platform(self, pod: Manifest, path: str) -> Manifest:
        try:
            status, content = await (self._platform_direct(pod, path) if self._direct else self._platform_proxied(pod, path))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable("PlatformPortUnreachable", _words(error)) from None
        if status != 200:
            raise Unreachable("PlatformPortUnreachable", f"HTTP {status}")
        try:
            answer = json.loads(content)
        except ValueError:
            raise Unreachable("PlatformPortUnreachable", "the answer is not JSON") from None
        if not isinstance(answer, dict):
            raise Unreachable("PlatformPortUnreachable", "the answer is not a JSON object")
        return answer

    async def _platform_direct(self, pod: Manifest, path: str) -> tuple[int, bytes]:
        address = pod.get("status", {}).get("podIP")
        if not address:
            raise Unreachable("PlatformPortUnreachable", "the pod has no address")
        if self._pods is None:
            # Pods are reached straight: no proxy of the environment stands between.
            self._pods = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PLATFORM_TIMEOUT))
        host = f"[{address}]" if ":" in address else address
        async with self._pods.get(f"http://{host}:{PLATFORM_PORT}{path}", allow_redirects=False) as response:
            return response.status, await _bounded(response)

    async def _platform_proxied(self, pod: Manifest, path: str) -> tuple[int, bytes]:
        there = POD.path(metadata(pod)["namespace"], f"{name_of(pod)}:{PLATFORM_PORT}", "proxy") + path
        response = await self._send(_Request("GET", there, (), None, JSON, PLATFORM_TIMEOUT))
        async with response:
            return response.status, await _bounded(response)

    async def _call(self, verb: str, method: str, kind: Kind, path: str, *, query: Query = (), body: Any = None,
                    content: str = JSON, seconds: float = TIMEOUT) -> Manifest:
        if method != "GET" and kind is not LEASE:
            self.fence()
        request = _Request(method, path, query, body, content, seconds)
        started = time.perf_counter()
        status = 0
        try:
            status, answer, retry_after = await self._exchange(request)
            if status == 401:
                await self.refresh()
                status, answer, retry_after = await self._exchange(request)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable("ApiServerUnreachable", _words(error)) from None
        finally:
            self._metrics.kube_requests.labels(verb, kind.plural, str(status)).inc()
            self._metrics.kube_seconds.labels(verb).observe(time.perf_counter() - started)
        if status >= 300:
            raise _error(status, answer, retry_after)
        return answer

    async def _exchange(self, request: _Request) -> tuple[int, Manifest, str | None]:
        async with await self._send(request) as response:
            raw = await response.read()
        try:
            answer = json.loads(raw)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            answer = {"message": raw[:500].decode(errors="replace")}
        return response.status, answer, response.headers.get("Retry-After")

    async def _send(self, request: _Request) -> aiohttp.ClientResponse:
        method, url, headers, body, _ = await self._api.param_serialize(
            request.method, request.path, query_params=list(request.query), body=request.body,
            header_params={"Accept": JSON, "Content-Type": request.content}, auth_settings=["BearerToken"])
        limit = aiohttp.ClientTimeout(total=request.seconds)
        answer = await self._api.call_api(method, url, headers, body, _request_timeout=limit)
        response: aiohttp.ClientResponse = answer.response
        return response

    async def _close(self) -> None:
        if self._pods is not None:
            await self._pods.close()
        await self._api.close()  # type: ignore[no-untyped-call]


async def _client() -> client.ApiClient:
    configuration = client.Configuration()
    # Many clusters' own certificates lack the extensions that Python 3.13 began to insist on (EKS: no authority key
    # identifier). Chain, expiry and host name are still verified.
    configuration.disable_strict_ssl_verification = True
    try:
        # In a thread: files are read, and a kubeconfig may start a program.
        await asyncio.to_thread(_load, configuration)
    except Exception as error:  # noqa: BLE001  (a malformed file makes the client trip in many ways)
        raise Unavailable("NoClusterConfiguration", f"neither in a cluster nor a usable kubeconfig: {error}") from None
    return client.ApiClient(configuration)


def _load(configuration: client.Configuration) -> None:
    if in_cluster():
        config.load_incluster_config(configuration, try_refresh_token=False)  # type: ignore[no-untyped-call]
        configuration.refresh_api_key_hook = _renewed_token()  # type: ignore[assignment]  # typed by its default, None
        return
    # Never write refreshed tokens back into a user's file.
    loading = config.load_kube_config(  # type: ignore[no-untyped-call]
        os.environ.get("KUBECONFIG"), client_configuration=configuration, persist_config=False)
    asyncio.run(loading)


def _renewed_token() -> Callable[[client.Configuration], Awaitable[None]]:
    """The kubelet writes a new token before the old one expires; so read it once a minute, off the event loop."""
    read_at = time.monotonic()

    async def renew(configuration: client.Configuration) -> None:
        nonlocal read_at
        if time.monotonic() - read_at >= TOKEN_SECONDS:
            read_at = time.monotonic()
            token = await asyncio.to_thread(TOKEN_FILE.read_text)
            configuration.api_key["BearerToken"] = f"Bearer {token}"

    return renew


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    content = await response.content.read(MAX_PLATFORM_BYTES)
    while len(content) < MAX_PLATFORM_BYTES and (more := await response.content.read(MAX_PLATFORM_BYTES - len(content))):
        content += more
    return content


def _dry(dry_run: bool) -> Query:
    return [("dryRun", "All")] if dry_run else []


def _words(error: BaseException) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__


def _error(status: int, answer: Manifest, retry_after: str | None) -> KubeError:
    reason, message = str(answer.get("reason") or f"Http{status}"), str(answer.get("message", ""))
    if status in (401, 403):
        return Forbidden(reason, message, status=status)
    if status == 404:
        return NotFound(reason, message, status=status)
    if status == 409:
        return (AlreadyExists if reason == "AlreadyExists" else Conflict)(reason, message, status=status)
    if status == 422 and "metadata.uid" in message:  # "field is immutable": another incarnation has the name now
        return Conflict("Conflict", message, status=status)
    if status in (400, 405, 413, 415, 422) or message.startswith(APPLY_REFUSALS):
        return Invalid("Invalid", message, status=status)
    wait = float(retry_after) if retry_after and retry_after.isdigit() else None
    return Unavailable(reason, message, status=status, retry_after=wait)
