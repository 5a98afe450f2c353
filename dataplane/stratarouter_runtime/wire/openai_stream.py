"""OpenAI chat completions as a stream: payloads to events, events to frames, a stream folded into a completion and a
completion replayed as a stream.

Source: OpenAI API reference, "The chat completion chunk object". Invariant: an event's bytes are the vendor's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from stratarouter_runtime.model.errors import Failure
from stratarouter_runtime.model.response import Batch, ChatEvent, ChatResponse, EventKind

from . import nesting, sse
from .answers import AnswerError, bad_answer, reported
from .openai_chat import chat_response
from .openai_errors import error_in

_CONTENT, _DONE, _FINISH = EventKind.CONTENT, EventKind.DONE, EventKind.FINISH
_PREAMBLE, _USAGE = EventKind.PREAMBLE, EventKind.USAGE


class ChatStream:
    """Reads one stream: bytes in, batches of events out. ``choices`` is the request's ``n``.

    After the first error the stream is over. What follows ``[DONE]`` is ignored.
    """

    __slots__ = ("_decoder", "_finished", "_wanted", "done")

    def __init__(self, *, choices: int = 1, max_event: int = sse.MAX_EVENT) -> None:
        self._decoder = sse.SseDecoder(max_event=max_event)
        self._wanted = choices
        self._finished: set[Any] = set()
        self.done = False

    def feed(self, chunk: bytes) -> tuple[Batch, AnswerError | None]:
        """The events that ``chunk`` completes, and the error that came after them, if one did."""
        events: Batch = []
        if self.done:
            return events, None
        try:
            for payload in self._decoder.feed(chunk):
                if payload == sse.DONE:
                    self.done = True
                    events.append(ChatEvent(_DONE, payload, None))
                    break
                events.append(self._event(payload))
        except AnswerError as error:
            return events, error
        except sse.EventTooLarge:
            return events, bad_answer("the vendor sent an event that is too large")
        return events, None

    def end(self) -> Batch:
        """The vendor closed the stream: what is missing at its end. Raises ``AnswerError`` (``Truncated``).

        Some vendors send no ``[DONE]``; a stream whose choices have all finished is whole without it.
        """
        if self.done:
            return []
        if len(self._finished) >= self._wanted and not self._decoder.incomplete:
            self.done = True
            return [ChatEvent(_DONE, sse.DONE, None)]
        raise AnswerError(Failure.TRUNCATED, "the vendor's stream ended before it was complete")

    def _event(self, payload: bytes) -> ChatEvent:
        try:
            body = orjson.loads(payload)
        except orjson.JSONDecodeError:
            raise bad_answer("the vendor sent an event that is not valid JSON") from None
        if type(body) is not dict or nesting.too_deep(body, payload):
            raise bad_answer("the vendor sent an event that is not a JSON object, or nested too deeply")
        if "error" in body or body.get("object") == "error":
            error = error_in(body)
            if error is not None:
                raise reported(error)
        try:
            kind = self._kind(body)
        except (AttributeError, TypeError):
            raise bad_answer("the vendor sent an event of another shape than a chunk") from None
        # JSON's own line ends are white space, but inside a frame they would end it.
        return ChatEvent(kind, payload.replace(b"\n", b" ") if b"\n" in payload else payload, body)

    def _kind(self, body: dict[str, Any]) -> EventKind:
        choices = body.get("choices")
        if not choices:
            return _USAGE if body.get("usage") else _PREAMBLE
        kind = _PREAMBLE
        for choice in choices:
            if choice.get("finish_reason"):
                self._finished.add(choice.get("index"))
                kind = _FINISH
            elif kind is _PREAMBLE and _says_something(choice.get("delta")):
                kind = _CONTENT
        return kind


def _says_something(delta: Mapping[str, Any] | None) -> bool:
    """Whether a delta has text, reasoning, a refusal, a tool call or anything else besides a role."""
    if not delta:
        return False
    # The usual delta has exactly this.
    if delta.get("content"):
        return True
    return any(value and name != "role" for name, value in delta.items())


def client_frames(batch: Iterable[ChatEvent], *, include_usage: bool) -> bytes:
    """A batch as bytes for the client; without the usage chunk where the client did not ask for it."""
    if include_usage:
        return sse.frames([event.raw for event in batch])
    return sse.frames([event.raw for event in batch if event.kind is not _USAGE])


def fold(events: Iterable[ChatEvent]) -> ChatResponse:
    """The events of a complete stream as the completion they amount to. Raises ``AnswerError`` where there is none."""
    head: dict[str, Any] = {}
    choices: dict[int, _Folding] = {}
    usage = None
    try:
        for event in events:
            body = event.body
            if body is None:
                continue
            usage = body.get("usage") or usage
            # After the first event the head is only looked through where something is new in it.
            new = body.keys() - _OWN if not head else body.keys() - _KNOWN
            if new:
                _merge(head, {name: value for name, value in body.items() if name in new}, join=False)
            for part in body.get("choices") or ():
                index = part.get("index", 0)
                choice = choices.get(index)
                if choice is None:
                    choice = choices[index] = _Folding()
                choice.add(part)
        whole = {**head, "object": "chat.completion", "choices": [choices[index].whole(index) for index in sorted(choices)]}
        if usage is not None:
            whole["usage"] = usage
        return chat_response(whole)
    except (AttributeError, TypeError, KeyError, ValueError):  # also what is nested too deeply to be written
        raise bad_answer("the vendor's stream has a chunk of another shape") from None


_OWN = frozenset({"choices", "usage", "obfuscation"})
_KNOWN = _OWN | {"id", "object", "created", "model", "system_fingerprint", "service_tier"}


class _Folding:
    """One choice in the making."""

    __slots__ = ("_calls", "_delta", "_rest", "_texts")

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._calls: dict[Any, dict[str, Any]] = {}
        self._delta: dict[str, Any] = {}
        self._rest: dict[str, Any] = {}

    def add(self, part: Mapping[str, Any]) -> None:
        delta = part.get("delta")
        if delta:
            text = delta.get("content")
            if isinstance(text, str):
                self._texts.append(text)
            # Nearly all deltas are a piece of text and nothing else.
            if len(delta) > 1 or not isinstance(text, str):
                self._add_delta(delta)
        for name, value in part.items():
            if name == "logprobs" and value:
                _merge(_opened(self._rest, name), value)
            elif name not in ("delta", "index") and (value is not None or name not in self._rest):
                _merge(self._rest, {name: value}, join=isinstance(value, list))

    def _add_delta(self, delta: Mapping[str, Any]) -> None:
        for name, value in delta.items():
            if name == "tool_calls":
                for call in value or ():
                    _fold_call(self._calls, call)
            elif isinstance(value, Mapping):
                _merge(_opened(self._delta, name), value)
            elif name != "content" or not isinstance(value, str):
                _merge(self._delta, {name: value}, join=name != "role")

    def whole(self, index: int) -> dict[str, Any]:
        """The choice as a completion has it."""
        delta = dict(self._delta)
        message = {"role": delta.pop("role", None) or "assistant", "content": delta.pop("content", None)}
        if self._texts:
            message["content"] = "".join(self._texts)
        if self._calls:
            message["tool_calls"] = list(self._calls.values())
        if self._calls or delta.get("refusal"):
            # The empty text with which a stream opens is no content beside these.
            message["content"] = message["content"] or None
        return {"index": index, "message": {**message, **delta}, **self._rest}


def _fold_call(calls: dict[Any, dict[str, Any]], part: Mapping[str, Any]) -> None:
    """Tool calls come in pieces: name and id once, arguments as text to be joined."""
    # A vendor that sends whole calls may leave out the index: then the id tells them apart.
    key = part["index"] if "index" in part else part.get("id", len(calls))
    total = calls.setdefault(key, {})
    for name, value in part.items():
        if name == "function":
            _merge(_opened(total, name), value or {})
        elif name != "index":
            _merge(total, {name: value}, join=False)


def _opened(total: dict[str, Any], name: str) -> dict[str, Any]:
    """The object under a name, there or begun."""
    if not isinstance(total.get(name), dict):
        total[name] = {}
    opened: dict[str, Any] = total[name]
    return opened


def _merge(total: dict[str, Any], part: Mapping[str, Any], *, join: bool = True) -> None:
    """Add a piece: texts and lists are joined, anything else is replaced; null never replaces what is there."""
    for name, value in part.items():
        known = total.get(name)
        if join and isinstance(value, str) and isinstance(known, str):
            total[name] = known + value
        elif join and isinstance(value, list) and isinstance(known, list):
            known.extend(value)
        elif value is not None or name not in total:
            # Events are never changed: a list that will be extended must be a copy.
            total[name] = list(value) if isinstance(value, list) else value


MAX_PIECES = 64
MIN_PIECE = 24


def replay(body: Mapping[str, Any], *, id: str, created: int, include_usage: bool) -> Batch:  # noqa: A002 (OpenAI's name)
    """A stored completion as the events of a stream, with a new id and time."""
    head = {"id": id, "object": "chat.completion.chunk", "created": created, "model": body.get("model", "")}
    head |= {name: body[name] for name in ("service_tier", "system_fingerprint") if name in body}
    events = []
    for choice in body["choices"]:
        for kind, part in _parts_of(choice):
            chunk = {**head, "choices": [part]}
            events.append(ChatEvent(kind, orjson.dumps(chunk), chunk))
    if include_usage and body.get("usage") is not None:
        chunk = {**head, "choices": [], "usage": body["usage"]}
        events.append(ChatEvent(_USAGE, orjson.dumps(chunk), chunk))
    events.append(ChatEvent(_DONE, sse.DONE, None))
    return events


def _parts_of(choice: Mapping[str, Any]) -> Iterator[tuple[EventKind, dict[str, Any]]]:
    message = dict(choice["message"])
    index, logprobs = choice.get("index", 0), choice.get("logprobs")
    opening = {"role": message.pop("role", "assistant"), "content": ""}

    def part(delta: Mapping[str, Any], finish: Any = None, logprobs: Any = None) -> dict[str, Any]:
        return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}

    yield _PREAMBLE, part(opening)
    content, calls = message.pop("content", None), message.pop("tool_calls", None)
    for name, value in message.items():
        # Reasoning, refusals and what else the vendor adds; texts in pieces, the rest whole.
        for piece in _pieces(value) if isinstance(value, str) else [value] if value else []:
            yield _CONTENT, part({name: piece})
    for piece in _pieces(content) if isinstance(content, str) else [content] if content else []:
        # Log probabilities belong to tokens, not to these pieces: they go out once, with the first.
        yield _CONTENT, part({"content": piece}, logprobs=logprobs)
        logprobs = None
    for position, call in enumerate(calls or ()):
        yield _CONTENT, part({"tool_calls": [{"index": position, **call}]})
    extra = {name: value for name, value in choice.items() if name not in ("index", "message", "logprobs", "finish_reason")}
    yield _FINISH, {**part({}, choice.get("finish_reason") or "stop", logprobs), **extra}


def _pieces(text: str) -> list[str]:
    """A text in at most 64 pieces of about equal length."""
    size = max(MIN_PIECE, -(-len(text) // MAX_PIECES))
    return [text[start:start + size] for start in range(0, len(text), size)]
