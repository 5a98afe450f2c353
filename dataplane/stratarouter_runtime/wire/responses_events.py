"""OpenAI's Responses API, streams: a chat's events as the events of a response.

Source: OpenAI API reference, "Streaming events". Invariants: ``response.created`` is the first event and ``sequence_number`` counts
all; each item, each part and each call that is added is also done, in the order of the output, before the response ends; the last
event's response has what the deltas said. State: one stream's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from stratarouter_runtime.model.errors import StrataError
from stratarouter_runtime.model.response import Batch

from . import openai_errors
from . import responses_response as items
from .openai_chat import model_of
from .reading import objects

Item = dict[str, Any]


def frame(event: Mapping[str, Any]) -> bytes:
    """One event under its name."""
    return b"event: " + str(event["type"]).encode() + b"\ndata: " + orjson.dumps(event) + b"\n\n"


def failure_frames(response: Mapping[str, Any], number: int, error: StrataError) -> bytes:
    """The events that end a stream which broke: the response that failed, then the error, on which SDKs raise."""
    told = openai_errors.error_object(error)["error"]
    code = "rate_limit_exceeded" if error.status == 429 else "server_error"
    failed = {**response, "status": "failed", "error": {"code": code, "message": told["message"]}}
    return frame({"type": "response.failed", "sequence_number": number, "response": failed}) + frame({
        "type": "error", "sequence_number": number + 1, "code": told["code"], "message": told["message"], "param": told["param"],
        "error": told})


class ResponseEvents:
    """Makes the events of one response. ``asked`` is the caller's body."""

    def __init__(self, asked: Mapping[str, Any], *, created: int) -> None:
        self.response = items.outline(asked, id=items.identity("resp"), created=created)
        self.number = 0
        """How many events there have been."""
        self._made: list[bytes] = []
        self._output: list[Item] = []
        self._thought: _Thought | None = None
        self._said: _Said | None = None
        self._calls: dict[str, tuple[int, Item, list[str]]] = {}
        self._model = ""
        self._finish: str | None = None
        self._usage: Any = None

    def feed(self, batch: Batch) -> bytes:
        """The frames that a batch amounts to."""
        if not self.number:
            self._emit("response.created", response=self.response)
            self._emit("response.in_progress", response=self.response)
        for event in batch:
            if event.body is not None:
                self._read(event.body)
        return self._taken()

    def end(self, *, now: int) -> bytes:
        """The frames of a stream that came to its end."""
        status = "incomplete" if self._finish in ("length", "content_filter") else "completed"
        if not self._output and self._said is None:
            self._saying()
        self._close(status)
        self.response = items.ended(self.response, model=self._model, output=self._output, finish=self._finish, usage=self._usage, now=now)
        self._emit(f"response.{status}", response=self.response)
        return self._taken()

    def fail(self, error: StrataError) -> bytes:
        """The frames of a stream that broke."""
        return failure_frames({**self.response, "model": self._model or self.response["model"], "output": self._output}, self.number, error)

    # --- what a chunk says ----------------------------------------------------------------------------------------------------
    def _read(self, body: Mapping[str, Any]) -> None:
        self._model = model_of(body) or self._model
        self._usage = body.get("usage") or self._usage
        for choice in objects(body.get("choices")):
            if choice.get("index", 0):
                continue  # a response has one answer
            delta, finish = choice.get("delta"), choice.get("finish_reason")
            if isinstance(delta, Mapping):
                self._delta(delta, choice.get("logprobs"))
            if isinstance(finish, str) and finish:
                self._finish = finish

    def _delta(self, delta: Mapping[str, Any], logprobs: Any) -> None:
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(thought, str) and thought:
            self._thinking().add(thought)
        details = delta.get("reasoning_details")
        if isinstance(details, list) and details:
            self._thinking().details.extend(details)
        text = delta.get("content")
        if isinstance(text, str) and text:
            self._saying().add(text, logprobs)
        if isinstance(delta.get("refusal"), str) and delta["refusal"]:
            self._saying().refuse(delta["refusal"])
        for each in objects(delta.get("annotations")):
            self._saying().annotate(items.annotation(each))
        for call in objects(delta.get("tool_calls")):
            self._call(call)

    def _thinking(self) -> _Thought:
        if self._thought is None:
            self._close_said("completed")
            self._thought = _Thought(self, len(self._output))
        return self._thought

    def _saying(self) -> _Said:
        if self._said is None:
            self._close_thought()
            self._said = _Said(self, len(self._output))
        return self._said

    def _call(self, part: Mapping[str, Any]) -> None:
        # A vendor that sends whole calls may leave out the index: then the id tells them apart.
        key = str(part["index"] if "index" in part else part.get("id", len(self._calls)))
        given = part.get("function")
        function = given if isinstance(given, Mapping) else {}
        if key not in self._calls:
            self._close_thought()
            self._close_said("completed")
            item = items.call_item({**part, "function": {**function, "arguments": ""}}, "in_progress")
            self._calls[key] = (self.add(item), item, [])
        index, item, pieces = self._calls[key]
        piece = function.get("arguments")
        if isinstance(piece, str) and piece:
            pieces.append(piece)
            self._emit("response.function_call_arguments.delta", item_id=item["id"], output_index=index, delta=piece)

    # --- items ----------------------------------------------------------------------------------------------------------------
    def add(self, item: Item) -> int:
        """An item has begun; its place."""
        self._output.append(item)
        self._emit("response.output_item.added", output_index=len(self._output) - 1, item=item)
        return len(self._output) - 1

    def done(self, index: int, item: Item) -> None:
        """An item is over."""
        self._output[index] = item
        self._emit("response.output_item.done", output_index=index, item=item)

    def emit(self, kind: str, **fields: Any) -> None:
        """One event."""
        self._emit(kind, **fields)

    def _emit(self, kind: str, **fields: Any) -> None:
        self._made.append(frame({"type": kind, "sequence_number": self.number, **fields}))
        self.number += 1

    def _taken(self) -> bytes:
        made, self._made = b"".join(self._made), []
        return made

    def _close(self, status: str) -> None:
        self._close_thought()
        self._close_said(status)
        for index, item, pieces in self._calls.values():
            arguments = "".join(pieces)
            self._emit("response.function_call_arguments.done", item_id=item["id"], output_index=index, arguments=arguments, name=item["name"])
            self.done(index, {**item, "arguments": arguments, "status": status})

    def _close_thought(self) -> None:
        if self._thought is not None:
            thought, self._thought = self._thought, None
            thought.close()

    def _close_said(self, status: str) -> None:
        if self._said is not None:
            said, self._said = self._said, None
            said.close(status)


