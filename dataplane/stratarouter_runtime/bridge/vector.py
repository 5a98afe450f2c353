"""When the vector that a decision carries is the vector of what is asked.

Invariant: pure. A vector of another text would make the cache answer another question, so in doubt there is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stratarouter_runtime.model.decision import RoutingDecision
from stratarouter_runtime.model.request import Request


def vector_for(decision: RoutingDecision, request: Request) -> Sequence[float] | None:
    """The decision's embedding, where its query is the text of the last message or it does not tell its query."""
    if decision.embedding is None or request.family != "chat":
        return None
    if decision.query is None:
        return decision.embedding
    return decision.embedding if decision.query == last_text(request) else None


def last_text(request: Request) -> str | None:
    """The text of the last message, where it is text alone."""
    messages = request.body.get("messages")
    last = messages[-1] if isinstance(messages, list | tuple) and messages else None
    content = last.get("content") if isinstance(last, Mapping) else None
    if isinstance(content, list | tuple) and len(content) == 1 and isinstance(content[0], Mapping):
        content = content[0].get("text")
    return content if isinstance(content, str) else None
