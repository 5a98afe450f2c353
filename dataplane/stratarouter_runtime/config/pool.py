"""``ProviderPool.spec``: providers that can serve each other's traffic.

Invariant: a provider's name is unique within its pool, a model's name within its provider.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from .base import (
    Contract,
    HeaderValue,
    ModelName,
    Money,
    Name,
    SecretKeyRef,
    Url,
    hot,
    rules,
)

ProviderType = Literal["openai", "azureopenai", "anthropic", "google", "vertexai", "cohere", "ollama", "vllm", "openaicompatible"]
Capability = Literal["chat", "tools", "vision", "jsonSchema", "embeddings", "responses"]
Strategy = Literal["priority", "weighted"]
AzureAuth = Literal["apiKey", "entra"]

DEFAULT_ENDPOINTS: dict[str, str] = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "google": "https://generativelanguage.googleapis.com",
    "cohere": "https://api.cohere.com",
    "ollama": "http://localhost:11434",
    "vllm": "http://localhost:8000/v1",
}
"""Where a type lives when ``endpoint`` is omitted: the vendor SDK's base URL. The others have none, or one for each location."""

TYPE_CAPABILITIES: dict[str, tuple[Capability, ...]] = {
    "anthropic": ("chat", "tools", "vision", "jsonSchema"),
}
"""What a type can do where it cannot do everything: the capabilities of its models that list none."""

RESERVED_HEADERS = frozenset({
    "authorization", "api-key", "x-api-key", "x-goog-api-key", "host", "content-length", "content-type", "transfer-encoding",
    "connection", "proxy-authorization", "te", "upgrade", "accept-encoding", "traceparent", "tracestate"})
"""Headers a pool may not set: credentials belong in a Secret, framing belongs to HTTP, tracing to the runtime."""


class Price(Contract):
    """What a model costs; decimal strings in US dollars per million tokens."""

    input_per_million_tokens: Annotated[Money, hot("US dollars per million input tokens.")]
    output_per_million_tokens: Annotated[Money, hot("US dollars per million output tokens. 0 for embeddings.")]
    cached_input_per_million_tokens: Annotated[
        Money | None,
        hot("US dollars per million input tokens that the vendor read from its own prompt cache. Default: as other input.")] = None


class Model(Contract):
    """A model that a provider serves."""

    name: Annotated[ModelName, hot("The name clients ask for.")]
    upstream_name: Annotated[
        ModelName | None,
        hot("The name the vendor is asked for. Default: the same as `name`. Lets one public name be served by "
            "differently named models.")] = None
    capabilities: Annotated[
        tuple[Capability, ...] | None,
        hot("What the model can do: `chat`, `tools`, `vision`, `jsonSchema`, `embeddings`, and `responses` where the vendor serves OpenAI's "
            "Responses API for it. Default: all that the provider's type can do. A request is never sent to a model without the "
            "capability; without `responses` such requests are translated.", list_type="set"),
        Field(min_length=1, max_length=12)] = None
    context_tokens: Annotated[
        int | None,
        hot("Tokens of input and output together that the model takes. Default: unknown. A request whose estimate is larger "
            "is not sent to it."), Field(ge=1, le=100_000_000)] = None
    max_output_tokens: Annotated[
        int | None,
        hot("Most tokens of one answer. A request for more is cut to this; where a vendor requires a limit (`anthropic`) and the "
            "caller gives none, it is this. Default: the caller's figure goes through, and Anthropic gets 16384 (less for models "
            "before Claude 3.7)."), Field(ge=1, le=100_000_000)] = None
    embedding_space: Annotated[
        str | None,
        hot("Declares equal vector spaces: embeddings fail over only between models of the same upstream name or of "
            "the same declared space, because vectors of two models never mix. Default: none declared."),
        Field(max_length=63, pattern=r"^[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?$")] = None
    price: Annotated[
        Price | None,
        hot("Price, for cost figures and for what the cache saves. Default: that of the price list in the package `genai-prices` for "
            "the provider's type (or, for `openaicompatible`, its endpoint) and the vendor's name of the model; unknown (no cost is "
            "reported) where it has none; local models (`ollama`, `vllm`) cost 0.")] = None

    @property
    def upstream(self) -> str:
        """The name the vendor is asked for."""
        return self.upstream_name or self.name

    @model_validator(mode="after")
    def _check(self) -> Self:
        _unique("capabilities", self.capabilities or ())
        return self


