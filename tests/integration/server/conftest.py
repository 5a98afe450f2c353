"""Fake vendors for running data planes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from fakes.vendor import FakeVendor


@pytest.fixture
async def vendor() -> AsyncIterator[FakeVendor]:
    """The primary."""
    async with FakeVendor() as made:
        yield made


@pytest.fixture
async def second() -> AsyncIterator[FakeVendor]:
    """The fallback."""
    async with FakeVendor() as made:
        yield made