class _Thought:
    """A reasoning item in the making."""

    def __init__(self, events: ResponseEvents, index: int) -> None:
        self._events = events
        self._item = items.reasoning_item([], [], "in_progress")
        self._pieces: list[str] = []
        self.details: list[Any] = []
        self._place = {"item_id": self._item["id"], "output_index": index}
        events.add(self._item)

    def add(self, text: str) -> None:
        if not self._pieces:
            self._events.emit("response.reasoning_summary_part.added", **self._place, summary_index=0, part={"type": "summary_text", "text": ""})
        self._pieces.append(text)
        self._events.emit("response.reasoning_summary_text.delta", **self._place, summary_index=0, delta=text)

    def close(self) -> None:
        text = "".join(self._pieces)
        if text:
            self._events.emit("response.reasoning_summary_text.done", **self._place, summary_index=0, text=text)
            self._events.emit("response.reasoning_summary_part.done", **self._place, summary_index=0,
                              part={"type": "summary_text", "text": text})
        whole = items.reasoning_item([text] if text else [], self.details)
        self._events.done(self._place["output_index"], {**whole, "id": self._item["id"]})


class _Said:
    """A message in the making: text, and a refusal where there is one."""

    def __init__(self, events: ResponseEvents, index: int) -> None:
        self._events = events
        self._item = items.message_item([], "in_progress")
        self._place = {"item_id": self._item["id"], "output_index": index}
        self._parts: list[tuple[Item, list[str]]] = []
        events.add(self._item)

    def add(self, text: str, logprobs: Any) -> None:
        index, part, pieces = self._part("output_text")
        pieces.append(text)
        tokens = items.text_part("", None, logprobs)["logprobs"]
        part["logprobs"].extend(tokens)
        self._events.emit("response.output_text.delta", **self._place, content_index=index, delta=text, logprobs=tokens)

    def refuse(self, text: str) -> None:
        index, _, pieces = self._part("refusal")
        pieces.append(text)
        self._events.emit("response.refusal.delta", **self._place, content_index=index, delta=text)

    def annotate(self, annotation: Item) -> None:
        index, part, _ = self._part("output_text")
        part["annotations"].append(annotation)
        self._events.emit("response.output_text.annotation.added", **self._place, content_index=index,
                          annotation_index=len(part["annotations"]) - 1, annotation=annotation)

    def close(self, status: str) -> None:
        if not self._parts:
            self._part("output_text")
        for index, (part, pieces) in enumerate(self._parts):
            self._end_part(index, part, "".join(pieces))
        self._events.done(self._place["output_index"], {**self._item, "status": status, "content": [part for part, _ in self._parts]})

    def _part(self, kind: str) -> tuple[int, Item, list[str]]:
        for index, (part, pieces) in enumerate(self._parts):
            if part["type"] == kind:
                return index, part, pieces
        part = items.text_part("") if kind == "output_text" else {"type": "refusal", "refusal": ""}
        self._parts.append((part, []))
        self._events.emit("response.content_part.added", **self._place, content_index=len(self._parts) - 1, part=part)
        return len(self._parts) - 1, part, self._parts[-1][1]

    def _end_part(self, index: int, part: Item, text: str) -> None:
        place = {**self._place, "content_index": index}
        if part["type"] == "refusal":
            part["refusal"] = text
            self._events.emit("response.refusal.done", **place, refusal=text)
        else:
            part["text"] = text
            self._events.emit("response.output_text.done", **place, text=text, logprobs=part["logprobs"])
        self._events.emit("response.content_part.done", **place, part=part)
