"""What an execution leaves behind in state: one place for both doors.

Invariants: recording never waits and never fails a request, whatever is wrong with state; what could not be recorded is
counted; a request that was never understood (a body that is no request, a caller without a key) is no execution and
leaves nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from .model.execution import Execution
from .model.response import Batch
from .state import StateService, StreamCheckpoints, begun, record

logger = logging.getLogger(__name__)


class Recorder:
    """Makes records. ``clock`` is the one of ``Execution.started``, ``wall`` tells Unix seconds; ``dropped(count)`` hears of
    what is lost here.
    """

    def __init__(self, *, clock: Callable[[], float], wall: Callable[[], float], dropped: Callable[[int], None]) -> None:
        self._clock = clock
        self._wall = wall
        self._dropped = dropped

    def record(self, state: StateService, execution: Execution, status: int) -> None:
        """Keep what became of an execution."""
        if execution.request is None:
            return
        try:
            duration = self._clock() - execution.started
            state.put(record(execution, status=status, started_at=self._wall() - duration, duration=duration))
        except Exception as error:  # noqa: BLE001 (bookkeeping is not worth an answer that was already given)
            self._lose(error)

    def follow(self, state: StateService | None, execution: Execution, interval: int) -> Trail | None:
        """What keeps checkpoints of an execution's stream; None where nobody wants any."""
        if state is None or not interval:
            return None
        started_at = self._wall() - (self._clock() - execution.started)
        checkpoints = state.follow(execution.id, interval=interval, begun=lambda: begun(execution, started_at=started_at))
        return Trail(checkpoints, self._lose)

    def _lose(self, error: Exception) -> None:
        self._dropped(1)
        logger.error("an execution could not be recorded", extra={"error": type(error).__name__})


class Trail:
    """Follows a stream, event by event. After a defect it follows no more, which ``lose`` hears of."""

    __slots__ = ("_checkpoints", "_lose")

    def __init__(self, checkpoints: StreamCheckpoints, lose: Callable[[Exception], None]) -> None:
        self._checkpoints: StreamCheckpoints | None = checkpoints
        self._lose = lose

    def add(self, batch: Batch) -> None:
        """Some events of the answer."""
        if self._checkpoints is None:
            return
        try:
            for event in batch:
                choices = event.body.get("choices") if event.body else None
                if choices:
                    self._checkpoints.add(_text(choices))
        except Exception as error:  # noqa: BLE001 (the stream goes on)
            self._give_up(error)

    def interrupted(self) -> None:
        """The stream broke off."""
        if self._checkpoints is None:
            return
        try:
            self._checkpoints.interrupted()
        except Exception as error:  # noqa: BLE001 (it is over already)
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._checkpoints = None
        self._lose(error)


def _text(choices: object) -> str:
    """What the first choice says in a chunk; empty for a chunk of another one, of a tool call, or of anything odd."""
    for choice in choices if isinstance(choices, list) else ():
        if choice.get("index", 0) == 0:
            content = (choice.get("delta") or {}).get("content")
            return content if isinstance(content, str) else ""
    return ""
