"""The real API server keeps the contract that the operator's unit tests rely on."""

from __future__ import annotations

import os

import pytest

from fakes.kube_contract import KubeContract

if not os.environ.get("STRATA_TEST_KUBECONFIG"):
    pytest.skip("STRATA_TEST_KUBECONFIG names no cluster (`make e2e` sets it)", allow_module_level=True)


class TestRealKube(KubeContract):
    """The suite, with the fixtures of a real cluster."""
