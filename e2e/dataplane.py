"""One RuntimeConfig in a namespace, as its users and its operator see it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from cluster import CommandError, Namespace, Object, kubectl, wait_for, watch


class DataPlane:
    """A RuntimeConfig and what belongs to it."""

    def __init__(self, namespace: Namespace, name: str = "assistant") -> None:
        self.namespace = namespace
        self.name = name

    @property
    def url(self) -> str:
        """The base URL that callers in the namespace use."""
        return f"http://{self.name}:8080/v1"

    def read(self) -> Object:
        """The resource."""
        return self.namespace.get("runtimeconfig", self.name)

    def status(self) -> Object:
        """Its status."""
        found: Object = self.read().get("status") or {}
        return found

    def condition(self, kind: str) -> Object:
        """A condition, once it speaks of the newest generation; else empty."""
        resource = self.read()
        conditions = (resource.get("status") or {}).get("conditions", [])
        found: Object = next((each for each in conditions if each["type"] == kind), {})
        return found if found.get("observedGeneration") == resource["metadata"]["generation"] else {}

    def wait_condition(self, kind: str, status: str, seconds: float) -> Object:
        """Wait until a condition of the newest generation has this status."""
        def check() -> Object | None:
            found = self.condition(kind)
            return found if found.get("status") == status else None
        return wait_for(f"{self.name}: {kind}={status}", check, seconds)

    def wait_ready(self, seconds: int = 180) -> None:
        """Wait as the README says, then until every pod runs the configuration."""
        self.namespace.wait("condition=Ready", f"runtimeconfig/{self.name}", seconds)
        wait_for(f"{self.name}: every pod acknowledged", self.settled, seconds)

    def settled(self) -> bool:
        """Whether the operator has seen the newest generation, and every pod runs it."""
        resource = self.read()
        status = resource.get("status") or {}
        return (status.get("observedGeneration") == resource["metadata"]["generation"]
                and status.get("replicas") == status.get("updatedReplicas") == resource["spec"]["replicas"])

    def pods(self) -> list[Object]:
        """The pods that are not being deleted, oldest name first."""
        found = self.namespace.all("pods", instance=self.name, component="dataplane")
        alive = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
        return sorted(alive, key=lambda pod: str(pod["metadata"]["name"]))

    def incarnations(self) -> dict[str, int]:
        """Pod UID to restarts: equal before and after means that nothing was restarted."""
        return {pod["metadata"]["uid"]: sum(each["restartCount"] for each in pod["status"].get("containerStatuses", ()))
                for pod in self.pods()}

    def pod_urls(self) -> list[str]:
        """The base URL of each single pod."""
        return [f"http://{pod['status']['podIP']}:8080/v1" for pod in self.pods()]

    def platform(self, pod: Object, path: str) -> str:
        """An answer of a pod's platform port, through the API server."""
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        return kubectl("get", "--raw", f"/api/v1/namespaces/{namespace}/pods/{name}:9090/proxy{path}")

    def config(self, pod: Object) -> Object:
        """What the pod says of its configuration."""
        found: Object = json.loads(self.platform(pod, "/config"))
        return found

    def change(self, spec: Object) -> None:
        """Merge changes into the spec."""
        self.namespace.patch("runtimeconfig", self.name, {"spec": spec})

    def acknowledged(self, spec: Object, seconds: float = 20) -> float:
        """Change the spec; seconds from before the change until the status says that every pod runs it."""
        seen = "{.status.configHash} {.status.replicas} {.status.updatedReplicas}{'\\n'}"
        with watch(self.namespace.name, "runtimeconfig", self.name, seen, seconds) as lines:
            before = next(lines).split()[0]
            began = time.monotonic()
            self.change(spec)
            for line in lines:
                now, replicas, updated = line.split()
                if now != before and replicas == updated:
                    return time.monotonic() - began
        raise AssertionError(f"{self.name}: not acknowledged after {seconds:g} s: {self.status()}")

    def call(self, prompt: str, **more: Any) -> Object:
        """One call through the Service; it must be answered."""
        result = self.namespace.calls({"base_url": self.url, "model": "gpt-4o-mini", "prompt": prompt, **more})[0]
        if "error" in result:
            raise CommandError(f"the call failed: {result}")
        return result


def is_hit(result: Object) -> bool:
    """Whether a call was answered from the cache."""
    return "hit" in result["headers"]["cache-status"]


def answered_from_cache(ask: Callable[[int], list[Object]]) -> list[Object]:
    """The results of ``ask(attempt)``, whose last must be a hit, and whose first must never be one.

    A pod that gets no CPU takes Redis for slow and answers as if nothing were cached: that is what it should do, and on
    a busy machine it happens, so there are three attempts, each with questions of its own.
    """
    for attempt in range(3):
        results = ask(attempt)
        assert not is_hit(results[0]), results[0]["headers"]
        if is_hit(results[-1]):
            return results
        print(f"\n  no hit: {results[-1]['headers']['cache-status']}")
    raise AssertionError("no hit in three attempts")


def provider(name: str, service: str, secret: str, *, priority: int = 0, **more: Any) -> Object:
    """A provider of a ProviderPool: a fake vendor, with the key of a Secret."""
    return {"name": name, "type": "openaicompatible", "endpoint": f"http://{service}/v1", "priority": priority,
            "credentialsSecretRef": {"name": secret, "key": "apiKey"},
            "models": [{"name": "gpt-4o-mini", "price": {"inputPerMillionTokens": "0.15", "outputPerMillionTokens": "0.60"}}], **more}


def provider_pool(name: str, *providers: Object) -> Object:
    """A ProviderPool."""
    return {"apiVersion": "stratarouter.io/v1alpha1", "kind": "ProviderPool", "metadata": {"name": name},
            "spec": {"providers": list(providers)}}


def runtime_config(name: str, pool: str = "chat", **spec: Any) -> Object:
    """A RuntimeConfig with one pod whose defaultRoute is one pool; without a local model, so that it starts fast."""
    defaults: Object = {"replicas": 1, "cache": {"embedder": {"type": "none"}}, "defaultRoute": {"pools": [{"name": pool}]}}
    return {"apiVersion": "stratarouter.io/v1alpha1", "kind": "RuntimeConfig", "metadata": {"name": name}, "spec": {**defaults, **spec}}


def secret(name: str, **values: str) -> Object:
    """A Secret."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}
