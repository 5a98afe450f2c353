"""How the runtime meets a router: whoever can say where a text belongs, given its vector.

Invariant: a router is asked for text and vector together, so that nobody embeds a text twice; what it returns is judged
by ``bridge.decisions`` as any caller's decision is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from .cache import Vector


class CoreRouter(Protocol):
    """Decides where a text goes: ``stratarouter_runtime.core.Router``, or an app's own.

    ``route`` gets the text and its vector and returns a decision in any form that the bridge understands (a
    ``RoutingDecision``, StrataRouter's ``RouteResult`` or ``RouteChoice``, the mapping of its ``PyRouter``, a route's
    name). It is called on the event loop and must be quick.
    """

    def route(self, query: str, embedding: Sequence[float]) -> Any:
        """The decision for a text."""


@runtime_checkable
class BulkEmbedder(Protocol):
    """An embedder for which many texts at once are cheaper than one by one."""

    async def embed_many(self, texts: Sequence[str]) -> list[Vector] | None:
        """The unit vectors in order; None where it fails."""
