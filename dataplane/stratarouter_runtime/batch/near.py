"""Near-identical requests: for ``windowMs`` after its start a call accepts joiners that ask almost the same.

Nobody ever waits for the window: the call has started, and a joiner only spares a second one. Invariants: only within
a partition; only above the threshold and only if the guard allows it; memory is bounded by the number of calls.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from stratarouter_runtime.model.cache import CacheKey, Vector

MAX_OPEN = 4_096


@dataclass(frozen=True, slots=True)
class _Open:
    exact: str
    text: str
    vector: Vector | None
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

    @property
    def enabled(self) -> bool:
        """Whether there is a window at all."""
        return self._window > 0

    def opened(self, key: CacheKey, vector: Vector | None) -> None:
        """A call for this question starts now; without a vector it cannot be joined before it is ``described``."""
        if key.text is None or not self.enabled:
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

    def described(self, key: CacheKey, vector: Vector) -> None:
        """The vector of a call that has started."""
        call = self._open.get(key.partition, {}).get(key.exact)
        if call is not None:
            self._open[key.partition][key.exact] = replace(call, vector=vector)

    def expects(self, key: CacheKey) -> bool:
        """Whether a call of the same partition has started within the window: then it is worth knowing the vector."""
        since = self._clock() - self._window
        return any(call.started >= since and call.exact != key.exact for call in self._open.get(key.partition, {}).values())

    def closed(self, key: CacheKey) -> None:
        """The call is over."""
        calls = self._open.get(key.partition)
        if calls is not None and calls.pop(key.exact, None) is not None:
            self._count -= 1
            if not calls:
                del self._open[key.partition]

    def find(self, key: CacheKey, vector: Vector | None) -> str | None:
        """The exact key of a call that asks almost the same and started within the window."""
        if vector is None:
            return None
        since = self._clock() - self._window
        best, found = self._threshold, None
        for call in self._open.get(key.partition, {}).values():
            if call.vector is None or call.started < since or call.exact == key.exact:
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
