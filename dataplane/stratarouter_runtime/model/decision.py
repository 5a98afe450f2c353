"""What a router decided about a request, in canonical form.

Invariant: a value. ``bridge.decisions`` makes it of what routers return; the planner checks it before it believes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import RequestError


@dataclass(frozen=True, slots=True)
class RoutingDecision:
    """A routing decision.

    ``route_id`` None: no route matched, which means ``defaultRoute``. ``confidence`` is from 0 to 1, None where the
    router gave none. ``scores`` are the router's own figures, finite, without a range. ``query`` is the text that was
    routed and ``embedding`` its vector, so that the cache need not embed it again. ``metadata`` is the router's own.
    ``reason`` says in words why there is no route, where the router told.
    """

    route_id: str | None
    confidence: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    query: str | None = None
    embedding: Sequence[float] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""

    def to_document(self) -> dict[str, Any]:
        """As JSON has it, without the text and its vector."""
        document = {"route_id": self.route_id, "confidence": self.confidence, "scores": dict(self.scores)}
        return {**document, "reason": self.reason} if self.reason else document


class MissingQueryError(RequestError):
    """A decision says where to go, not what to ask: nobody gave the question."""

    def __init__(self) -> None:
        super().__init__(
            "MissingQuery",
            "There is nothing to ask: the routing decision carries no query. Give it as query='...', messages=[...] or "
            "request={'messages': [...]}, or as context['query'] or context['messages'], or in the decision's own query.",
            param="query")
