"""The operator's metrics: the one place that names them.

Invariant: label values come from kinds, outcomes and resources' names alone; a resource's series go with it.
"""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONDITIONS = ("Accepted", "ResolvedRefs", "Progressing", "Ready", "Degraded")


class Metrics:
    """All series of one operator process, in a registry of their own."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.leader = Gauge(
            "stratarouter_operator_leader", "1 while this process may write.", registry=registry)
        self.queue_depth = Gauge(
            "stratarouter_operator_queue_depth", "Keys that wait for a worker.", registry=registry)
        self.reconciles = Counter(
            "stratarouter_operator_reconciles", "Reconciliations by outcome: success, or the error's reason.",
            ("kind", "outcome"), registry=registry)
        self.reconcile_seconds = Histogram(
            "stratarouter_operator_reconcile_duration_seconds", "Duration of one reconciliation.", ("kind",),
            buckets=(.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30), registry=registry)
        self.kube_requests = Counter(
            "stratarouter_operator_kube_requests", "Calls to the API server by HTTP status; 0: no answer.",
            ("verb", "resource", "status"), registry=registry)
        self.kube_seconds = Histogram(
            "stratarouter_operator_kube_request_duration_seconds", "Duration of calls to the API server.", ("verb",),
            buckets=(.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30), registry=registry)
        self.writes = Counter(
            "stratarouter_operator_writes", "Objects written: created, applied (changed or repaired), scaled, deleted.",
            ("kind", "action"), registry=registry)
        self.touches = Counter(
            "stratarouter_operator_pod_touches", "Annotations that make a kubelet refresh a pod's volumes.",
            ("why",), registry=registry)
        self.acknowledge_seconds = Histogram(
            "stratarouter_operator_acknowledge_duration_seconds",
            "From the write of a configuration to the acknowledgement of a pod that was running then.",
            buckets=(.1, .2, .3, .5, .75, 1, 1.5, 2, 3, 5, 10, 30, 60), registry=registry)
        self.unacknowledged = Gauge(
            "stratarouter_operator_unacknowledged_pods", "Pods that do not run the configuration of their RuntimeConfig.",
            ("namespace", "runtimeconfig"), registry=registry)
        self.condition = Gauge(
            "stratarouter_operator_condition", "A RuntimeConfig's condition: 1 True, 0 False, -1 Unknown.",
            ("namespace", "runtimeconfig", "condition"), registry=registry)

    def forget(self, namespace: str, name: str) -> None:
        """Drop the series of a RuntimeConfig that is gone."""
        self.unacknowledged.remove_by_labels({"namespace": namespace, "runtimeconfig": name})
        self.condition.remove_by_labels({"namespace": namespace, "runtimeconfig": name})

    def expose(self) -> bytes:
        """All series as Prometheus reads them."""
        return generate_latest(self._registry)
