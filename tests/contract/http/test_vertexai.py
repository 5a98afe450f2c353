"""Claim: a pool over Vertex AI works with a service account's key in its Secret, or without one with the pod's own identity."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import openai
import pytest

from builders import model, pool, provider, runtime, secret
from fakes.geminivendor import GeminiVendor
from fakes.google_tokens import TokenServer
from pod import CREDENTIALS, running

HI = "What is six times seven?"


@pytest.fixture
async def tokens() -> AsyncIterator[TokenServer]:
    async with TokenServer() as made:
        yield made


@pytest.fixture(params=["key", "identity"])
async def client(request: pytest.FixtureRequest, tmp_path: Path, tokens: TokenServer, vendor: GeminiVendor,  # type: ignore[override]
                 monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[openai.AsyncOpenAI]:
    monkeypatch.setattr("google.auth.compute_engine._metadata._GCE_METADATA_HOST", tokens.host)
    credentials = {"credentialsSecretRef": CREDENTIALS} if request.param == "key" else {}
    served = provider("vertex", model("fast", upstreamName="gemini-2.5-flash"), model("vectors", upstreamName="text-embedding-005"),
                      type="vertexai", endpoint=vendor.endpoint, vertexai={"project": "billed", "location": "eu"}, **credentials)
    resources = [runtime(execution={"maxRetries": 0}), pool("chat", served), secret("vendor", apiKey=tokens.key_file())]
    async with running(tmp_path, *resources) as pod, openai.AsyncOpenAI(base_url=pod.base_url, api_key="any", max_retries=0) as sdk:
        yield sdk


@pytest.fixture
async def vendor(tokens: TokenServer) -> AsyncIterator[GeminiVendor]:  # type: ignore[override]
    async with GeminiVendor(vertex=("billed", "eu"), tokens=()) as made:
        made.tokens = tokens.issued  # type: ignore[assignment]
        yield made


async def test_answers_streams_and_vectors(client: openai.AsyncOpenAI, tokens: TokenServer) -> None:
    """All with one token."""
    answer = await client.chat.completions.create(model="fast", messages=[{"role": "user", "content": HI}], extra_headers={"Cache-Control": "no-store"})
    stream = await client.chat.completions.create(model="fast", messages=[{"role": "user", "content": HI}], stream=True)
    said = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
    assert said == answer.choices[0].message.content == f'You asked: "{HI}". It is in hand.'
    vectors = await client.embeddings.create(model="vectors", input=["a b", "c"], dimensions=4)
    assert ([len(row.embedding) for row in vectors.data], vectors.usage.prompt_tokens) == ([4, 4], 3)
    assert len(tokens.issued) == 1


async def test_an_account_that_is_refused_is_no_mistake_of_the_caller(client: openai.AsyncOpenAI, tokens: TokenServer) -> None:
    """Nor does the error tell whose account it is."""
    tokens.faults.extend([403] * 4)
    with pytest.raises(openai.InternalServerError) as caught:
        await client.chat.completions.create(model="fast", messages=[{"role": "user", "content": HI}])
    assert "iam.gserviceaccount" not in str(caught.value)
