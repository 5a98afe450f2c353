"""A small cluster around the operator's reconciler: controllers that make pods, and pods that take configurations.

The pods do what the data plane does: they load what is mounted when they start, load again when their kubelet has
looked (an annotation has changed), show the hash on ``/config``, and refuse what they are told to refuse.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from builders import pool, runtime
from stratarouter_operator.cluster import CONFIG_MAP, DEPLOYMENT, POD, PROVIDER_POOL, RUNTIME_CONFIG, Manifest
from stratarouter_operator.conditions import find
from stratarouter_operator.metrics import Metrics
from stratarouter_operator.pods import TOUCH
from stratarouter_operator.pools import PoolReconciler
from stratarouter_operator.queue import Key
from stratarouter_operator.reconcile import RuntimeReconciler

from .kube import FakeKube
from .operator_clock import FakeClock

KEY = Key(RUNTIME_CONFIG.name, "default", "assistant")
IMAGE = "example.test/dataplane:1"


@dataclass
class FakePod:
    """One data plane."""

    kube: FakeKube
    uid: str
    name: str
    touched: str = ""
    hash: str = ""
    error: dict[str, str] | None = None
    providers: list[dict[str, str]] = field(default_factory=list)
    missing: list[dict[str, str]] = field(default_factory=list)
    cache: dict[str, int] = field(default_factory=lambda: {"entries": 0, "hits": 0, "misses": 0})
    deaf: bool = False
    """Never sees a change of its volumes."""
    refuses: str = ""
    """A text in a snapshot that it refuses."""
    silent: str = ""
    """Why the platform port does not answer."""

    def __post_init__(self) -> None:
        self._load()

    def answer(self) -> Any:
        if self.silent:
            return self.silent
        touch = self.kube.live(POD, self.name)["metadata"]["annotations"].get(TOUCH, "")
        if touch != self.touched and not self.deaf:
            self.touched = touch
            self._load()
        return {"hash": self.hash, "generation": 1, "podUid": self.uid, "podName": self.name, "loadedAt": "2026-01-01T00:00:00Z",
                "lastError": self.error, "providers": self.providers, "missingSecrets": self.missing, "cache": self.cache,
                "version": "1"}

    def _load(self) -> None:
        [volume] = [each for each in self.kube.live(POD, self.name)["spec"]["volumes"] if "configMap" in each]
        content = self.kube.live(CONFIG_MAP, volume["configMap"]["name"])["data"]["snapshot.yaml"].encode()
        found = hashlib.sha256(content).hexdigest()
        if self.refuses and self.refuses.encode() in content:
            self.error = {"hash": found, "reason": "InvalidSpec", "message": "no such thing"}
        else:
            self.hash, self.error = found, None


class World:
    """The cluster."""

    def __init__(self) -> None:
        self.kube = FakeKube()
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.pods: dict[str, FakePod] = {}
        self.restart()

    def restart(self) -> None:
        """A new operator process: nothing is remembered."""
        self.runtimes = RuntimeReconciler(self.kube, self.clock, self.metrics, image=IMAGE)
        self.pools = PoolReconciler(self.kube, self.clock)

    # --- users -----------------------------------------------------------------------------------------------------
    def apply(self, **fields: Any) -> Manifest:
        """Apply the RuntimeConfig ``assistant``."""
        return self.kube.put(runtime("assistant", **fields))

    def apply_pool(self, *providers: Any, name: str = "chat") -> Manifest:
        """Apply a ProviderPool."""
        return self.kube.put(pool(name, *providers))

    # --- the operator ----------------------------------------------------------------------------------------------
    async def reconcile(self, *, marked: bool = True) -> float | None:
        """One pass."""
        return await self.runtimes(KEY, marked=marked)

    async def settle(self, seconds: float = 5.0) -> None:
        """Passes as the queue would call them, controllers and kubelets in between, for so long."""
        end = self.clock.elapsed + seconds
        marked = True
        while True:
            delay = await self.reconcile(marked=marked)
            marked = self.controllers()
            if not marked and (delay is None or self.clock.elapsed + delay > end):
                break
            await self.clock.advance(0 if marked else max(delay or 0, 0.001))
        await self.clock.advance(max(0.0, end - self.clock.elapsed))

    def controllers(self) -> bool:
        """What the Deployment controller and the kubelet do; returns whether anything changed."""
        changed = False
        for deployment in [each for (kind, _, _), each in self.kube.objects.items() if kind == DEPLOYMENT.name]:
            name, template = deployment["metadata"]["name"], deployment["spec"]["template"]
            version = template["metadata"]["annotations"]["stratarouter.io/template-hash"]
            wanted = {f"{name}-{version}-{number}" for number in range(deployment["spec"]["replicas"])}
            there = {each for each in self.kube.names(POD) if each.startswith(f"{name}-")}
            for gone in there - wanted:
                self.kube.remove(POD, "default", gone)
                self.pods.pop(gone)
            for new in sorted(wanted - there):
                self._start(new, deployment)
            changed = changed or bool(there ^ wanted)
            deployment["status"] = {"replicas": len(wanted), "observedGeneration": deployment["metadata"]["generation"]}
        return changed

    def _start(self, name: str, deployment: Manifest) -> None:
        live = self.kube.start_pod(name, deployment)
        made = self.pods[name] = FakePod(self.kube, live["metadata"]["uid"], name)
        self.kube.answers[made.uid] = made.answer

    # --- what tests look at ----------------------------------------------------------------------------------------
    @property
    def status(self) -> Manifest:
        """The RuntimeConfig's status."""
        return self.kube.live(RUNTIME_CONFIG, "assistant").get("status", {})

    def condition(self, name: str) -> tuple[str, str]:
        """A condition's status and reason."""
        found = find(self.status["conditions"], name)
        return found["status"], found["reason"]

    def message(self, name: str) -> str:
        """A condition's message."""
        return str(find(self.status["conditions"], name)["message"])

    @property
    def served(self) -> int:
        """The generation that ``Ready`` speaks of."""
        return int(find(self.status["conditions"], "Ready")["observedGeneration"])

    def snapshot(self) -> str:
        """What the pods are to run."""
        [name] = [each for each in self.kube.names(CONFIG_MAP) if each.startswith("assistant-config-")]
        return str(self.kube.live(CONFIG_MAP, name)["data"]["snapshot.yaml"])


async def a_running_world(**fields: Any) -> World:
    """One with a pool, a RuntimeConfig, and two pods that have acknowledged."""
    world = World()
    world.apply_pool()
    world.apply(**fields)
    await world.settle()
    assert world.condition("Progressing") == ("False", "Complete"), world.status
    world.kube.writes.clear()
    return world


__all__ = ["IMAGE", "KEY", "PROVIDER_POOL", "FakePod", "World", "a_running_world"]
