"""From a provider's type to the class that speaks to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import get_args

from stratarouter_runtime.config import Provider as ProviderConfig
from stratarouter_runtime.config import ProviderType
from stratarouter_runtime.model.provider import Provider

from .anthropic import AnthropicProvider
from .azureopenai import AzureOpenAIProvider
from .cohere import CohereProvider
from .google import GoogleProvider
from .ollama import OllamaProvider
from .openai import OpenAIProvider
from .openaicompatible import OpenAICompatibleProvider
from .vertexai import VertexAIProvider
from .vllm import VllmProvider

PROVIDERS: Mapping[ProviderType, Callable[..., Provider]] = {
    "openai": OpenAIProvider, "azureopenai": AzureOpenAIProvider, "anthropic": AnthropicProvider, "google": GoogleProvider,
    "vertexai": VertexAIProvider, "cohere": CohereProvider, "openaicompatible": OpenAICompatibleProvider, "vllm": VllmProvider,
    "ollama": OllamaProvider}
"""Every type of the configuration contract."""


def create_provider(config: ProviderConfig, *, api_key: str = "", ca_bundle: str | None = None) -> Provider:
    """A provider for a configuration. ``api_key`` empty: none is sent; ``ca_bundle``: PEM instead of the system's.

    Opens no connection yet. Raises ``ConfigError`` for a bundle that is not PEM.
    """
    return PROVIDERS[config.type](config, api_key=api_key, ca_bundle=ca_bundle)


if set(PROVIDERS) != set(get_args(ProviderType)):  # pragma: no cover (a new type without a class)
    raise AssertionError("every provider type needs a class")
