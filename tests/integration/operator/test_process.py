"""The operator as a process against a real API server: it watches, repairs, leads alone, and ends when it must.

No node is needed: the pods ask for one that nobody has, so that no kubelet interferes; the test says that they run, and
answers for them on their platform port.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from builders import pool, runtime
from stratarouter_operator.cluster import (
    CONFIG_MAP,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    LEASE,
    POD,
    PROVIDER_POOL,
    RUNTIME_CONFIG,
    SERVICE,
    SERVICE_ACCOUNT,
    Kind,
    Manifest,
    selector,
)
from stratarouter_operator.conditions import find
from stratarouter_operator.errors import KubeError
from stratarouter_operator.kube import Kube
from stratarouter_operator.pods import TOUCH

if not os.environ.get("STRATA_TEST_KUBECONFIG"):
    pytest.skip("STRATA_TEST_KUBECONFIG names no cluster (`make e2e` sets it)", allow_module_level=True)

Kubectl = Callable[..., str]
NOWHERE = {"nodeSelector": {"stratarouter.test/no-such-node": "true"}}


async def until(what: str, look: Callable[[], Awaitable[Any]], seconds: float = 15.0) -> Any:
    """The first thing ``look`` finds; fails after so long."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(KubeError):
            if found := await look():
                return found
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        await asyncio.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """One operator."""

    def __init__(self, namespace: str, *arguments: str) -> None:
        self.health = free_port()
        self.identity = f"operator-{uuid.uuid4().hex[:6]}"
        self.lines: list[dict[str, Any]] = []
        self._arguments = [
            "--watch-namespaces", namespace, "--lease-namespace", namespace, "--identity", self.identity, "--host", "127.0.0.1",
            "--health-port", str(self.health), "--metrics-port", "0", "--platform-access", "direct",
            "--lease-seconds", "4", "--renew-deadline-seconds", "3", "--retry-seconds", "0.5", *arguments]

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "stratarouter_operator", *self._arguments, stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "KUBECONFIG": os.environ["STRATA_TEST_KUBECONFIG"], "PYTHONPATH": os.pathsep.join(sys.path)})
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            with contextlib.suppress(ValueError):
                self.lines.append(json.loads(line))

    def said(self, words: str) -> bool:
        return any(words in line.get("message", "") for line in self.lines)

    async def leads(self) -> None:
        async def look() -> bool:
            return self.said("leading")
        await until("leading", look)

    async def healthy(self) -> bool:
        with contextlib.suppress(aiohttp.ClientError):
            async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{self.health}/healthz") as answer:
                return answer.status == 200
        return False

    async def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 10) -> int:
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await self.ended(seconds)

    async def ended(self, seconds: float) -> int:
        code = await asyncio.wait_for(self.process.wait(), seconds)
        await self._reading
        return code


@pytest_asyncio.fixture
async def operator(namespace: str, kube: Kube) -> AsyncIterator[Callable[..., Awaitable[Process]]]:
    """Starts operators for the test's namespace and ends them all."""
    started: list[Process] = []

    async def start(*arguments: str) -> Process:
        process = Process(namespace, *arguments)
        await process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        if process.process.returncode is None:
            process.process.kill()
        await process.ended(10)


