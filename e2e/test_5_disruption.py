"""What happens around the data plane while callers call: a roll-out, and the operator's death."""

from __future__ import annotations

import time

import pytest
from cluster import RELEASE, Namespace, wait_for
from dataplane import DataPlane, provider, provider_pool, runtime_config, secret

RATE = 6.0
"""Calls a second; every third is a stream of two seconds."""


@pytest.fixture(scope="module")
def plane(namespace: Namespace) -> DataPlane:
    """Two pods."""
    namespace.apply(secret("vendor", apiKey="sk-demo-this-key-opens-nothing"),
                    provider_pool("chat", provider("primary", "vendor-primary:9999", "vendor")),
                    runtime_config("steady", replicas=2))
    plane = DataPlane(namespace, "steady")
    plane.wait_ready()
    return plane


def assert_nothing_failed(report, least):
    assert report["failed"] == 0, report["failures"]
    assert report["calls"] >= least


def test_change_of_the_pod_template_rolls_under_steady_load_without_one_failed_request(plane):
    before = set(plane.incarnations())
    with plane.namespace.load(plane.url, "gpt-4o-mini", RATE) as load:
        began = time.monotonic()
        plane.change({"template": {"annotations": {"example.com/rolled": "yes"}}})

        def rolled() -> bool:
            every = plane.namespace.all("pods", instance="steady", component="dataplane")
            return plane.settled() and not before & {pod["metadata"]["uid"] for pod in every}
        wait_for("new pods, and the old ones gone", rolled, 180, every=1)
        seconds = time.monotonic() - began
        report = load.stop()
    print(f"\n  rolled in {seconds:.0f} s; {report['calls']} calls, {report['failed']} failed, slowest {report['slowest']:.2f} s")
    assert_nothing_failed(report, least=seconds * RATE / 4)


def test_killing_the_operator_changes_nothing_for_callers(plane, system):
    """The one that leads is deleted by force, in the midst of a change; the other takes its Lease and finishes the work."""
    pods = plane.incarnations()
    with plane.namespace.load(plane.url, "gpt-4o-mini", RATE) as load:
        leader = system.get("lease", RELEASE)["spec"]["holderIdentity"]
        system.kubectl("delete", "pod", leader, "--grace-period=0", "--force")
        began = time.monotonic()
        plane.change({"execution": {"maxRetries": 1}})
        wait_for("the other operator's work", plane.settled, 60, every=0.5)
        seconds = time.monotonic() - began
        report = load.stop()
    assert system.get("lease", RELEASE)["spec"]["holderIdentity"] != leader
    print(f"\n  a change made meanwhile was acknowledged after {seconds:.0f} s; {report['calls']} calls, {report['failed']} failed")
    assert_nothing_failed(report, least=seconds * RATE / 4)
    assert plane.incarnations() == pods
