"""The product installed once as its README says, and a namespace of its own for each module of tests."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator

import pytest
import yaml
from cluster import (
    MANIFESTS,
    RELEASE,
    RESTRICTED,
    ROOT,
    SYSTEM,
    CommandError,
    Namespace,
    Object,
    helm,
    setting,
)

# Alerts look over seconds here, so that a test can see each of them fire.
RULES = {
    "errorRate": {"window": "20s", "for": "0s"},
    "latency": {"seconds": 0.01, "window": "20s", "for": "0s"},
    "breakerOpen": {"window": "6s", "for": "0s"},
    "hitRateDrop": {"window": "15s", "before": "25s", "for": "0s"},
    "stateDropped": {"for": "0s"},
    "unacknowledged": {"for": "0s"},
}


@pytest.fixture(scope="session", autouse=True)
def system() -> Iterator[Namespace]:
    """The chart, installed in a namespace that enforces the restricted level; that namespace."""
    namespace = Namespace(SYSTEM)
    namespace.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM, "labels": RESTRICTED}})
    label, _, value = setting("E2E_MONITOR_LABEL").partition("=")
    values = {
        "image": _image(setting("OPERATOR_IMAGE")),
        "dataplane": {"image": _image(setting("DATAPLANE_IMAGE"))},
        "replicas": 2,
        "monitoring": {"labels": {label: value}, "serviceMonitor": {"interval": "2s"}, "rules": RULES},
        # A tag that is used again can stand for another image: each run gets new pods.
        "podAnnotations": {"stratarouter.io/e2e-run": str(time.time_ns())},
    }
    helm("upgrade", "--install", RELEASE, str(ROOT / "charts/stratarouter-runtime"), "--namespace", SYSTEM,
         "--values", "-", "--wait", "--timeout", "3m", given=yaml.safe_dump(values))
    yield namespace
    helm("uninstall", RELEASE, "--namespace", SYSTEM, "--wait")
    namespace.delete()


def _image(image: str) -> Object:
    repository, _, tag = image.rpartition(":")
    return {"repository": repository, "tag": tag}


@pytest.fixture(scope="module")
def namespace(request: pytest.FixtureRequest) -> Iterator[Namespace]:
    """A namespace that enforces the restricted level, with two fake vendors and a caller in it."""
    made = Namespace(_name(request.module.__name__))
    made.create()
    made.apply_file(MANIFESTS)
    for deployment in ("vendor-primary", "vendor-fallback"):
        made.kubectl("rollout", "status", f"deployment/{deployment}", "--timeout=120s")
    made.wait("condition=Ready", "pod/caller", 120)
    yield made
    made.delete()


def _name(module: str) -> str:
    return "e2e-" + module.rpartition("_")[2]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Print what there is to see of a failure's namespace, before it goes."""
    report = yield
    if report.failed:
        report.sections.append(("the cluster", "\n".join(_seen(Namespace(_name(item.module.__name__))))))
    return report


def _seen(namespace: Namespace) -> Iterator[str]:
    looks = [
        (namespace, ("get", "runtimeconfigs,providerpools,pods,services", "-o", "wide")),
        (namespace, ("get", "runtimeconfigs", "-o", 'jsonpath={range .items[*]}{.metadata.name}: {.status}{"\\n"}{end}')),
        (namespace, ("get", "events", "--sort-by=.lastTimestamp")),
        (namespace, ("logs", "-l", "app.kubernetes.io/component=dataplane", "--tail=40", "--prefix")),
        (Namespace(SYSTEM), ("logs", "-l", "app.kubernetes.io/component=operator", "--tail=60", "--prefix")),
    ]
    for where, command in looks:
        try:
            yield f"--- {' '.join(command)}\n{where.kubectl(*command)[-12_000:]}"
        except CommandError as error:
            yield str(error)