class Pods:
    """Answers for the pods on loopback addresses of their own, and loads what a kubelet would show them."""

    def __init__(self, kube: Kube, kubectl: Kubectl, namespace: str) -> None:
        self._kube = kube
        self._kubectl = kubectl
        self._namespace = namespace
        self._runners: list[web.AppRunner] = []
        self.acknowledged: dict[str, float] = {}

    async def run(self, pod: Manifest) -> None:
        """Say that a pod runs, and answer for it."""
        number, name, uid = len(self._runners) + 31, pod["metadata"]["name"], pod["metadata"]["uid"]
        loaded = {"touch": "", "hash": await self._mounted(pod)}

        async def config(_: web.Request) -> web.Response:
            live = await self._kube.get(POD, self._namespace, name)
            touch = live["metadata"]["annotations"].get(TOUCH, "")
            if touch != loaded["touch"]:
                loaded.update(touch=touch, hash=await self._mounted(pod))
            self.acknowledged.setdefault(loaded["hash"], time.monotonic())
            return web.json_response({"hash": loaded["hash"], "podUid": uid, "providers": [], "missingSecrets": [],
                                      "lastError": None, "cache": {}})

        application = web.Application()
        application.add_routes([web.get("/config", config)])
        runner = web.AppRunner(application)
        await runner.setup()
        self._runners.append(runner)
        address = f"127.0.0.{number}"
        await web.TCPSite(runner, address, 9090).start()
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": [
            {"type": kind, "status": "True"} for kind in ("Ready", "ContainersReady", "Initialized", "PodScheduled")]}
        await asyncio.to_thread(
            self._kubectl, "--namespace", self._namespace, "patch", "pod", name, "--subresource", "status", "--type", "merge",
            "--patch", json.dumps({"status": status}))

    async def _mounted(self, pod: Manifest) -> str:
        [volume] = [each["configMap"] for each in pod["spec"]["volumes"] if "configMap" in each]
        live = await self._kube.get(CONFIG_MAP, self._namespace, volume["name"])
        return hashlib.sha256(live["data"]["snapshot.yaml"].encode()).hexdigest()

    async def close(self) -> None:
        for runner in self._runners:
            await runner.cleanup()


@pytest_asyncio.fixture
async def pods(kube: Kube, kubectl: Kubectl, namespace: str) -> AsyncIterator[Pods]:
    made = Pods(kube, kubectl, namespace)
    yield made
    await made.close()


class Cluster:
    """What tests do in their namespace, and see there."""

    def __init__(self, kube: Kube, kubectl: Kubectl, namespace: str) -> None:
        self._kube = kube
        self._kubectl = kubectl
        self.namespace = namespace

    async def apply(self, *documents: Manifest) -> None:
        for document in documents:
            await asyncio.to_thread(self._kubectl, "--namespace", self.namespace, "apply", "--filename", "-", given=json.dumps(document))

    async def kubectl(self, *arguments: str) -> str:
        return await asyncio.to_thread(self._kubectl, "--namespace", self.namespace, *arguments)

    async def get(self, kind: Kind, name: str) -> Manifest:
        return await self._kube.get(kind, self.namespace, name)

    async def find(self, kind: Kind) -> list[Manifest]:
        return await self._kube.find(kind, self.namespace, labels=selector("assistant"))

    async def condition(self, name: str, status: str, *, generation: int = 0, seconds: float = 15) -> Manifest:
        """Wait for a condition."""
        async def look() -> Manifest | None:
            live = await self.get(RUNTIME_CONFIG, "assistant")
            found = find(live.get("status", {}).get("conditions", []), name)
            return dict(found) if found.get("status") == status and found["observedGeneration"] >= generation else None
        return await until(f"{name}={status}", look, seconds)

    async def start_pods(self, pods: Pods, number: int) -> None:
        async def look() -> list[Manifest] | None:
            found = await self.find(POD)
            return found if len(found) == number else None
        for pod in await until(f"{number} pods", look):
            await pods.run(pod)


@pytest.fixture
def cluster(kube: Kube, kubectl: Kubectl, namespace: str) -> Cluster:
    return Cluster(kube, kubectl, namespace)


Start = Callable[..., Awaitable[Process]]


