"""What a caller of either door asks, understood: the decision, the context and the request.

Invariant: pure; whatever is given, the outcome is a value or a ``RequestError`` that names the parameter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .bridge.decisions import normalise, query_of
from .model.decision import RoutingDecision
from .model.request import ChatRequest
from .wire import openai_chat, openai_checks


@dataclass(frozen=True, slots=True)
class Asked:
    """A routing decision (None: nobody decided), what is around it, and the request itself."""

    decision: RoutingDecision | None
    context: Mapping[str, Any]
    request: ChatRequest


def asked(decision: object = None, *, query: str | None = None, messages: Sequence[Mapping[str, Any]] | None = None,
          request: Mapping[str, Any] | ChatRequest | None = None, context: Mapping[str, Any] | None = None,
          stream: object = None) -> Asked:
    """Understand a call; ``decision`` is anything that a router returns.

    Raises ``MissingQueryError`` where nobody asks anything, and other ``RequestError`` for what is wrong.
    """
    around = context or {}
    if not isinstance(around, Mapping):
        raise openai_checks.wrong_type("context", "an object", around)
    decided = normalise(decision) if decision is not None else None
    body = dict(query_of(decided, query=query, messages=messages, request=request, context=around))
    if stream is not None:
        body["stream"] = stream
    return Asked(decided, around, openai_chat.check_chat(body))
