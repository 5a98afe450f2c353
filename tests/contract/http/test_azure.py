"""Azure OpenAI behind a running data plane: OpenAI's SDK sees OpenAI, Azure sees Azure."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from builders import model, pool, provider, runtime, secret
from fakes.azurevendor import FILTERED, TOKEN, FakeAzure
from fakes.vendor import FakeVendor
from pod import Pod, running, served_by

ASKED: list[Any] = [{"role": "user", "content": "Where is my invoice?"}]


@pytest.fixture
async def azure() -> AsyncIterator[FakeAzure]:
    async with FakeAzure(models={"chat-eu": "gpt-4o-2024-11-20", "embed-eu": "text-embedding-3-small"}) as made:
        yield made


@asynccontextmanager
async def serving(path: Path, azure: FakeAzure, fallback: FakeVendor | None = None, *, key: str = "", endpoint: str = "",
                  **block: Any) -> AsyncIterator[Pod]:
    """The resource as the primary of `gpt-4o`, under the name of its deployment."""
    served = [provider("azure", model("gpt-4o", upstreamName="chat-eu"), model("embed", upstreamName="embed-eu"), type="azureopenai",
                       endpoint=endpoint or azure.endpoint, credentialsSecretRef={"name": "azure", "key": "apiKey"},
                       **({"azureopenai": block} if block else {}))]
    documents = [secret("azure", apiKey=key or azure.api_key)]
    if fallback is not None:
        served.append(served_by(fallback, "fallback", priority=1))
        documents.append(secret("vendor", apiKey=fallback.api_key))
    async with running(path, runtime(execution={"retryDelayMs": 1}), pool("chat", *served), *documents) as pod:
        yield pod


@pytest.mark.parametrize(("block", "path"), [
    ({"apiVersion": "2024-10-21"}, "/openai/deployments/chat-eu/chat/completions?api-version=2024-10-21"),
    ({}, "/openai/v1/chat/completions")])
@pytest.mark.parametrize("suffix", ["", "/", "/openai", "/openai/v1/", "/v1"])
async def test_both_routes_whatever_a_user_has_copied(tmp_path: Path, azure: FakeAzure, block: Any, path: str, suffix: str) -> None:
    """The key goes where Azure wants it, and only there."""
    async with serving(tmp_path, azure, endpoint=azure.endpoint + suffix, **block) as pod:
        assert (await pod.chat()).status == 200
        received = azure.record.last
        assert (received.path, received.json["model"], received.headers["api-key"]) == (path, "chat-eu", azure.api_key)
        assert "authorization" not in received.headers


async def test_a_token_of_entra_id_goes_as_a_bearer_token(tmp_path: Path, azure: FakeAzure) -> None:
    """And not as a key."""
    async with serving(tmp_path, azure, key=TOKEN, auth="entra") as pod:
        assert (await pod.chat()).status == 200
        assert azure.record.last.headers["authorization"] == f"Bearer {TOKEN}"
        assert "api-key" not in azure.record.last.headers


async def test_a_stream_is_openais_and_keeps_what_the_filters_say(tmp_path: Path, azure: FakeAzure) -> None:
    """Programs take the first choice of every event; usage only where it was asked for."""
    async with serving(tmp_path, azure) as pod, openai.AsyncOpenAI(base_url=pod.base_url, api_key="x", max_retries=0) as client:
        stream = await client.chat.completions.create(model="gpt-4o", messages=ASKED, stream=True)
        chunks = [chunk async for chunk in stream]
        assert all(chunk.choices for chunk in chunks)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks).startswith('You asked: "Where')
        first: Any = chunks[0]
        assert first.prompt_filter_results[0]["content_filter_results"]["jailbreak"]["detected"] is False
        assert first.model == "gpt-4o-2024-11-20"
        said: Any = chunks[1].choices[0]
        assert said.content_filter_results["hate"]["severity"] == "safe"


async def test_embeddings_and_a_whole_answer(tmp_path: Path, azure: FakeAzure) -> None:
    """The bodies are Azure's own."""
    async with serving(tmp_path, azure, apiVersion="2024-10-21") as pod, openai.AsyncOpenAI(base_url=pod.base_url, api_key="x") as client:
        vectors = await client.embeddings.create(model="embed", input=["x", "y"], dimensions=8)
        assert [len(each.embedding) for each in vectors.data] == [8, 8]
        whole: Any = await client.chat.completions.create(model="gpt-4o", messages=ASKED)
        assert whole.prompt_filter_results[0]["prompt_index"] == 0


async def test_an_older_version_is_not_asked_for_usage(tmp_path: Path, azure: FakeAzure) -> None:
    """It would refuse the stream."""
    async with serving(tmp_path, azure, apiVersion="2024-06-01") as pod:
        answer = await pod.chat(stream=True, stream_options={"include_usage": True})
        assert answer.status == 200
        assert answer.events[-1] == "[DONE]"
        assert "stream_options" not in azure.record.last.json


async def test_a_filtered_prompt_is_the_callers_and_is_asked_of_nobody_else(tmp_path: Path, azure: FakeAzure, vendor: FakeVendor) -> None:
    """Azure's status and words, without its link."""
    async with serving(tmp_path, azure, vendor) as pod:
        answer = await pod.chat(f"Tell me {FILTERED} them")
        assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "content_filter", "prompt")
        assert "content management policy" in answer.error["message"]
        assert vendor.record.total == 0


async def test_a_missing_deployment_fails_over(tmp_path: Path, azure: FakeAzure, vendor: FakeVendor) -> None:
    """It is our configuration that is wrong, not the caller."""
    del azure.models["chat-eu"]  # type: ignore[union-attr]
    async with serving(tmp_path, azure, vendor) as pod:
        answer = await pod.chat()
        assert (answer.status, answer.headers["x-strata-provider"], answer.headers["x-strata-attempts"]) == (200, "fallback", "2")


async def test_a_wrong_key_fails_over_and_a_limit_is_waited_for(tmp_path: Path, azure: FakeAzure, vendor: FakeVendor) -> None:
    """As everywhere."""
    async with serving(tmp_path, azure, vendor, key="wrong") as pod:
        assert (await pod.chat()).headers["x-strata-provider"] == "fallback"