async def test_a_change_is_acknowledged_by_every_pod_in_under_two_seconds(operator: Start, cluster: Cluster, pods: Pods) -> None:
    await operator()
    await cluster.apply(pool("chat"), runtime("assistant", template=NOWHERE))
    await cluster.start_pods(pods, 2)
    await cluster.condition("Ready", "True", generation=1)
    uids = {pod["metadata"]["uid"] for pod in await cluster.find(POD)}
    for number in range(3):
        await cluster.apply(runtime("assistant", template=NOWHERE, execution={"maxRetries": number}))
        applied = time.monotonic()
        await cluster.condition("Ready", "True", generation=number + 2)
        assert time.monotonic() - applied < 2
    status = (await cluster.get(RUNTIME_CONFIG, "assistant"))["status"]
    assert status["updatedReplicas"] == 2
    assert status["observedGeneration"] == 4
    assert {pod["metadata"]["uid"] for pod in await cluster.find(POD)} == uids
    settled = (await cluster.get(RUNTIME_CONFIG, "assistant"))["metadata"]["resourceVersion"]
    await cluster.kubectl("delete", "service", "assistant")
    await until("another look at everything", lambda: cluster.get(SERVICE, "assistant"))
    assert (await cluster.get(RUNTIME_CONFIG, "assistant"))["metadata"]["resourceVersion"] == settled, "what is stored is what was meant"


async def test_drift_is_repaired_and_deletion_leaves_nothing_behind(operator: Start, cluster: Cluster) -> None:
    await operator()
    await cluster.apply(pool("chat"), runtime("assistant", template=NOWHERE))
    await cluster.condition("Accepted", "True")
    first = await until("the Service", lambda: cluster.get(SERVICE, "assistant"))
    await cluster.kubectl("delete", "service", "assistant")

    async def again() -> bool:
        return (await cluster.get(SERVICE, "assistant"))["metadata"]["uid"] != first["metadata"]["uid"]
    await until("a new Service", again, 5)
    await cluster.kubectl("patch", "deployment", "assistant", "--patch", '{"spec": {"template": {"spec": {"serviceAccountName": "other"}}}}')

    async def repaired() -> bool:
        live = await cluster.get(DEPLOYMENT, "assistant")
        return bool(live["spec"]["template"]["spec"]["serviceAccountName"] == "assistant-runtime")
    await until("the repair", repaired, 5)
    await cluster.kubectl("delete", "rtc", "assistant")

    async def nothing() -> bool:
        found = [each for kind in (SERVICE, DEPLOYMENT, CONFIG_MAP, SERVICE_ACCOUNT, DISRUPTION_BUDGET, POD)
                 for each in await cluster.find(kind)]
        return not found
    await until("an empty namespace", nothing, 60)

    async def unused() -> bool:
        return (await cluster.get(PROVIDER_POOL, "chat"))["status"].get("usedBy") is None
    await until("a pool without users", unused)


async def test_a_missing_pool_is_named_and_its_creation_is_noticed(operator: Start, cluster: Cluster) -> None:
    await operator()
    await cluster.apply(runtime("assistant", template=NOWHERE))
    refused = await cluster.condition("Accepted", "False")
    assert refused["reason"] == "PoolNotFound"
    assert "'chat'" in refused["message"]
    await cluster.apply(pool("chat"))
    await cluster.condition("Accepted", "True")


async def test_a_service_of_somebody_else_is_left_alone(operator: Start, cluster: Cluster) -> None:
    theirs = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "assistant"}, "spec": {"ports": [{"port": 1}]}}
    await cluster.apply(theirs)
    before = await cluster.get(SERVICE, "assistant")
    await operator()
    await cluster.apply(pool("chat"), runtime("assistant", template=NOWHERE))
    assert (await cluster.condition("Accepted", "False"))["reason"] == "NameConflict"
    assert await cluster.get(SERVICE, "assistant") == before
    assert await cluster.find(DEPLOYMENT) == []


