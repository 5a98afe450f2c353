"""Near-identical requests: for ``windowMs`` after its start a call accepts joiners that ask almost the same.

Nobody ever waits for the window: the call has started, and a joiner only spares a second one. Invariants: only within
a partition; only above the threshold and only if the guard allows it; memory is bounded by the number of calls.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stratarouter_runtime.model.cache import CacheKey, Vector

MAX_OPEN = 4_096


@dataclass(frozen=True, slots=True)
class _Open:
    exact: str
    text: str
    vector: Vector
    started: float


class NearFlights:
    """Calls that may be joined by similarity. ``allowed(a, b)`` is the guard; ``window`` in seconds; ``clock`` monotonic."""

    def __init__(self, allowed: Callable[[str, str], bool], *, window: float, threshold: float, clock: Callable[[], float]) -> None:
        self._allowed = allowed
        self._window = window
        self._threshold = threshold
        self._clock = clock
        self._open: OrderedDict[str, dict[str, _Open]] = OrderedDict()
        self._count = 0

    def opened(self, key: CacheKey, vector: Vector) -> None:
        """A call for this question starts now."""
        if key.text is None or not self._window:
            return
        self._expire()
        calls = self._open.setdefault(key.partition, {})
        self._open.move_to_end(key.partition)
        if key.exact not in calls:
            self._count += 1
        calls[key.exact] = _Open(key.exact, key.text, vector, self._clock())
        while self._count > MAX_OPEN:
            _, dropped = self._open.popitem(last=False)
            self._count -= len(dropped)

    def closed(self, key: CacheKey) -> None:
        """The call is over."""
        calls = self._open.get(key.partition)
        if calls is not None and calls.pop(key.exact, None) is not None:
            self._count -= 1
            if not calls:
                del self._open[key.partition]

    def find(self, key: CacheKey, vector: Vector) -> str | None:
        """The exact key of a call that asks almost the same and started within the window."""
        since = self._clock() - self._window
        best, found = self._threshold, None
        for call in self._open.get(key.partition, {}).values():
            if call.started < since or call.exact == key.exact:
                continue
            score = float(np.dot(call.vector, vector))
            if score >= best and self._allowed(call.text, key.text or ""):
                best, found = score, call.exact
        return found

    def _expire(self) -> None:
        """Forget the partitions whose calls all started before the window; they are in order of their last start."""
        since = self._clock() - self._window
        while self._open:
            partition, calls = next(iter(self._open.items()))
            if any(call.started >= since for call in calls.values()):
                return
            del self._open[partition]
            self._count -= len(calls)
