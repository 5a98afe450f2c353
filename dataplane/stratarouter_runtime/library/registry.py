"""``LLMClientRegistry``: clients by name, and calls that fail over between them.

Invariant: a call goes through the same engine as everything else: one deadline, one budget of attempts, breakers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, Unpack

from stratarouter_runtime.asking import Asked, asked
from stratarouter_runtime.config import CacheConfig, ConfigError, ExecutionConfig, RuntimeConfig, StateConfig
from stratarouter_runtime.config.runtime import AUTO_MODEL
from stratarouter_runtime.model.errors import RequestError
from stratarouter_runtime.model.request import Caller, ChatRequest, Directives
from stratarouter_runtime.results import ExecutionResult

from .client import Client
from .door import Door
from .embeddings import EmbeddingsResult, embedded, embeddings_request
from .options import CallOptions, caller, directives
from .resources import Resources, gather
from .stream import ExecutionStream

_NAME = re.compile(r"[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?")


class LLMClientRegistry:
    """Clients by name, in the order in which they were registered, which is that of a bridge's chain.

    ``timeout`` (seconds), ``max_retries`` and ``retry_delay_ms`` are those of ``RuntimeConfig.execution``, for calls of its own;
    a bridge that is given it has its own. Nothing is cached or recorded.
    """

    def __init__(self, clients: Mapping[str, Client] | None = None, *, timeout: float = 60, max_retries: int = 3,
                 retry_delay_ms: int = 100) -> None:
        execution = ExecutionConfig(timeout_seconds=timeout, max_retries=max_retries, retry_delay_ms=retry_delay_ms)
        self._config = RuntimeConfig(execution=execution, cache=CacheConfig(enabled=False), state=StateConfig(backend="none"))
        self._clients: dict[str, Client] = {}
        self._version = 0
        self._door = Door("registry", self._resources, version=lambda: self._version)
        for name, client in (clients or {}).items():
            self.register(name, client)

    # --- clients -------------------------------------------------------------------------------------------------
    def register(self, name: str, client: Client) -> None:
        """Add a client, or put another one in the place of that name; calls that have begun go on with the former."""
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ConfigError("InvalidName", "a client's name must have 1 to 63 letters, digits, '-', '_' or '.'")
        if not isinstance(client, Client):
            raise TypeError(f"a client is an OpenAIClient, a LocalClient or the like, not {type(client).__name__}")
        self._clients[name] = client
        self._version += 1

    def unregister(self, name: str) -> None:
        """Remove a client. Raises ``KeyError`` where there is none of that name."""
        del self._clients[name]
        self._version += 1

    def names(self) -> list[str]:
        """The names in order."""
        return list(self._clients)

    @property
    def clients(self) -> Mapping[str, Client]:
        """The clients by name."""
        return dict(self._clients)

    @property
    def version(self) -> int:
        """Changes with each client that comes or goes."""
        return self._version

    def __contains__(self, name: object) -> bool:
        return name in self._clients

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self._clients))

    def __len__(self) -> int:
        return len(self._clients)

    def __repr__(self) -> str:
        return f"LLMClientRegistry({self._clients!r})"

    # --- calls ---------------------------------------------------------------------------------------------------
    async def complete(self, *, primary: str | None = None, fallback: Sequence[str] = (),
                       request: ChatRequest | Mapping[str, Any] | None = None, query: str | None = None,
                       messages: Sequence[Mapping[str, Any]] | None = None, context: Mapping[str, Any] | None = None,
                       **options: Unpack[CallOptions]) -> ExecutionResult:
        """A whole answer of the first client that gives one; without ``primary`` all are tried in order.

        A request's ``model`` is for the primary; a fallback is asked for it where it lists it, else for its own. Raises
        ``StrataError``, ``UnknownClient`` for a name that is not registered.
        """
        return await self._door.complete(*self._understood(primary, fallback, options, request=request, query=query, messages=messages,
                                                           context=context))

    def stream(self, *, primary: str | None = None, fallback: Sequence[str] = (),
               request: ChatRequest | Mapping[str, Any] | None = None, query: str | None = None,
               messages: Sequence[Mapping[str, Any]] | None = None, context: Mapping[str, Any] | None = None,
               **options: Unpack[CallOptions]) -> ExecutionStream:
        """As ``complete``, as events; until the first content the fallbacks take over unseen."""
        return self._door.stream(lambda: self._understood(primary, fallback, options, request=request, query=query, messages=messages,
                                                          context=context, stream=True))

    async def embed(self, texts: str | Sequence[str], *, primary: str | None = None, model: str | None = None,
                    dimensions: int | None = None, timeout: float | None = None) -> EmbeddingsResult:  # noqa: ASYNC109 (the runtime's one deadline)
        """The vectors of some texts, by one client: vectors of two models never mix. Raises ``StrataError``."""
        name = primary or next((each for each, client in self._clients.items() if model or client.default_embedding_model), None)
        chain = self._chain(name, ())[:1]
        found = await self._door.embed(embeddings_request(texts, model or AUTO_MODEL, dimensions), Caller(),
                                       directives(timeout=timeout, chain=chain))
        return embedded(*found)

    async def start(self) -> None:
        """Start what the first call would."""
        await self._door.start()

    async def aclose(self) -> None:
        """Close the connections of its own calls; not those of a bridge that uses it."""
        await self._door.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    def _understood(self, primary: str | None, fallback: Sequence[str], options: CallOptions,
                    **question: Any) -> tuple[Asked, Caller, Directives]:
        found = asked(**question)
        return found, caller(found.context), directives(**options, chain=self._chain(primary, fallback))

    def _chain(self, primary: str | None, fallback: Sequence[str]) -> tuple[str, ...]:
        names = ([fallback] if isinstance(fallback, str) else list(fallback))
        names = [primary, *names] if primary is not None else names or list(self._clients)
        for name in names:
            if name not in self._clients:
                known = ", ".join(self._clients) or "none"
                raise RequestError("UnknownClient", f"There is no client {name!r} in the registry; there are: {known}.",
                                   param="primary" if name == primary else "fallback", code="unknown_client")
        if not names:
            raise ConfigError("NoProvider", "the registry has no client: register one")
        return tuple(dict.fromkeys(names))

    def _resources(self) -> Resources:
        return gather(self._config, self._clients)
