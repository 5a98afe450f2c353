"""The vendor of the benchmarks: canned answers at next to no cost, so that what is measured is the server before it.

A JSON answer of a usual size; a stream of 64 pieces of content, each in a packet of its own as tokens arrive, paced so
that no two fall into one read. Nothing is checked here: ``tests/fakes/vendor`` is the exacting one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys

PIECES = 64
INTERVAL = 0.003
"""Seconds between two pieces: faster than any model, slow enough that each is a read of its own."""
MODEL = "gpt-4o-mini"
TEXT = "Your invoice is on the account page, under Billing; the newest one is at the top and can be saved as a PDF. " * 3

_HEAD = (b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nopenai-version: 2020-10-01\r\nx-request-id: req_4f1c2a\r\n"
         b"x-ratelimit-limit-requests: 10000\r\nx-ratelimit-remaining-requests: 9999\r\n%s\r\n\r\n")


def completion() -> bytes:
    """The body of a JSON answer."""
    return json.dumps({
        "id": "chatcmpl-BENCH", "object": "chat.completion", "created": 1_760_000_000, "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT, "refusal": None, "annotations": []},
                     "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 24, "completion_tokens": 72, "total_tokens": 96,
                  "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
                  "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0,
                                                "rejected_prediction_tokens": 0}},
        "service_tier": "default", "system_fingerprint": "fp_44709d6fcb"}, indent=2).encode()


def _event(choices: list[object], usage: object = None) -> bytes:
    data = json.dumps({"id": "chatcmpl-BENCH", "object": "chat.completion.chunk", "created": 1_760_000_000,
                       "model": "gpt-4o-mini-2024-07-18", "service_tier": "default", "system_fingerprint": "fp_44709d6fcb",
                       "choices": choices, "usage": usage, "obfuscation": "k3J9x"}, separators=(",", ":")).encode()
    return b"data: " + data + b"\n\n"


def _delta(delta: dict[str, str], finish: str | None = None) -> bytes:
    return _event([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}])


def _chunk(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(body), body)


def _reads() -> list[bytes]:
    """What is written at once, in order: head with the role, 64 pieces, the end."""
    head = _HEAD % (b"text/event-stream; charset=utf-8", b"Transfer-Encoding: chunked")
    usage = {"prompt_tokens": 24, "completion_tokens": PIECES, "total_tokens": 24 + PIECES}
    end = _delta({}, "stop") + _event([], usage) + b"data: [DONE]\n\n"
    return [head + _chunk(_delta({"role": "assistant", "content": ""})),
            *(_chunk(_delta({"content": f" word{number}"})) for number in range(PIECES)),
            _chunk(end) + b"0\r\n\r\n"]


JSON_REPLY = _HEAD % (b"application/json", b"Content-Length: %d" % len(completion())) + completion()
STREAM_READS = _reads()


class Vendor(asyncio.Protocol):
    """One connection: requests with a Content-Length, one after the other."""

    reads = STREAM_READS
    """What a stream is written in."""

    def streams(self, head: bytes, body: bytes) -> bool:  # noqa: ARG002 (other dialects tell it by the address)
        """Whether a stream is asked for."""
        return b'"stream":true' in body.replace(b" ", b"")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, rest = self._received.partition(b"\r\n\r\n")
        length = _content_length(head) if separator else 0
        if not separator or len(rest) < length:
            return
        self._received = rest[length:]
        if self.streams(head, rest[:length]):
            self._send_piece(0)
        else:
            self._transport.write(JSON_REPLY)

    def _send_piece(self, number: int) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(self.reads[number])
        if number + 1 < len(self.reads):
            self._loop.call_later(INTERVAL, self._send_piece, number + 1)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Vendor, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(int(sys.argv[1])))
