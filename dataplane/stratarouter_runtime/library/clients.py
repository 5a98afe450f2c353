"""One class for each vendor: its type, its usual models, and the variables that its own SDK reads.

All of them are usable alone, in an ``LLMClientRegistry``, and by a bridge. Default models are the vendors' current
small or general ones; name the model that you mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self, Unpack
from urllib.parse import urlsplit

from pydantic import SecretStr

from stratarouter_runtime.config import ConfigError

from .client import Client, ClientOptions, CommonOptions, variable


class OpenAIClient(Client):
    """OpenAI: https://platform.openai.com/docs/models."""

    provider_type = "openai"
    default_model = "gpt-4o-mini"
    default_embedding_model = "text-embedding-3-small"
    key_variables = ("OPENAI_API_KEY",)
    endpoint_variables = ("OPENAI_BASE_URL",)


class AnthropicClient(Client):
    """Anthropic: https://docs.anthropic.com/en/docs/about-claude/models. It has no embeddings."""

    provider_type = "anthropic"
    default_model = "claude-sonnet-4-5"
    key_variables = ("ANTHROPIC_API_KEY",)
    endpoint_variables = ("ANTHROPIC_BASE_URL",)


class OpenAICompatibleClient(Client):
    """Any other server that speaks OpenAI's API; ``endpoint`` and ``model`` are required, a key is not."""

    provider_type = "openaicompatible"
    default_model = ""
    needs_key = False

    def __init__(self, api_key: str | SecretStr | None = None, **options: Unpack[ClientOptions]) -> None:
        missing = [name for name in ("endpoint", "model") if not options.get(name)]
        if missing:
            raise ConfigError("InvalidClient", f"OpenAICompatibleClient needs {' and '.join(missing)}: there is no usual one")
        super().__init__(api_key, **options)


class GoogleClient(Client):
    """Gemini through the Gemini API: https://ai.google.dev/gemini-api/docs/models."""

    provider_type = "google"
    default_model = "gemini-2.5-flash"
    default_embedding_model = "gemini-embedding-001"
    key_variables = ("GOOGLE_API_KEY", "GEMINI_API_KEY")
    endpoint_variables = ("GOOGLE_GEMINI_BASE_URL",)


class VertexAIClient(Client):
    """Gemini on Vertex AI, in a project and a location of Google Cloud.

    ``credentials``: a service account's key, as JSON or as a path to it; default: the file that
    ``GOOGLE_APPLICATION_CREDENTIALS`` names, else the metadata server of the machine. ``project`` and ``location`` default to
    ``GOOGLE_CLOUD_PROJECT`` and ``GOOGLE_CLOUD_LOCATION``, else ``global``.
    """

    provider_type = "vertexai"
    default_model = "gemini-2.5-flash"
    default_embedding_model = "gemini-embedding-001"
    needs_key = False

    def __init__(self, credentials: str | Path | SecretStr | None = None, *, project: str | None = None, location: str | None = None,
                 **options: Unpack[ClientOptions]) -> None:
        project = project or variable(("GOOGLE_CLOUD_PROJECT",))
        if not project:
            raise ConfigError("InvalidClient", "VertexAIClient needs a project: give project=..., or set GOOGLE_CLOUD_PROJECT")
        block = {"project": project, "location": location or variable(("GOOGLE_CLOUD_LOCATION",)) or "global"}
        super().__init__(_service_account(credentials), block={"vertexai": block}, **options)

    @classmethod
    def from_environment(cls) -> Self | None:
        """Where project and credentials are named."""
        return cls() if variable(("GOOGLE_CLOUD_PROJECT",)) and variable(_CREDENTIALS) else None


