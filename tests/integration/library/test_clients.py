"""Clients alone and in a registry, over real sockets."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr

import stratarouter_runtime as strata
from callers import alone, openai_client
from fakes.vendor import FakeVendor
from stratarouter_runtime import (
    AzureOpenAIClient,
    ChatRequest,
    Client,
    CohereClient,
    ConfigError,
    GoogleClient,
    LLMClientRegistry,
    LocalClient,
    Model,
    OpenAIClient,
    OpenAICompatibleClient,
    Price,
    RequestError,
    StrataError,
    VertexAIClient,
)
from stratarouter_runtime.config import ProviderType
from stratarouter_runtime.library.clients import CLIENTS, from_environment

KEY = "sk-hunter2-0123456789abcdef"
ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}]}


# --- what they are --------------------------------------------------------------------------------------------------
def test_every_provider_type_has_a_client() -> None:
    """And each of them is exported."""
    from typing import get_args

    classes = [value for name in strata.__all__ if isinstance(value := getattr(strata, name), type) and issubclass(value, Client)]
    types = {each.provider_type for each in classes if hasattr(each, "provider_type")} | {
        LocalClient(type=kind).provider_type for kind in ("ollama", "vllm")}
    assert types == set(get_args(ProviderType))
    assert set(CLIENTS) <= set(classes)


@pytest.mark.parametrize(("make", "why"), [
    (OpenAIClient, "OpenAIClient needs a key: give api_key=..., or set OPENAI_API_KEY"),
    (GoogleClient, "set GOOGLE_API_KEY or GEMINI_API_KEY"),
    (CohereClient, "set CO_API_KEY"),
    (VertexAIClient, "needs a project"),
    (AzureOpenAIClient, "needs a deployment"),
    (OpenAICompatibleClient, "needs endpoint and model"),
    (lambda: OpenAICompatibleClient(endpoint="http://a"), "needs model"),
    (lambda: AzureOpenAIClient(KEY, model="d"), "endpoint is required"),
    (lambda: OpenAIClient(KEY, endpoint="nowhere"), "OpenAIClient: endpoint"),
    (lambda: OpenAIClient(KEY, headers={"Authorization": "x"}), "headers may not set Authorization"),
    (lambda: LocalClient("http://a:99999999/v1"), "LocalClient: endpoint"),
    (lambda: LocalClient(type="disk"), "type must be one of"),  # type: ignore[arg-type]
    (lambda: VertexAIClient("/nowhere/key.json", project="p"), "cannot be read")])
def test_what_a_client_lacks_is_told(make: Any, why: str) -> None:
    """With the ways to give it, and without quoting a key."""
    with pytest.raises(ConfigError, match=why) as raised:
        make()
    assert "hunter2" not in str(raised.value)


def test_an_unknown_keyword_is_a_type_error() -> None:
    """That names those there are."""
    with pytest.raises(TypeError, match="no keyword 'modle'"):
        OpenAIClient(KEY, modle="x")  # type: ignore[call-arg]


def test_no_key_is_ever_printed() -> None:
    """Of a client or of what holds it."""
    for key in (KEY, SecretStr(KEY)):
        client = OpenAIClient(api_key=key)
        for shown in (repr(client), str(client), repr(LLMClientRegistry({"a": client})), repr(client.config), repr(client.key)):
            assert "hunter2" not in shown
        assert client.key.get_secret_value() == KEY


@pytest.mark.parametrize(("endpoint", "given", "found"), [
    (None, None, "ollama"), ("http://localhost:11434", None, "ollama"), ("http://gpu:11434/v1", None, "ollama"),
    ("http://localhost:8000/v1", None, "vllm"), ("http://gpu", None, "vllm"), ("http://gpu:1234", "ollama", "ollama"),
    ("http://localhost:11434", "vllm", "vllm")])
def test_a_local_server_is_told_by_its_port_or_by_name(endpoint: str | None, given: Any, found: str) -> None:
    """Its tokens cost nothing either way."""
    client = LocalClient(endpoint, type=given)
    assert (client.config.type, client.config.is_local) == (found, True)


def test_the_environment_names_clients_in_a_fixed_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each by what its own SDK reads; blank is not set."""
    assert from_environment() == {}
    monkeypatch.setenv("OPENAI_API_KEY", "  ")
    assert from_environment() == {}
    monkeypatch.setenv("CO_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)  # without an endpoint and a deployment it describes nothing
    assert list(from_environment()) == ["openai", "cohere"]
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://a.openai.azure.com")
    monkeypatch.setenv("AZURE_OPENAI_DEPLOYMENT", "gpt")
    assert list(from_environment()) == ["openai", "cohere", "azureopenai"]


# --- alone ----------------------------------------------------------------------------------------------------------
async def test_a_client_alone_answers_streams_and_embeds(vendor: FakeVendor) -> None:
    """With its default models, and closes what it opened."""
    async with openai_client(vendor) as client:
        result = await client.complete(query="hello")
        assert (result.provider, vendor.record.last.model) == ("openai", "gpt-4o-mini")
        assert (await client.complete(ASKED, timeout=5)).response == result.response
        texts = [text async for text in client.stream(ASKED).text()]
        assert "".join(texts) == result.response
        embedded = await client.embed(["a", "b"], dimensions=8)
        assert (len(embedded.vectors), len(embedded.vectors[0]), vendor.record.last.model) == (2, 8, "text-embedding-3-small")
        assert embedded.usage is not None
    with pytest.raises(StrataError, match="closed"):
        await client.complete(query="hello")


async def test_a_client_that_was_never_used_closes_quietly(vendor: FakeVendor) -> None:
    """And twice."""
    client = openai_client(vendor)
    await client.aclose()
    async with client:
        pass


async def test_the_request_is_the_vendors(vendor: FakeVendor) -> None:
    """Model and parameters reach it, and a request of ours is as good as a mapping."""
    async with openai_client(vendor, model="gpt-4o", models=[Model(name="cheap", upstream_name="gpt-4o-mini",
                             price=Price(input_per_million_tokens=Decimal(1), output_per_million_tokens=Decimal(2)))]) as client:
        await client.complete({**ASKED, "temperature": 0.5})
        assert vendor.record.last.model == "gpt-4o"
        assert vendor.record.last.json["temperature"] == 0.5
        await client.complete(ChatRequest({"model": "gpt-4.1-mini", **ASKED}))
        assert vendor.record.last.model == "gpt-4.1-mini"
        result = await client.complete({**ASKED, "model": "cheap"})
        assert vendor.record.last.model == "gpt-4o-mini"
        assert result.usage is not None
        assert result.cost_usd == (Decimal(result.usage.input) + 2 * Decimal(result.usage.output)) / 1_000_000


# --- registry -------------------------------------------------------------------------------------------------------
async def test_the_documented_call(registry: LLMClientRegistry, vendor: FakeVendor, local: FakeVendor) -> None:
    """The primary, then the fallbacks in their order, each with a model it has."""
    async with registry:
        assert (await registry.complete(primary="openai", fallback=["local"], request=ASKED)).provider == "openai"
        vendor.script.fail("http_500", times=1)
        result = await registry.complete(primary="openai", fallback=["local"], request={**ASKED, "model": "gpt-4o"})
        assert (result.provider, vendor.record.last.model) == ("local", "gpt-4o")
        assert local.record.last.model == "meta-llama/Llama-3.1-8B-Instruct"
        assert (await registry.complete(primary="local", request=ASKED)).provider == "local"
        assert (await registry.complete(request=ASKED)).provider == "openai"


async def test_a_primary_without_fallback_stays_alone(registry: LLMClientRegistry, vendor: FakeVendor, local: FakeVendor) -> None:
    """Nobody else is asked."""
    vendor.script.fail("http_400")
    async with registry:
        with pytest.raises(StrataError):
            await registry.complete(primary="openai", request=ASKED)
    assert local.record.total == 0


async def test_a_stream_fails_over_until_its_first_content(registry: LLMClientRegistry, vendor: FakeVendor) -> None:
    """Unseen."""
    vendor.script.fail("reset_before_headers", times=1)
    async with registry:
        result = await registry.stream(primary="openai", fallback="local", request=ASKED).result()
    assert result.provider == "local"


@pytest.mark.parametrize(("primary", "fallback", "param"), [("nobody", (), "primary"), ("openai", ["nobody"], "fallback")])
async def test_an_unknown_name_is_an_error_that_lists_the_known(registry: LLMClientRegistry, primary: str, fallback: Any, param: str) -> None:
    """Before anybody is asked."""
    with pytest.raises(RequestError, match="there are: openai, local") as raised:
        await registry.complete(primary=primary, fallback=fallback, request=ASKED)
    assert (raised.value.reason, raised.value.param) == ("UnknownClient", param)


async def test_an_empty_registry_says_so() -> None:
    """Rather than that nobody answered."""
    with pytest.raises(ConfigError, match="register one"):
        await LLMClientRegistry().complete(request=ASKED)


def test_names_and_clients_are_checked(vendor: FakeVendor) -> None:
    """A name becomes a metric's label."""
    registry = LLMClientRegistry()
    for name in ("", "a b", "x" * 64, "ü", "-a"):
        with pytest.raises(ConfigError):
            registry.register(name, openai_client(vendor))
    with pytest.raises(TypeError, match="not str"):
        registry.register("a", "sk-key")  # type: ignore[arg-type]
    with pytest.raises(KeyError):
        registry.unregister("a")
    registry.register("My_Client.1", openai_client(vendor))
    assert ("My_Client.1" in registry, len(registry), registry.names(), list(registry)) == (True, 1, ["My_Client.1"], ["My_Client.1"])


async def test_clients_come_and_go_while_calls_are_made(vendor: FakeVendor, local: FakeVendor) -> None:
    """From the next call on."""
    async with alone(vendor) as registry:
        await registry.complete(request=ASKED)
        registry.register("local", LocalClient(local.base_url, type="vllm"))
        assert (await registry.complete(primary="local", request=ASKED)).provider == "local"
        registry.unregister("openai")
        assert (await registry.complete(request=ASKED)).provider == "local"


async def test_vectors_never_fail_over_between_models(registry: LLMClientRegistry, vendor: FakeVendor, local: FakeVendor) -> None:
    """One client embeds, or nobody does."""
    vendor.script.fail("http_500", times=9)
    async with registry:
        with pytest.raises(StrataError):
            await registry.embed(["a"], timeout=2)
    assert local.record.total == 0
