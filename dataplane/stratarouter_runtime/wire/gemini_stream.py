"""Gemini's stream (``alt=sse``) as canonical events.

Sources: Gemini API reference, ``streamGenerateContent``: each event is a whole ``GenerateContentResponse``; how Google's SDK reads it:
an error in mid-stream may come as bare JSON. Nothing marks the end, so that a stream is whole when all its candidates have a finish reason and the vendor closed it. Invariants: finish reasons and
usage come last, since later events may change both; an event's bytes are made here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from stratarouter_runtime.model.errors import Failure
from stratarouter_runtime.model.response import Batch, ChatEvent, EventKind

from . import gemini_parts as parts
from . import nesting, sse
from .answers import AnswerError, bad_answer, reported
from .gemini_citations import annotations_of
from .gemini_errors import error_in
from .reading import inner, items, text

_CONTENT, _PREAMBLE = EventKind.CONTENT, EventKind.PREAMBLE


class Candidate:
    """What is known of one candidate so far."""

    __slots__ = ("calls", "empty", "finish", "said")

    def __init__(self, name: str) -> None:
        self.calls = parts.Calls(name)
        self.empty = True
        self.finish = ""
        self.said: list[str] = []


class GeminiStream:
    """Reads one stream. ``choices`` is the request's ``n``, ``model`` the name where the vendor reports none, ``id`` the same;
    ``created`` in Unix seconds.

    After the first error the stream is over.
    """

    __slots__ = ("_candidates", "_created", "_decoder", "_failed", "_head", "_id", "_usage", "_wanted", "done", "model")

    def __init__(self, *, id: str, model: str, created: int, choices: int = 1,  # noqa: A002 (OpenAI's name)
                 max_event: int = sse.MAX_EVENT) -> None:
        self._decoder = sse.SseDecoder(max_event=max_event, bare=True)
        self._id, self.model, self._created = id, model, created
        self._wanted = choices
        self._head: dict[str, Any] = {}
        self._candidates: dict[int, Candidate] = {}
        self._usage: dict[str, Any] = {}
        self._failed = False
        self.done = False

    def feed(self, chunk: bytes) -> tuple[Batch, AnswerError | None]:
        """The events that ``chunk`` completes, and the error that came after them, if one did."""
        events: Batch = []
        if self.done or self._failed:
            return events, None
        try:
            for payload in self._decoder.feed(chunk):
                self.add(_object(payload), events)
        except AnswerError as error:
            self._failed = True
            return events, error
        except sse.EventTooLarge:
            self._failed = True
            return events, bad_answer("the vendor sent an event that is too large")
        return events, None

    def end(self) -> Batch:
        """The vendor closed the stream: finish reasons, usage and ``DONE``. Raises ``AnswerError`` (``Truncated``)."""
        if self.done:
            return []
        events: Batch = []
        if self._decoder.begun and not self._failed:
            # What ends with the stream instead of a blank line is whole where it is JSON.
            self.add(_last(self._decoder.begun), events)
        if self._failed or not self._candidates or not all(each.finish for each in self._candidates.values()):
            raise _truncated()
        self.done = True
        events += [self._finish(index, self._candidates[index]) for index in sorted(self._candidates)]
        usage = parts.usage_of(self._usage)
        if usage is not None:
            events.append(self._event(EventKind.USAGE, {"choices": [], "usage": usage}))
        return [*events, ChatEvent(EventKind.DONE, sse.DONE, None)]

    def add(self, body: Mapping[str, Any], events: Batch) -> None:
        """One event's body. Raises ``AnswerError`` for what is no answer."""
        if "error" in body:
            error = error_in(body)
            if error is not None:
                raise reported(error)
        if not self._head:
            self._open(body)
        usage = body.get("usageMetadata")
        if type(usage) is dict:
            # Counts grow from event to event; what an event leaves out stays as it was.
            self._usage = usage if self._usage.keys() <= usage.keys() else {**self._usage, **usage}
        candidates = body.get("candidates")
        if not candidates:
            refusal = parts.blocked(body)
            if refusal is not None:
                raise refusal
            return
        for place, candidate in enumerate(items(candidates)):
            if not isinstance(candidate, Mapping):
                raise bad_answer("the vendor's answer has a candidate that is no object")
            self._candidate(candidate, place, events)

    def _open(self, body: Mapping[str, Any]) -> None:
        self._id = text(body.get("responseId")) or self._id
        self.model = text(body.get("modelVersion")) or self.model
        self._head = {"id": self._id, "object": "chat.completion.chunk", "created": self._created, "model": self.model}

    def _candidate(self, body: Mapping[str, Any], place: int, events: Batch) -> None:
        index = body.get("index", place)
        if type(index) is not int or not 0 <= index < max(self._wanted, 8):
            raise bad_answer("the vendor's answer has a candidate of no number")
        candidate = self._candidates.get(index)
        opening = candidate is None
        if candidate is None:
            candidate = self._candidates[index] = Candidate(f"{self._id} {index}")
        delta = self._delta(body, candidate)
        logprobs = parts.logprobs_of(body.get("logprobsResult")) if "logprobsResult" in body else None
        finish = text(body.get("finishReason"))
        if finish not in parts.UNSPECIFIED:
            candidate.finish = finish
        if delta:
            candidate.empty = False
        elif not opening and logprobs is None:
            return
        kind = _CONTENT if delta else _PREAMBLE
        if opening:
            delta = {"role": "assistant", "content": "", **delta}
        events.append(self._event(kind, {"choices": [{"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": None}]}))

    def _delta(self, body: Mapping[str, Any], candidate: Candidate) -> dict[str, Any]:
        found = items(inner(body.get("content")).get("parts"))
        # Nearly every event is one piece of text.
        part = found[0] if len(found) == 1 else None
        words = part.get("text") if type(part) is dict and len(part) == 1 else None
        if type(words) is str:
            delta: dict[str, Any] = {"content": words} if words else {}
        else:
            delta = parts.delta_of(found, candidate.calls)
            words = delta.get("content", "")
            if not words:
                delta.pop("content", None)
        if words:
            candidate.said.append(words)
        if "groundingMetadata" in body or "citationMetadata" in body:
            delta |= annotations_of(body, "".join(candidate.said))
        return delta

    def _finish(self, index: int, candidate: Candidate) -> ChatEvent:
        finish = parts.finish_of(candidate.finish, called=candidate.calls.count > 0, empty=candidate.empty)
        return self._event(EventKind.FINISH, {"choices": [
            {"index": index, "delta": {}, "logprobs": None, "finish_reason": finish, **parts.native_of(candidate.finish)}]})

    def _event(self, kind: EventKind, more: Mapping[str, Any]) -> ChatEvent:
        body = {**self._head, **more}
        try:
            return ChatEvent(kind, orjson.dumps(body), body)
        except TypeError:  # nested too deeply inside what is kept of the vendor's
            raise bad_answer("the vendor sent an event that is nested too deeply") from None


def _truncated() -> AnswerError:
    return AnswerError(Failure.TRUNCATED, "the vendor's stream ended before it was complete")


def _last(payload: bytes) -> dict[str, Any]:
    try:
        return _object(payload)
    except AnswerError as error:
        raise error if error.failure is None else _truncated() from None


def _object(payload: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(payload)
    except orjson.JSONDecodeError:
        raise bad_answer("the vendor sent an event that is not valid JSON") from None
    if isinstance(body, list):
        error = error_in(body)
        if error is not None:
            raise reported(error)
    if type(body) is not dict or nesting.too_deep(body, payload):
        raise bad_answer("the vendor sent an event that is not a JSON object, or nested too deeply")
    return body
