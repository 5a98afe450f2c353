"""What the fake vendor remembers of its callers, bounded, for assertions."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

KEPT_REQUESTS = 1000


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it arrived; ``headers`` has lower-case names."""

    method: str
    path: str
    headers: Mapping[str, str]
    raw: bytes
    peer: str

    @property
    def json(self) -> Any:
        """The body, decoded; raises ``ValueError`` when it is not JSON."""
        return json.loads(self.raw)

    @property
    def model(self) -> str:
        """The model asked for, or an empty string."""
        try:
            body = self.json
        except ValueError:
            return ""
        model = body.get("model") if isinstance(body, dict) else None
        return model if isinstance(model, str) else ""


@dataclass(slots=True)
class Record:
    """Requests received (the last 1000) and counters that only grow, until ``clear``."""

    requests: deque[Received] = field(default_factory=lambda: deque(maxlen=KEPT_REQUESTS))
    total: int = 0
    """Requests received."""
    completed: int = 0
    """Requests answered to the end, faults included."""
    aborted: int = 0
    """Requests whose client went away before the end."""
    peers: set[str] = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, condition: Callable[[Record], bool], *, seconds: float = 5.0) -> None:
        """Wait until the record fulfils a condition. Raises ``TimeoutError``."""
        async with asyncio.timeout(seconds):
            while not condition(self):
                await self._changed.wait()

    def tell(self) -> None:
        """Wake those who wait: something changed."""
        self._changed.set()
        self._changed = asyncio.Event()

    @property
    def connections(self) -> int:
        """Distinct connections that carried a request."""
        return len(self.peers)

    @property
    def last(self) -> Received:
        """The newest request."""
        return self.requests[-1]

    def add(self, request: Received) -> None:
        """Remember one request."""
        self.total += 1
        self.requests.append(request)
        self.peers.add(request.peer)
        self.tell()

    def of(self, model: str) -> list[Received]:
        """The remembered requests for one model."""
        return [request for request in self.requests if request.model == model]

    def clear(self) -> None:
        """Forget everything."""
        self.requests.clear()
        self.peers.clear()
        self.total = self.completed = self.aborted = 0

    def summary(self) -> dict[str, int]:
        """The counters, for the control endpoint."""
        return {"requests": self.total, "completed": self.completed, "aborted": self.aborted,
                "connections": self.connections}
