"""What callers say of answers: counted, and a wrong answer leaves the cache on every pod.

Each pod remembers its latest answers and notes them in the shared cache, off the request's way, because feedback may reach any pod.

Invariants: only the tenant of an execution may judge it, to others it is unknown; the same feedback counts once, on whichever pods
it arrives; it is accepted only when the answer is gone for good, so that a caller told of a failure may send it again; what is
remembered is bounded.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from .cache import StoreUnavailable
from .model.cache import Cache, CacheKey, Hit, Miss, Note
from .model.errors import ExecutionError, RequestError
from .model.execution import Execution
from .model.provider import ExecutionObserver
from .model.request import Caller
from .wire import openai_checks as checks

MAX_ID = 128
"""Characters of an execution's id; ours are shorter."""
REMEMBERED = 10_000
"""Executions that a pod remembers by itself: some 4 MB."""
HOUR, DAY = 3_600.0, 24 * 3_600.0
"""How long a note is kept for all pods: as long as the cache entry that it names, within these bounds."""
AGAIN_SECONDS = 0.1
"""After so long an unknown execution is looked for once more: its pod may be just about to note it."""

Verdict = Literal["correct", "wrong"]


@dataclass(frozen=True, slots=True)
class FeedbackResult:
    """What came of a feedback: whether it counted (not where it had been given before), and whether it took an entry out of the cache."""

    execution_id: str
    correct: bool
    counted: bool
    evicted: bool


class Feedback:
    """Remembers answers and takes what is said of them. ``observer`` is told what counts; ``sleep`` waits."""

    def __init__(self, observer: ExecutionObserver, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._observer = observer
        self._sleep = sleep
        self._notes: OrderedDict[str, Note] = OrderedDict()
        self._given: OrderedDict[tuple[str, Verdict], None] = OrderedDict()

    def remember(self, execution: Execution, key: CacheKey | Miss | None, cache: Cache | None) -> None:
        """An execution has its answer, from the cache or from a candidate; to be called before the caller has it."""
        note = _note(execution, key)
        if note is None:
            return
        self._notes[execution.id] = note
        if len(self._notes) > REMEMBERED:
            self._notes.popitem(last=False)
        if cache is not None:
            cache.note(execution.id, note)

    async def take(self, caller: Caller, execution_id: str, *, correct: bool, cache: Cache | None) -> FeedbackResult:
        """Count it, and evict a wrong answer.

        Raises ``RequestError``: 400 for what is no feedback, 404; or ``ExecutionError`` 503 while the cache does not answer.
        """
        _check(execution_id, correct)
        try:
            return await self._taken(caller, execution_id, correct=correct, cache=cache)
        except StoreUnavailable:
            raise ExecutionError("CacheUnavailable", "The cache does not answer, so the feedback was not taken; send it again.",
                                 status=503, retry_after=5) from None

    async def _taken(self, caller: Caller, execution_id: str, *, correct: bool, cache: Cache | None) -> FeedbackResult:
        note = await self._found(execution_id, cache)
        if note is None or note.tenant != caller.tenant:
            raise RequestError("ExecutionNotFound", "Nothing is known of such an execution: it gave no answer, or too long ago.",
                               status=404, param="execution_id")
        verdict: Verdict = "correct" if correct else "wrong"
        if (execution_id, verdict) in self._given or (cache is not None and await cache.claimed(execution_id, verdict)):
            return FeedbackResult(execution_id, correct, counted=False, evicted=False)
        # First the deletion: once it counts nobody would try again.
        evicted = not correct and bool(note.exact) and cache is not None and await cache.delete(note.exact)
        first = cache is None or await cache.claim(execution_id, verdict)
        counted = self._first(execution_id, verdict) and first
        if counted:
            self._observer.feedback(note.route, note.model, verdict)
        return FeedbackResult(execution_id, correct, counted, evicted)

    async def _found(self, execution_id: str, cache: Cache | None) -> Note | None:
        note = self._notes.get(execution_id)
        if note is not None or cache is None:
            return note
        note = await cache.recall(execution_id)
        if note is None:
            await self._sleep(AGAIN_SECONDS)
            note = self._notes.get(execution_id) or await cache.recall(execution_id)
        return note

    def _first(self, execution_id: str, verdict: Verdict) -> bool:
        if (execution_id, verdict) in self._given:
            return False
        self._given[execution_id, verdict] = None
        if len(self._given) > REMEMBERED:
            self._given.popitem(last=False)
        return True


def _check(execution_id: object, correct: object) -> None:
    """Callers in-process may pass anything, and a text is not false."""
    checks.string(execution_id, "execution_id")
    checks.boolean(correct, "correct")
    if not 0 < len(str(execution_id)) <= MAX_ID:
        raise checks.refusal(f"Invalid 'execution_id': expected 1 to {MAX_ID} characters.", param="execution_id")


def _note(execution: Execution, key: CacheKey | Miss | None) -> Note | None:
    plan, found = execution.plan, execution.cached
    if plan is None:
        return None
    exact, lives, model = "", 0.0, execution.candidate.model if execution.candidate else ""
    if isinstance(found, Hit):
        # By similarity that is another question's entry.
        exact, lives, model = found.entry.exact, found.entry.ttl - found.age, found.entry.model
    elif isinstance(key, CacheKey) and plan.cache is not None:
        # Also where this answer is not stored: that of an identical request may be.
        exact, lives = key.exact, plan.cache.ttl_seconds
    return Note(plan.tenant, plan.route, model, exact, keep=min(max(lives, HOUR), DAY))
