from __future__ import annotations

from collections.abc import AsyncIterator

import openai
import pytest

from fakes.vendor import FakeVendor

NOW = 1_732_000_000


@pytest.fixture
async def vendor() -> AsyncIterator[FakeVendor]:
    async with FakeVendor(clock=lambda: NOW) as running:
        yield running


@pytest.fixture
async def client(vendor: FakeVendor) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=vendor.base_url, api_key=vendor.api_key, max_retries=0, timeout=10) as sdk:
        yield sdk
