from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from fakes.vendor import FakeVendor
from stratarouter_runtime.config import Provider as ProviderConfig
from stratarouter_runtime.model.provider import Call, Provider
from stratarouter_runtime.providers import create_provider


@pytest.fixture
async def vendor() -> AsyncIterator[FakeVendor]:
    async with FakeVendor() as running:
        yield running


@pytest.fixture
async def make() -> AsyncIterator[Callable[..., Provider]]:
    """Makes providers that are closed in the end; keywords are fields of the configuration, timeouts in milliseconds."""
    made: list[Provider] = []

    def create(vendor: FakeVendor | str, *, api_key: str | None = None, ca_bundle: str | None = None, **fields: Any) -> Provider:
        endpoint = vendor if isinstance(vendor, str) else vendor.base_url
        config = ProviderConfig.model_validate({"name": "p", "type": "openai", "endpoint": endpoint,
                                                "models": [{"name": "gpt-4o"}], **fields})
        key = api_key if api_key is not None else "" if isinstance(vendor, str) else vendor.api_key
        made.append(create_provider(config, api_key=key, ca_bundle=ca_bundle))
        return made[-1]

    yield create
    for provider in made:
        await provider.aclose()


@pytest.fixture
async def provider(make: Callable[..., Provider], vendor: FakeVendor) -> Provider:
    return make(vendor)


@pytest.fixture
def call() -> Callable[..., Call]:
    def terms(model: str = "gpt-4o", *, seconds: float = 10.0, **headers: str) -> Call:
        return Call(upstream_model=model, deadline=asyncio.get_running_loop().time() + seconds, headers=headers)
    return terms
