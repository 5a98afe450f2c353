"""Fake vendors on real sockets, and clients that call them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from callers import openai_client
from fakes.vendor import FakeVendor
from stratarouter_runtime import LLMClientRegistry, LocalClient


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key and no URL of the machine the tests run on."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "CO_API_KEY", "COHERE_API_KEY", "CO_API_URL", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY",
                 "GEMINI_API_KEY", "AZURE_OPENAI_API_KEY", "REDIS_URL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def vendor() -> AsyncIterator[FakeVendor]:
    async with FakeVendor() as running:
        yield running


@pytest.fixture
async def local() -> AsyncIterator[FakeVendor]:
    async with FakeVendor(flavour="vllm") as running:
        yield running


@pytest.fixture
def registry(vendor: FakeVendor, local: FakeVendor) -> LLMClientRegistry:
    """``openai``, then ``local``."""
    made = LLMClientRegistry()
    made.register("openai", openai_client(vendor))
    made.register("local", LocalClient(endpoint=local.base_url, type="vllm"))
    return made