class Limits(Contract):
    """How much of a provider may be used at once."""

    max_concurrent_requests: Annotated[
        int,
        hot("Requests in flight to this provider from one pod. Default 256. A full provider is skipped, so that a "
            "slow one cannot take every slot; too low a value fails over early."),
        Field(ge=1, le=100_000)] = 256


class Timeouts(Contract):
    """How long each phase of one attempt may take, in milliseconds; the request's own deadline also bounds it."""

    connect_ms: Annotated[
        int,
        hot("Milliseconds to open a connection (TCP and TLS). Default 2000. Lower fails over sooner, higher "
            "forgives slow networks."),
        Field(ge=1, le=60_000)] = 2_000
    first_token_ms: Annotated[
        int,
        hot("Milliseconds until the first content of a stream. Default 30000. Reasoning models need "
            "more."),
        Field(ge=1, le=600_000)] = 30_000
    idle_ms: Annotated[
        int,
        hot("Milliseconds of silence allowed inside a stream after its first content. Default 15000."),
        Field(ge=1, le=600_000)] = 15_000
    total_ms: Annotated[
        int,
        hot("Milliseconds for the whole attempt, a stream included. Default 120000."),
        Field(ge=1, le=3_600_000)] = 120_000


class CircuitBreaker(Contract):
    """When a failing (provider, model, region) is left alone, and for how long."""

    error_rate_percent: Annotated[
        int,
        hot("Failures in percent of the requests of the window that open the breaker. Default 50."),
        Field(ge=1, le=100)] = 50
    minimum_requests: Annotated[
        int,
        hot("Requests the window must hold before the rate counts. Default 10. Lower reacts faster on little "
            "traffic but opens on bad luck."),
        Field(ge=1, le=10_000)] = 10
    window_seconds: Annotated[
        int, hot("Seconds over which the rate is taken. Default 30."), Field(ge=1, le=3_600)] = 30
    consecutive_failures: Annotated[
        int,
        hot("Failures in a row that open the breaker whatever the rate. Default 5."), Field(ge=1, le=1_000)] = 5
    open_seconds: Annotated[
        int,
        hot("Seconds an open breaker refuses before it lets probes through. Default 15. A vendor's Retry-After "
            "is honoured as well."),
        Field(ge=1, le=3_600)] = 15
    half_open_probes: Annotated[
        int, hot("Probes in flight while half-open. Default 1."), Field(ge=1, le=100)] = 1


class AzureOpenAI(Contract):
    """How models of type `azureopenai` are reached; a model's `upstreamName` is its deployment."""

    api_version: Annotated[
        str | None,
        hot("Version of the API, for example `2024-10-21`; calls then go to `/openai/deployments/NAME/...?api-version=...`. Default: none, "
            "and calls go to `/openai/v1/...`, which has no versions and also serves the Responses API."),
        Field(max_length=32, pattern=r"^\d{4}-\d{2}-\d{2}(-preview)?$")] = None
    auth: Annotated[
        AzureAuth,
        hot("What the Secret holds: `apiKey`, sent as `api-key`, or `entra`, a token of Microsoft Entra ID, sent as a bearer token; it "
            "expires within hours, so something must renew it in the Secret. Default `apiKey`.")] = "apiKey"


