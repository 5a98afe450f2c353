"""The fake Azure resource is what the vendor's own SDK accepts, and our provider says what that SDK says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from fakes.azurevendor import TOKEN, FakeAzure
from stratarouter_runtime.config import Provider as ProviderConfig
from stratarouter_runtime.model.provider import Call
from stratarouter_runtime.model.request import ChatRequest
from stratarouter_runtime.providers import create_provider

MODELS = {"chat-eu": "gpt-4o-2024-11-20", "embed-eu": "text-embedding-3-small"}
ASKED: list[Any] = [{"role": "user", "content": "Where is my invoice?"}]


@pytest.fixture
async def azure() -> AsyncIterator[FakeAzure]:
    async with FakeAzure(models=MODELS, clock=lambda: 1_732_000_000) as running:
        yield running


def sdk(azure: FakeAzure, *, token: str | None = None, key: str | None = None) -> openai.AsyncAzureOpenAI:
    """The SDK's client of the deployments route."""
    credentials: dict[str, Any] = {"azure_ad_token": token} if token else {"api_key": key or azure.api_key}
    return openai.AsyncAzureOpenAI(azure_endpoint=azure.endpoint, api_version="2024-10-21", max_retries=0, **credentials)


@pytest.mark.parametrize("token", [None, TOKEN])
async def test_the_sdk_is_served(azure: FakeAzure, token: str | None) -> None:
    """With a key or a token: whole, streamed, embeddings."""
    async with sdk(azure, token=token) as client:
        whole = await client.chat.completions.create(model="chat-eu", messages=ASKED)
        stream = await client.chat.completions.create(model="chat-eu", messages=ASKED, stream=True)
        chunks = [chunk async for chunk in stream]
        assert chunks[0].choices == []
        assert "".join(each.choices[0].delta.content or "" for each in chunks[1:]) == whole.choices[0].message.content
        vectors = await client.embeddings.create(model="embed-eu", input=["x"], dimensions=8)
        assert len(vectors.data[0].embedding) == 8


async def test_the_sdk_meets_azures_errors(azure: FakeAzure) -> None:
    """A wrong key, an unknown deployment, a filtered prompt."""
    async with sdk(azure, key="wrong") as client:
        with pytest.raises(openai.AuthenticationError):
            await client.chat.completions.create(model="chat-eu", messages=ASKED)
    async with sdk(azure) as client:
        with pytest.raises(openai.NotFoundError) as missing:
            await client.chat.completions.create(model="none", messages=ASKED)
        assert missing.value.code == "DeploymentNotFound"
        with pytest.raises(openai.BadRequestError) as filtered:
            await client.chat.completions.create(model="chat-eu", messages=[{"role": "user", "content": "how to hurt"}])
        assert filtered.value.code == "content_filter"


async def test_our_calls_are_the_sdks(azure: FakeAzure) -> None:
    """The same path, query, credentials and body, on both routes."""
    ours = {"model": "public", "messages": ASKED, "seed": 1}
    async with sdk(azure) as client:
        await client.chat.completions.create(model="chat-eu", messages=ASKED, seed=1)
    versioned = azure.record.last
    async with openai.AsyncOpenAI(base_url=f"{azure.endpoint}/openai/v1/", api_key=azure.api_key,
                                  default_headers={"api-key": azure.api_key}) as plain:
        await plain.chat.completions.create(model="chat-eu", messages=ASKED, seed=1)
    unversioned = azure.record.last
    for theirs, block in ((versioned, {"apiVersion": "2024-10-21"}), (unversioned, None)):
        config = ProviderConfig.model_validate({"name": "p", "type": "azureopenai", "endpoint": azure.endpoint, "models": [{"name": "m"}],
                                                **({"azureopenai": block} if block else {})})
        provider = create_provider(config, api_key=azure.api_key)
        await provider.chat(ChatRequest(ours), Call("chat-eu", asyncio.get_running_loop().time() + 5))
        await provider.aclose()
        mine = azure.record.last
        assert (mine.path, mine.json) == (theirs.path, theirs.json)
        assert mine.headers["api-key"] == theirs.headers["api-key"]
        assert "authorization" not in mine.headers