async def test_a_fragment_that_kubernetes_refuses_is_refused_whole(operator: Start, cluster: Cluster) -> None:
    """A typo in a pod-spec fragment passes our schema; the dry run catches it before anything is written."""
    await operator()
    await cluster.apply(pool("chat"), runtime("assistant", template=NOWHERE))
    await cluster.condition("Accepted", "True")
    kept = await until("the ConfigMap", lambda: cluster.find(CONFIG_MAP))
    await cluster.apply(runtime("assistant", template={**NOWHERE, "affinity": {"nodeAffinityy": {}}}, execution={"maxRetries": 1}))
    refused = await cluster.condition("Accepted", "False")
    assert refused["reason"] == "DeploymentRefused"
    assert "nodeAffinityy" in refused["message"]
    assert await cluster.find(CONFIG_MAP) == kept
    await cluster.apply(runtime("assistant", template={**NOWHERE, "resources": {"requests": {"cpu": "much"}}}))
    refused = await cluster.condition("Accepted", "False", generation=3)
    assert refused["reason"] == "DeploymentRefused"


async def test_a_field_that_is_dropped_from_the_template_goes_from_the_deployment(operator: Start, cluster: Cluster) -> None:
    await operator()
    await cluster.apply(pool("chat"), runtime("assistant", template={**NOWHERE, "tolerations": [{"operator": "Exists"}]}))
    await cluster.condition("Accepted", "True")
    await cluster.apply(runtime("assistant", template=NOWHERE, replicas=3))

    async def gone() -> bool:
        spec = (await cluster.get(DEPLOYMENT, "assistant"))["spec"]
        return "tolerations" not in spec["template"]["spec"] and spec["replicas"] == 3
    await until("the change", gone)


async def test_an_operator_that_is_killed_changes_nothing_and_another_goes_on(operator: Start, cluster: Cluster, pods: Pods) -> None:
    first = await operator()
    await first.leads()
    second = await operator()
    await cluster.apply(pool("chat"), runtime("assistant", template=NOWHERE))
    await cluster.start_pods(pods, 2)
    await cluster.condition("Ready", "True", generation=1)
    await until("a follower that is well", second.healthy)
    assert not second.said("leading")
    before = await cluster.get(DEPLOYMENT, "assistant")
    await first.stop(signal.SIGKILL)
    killed = time.monotonic()
    await second.leads()
    assert time.monotonic() - killed < 8, "lease 4 s, asked every half second"
    await cluster.apply(runtime("assistant", template=NOWHERE, execution={"maxRetries": 1}))
    await cluster.condition("Ready", "True", generation=2)
    after = await cluster.get(DEPLOYMENT, "assistant")
    assert (after["metadata"]["uid"], after["spec"]) == (before["metadata"]["uid"], before["spec"])


async def test_on_sigterm_the_lease_is_released_and_the_next_one_leads_at_once(operator: Start, cluster: Cluster) -> None:
    first = await operator()
    await first.leads()
    second = await operator()
    asked = time.monotonic()
    assert await first.stop() == 0
    assert time.monotonic() - asked < 3
    await second.leads()
    assert time.monotonic() - asked < 4, "without waiting for the Lease to run out"


async def test_a_follower_that_is_told_to_stop_stops(operator: Start, cluster: Cluster) -> None:
    first = await operator()
    await first.leads()
    second = await operator()

    async def waits() -> bool:
        return second.said("waiting for Lease")
    await until("waiting", waits)
    assert await second.stop() == 0
    lease = await cluster.get(LEASE, "stratarouter-operator")
    assert lease["spec"]["holderIdentity"] == first.identity


async def test_a_lease_that_is_taken_away_ends_the_process(operator: Start, cluster: Cluster) -> None:
    process = await operator()
    await process.leads()
    await cluster.kubectl("patch", "lease", "stratarouter-operator", "--type", "merge", "--patch",
                          '{"spec": {"holderIdentity": "somebody-else", "leaseDurationSeconds": 3600}}')
    assert await process.ended(10) == 1
    assert process.said("LeadershipLost")
    assert (await cluster.get(LEASE, "stratarouter-operator"))["spec"]["holderIdentity"] == "somebody-else"


async def test_a_port_that_is_taken_is_told(operator: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = await operator("--health-port", str(taken.getsockname()[1]))
        assert await process.ended(15) == 1
    assert process.said("address already in use")
