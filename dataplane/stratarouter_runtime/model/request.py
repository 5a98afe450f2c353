"""What a caller asks, in canonical form.

The canonical chat form *is* OpenAI's chat shape: a validated mapping that is never changed in place. Vendors of the
same wire get its bytes with only what must change; codecs of other dialects translate from and to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from .support import Unsupported

Dialect = Literal["openai", "responses", "anthropic", "gemini", "cohere", "ollama"]
"""Wire formats of chats."""

Family = Literal["chat", "embeddings"]
"""API families; they never share a cache entry."""

DEFAULT_TENANT = "default"


@dataclass(frozen=True, slots=True)
class Native:
    """A request as it came in at a front door of another dialect than OpenAI's chat completions.

    ``beyond`` names what the canonical form does not carry of it: only a vendor of the same dialect can serve that.
    ``translated`` is the canonical form that it was given first, so that what was changed since can be told; ``headers`` are
    those of the caller's that belong to the request (``anthropic-beta``), names in lower case.
    """

    dialect: Dialect
    body: Mapping[str, Any]
    beyond: tuple[Unsupported, ...] = ()
    translated: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A validated chat request.

    ``body`` is the OpenAI-shaped mapping; unknown fields stay in it for vendors of the same wire. ``native`` is what
    ``body`` was translated from: a vendor of that dialect gets it with what ``body`` has changed since, and answers in it.
    """

    body: Mapping[str, Any]
    family: Literal["chat"] = "chat"
    native: Native | None = None

    @property
    def model(self) -> str:
        """The model the caller named."""
        return str(self.body["model"])

    @property
    def stream(self) -> bool:
        """Whether the answer is wanted as events."""
        return bool(self.body.get("stream"))

    def with_body(self, body: Mapping[str, Any]) -> ChatRequest:
        """The same request, changed."""
        return ChatRequest(body, native=self.native)

    def asked_in(self, dialect: Dialect) -> Mapping[str, Any] | None:
        """The caller's own body where it came in this dialect."""
        return self.native.body if self.native is not None and self.native.dialect == dialect else None

    @property
    def include_usage(self) -> bool:
        """Whether the caller asked for the usage chunk of a stream."""
        options = self.body.get("stream_options")
        return bool(options and options.get("include_usage"))


@dataclass(frozen=True, slots=True)
class EmbeddingsRequest:
    """A validated embeddings request.

    ``inputs`` are the texts or token arrays in order; ``encoding`` is how the caller wants the vectors.
    """

    body: Mapping[str, Any]
    inputs: tuple[Any, ...]
    encoding: Literal["float", "base64"] = "float"
    family: Literal["embeddings"] = "embeddings"

    @property
    def model(self) -> str:
        """The model the caller named."""
        return str(self.body["model"])

    @property
    def stream(self) -> bool:
        """Embeddings are never streamed."""
        return False


Request = ChatRequest | EmbeddingsRequest


@dataclass(frozen=True, slots=True)
class CacheControl:
    """The caller's ``Cache-Control`` (RFC 9111); ages in seconds."""

    no_store: bool = False
    no_cache: bool = False
    only_if_cached: bool = False
    max_age: float | None = None


@dataclass(frozen=True, slots=True)
class Directives:
    """What a caller asks of the runtime rather than of the model.

    ``timeout`` in seconds may only shorten the configured one; ``similarity_threshold`` may only raise it.
    ``vector`` is the query's embedding where the caller already has it (a routing decision carries it). With
    ``drop_unsupported`` a parameter that a vendor has no place for is left out instead of being a reason not to ask it.
    ``chain`` are the pools to try, in this order, where the configuration leaves that open.
    """

    route: str | None = None
    timeout: float | None = None
    similarity_threshold: float | None = None
    cache: CacheControl = field(default_factory=CacheControl)
    vector: Sequence[float] | None = None
    drop_unsupported: bool = False
    chain: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the tenant comes from the API key alone."""

    tenant: str = DEFAULT_TENANT
