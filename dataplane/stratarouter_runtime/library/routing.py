"""Questions without a decision: an app's own router decides.

A router that takes text and vector at once is the runtime's to ask (``model.routing.CoreRouter``). Others are asked here:
those that embed by themselves, and coroutines. Invariant: a router that may block does so in a thread.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from stratarouter_runtime.asking import Asked
from stratarouter_runtime.bridge.decisions import normalise
from stratarouter_runtime.config import AUTO_MODEL
from stratarouter_runtime.model.decision import RoutingDecision
from stratarouter_runtime.model.errors import ExecutionError, StrataError
from stratarouter_runtime.model.routing import CoreRouter
from stratarouter_runtime.routing import user_text

Decide = Callable[[Asked], Any]


def sorted_out(router: Any) -> tuple[CoreRouter | None, Decide | None]:
    """The router for the runtime to ask, or what is to be asked before the runtime. Raises ``TypeError`` for what cannot route."""
    route = getattr(router, "route", None)
    if not callable(route):
        raise TypeError(f"core_router must have a method route(query, embedding) or route(query), which {type(router).__name__} has not")
    if inspect.iscoroutinefunction(route) and _takes_vector(route):
        raise TypeError("a core_router's route(query, embedding) must not be a coroutine function; route(query) may be one")
    if _takes_vector(route):
        return _Guarded(route), None
    return None, _Texts(route).decide


class _Guarded:
    """Tells a router's failure as ours."""

    def __init__(self, route: Callable[..., Any]) -> None:
        self._route = route

    def route(self, query: str, embedding: Any) -> Any:
        try:
            return self._route(query, embedding)
        except StrataError:
            raise
        except Exception as error:
            raise _failed(error) from error


class _Texts:
    """Asks a router that embeds by itself, or not at all."""

    def __init__(self, route: Callable[[str], Any]) -> None:
        self._route = route

    async def decide(self, asked: Asked) -> RoutingDecision | None:
        """The router's decision; None where the model is named, or there is no text to route. Raises ``StrataError``."""
        text = user_text(asked.request)
        if asked.request.model != AUTO_MODEL or not text:
            return None
        try:
            direct = inspect.iscoroutinefunction(self._route)
            found = self._route(text) if direct else await asyncio.to_thread(self._route, text)
            if inspect.isawaitable(found):
                found = await found
        except StrataError:
            raise
        except Exception as error:
            raise _failed(error) from error
        decision = normalise(found)
        return decision if decision.query is not None else replace(decision, query=text)


def _failed(error: Exception) -> ExecutionError:
    return ExecutionError("RoutingFailed", f"The core_router failed with {type(error).__name__}.", status=500)


def _takes_vector(route: Callable[..., Any]) -> bool:
    """Whether a second argument by position is the vector; what tells no signature is taken for the Rust core's."""
    try:
        parameters = list(inspect.signature(route).parameters.values())
    except (TypeError, ValueError):
        return True
    placed = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    if len(placed) < 2:
        return False
    # An optional one counts only where its name says so: StrataRouter's RouteLayer has others.
    return placed[1].default is inspect.Parameter.empty or "embed" in placed[1].name or "vector" in placed[1].name
