"""The API server in memory keeps the contract that the real one keeps."""

from __future__ import annotations

import pytest

from fakes.kube import FakeKube
from fakes.kube_contract import ABSENT, KubeContract


class TestFakeKube(KubeContract):
    @pytest.fixture
    def kube(self) -> FakeKube:
        fake = FakeKube()
        fake.unserved.add(ABSENT.name)
        return fake

    @pytest.fixture
    def namespace(self) -> str:
        return "default"
