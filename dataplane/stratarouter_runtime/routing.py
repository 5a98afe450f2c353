"""A runtime that routes by itself: from a request's last user text to a routing decision.

Invariants: a text is embedded once, and the decision carries it with its vector, so that the cache need not embed it again; a
request waits for its turn at the embedder, up to a bound of time and of waiting requests, because a wrong route costs more
than a moment; whoever cannot be routed gets a decision without a route and a reason, or ``RoutingUnavailable``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

from .bridge.decisions import normalise
from .model.cache import Embedder, Vector
from .model.decision import RoutingDecision
from .model.errors import ExecutionError
from .model.request import ChatRequest
from .model.routing import CoreRouter
from .utterances import Sleep, UtteranceRouter, excerpt

PATIENCE_SECONDS = 5.0
"""The most that a request waits for its vector, within its own deadline: then the embedder is overloaded or gone."""
MAX_WAITING = 256
"""Requests that wait at once: some two seconds of a local embedder's work."""
PAUSES = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32)
"""Seconds before a busy or failing embedder is asked again."""


class RoutingUnavailable(ExecutionError):  # noqa: N818 (its reason, as clients see it)
    """It cannot be decided now where the request goes: 503, come back."""

    def __init__(self, why: str, retry_after: float) -> None:
        super().__init__("RoutingUnavailable", f"The request cannot be routed now: {why}.", status=503, retry_after=retry_after)
        self.why = why


class Routing:
    """Decides for requests. ``router`` gives the router in force, None while there is none; ``slots`` texts are embedded at once."""

    def __init__(self, embedder: Embedder, router: Callable[[], CoreRouter | None], *, slots: int = 4,
                 sleep: Sleep = asyncio.sleep, owned: UtteranceRouter | None = None) -> None:
        self._embedder = embedder
        self._router = router
        self._slots = asyncio.Semaphore(slots)
        self._sleep = sleep
        self._owned = owned
        self._waiting = 0

    @property
    def router(self) -> CoreRouter | None:
        """The router in force."""
        return self._router()

    @property
    def ready(self) -> bool:
        """Whether the router knows all it is to know."""
        return self._owned.complete if self._owned is not None else self.router is not None

    async def decide(self, request: ChatRequest, *, within: float) -> RoutingDecision:
        """The decision for a request, ``within`` seconds at most.

        Without a text of a user, or below the router's threshold, the decision has no route and says why. Raises
        ``RoutingUnavailable`` while the index is being built and where the embedder is too busy or fails; ``RequestError``
        where the router's answer is no decision.
        """
        said = user_text(request)
        if not said:
            return RoutingDecision(None, reason="the request has no text of a user to route by")
        router = self._router()
        if router is None:
            raise RoutingUnavailable("the routes' utterances are not embedded yet", 2)
        text = excerpt(said, self._embedder.fits)
        vector = await self._embedded(text, min(within, PATIENCE_SECONDS))
        if vector is None:
            raise RoutingUnavailable("the embedder is busy or does not answer", 1)
        plain = vector.tolist()
        return replace(normalise(router.route(text, plain)), query=text, embedding=plain)

    async def aclose(self) -> None:
        """Stop building the router, where it is this one's."""
        if self._owned is not None:
            await self._owned.aclose()

    def start(self) -> None:
        """Go on building the router in the background."""
        if self._owned is not None:
            self._owned.start()

    async def _embedded(self, text: str, within: float) -> Vector | None:
        if self._waiting >= MAX_WAITING:
            return None
        self._waiting += 1
        try:
            async with asyncio.timeout(within), self._slots:
                for pause in PAUSES:
                    vector = await self._embedder.embed(text)
                    if vector is not None:
                        return vector
                    await self._sleep(pause)
        except TimeoutError:
            return None
        finally:
            self._waiting -= 1
        return None


def user_text(request: ChatRequest) -> str:
    """The text of the last user message that has one; empty where none has."""
    for message in reversed(request.body["messages"]):
        if message.get("role") == "user" and (text := _text(message.get("content"))).strip():
            return text
    return ""


def _text(content: object) -> str:
    if isinstance(content, list | tuple):
        texts = (part.get("text") for part in content if isinstance(part, Mapping) and part.get("type") == "text")
        return "\n".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""