class AzureOpenAIClient(Client):
    """Models deployed on Azure OpenAI; ``model`` names a deployment.

    ``endpoint`` defaults to ``AZURE_OPENAI_ENDPOINT``, ``model`` to ``AZURE_OPENAI_DEPLOYMENT``, ``api_version`` to
    ``OPENAI_API_VERSION``, else the API without versions. ``entra_token`` instead of ``api_key``: a token of Microsoft Entra ID.
    """

    provider_type = "azureopenai"
    default_model = ""
    key_variables = ("AZURE_OPENAI_API_KEY",)
    endpoint_variables = ("AZURE_OPENAI_ENDPOINT",)

    def __init__(self, api_key: str | SecretStr | None = None, *, api_version: str | None = None,
                 entra_token: str | SecretStr | None = None, **options: Unpack[ClientOptions]) -> None:
        options["model"] = options.get("model") or variable(_DEPLOYMENT)
        if not options["model"]:
            raise ConfigError("InvalidClient", "AzureOpenAIClient needs a deployment: give model=..., or set AZURE_OPENAI_DEPLOYMENT")
        block: dict[str, str] = {"auth": "entra" if entra_token else "apiKey"}
        version = api_version or variable(("OPENAI_API_VERSION",))
        if version:
            block["api_version"] = version
        super().__init__(entra_token or api_key, block={"azureopenai": block}, **options)

    @classmethod
    def from_environment(cls) -> Self | None:
        """Where key, endpoint and deployment are named."""
        named = all(map(variable, (cls.key_variables, cls.endpoint_variables, _DEPLOYMENT)))
        return cls() if named else None


class CohereClient(Client):
    """Cohere: https://docs.cohere.com/docs/models."""

    provider_type = "cohere"
    default_model = "command-a-03-2025"
    default_embedding_model = "embed-v4.0"
    key_variables = ("CO_API_KEY", "COHERE_API_KEY")
    endpoint_variables = ("CO_API_URL",)


class _OllamaClient(Client):
    provider_type = "ollama"
    default_model = "llama3.2"
    default_embedding_model = "nomic-embed-text"
    needs_key = False


class _VllmClient(Client):
    provider_type = "vllm"
    default_model = "meta-llama/Llama-3.1-8B-Instruct"
    needs_key = False


class LocalClient(Client):
    """A model server of one's own, whose tokens cost nothing: Ollama, or vLLM and others that speak OpenAI's API.

    ``type`` (``ollama`` or ``vllm``) says which; by default it is told by the endpoint's port: 11434 is Ollama's, any other counts as vLLM, whose API
    most servers speak. Without an endpoint it is the Ollama of this machine.
    """

    needs_key = False
    default_model = ""

    def __init__(self, endpoint: str | None = None, *, type: Literal["ollama", "vllm"] | None = None,  # noqa: A002 (the contract's name)
                 api_key: str | SecretStr | None = None,
                 **options: Unpack[CommonOptions]) -> None:
        server = _server(endpoint, type)
        self.provider_type = server.provider_type  # type: ignore[misc]  # of this one
        self.default_model = server.default_model  # type: ignore[misc]
        self.default_embedding_model = server.default_embedding_model  # type: ignore[misc]
        super().__init__(api_key, endpoint=endpoint, **options)


def _server(endpoint: str | None, kind: str | None) -> type[Client]:
    kinds: Mapping[str, type[Client]] = {"ollama": _OllamaClient, "vllm": _VllmClient}
    if kind is not None and kind not in kinds:
        raise ConfigError("InvalidClient", f"LocalClient: type must be one of {', '.join(kinds)}, not {kind!r}")
    if kind is None:
        try:
            kind = "ollama" if endpoint is None or urlsplit(endpoint).port == _OLLAMA_PORT else "vllm"
        except ValueError:
            kind = "vllm"  # the endpoint's own check says what is wrong with it
    return kinds[kind]


_OLLAMA_PORT = 11434

_DEPLOYMENT = ("AZURE_OPENAI_DEPLOYMENT",)
_CREDENTIALS = ("GOOGLE_APPLICATION_CREDENTIALS",)


def _service_account(given: str | Path | SecretStr | None) -> str | SecretStr | None:
    """A service account's key as JSON."""
    if isinstance(given, SecretStr) or (isinstance(given, str) and given.lstrip().startswith("{")):
        return given
    path = given or variable(_CREDENTIALS)
    if not path:
        return None
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("CredentialsMissing", f"VertexAIClient: the key file cannot be read: {type(error).__name__}") from None


CLIENTS: tuple[type[Client], ...] = (OpenAIClient, AnthropicClient, GoogleClient, CohereClient, AzureOpenAIClient, VertexAIClient)
"""Vendors whose variables in the environment are enough to call them, in the order they are tried."""


def from_environment() -> dict[str, Client]:
    """The clients that the environment describes, by their type's name."""
    found = ((each.provider_type, each.from_environment()) for each in CLIENTS)
    return {name: client for name, client in found if client is not None}
