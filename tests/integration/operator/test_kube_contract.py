"""The real API server keeps the contract that the operator's unit tests rely on."""

from __future__ import annotations

from fakes.kube_contract import KubeContract


class TestRealKube(KubeContract):
    """The suite, with the fixtures of a real cluster."""
