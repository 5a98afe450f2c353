"""What is measured: for each scenario the requests, what their answers must prove, and the bare counterpart."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.load import Check, Reply, post
from benchmarks.vendor import MODEL, PIECES

CHAT = "/v1/chat/completions"
QUESTIONS = 1_000
"""Questions in the cache before the caller's vectors are measured."""
STORED = 200
"""Questions in the cache before MiniLM is measured."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two servers compared: which, what it is sent, and what it must answer."""

    server: str
    requests: Callable[[], Iterator[bytes]]
    check: Check
    marker: bytes = b"{"
    """What the first content of an answer begins with."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A comparison. ``count`` requests a round at ``connections``, then ``alone`` ones on a single connection for latency.

    ``prepare`` is sent once, before the first round; ``target`` is the highest ratio of CPU that passes.
    """

    name: str
    title: str
    bare: Side
    ours: Side
    count: int
    alone: int
    connections: int = 8
    prepare: Callable[[], Iterator[bytes]] | None = None
    settle: float = 0.0
    """Seconds between preparing and measuring: answers are stored after the reply."""
    target: float | None = None


def chat(text: str, **more: object) -> bytes:
    """A chat request's body of usual size."""
    system = "You are the assistant of a web shop. Answer briefly and never invent an order number."
    return json.dumps({"model": MODEL, "messages": [{"role": "system", "content": system}, {"role": "user", "content": text}],
                       "temperature": 0.2, **more}).encode()


def _ok(reply: Reply) -> None:
    assert reply.status == 200, (reply.status, reply.head, reply.body)


def _answered(verdict: bytes) -> Check:
    def check(reply: Reply) -> None:
        _ok(reply)
        assert verdict in reply.head, (verdict, reply.head)
        assert b'"finish_reason"' in reply.body, reply.body
    return check


def _streamed(reply: Reply) -> None:
    _ok(reply)
    assert reply.body.count(b'"content":" word') == PIECES, reply.body
    assert b"data: [DONE]" in reply.body, reply.body


def _streamed_miss(reply: Reply) -> None:
    _streamed(reply)
    assert b"fwd=miss" in reply.head, reply.head


def _missed(text: str, path: str = CHAT, **more: object) -> Callable[[], Iterator[bytes]]:
    """Requests no two of which are equal, over the whole run."""
    numbers = itertools.count()
    return lambda: (post(path, chat(f"{text} {number}?", **more)) for number in numbers)


def _repeated(path: str) -> Callable[[], Iterator[bytes]]:
    return lambda: itertools.repeat(post(path, chat("Where can I find my last invoice?")))


def _with_vector(kind: str, wording: str) -> Iterator[bytes]:
    return (post(CHAT, chat(wording.format(number)), {"x-question": f"{kind}-{number}"}) for number in range(QUESTIONS))


FIRST_PIECE = b'"content":" word0"'
STARTS = ("", "hello, ", "hi, ", "hi there, ", "good morning, ", "please tell me: ", "hey, ", "good evening, ")
ENDS = ("", " please", " thanks", " thank you", " many thanks", " cheers", " thank you very much")
MARKS = ("?", "??", " ?", "...", "!", "", ".", "?!")
STEMS = ("where can i find my last invoice", "where do i find my last invoice",
         "where could i find my last invoice", "where may i find my last invoice", "where is it that i find my last invoice")


def paraphrases() -> Iterator[bytes]:
    """Texts no two of which are equal and that all ask the same."""
    for start, stem, end, mark in itertools.product(STARTS, STEMS, ENDS, MARKS):
        yield post(CHAT, chat(f"{start}{stem}{end}{mark}"))


def _stored_questions() -> Iterator[bytes]:
    yield post(CHAT, chat("Where can I find my last invoice?"))
    yield from (post(CHAT, chat(f"How do I send back article {number} of my order?")) for number in range(STORED))


def scenarios(scale: float = 1.0) -> list[Scenario]:
    """All, with their counts multiplied by ``scale``."""
    def times(count: int) -> int:
        return max(16, int(count * scale))

    once = paraphrases()
    return [
        Scenario("json-miss", "JSON, cache miss, answer stored",
                 bare=Side("bare", _missed("Where is order"), _ok),
                 ours=Side("plain", _missed("Where is order"), _answered(b"fwd=miss")),
                 count=times(800), alone=times(150), target=2.5),
        Scenario("stream", f"stream of {PIECES} chunks, cache miss, answer stored",
                 bare=Side("bare", _missed("Tell me about order", stream=True), _streamed, FIRST_PIECE),
                 ours=Side("plain", _missed("Tell me about order", stream=True), _streamed_miss, FIRST_PIECE),
                 count=times(100), alone=times(10), target=2.5),
        Scenario("exact-hit", "exact hit",
                 bare=Side("bare", _repeated("/hit"), _ok),
                 ours=Side("plain", _repeated(CHAT), _answered(b"hit;")),
                 count=times(1_500), alone=times(300), prepare=_repeated_once, settle=0.5),
        Scenario("semantic-vector", f"semantic hit among {QUESTIONS}, the caller's vector (in-process)",
                 bare=Side("bare", _repeated("/hit"), _ok),
                 ours=Side("embedded", lambda: itertools.cycle(_with_vector("near", "where do i find the invoice of order {}?")),
                           _answered(b"semantic")),
                 count=times(800), alone=times(150),
                 prepare=lambda: _with_vector("stored", "Where can I find the invoice of order {}?"), settle=1.0),
        Scenario("semantic-minilm", f"semantic hit among {STORED}, MiniLM embeds each question",
                 bare=Side("bare", _repeated("/hit"), _ok),
                 ours=Side("minilm", lambda: once, _answered(b"semantic")),
                 count=times(150), alone=times(40), connections=2, prepare=_stored_questions, settle=5.0),
    ]


def _repeated_once() -> Iterator[bytes]:
    return itertools.islice(_repeated(CHAT)(), 1)
