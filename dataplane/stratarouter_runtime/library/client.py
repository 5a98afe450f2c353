"""What the vendors' clients have in common: a provider, its key, and calls of its own.

A client is a description; connections are opened by its first call, or by the bridge or registry it is given to (each has
its own).

Invariant: a key is in no ``repr`` and no error.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypedDict, Unpack
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError

from stratarouter_runtime.config import ConfigError, Limits, Model, Provider, ProviderType, Timeouts
from stratarouter_runtime.model.request import ChatRequest
from stratarouter_runtime.results import ExecutionResult

from .embeddings import EmbeddingsResult
from .options import CallOptions
from .stream import ExecutionStream

if TYPE_CHECKING:
    from .registry import LLMClientRegistry


class CommonOptions(TypedDict, total=False):
    """What every client takes, all of which may be left out.

    ``model``: what is asked for where a request names none; ``embedding_model`` likewise for embeddings; ``models``: others
    it is known to serve (names, or ``Model`` for prices, windows and other upstream names). ``region``, ``headers``, ``proxy_url``, ``timeouts``, ``limits``: as in a ``ProviderPool``. ``ca_bundle``: PEM
    certificates to trust instead of the system's.
    """

    model: str | None
    embedding_model: str | None
    models: Sequence[str | Model]
    region: str
    headers: Mapping[str, str]
    proxy_url: str | None
    timeouts: Timeouts | None
    limits: Limits | None
    ca_bundle: str | None


class ClientOptions(CommonOptions, total=False):
    """``endpoint``: the vendor SDK's base URL."""

    endpoint: str | None


_NAMES = tuple(ClientOptions.__annotations__)


class Client:
    """Base of the vendors' clients.

    ``api_key`` and ``endpoint`` are read from the vendor's usual environment variables where they are not given. Raises
    ``ConfigError`` for a missing key or an endpoint that is none.
    """

    provider_type: ClassVar[ProviderType]
    default_model: ClassVar[str]
    default_embedding_model: ClassVar[str | None] = None
    key_variables: ClassVar[tuple[str, ...]] = ()
    endpoint_variables: ClassVar[tuple[str, ...]] = ()
    needs_key: ClassVar[bool] = True

    def __init__(self, api_key: str | SecretStr | None = None, *, block: Mapping[str, Any] | None = None,
                 **options: Unpack[ClientOptions]) -> None:
        """``block``: what the vendor alone needs, by its fields in a ``ProviderPool``; for subclasses."""
        unknown = next((name for name in options if name not in _NAMES), None)
        if unknown is not None:
            raise TypeError(f"{type(self).__name__} has no keyword {unknown!r}; there are: api_key, {', '.join(_NAMES)}")
        key = api_key.get_secret_value() if isinstance(api_key, SecretStr) else api_key
        self._key = key or variable(self.key_variables)
        self._ca_bundle = options.get("ca_bundle") or ""
        if self.needs_key and not self._key:
            raise ConfigError("CredentialsMissing", f"{type(self).__name__} needs a key: give api_key=..., or set "
                                                    f"{' or '.join(self.key_variables) or 'it'}")
        self._config = self._provider(options, block or {})
        self._alone: LLMClientRegistry | None = None

    @classmethod
    def from_environment(cls) -> Self | None:
        """The client that the environment's variables describe; None where they do not."""
        return cls() if cls.key_variables and variable(cls.key_variables) else None

    @property
    def config(self) -> Provider:
        """It as a provider of a pool, without its key."""
        return self._config

    @property
    def key(self) -> SecretStr:
        """The key; empty for none."""
        return SecretStr(self._key)

    @property
    def ca_bundle(self) -> str:
        """The certificates to trust; empty for the system's."""
        return self._ca_bundle

    @property
    def model(self) -> str:
        """What is asked for where a request names no model."""
        return next(each.name for each in self._config.models if each.capabilities != ("embeddings",))

    # --- alone ---------------------------------------------------------------------------------------------------
    async def complete(self, request: ChatRequest | Mapping[str, Any] | None = None, *, query: str | None = None,
                       messages: Sequence[Mapping[str, Any]] | None = None, **options: Unpack[CallOptions]) -> ExecutionResult:
        """A whole answer, as an ``ExecutionResult``; raises ``StrataError``."""
        return await self._registry().complete(request=request, query=query, messages=messages, **options)

    def stream(self, request: ChatRequest | Mapping[str, Any] | None = None, *, query: str | None = None,
               messages: Sequence[Mapping[str, Any]] | None = None, **options: Unpack[CallOptions]) -> ExecutionStream:
        """An answer as events; see ``ExecutionStream``."""
        return self._registry().stream(request=request, query=query, messages=messages, **options)

    async def embed(self, texts: str | Sequence[str], *, model: str | None = None, dimensions: int | None = None,
                    timeout: float | None = None) -> EmbeddingsResult:  # noqa: ASYNC109 (the runtime's one deadline)
        """The vectors of some texts, in their order; raises ``StrataError``."""
        return await self._registry().embed(texts, model=model, dimensions=dimensions, timeout=timeout)

    async def aclose(self) -> None:
        """Close the connections that it opened alone; calls of its own fail from now on."""
        await self._registry().aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        where = f", endpoint={self._config.endpoint!r}" if self._config.endpoint else ""
        return f"{type(self).__name__}(model={self.model!r}{where}{', api_key=***' if self._key else ''})"

    def _registry(self) -> LLMClientRegistry:
        if self._alone is None:
            from .registry import LLMClientRegistry  # noqa: PLC0415 (which knows the clients)

            self._alone = LLMClientRegistry({self.provider_type: self})
        return self._alone

    def _provider(self, options: ClientOptions, block: Mapping[str, Any]) -> Provider:
        endpoint = options.get("endpoint") or variable(self.endpoint_variables) or None
        given: dict[str, Any] = {
            "endpoint": endpoint, "region": options.get("region"), "headers": options.get("headers"),
            "proxy_url": options.get("proxy_url"), "timeouts": options.get("timeouts"), "limits": options.get("limits"), **block}
        try:
            urlsplit(endpoint or "").port  # noqa: B018 (raises for one out of range)
        except ValueError:
            raise ConfigError("InvalidClient", f"{type(self).__name__}: endpoint: the port is none") from None
        try:
            return Provider(name="client", type=self.provider_type, models=self._models(options),
                            **{name: value for name, value in given.items() if value is not None})
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in found["loc"])
            message = found["msg"].removeprefix("Value error, ")
            raise ConfigError("InvalidClient", f"{type(self).__name__}: {where}: {message}" if where else
                              f"{type(self).__name__}: {message}") from None

    def _models(self, options: ClientOptions) -> tuple[Model, ...]:
        """The embedding model first, which serves nothing else, so that it is the first of its family; then chat models."""
        named = [options.get("model") or self.default_model, *options.get("models", ())]
        chat = {each.name: each for each in (name if isinstance(name, Model) else Model(name=name) for name in named)}
        for each in options.get("models", ()):
            if isinstance(each, Model):
                chat[each.name] = each
        embedding = options.get("embedding_model") or self.default_embedding_model
        if embedding is None or embedding in chat:
            return tuple(chat.values())
        return (Model(name=embedding, capabilities=("embeddings",)), *chat.values())


def variable(names: Iterable[str]) -> str:
    """The first of these environment variables that says anything; empty where none does."""
    return next((value for name in names if (value := os.environ.get(name, "").strip())), "")
