"""Two fake vendors behind one running data plane."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from builders import runtime
from fakes.vendor import FakeVendor
from pod import Pod, resources, running

NOW = 1_732_000_000


@pytest.fixture
async def vendor() -> AsyncIterator[FakeVendor]:
    """The primary."""
    async with FakeVendor(clock=lambda: NOW) as made:
        yield made


@pytest.fixture
async def second() -> AsyncIterator[FakeVendor]:
    """The fallback."""
    async with FakeVendor(clock=lambda: NOW) as made:
        yield made


@pytest.fixture
async def pod(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> AsyncIterator[Pod]:
    """Both vendors in one pool by priority, an exact cache in memory, no keys asked, short backoff."""
    fields = {"execution": {"timeoutSeconds": 10, "maxRetries": 3, "retryDelayMs": 1}}
    async with running(tmp_path, *resources(runtime(**fields), vendor, second)) as made:
        yield made