class VertexAI(Contract):
    """Where on Google Cloud the models of type `vertexai` are."""

    project: Annotated[
        str, hot("Id or number of the Google Cloud project that is billed."),
        Field(max_length=63, pattern=r"^[a-z0-9]([-a-z0-9.:]*[a-z0-9])?$")]
    location: Annotated[
        str,
        hot("Region, multi-region (`us`, `eu`) or `global`. Default `global`, which has the most capacity but no say in where data "
            "is processed, and not all models for embeddings."),
        Field(max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")] = "global"

    @property
    def endpoint(self) -> str:
        """The location's own host (Google Cloud, "Locations": `global` and the multi-regions differ from regions)."""
        if self.location == "global":
            return "https://aiplatform.googleapis.com"
        if self.location in ("us", "eu"):
            return f"https://aiplatform.{self.location}.rep.googleapis.com"
        return f"https://{self.location}-aiplatform.googleapis.com"


class Provider(Contract):
    """One upstream account or endpoint of one vendor type."""

    model_config = rules(
        ("self.type != 'openaicompatible' || has(self.endpoint)", "endpoint is required for type openaicompatible", ".endpoint"),
        ("self.type != 'azureopenai' || has(self.endpoint)", "endpoint is required for type azureopenai", ".endpoint"),
        ("self.type != 'vertexai' || has(self.vertexai)", "vertexai is required for type vertexai", ".vertexai"))

    name: Annotated[Name, hot("Name of the provider, unique in its pool; it is a metric label.")]
    type: Annotated[
        ProviderType,
        hot("Vendor: `openai`, `azureopenai`, `anthropic`, `google` (Gemini API), `vertexai` (Gemini on Google Cloud), `cohere`, `ollama`, "
            "`vllm`, or `openaicompatible` for anything else that speaks OpenAI's API.")]
    endpoint: Annotated[
        Url | None,
        hot("The vendor SDK's base URL; a trailing `/v1` or `/v2` is accepted and never doubled. Default: that of the type; "
            "`azureopenai` (the resource's, `https://NAME.openai.azure.com`) and `openaicompatible` have none, `vertexai` one for each location.")] = None
    azureopenai: Annotated[
        AzureOpenAI | None, hot("What type `azureopenai` can be told, and no other reads. Default: all defaults.")] = None
    vertexai: Annotated[
        VertexAI | None, hot("What type `vertexai` needs, and no other reads. Default: none.")] = None
    credentials_secret_ref: Annotated[
        SecretKeyRef | None,
        hot("Where the API key is; for `vertexai` the JSON key of a service account. Default: no key is sent; `vertexai` gets its tokens "
            "from the metadata server (workload identity). A missing key takes this provider out while the others serve.")] = None
    headers: Annotated[
        dict[str, HeaderValue],
        hot("Extra literal headers for each call, for example `OpenAI-Organization`. Credentials do not belong here."),
        Field(max_length=32)] = {}
    proxy_url: Annotated[
        Url | None, hot("HTTP proxy for this provider. Default: none; the environment's proxies are not read.")] = None
    ca_bundle_secret_ref: Annotated[
        SecretKeyRef | None,
        hot("PEM certificates to trust for this provider instead of the system's. Default: the system's.")] = None
    region: Annotated[
        str, hot("Where the provider processes data, for example `eu`. Part of the breaker's key. Default: unknown."),
        Field(max_length=63, pattern=r"^([A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?)?$")] = ""
    priority: Annotated[
        int, hot("Lower is tried first. Default 0."), Field(ge=0, le=1_000)] = 0
    weight: Annotated[
        int,
        hot("Share of the traffic among providers of equal priority under strategy `weighted`. Default 100; 0 is "
            "used only when nothing else is eligible."),
        Field(ge=0, le=10_000)] = 100
    models: Annotated[
        tuple[Model, ...],
        hot("The models it serves.", list_type="map", keys=("name",)), Field(min_length=1, max_length=64)]
    limits: Annotated[Limits, hot("How much of it may be used.")] = Limits()
    timeouts: Annotated[Timeouts, hot("How long an attempt may take.")] = Timeouts()
    circuit_breaker: Annotated[CircuitBreaker, hot("When it is left alone.")] = CircuitBreaker()

    @property
    def base_url(self) -> str:
        """The endpoint in force, without a trailing slash."""
        if self.endpoint is None and self.vertexai is not None and self.type == "vertexai":
            return self.vertexai.endpoint
        return (self.endpoint or DEFAULT_ENDPOINTS[self.type]).rstrip("/")

    @property
    def is_local(self) -> bool:
        """Whether it runs on one's own machines, so that its tokens cost nothing."""
        return self.type in ("ollama", "vllm")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.type == "vertexai":
            if self.vertexai is None:
                raise ValueError("vertexai is required for type vertexai")
        elif self.type not in DEFAULT_ENDPOINTS and self.endpoint is None:
            raise ValueError(f"endpoint is required for type {self.type}")
        taken = [name for name in self.headers if name.lower() in RESERVED_HEADERS]
        if taken:
            raise ValueError(f"headers may not set {taken[0]}")
        _unique("models", (model.name for model in self.models))
        return self


class ProviderPool(Contract):
    """Spec of a `ProviderPool`: providers that can serve each other's traffic."""

    strategy: Annotated[
        Strategy,
        hot("Order of the providers that serve a model: `priority` (lowest number first, then as listed) or "
            "`weighted` (drawn by weight among equal priorities, the rest as fallbacks). Default `priority`.")] = "priority"
    providers: Annotated[
        tuple[Provider, ...],
        hot("The providers.", list_type="map", keys=("name",)), Field(min_length=1, max_length=32)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        _unique("providers", (provider.name for provider in self.providers))
        return self


def _unique(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{what} has {name!r} twice")
        seen.add(name)
