"""What routers return, as our ``RoutingDecision``; and the question that a decision is about.

``stratarouter`` is never imported: its values are known by their shape (0.2.5: ``RouteResult`` has ``route_id``,
``confidence`` and ``scores``; ``RouteChoice`` has ``name``, ``score`` and ``threshold``; ``PyRouter.route`` gives a
mapping with the keys of a ``RouteResult``), as objects or as the mappings that JSON makes of them.

Invariants: pure; whatever is given, the outcome is a value or a ``RequestError`` that names what is accepted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from stratarouter_runtime.config.runtime import AUTO_MODEL
from stratarouter_runtime.model.decision import MissingQueryError, RoutingDecision
from stratarouter_runtime.model.errors import RequestError
from stratarouter_runtime.model.request import ChatRequest

MAX_SCORES = 10_000
MAX_DIMENSION = 65_536

ACCEPTED = ("a RoutingDecision, a route's name, StrataRouter's RouteResult or RouteChoice, or a mapping with 'route_id' "
            "(and 'confidence', 'scores', 'query', 'embedding', 'metadata') or with 'name', 'score' and 'threshold'")

_UNSET: Any = object()


def normalise(decision: object) -> RoutingDecision:
    """A router's answer as a ``RoutingDecision``, not yet checked against any configuration.

    A ``RouteChoice`` without a name is a decision for ``defaultRoute``. Its score is a cosine: as confidence it is
    clipped to 0 to 1. Raises ``RequestError`` for anything that is no decision.
    """
    if isinstance(decision, RoutingDecision):
        return decision
    if isinstance(decision, str):
        return RoutingDecision(route_id=decision)
    route_id = _field(decision, "route_id")
    if route_id is not _UNSET and (isinstance(decision, Mapping) or _field(decision, "confidence") is not _UNSET):
        return RoutingDecision(
            route_id=route_id, confidence=_optional(decision, "confidence"), scores=_optional(decision, "scores") or {},
            query=_optional(decision, "query"), embedding=_optional(decision, "embedding"),
            metadata=_optional(decision, "metadata") or {})
    name, score, threshold = (_field(decision, each) for each in ("name", "score", "threshold"))
    if _UNSET not in (name, score) and (isinstance(decision, Mapping) or threshold is not _UNSET):
        scores = {key: value for key, value in (("score", score), ("threshold", threshold)) if value is not _UNSET}
        return RoutingDecision(route_id=name, confidence=_clipped(score), scores=scores, query=_optional(decision, "query"),
                               embedding=_optional(decision, "embedding"), metadata=_optional(decision, "metadata") or {})
    raise _wrong("decision", f"expected {ACCEPTED}, but got {type(decision).__name__}")


def check(decision: RoutingDecision) -> RoutingDecision:
    """The decision in plain floats; raises ``RequestError`` that names the field that is wrong.

    ``confidence`` must be from 0 to 1, ``scores`` finite, ``embedding`` neither empty, nor all zeros, nor endless, and
    finite.
    """
    if decision.route_id is not None and (not isinstance(decision.route_id, str) or not decision.route_id):
        raise _wrong("decision.route_id", "expected a route's name or null")
    confidence = decision.confidence
    if confidence is not None and not (_is_number(confidence) and 0 <= confidence <= 1):
        raise _wrong("decision.confidence", f"expected a number from 0 to 1, but got {_shown(confidence)}")
    if decision.query is not None and not isinstance(decision.query, str):
        raise _wrong("decision.query", "expected a string")
    if not isinstance(decision.metadata, Mapping):
        raise _wrong("decision.metadata", "expected an object")
    scores = _scores(decision.scores)
    vector = None if decision.embedding is None else _vector(decision.embedding)
    return RoutingDecision(decision.route_id, None if confidence is None else float(confidence), scores, decision.query,
                           vector, decision.metadata, decision.reason)


def query_of(decision: RoutingDecision | None, *, query: str | None = None,
             messages: Sequence[Mapping[str, Any]] | None = None, request: Mapping[str, Any] | ChatRequest | None = None,
             context: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    """What is asked, as the body of a chat request.

    What the call itself gives comes first (``query``, ``messages``, or the messages of ``request``, whose other
    parameters are kept in any case), then the decision's own query, then ``context["messages"]`` and
    ``context["query"]``. Without a model of the request's own the body asks for ``auto``. Raises
    ``MissingQueryError`` where nobody asks, ``RequestError`` where two do at once.
    """
    body: dict[str, Any] = {"model": AUTO_MODEL}
    if request is not None:
        given = request.body if isinstance(request, ChatRequest) else request
        if not isinstance(given, Mapping):
            raise _wrong("request", f"expected an object, but got {type(given).__name__}")
        body |= {key: value for key, value in given.items() if value is not None}
    asked = {name: value for name, value in (("query", query), ("messages", messages), ("request.messages", body.get("messages")))
             if value is not None}
    if len(asked) > 1:
        raise _wrong(next(iter(asked)), f"the question was given twice, as {' and as '.join(asked)}")
    if not asked and decision is not None and decision.query is not None:
        asked = {"decision.query": decision.query}
    if not asked:
        around = context or {}
        if not isinstance(around, Mapping):
            raise _wrong("context", f"expected an object, but got {type(around).__name__}")
        asked = {f"context.{name}": around[name] for name in ("query", "messages") if around.get(name) is not None}
        if len(asked) > 1:
            # The conversation contains the question.
            del asked["context.query"]
    if not asked:
        raise MissingQueryError
    ((param, value),) = asked.items()
    body["messages"] = _conversation(param, value)
    return body


def _conversation(param: str, value: Any) -> list[Any]:
    if param.endswith("messages"):
        if not isinstance(value, list | tuple) or not all(isinstance(each, Mapping) for each in value):
            raise _wrong(param, "expected an array of objects")
        return [dict(each) for each in value]
    if not isinstance(value, str):
        raise _wrong(param, f"expected a string, but got {type(value).__name__}")
    if not value.strip():
        raise _wrong(param, "expected a question, but got an empty string")
    return [{"role": "user", "content": value}]


def _field(decision: object, name: str) -> Any:
    if isinstance(decision, Mapping):
        return decision.get(name, _UNSET)
    if isinstance(decision, type):
        return _UNSET
    try:
        return getattr(decision, name, _UNSET)
    except Exception:  # noqa: BLE001 (a property of somebody else's object may raise anything)
        return _UNSET


def _optional(decision: object, name: str) -> Any:
    value = _field(decision, name)
    return None if value is _UNSET else value


def _clipped(score: Any) -> Any:
    # NaN is neither and stays, to be refused.
    if not _is_number(score):
        return score
    return 0.0 if score < 0 else 1.0 if score > 1 else score


def _scores(scores: Any) -> dict[str, float]:
    if not isinstance(scores, Mapping) or len(scores) > MAX_SCORES:
        raise _wrong("decision.scores", f"expected an object of at most {MAX_SCORES} numbers")
    for name, score in scores.items():
        if not isinstance(name, str) or not _is_number(score) or not math.isfinite(score):
            raise _wrong("decision.scores", f"expected finite numbers by name, but {_shown(name)} has {_shown(score)}")
    return {name: float(score) for name, score in scores.items()}


def _vector(embedding: Any) -> tuple[float, ...]:
    listed = getattr(embedding, "tolist", None)
    try:
        # Arrays of numpy are an order of magnitude faster as lists.
        values = tuple(map(float, listed() if callable(listed) else embedding)) if not isinstance(embedding, str | bytes) else ()
    except (TypeError, ValueError, OverflowError):
        raise _wrong("decision.embedding", "expected an array of numbers") from None
    if not 0 < len(values) <= MAX_DIMENSION:
        raise _wrong("decision.embedding", f"expected 1 to {MAX_DIMENSION} numbers, but got {len(values)}")
    if not all(map(math.isfinite, values)):
        raise _wrong("decision.embedding", "expected finite numbers")
    if not any(values):
        raise _wrong("decision.embedding", "a vector of zeros points nowhere")
    return values


def _is_number(value: Any) -> bool:
    """Whether it is a real number of any library; a truth value is none."""
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        return False
    try:
        float(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def _shown(value: Any) -> str:
    """A value for a message: short, whatever it is."""
    return repr(value)[:40] if isinstance(value, str | int | float) and not _is_long(value) else type(value).__name__


def _is_long(value: Any) -> bool:
    return isinstance(value, int) and value.bit_length() > 128


def _wrong(param: str, why: str) -> RequestError:
    return RequestError("InvalidDecision" if param.startswith("decision") else "InvalidRequest", f"Invalid '{param}': {why}.",
                        param=param, code="invalid_decision" if param.startswith("decision") else "invalid_value")
