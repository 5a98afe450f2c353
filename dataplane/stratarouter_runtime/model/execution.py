"""The state of one request on its way: what was decided, tried, spent and answered.

Invariants: owned by the request's task; only ``runtime`` and the front door write to it; telemetry and state read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from .cache import Hit, Miss
from .decision import RoutingDecision
from .errors import StrataError
from .plan import Attempt, Candidate, Plan
from .request import Caller, Directives, Request
from .response import Usage
from .support import Unsupported

Stage = Literal["parse", "routing", "policy", "cache", "queue", "upstream-ttfb", "upstream", "post"]


@dataclass(slots=True)
class Execution:
    """One request through the runtime. Times are in seconds on a monotonic clock.

    ``decision`` is the routing decision, the caller's or the runtime's own, and ``context`` what it gave for placeholders and metadata.
    ``id`` names the execution, ``request_id`` the caller's request (theirs where they sent one). ``cached`` is the
    cache's verdict (None where it was not asked), ``stored`` whether the answer goes into it. ``cost`` is in US
    dollars, None where unknown; ``saved`` is what a hit, or a call that another request had made, did not cost. ``joined``
    says whether that other request was the same or nearly. ``gathered`` is how many requests for embeddings one call answered,
    each with inputs of its own.
    """

    id: str
    request_id: str
    started: float
    caller: Caller
    directives: Directives
    request: Request | None = None
    decision: RoutingDecision | None = None
    context: Mapping[str, Any] | None = None
    plan: Plan | None = None
    cached: Hit | Miss | None = None
    stored: bool = False
    joined: Literal["", "identical", "near"] = ""
    gathered: int = 1
    candidate: Candidate | None = None
    attempts: tuple[Attempt, ...] = ()
    model: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None
    cost: Decimal | None = None
    saved: Decimal | None = None
    error: StrataError | None = None
    stages: dict[Stage, float] = field(default_factory=dict)

    @property
    def lost(self) -> tuple[Unsupported, ...]:
        """What was left out of the request for who answered; empty before that is known."""
        if self.plan is None or not self.plan.losses:
            return ()
        if self.hit is not None:
            entry = self.hit.entry
            return self.plan.lost(entry.pool, entry.provider, entry.model)
        answered = self.candidate
        return () if answered is None else self.plan.lost(answered.pool, answered.provider, answered.model)

    @property
    def route(self) -> str:
        """The route's name; empty before it is known."""
        return self.plan.route if self.plan else ""

    @property
    def hit(self) -> Hit | None:
        """The cache entry that answered."""
        return self.cached if isinstance(self.cached, Hit) else None
