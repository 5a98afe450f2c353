"""A real API server, where a variable names one; each test has a namespace of its own.

The variable is not KUBECONFIG: tests must not start writing to whatever cluster a developer happens to work with.
"""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from stratarouter_operator.kube import Kube
from stratarouter_operator.metrics import Metrics

ROOT = Path(__file__).parents[3]
Kubectl = Callable[..., str]


@pytest.fixture(scope="session")
def kubectl() -> Kubectl:
    """Runs kubectl against the test cluster; the modules that need one are skipped where there is none."""
    config = os.environ["STRATA_TEST_KUBECONFIG"]

    def run(*arguments: str, given: str | None = None, check: bool = True) -> str:
        done = subprocess.run(
            [os.environ.get("KUBECTL", "kubectl"), "--kubeconfig", config, *arguments], check=False, input=given,
            capture_output=True, text=True, timeout=60)
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr}")
        return done.stdout if not done.returncode else done.stderr

    return run


@pytest.fixture(scope="session")
def crds(kubectl: Kubectl) -> Iterator[None]:
    """Our kinds; taken away again where they were not there, for a chart that brings its own."""
    there = kubectl("get", "crd", "--output", "name", "--ignore-not-found", "runtimeconfigs.stratarouter.io")
    if not there:
        kubectl("apply", "--filename", str(ROOT / "crds"))
        kubectl("wait", "--for=condition=Established", "--timeout=30s", "--filename", str(ROOT / "crds"))
    yield
    if not there:
        kubectl("delete", "--filename", str(ROOT / "crds"))


@pytest.fixture
def namespace(kubectl: Kubectl, crds: None) -> Iterator[str]:
    """A new namespace."""
    name = f"operator-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest_asyncio.fixture
async def kube(kubectl: Kubectl, crds: None, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Kube]:
    """A connection to the test cluster, pods through the API server's proxy."""
    monkeypatch.setenv("KUBECONFIG", os.environ["STRATA_TEST_KUBECONFIG"])
    async with Kube.connect("proxy", Metrics()) as connected:
        yield connected
