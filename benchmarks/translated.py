"""What translation costs: a stream of 64 chunks over a vendor of another dialect, beside the same stream passed through.

Both go through the same ``strata-runtime serve`` at OpenAI's door, from canned vendors; what is compared is the server's CPU a
request, in interleaved rounds. Fails where translating takes more than twice what passing through takes.
Run: ``python -m benchmarks.translated`` (``--rounds``, ``--scale``); ``... translated vendor DIALECT PORT`` is a vendor alone.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import vendor
from benchmarks.load import Reply, post
from benchmarks.measure import measure, percentile
from benchmarks.processes import Child, free_port
from benchmarks.scenarios import CHAT, Scenario, Side, chat
from benchmarks.servers import serve

TARGET = 2.0
PIECES = vendor.PIECES
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


# --- the vendors: each read as it comes off Google's, or another's, wire -------------------------------------------------
def gemini_reads() -> list[bytes]:
    """Google's stream: every event a whole answer with its usage so far; the last one says why it ended."""
    def event(number: int) -> bytes:
        candidate: dict[str, object] = {"content": {"parts": [{"text": f" word{number}"}], "role": "model"}, "index": 0}
        if number == PIECES - 1:
            candidate["finishReason"] = "STOP"
        usage = {"promptTokenCount": 24, "candidatesTokenCount": number + 1, "totalTokenCount": 25 + number,
                 "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 24}]}
        body = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-2.5-flash", "responseId": "bX8caZ3rD5Sd1MkP0bK9uAc"}
        return b"data: " + json.dumps(body, separators=(",", ": ")).encode() + b"\r\n\r\n"

    pieces = [b"%x\r\n%s\r\n" % (len(each), each) for each in map(event, range(PIECES))]
    return [_HEAD + pieces[0], *pieces[1:-1], pieces[-1] + b"0\r\n\r\n"]


class GeminiVendor(vendor.Vendor):
    """The Gemini API."""

    reads = gemini_reads()

    def streams(self, head: bytes, body: bytes) -> bool:  # noqa: ARG002 (the address tells it)
        """By the method in the address."""
        return b":streamGenerateContent" in head


def anthropic_reads() -> list[bytes]:
    """Anthropic's stream: named events, the message opened with the first piece and closed with the last."""
    def event(kind: str, **fields: object) -> bytes:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields}, separators=(',', ':'))}\n\n".encode()

    def chunk(raw: bytes) -> bytes:
        return b"%x\r\n%s\r\n" % (len(raw), raw)

    message = {"id": "msg_01BENCH", "type": "message", "role": "assistant", "model": "claude-sonnet-4-6", "content": [], "stop_reason": None,
               "stop_sequence": None, "usage": {"input_tokens": 24, "cache_read_input_tokens": 0, "output_tokens": 1}}
    opening = event("message_start", message=message) + event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    pieces = [event("content_block_delta", index=0, delta={"type": "text_delta", "text": f" word{number}"}) for number in range(PIECES)]
    closing = event("content_block_stop", index=0) + event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None},
                                                           usage={"output_tokens": PIECES}) + event("message_stop")
    return [_HEAD + chunk(opening + pieces[0]), *map(chunk, pieces[1:-1]), chunk(pieces[-1] + closing) + b"0\r\n\r\n"]


class AnthropicVendor(vendor.Vendor):
    """Anthropic's Messages API."""

    reads = anthropic_reads()


@dataclass(frozen=True, slots=True)
class Dialect:
    """A vendor to compare: its protocol, and the provider's fields beside its endpoint."""

    vendor: Callable[[], asyncio.Protocol]
    provider: Mapping[str, str]
    path: str = ""


DIALECTS: Mapping[str, Dialect] = {
    "openai": Dialect(vendor.Vendor, {"type": "openaicompatible"}, "/v1"),
    "gemini": Dialect(GeminiVendor, {"type": "google"}),
    "anthropic": Dialect(AnthropicVendor, {"type": "anthropic"}),
}
"""The first is passed through, the others are translated. A public model has its dialect's name."""


# --- the server ------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Servers:
    """One server, whichever side is measured."""

    server: Child

    def of(self, name: str) -> Child:  # noqa: ARG002 (both sides are served by the same one)
        return self.server


@contextmanager
def _running() -> Iterator[_Servers]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        providers = []
        for name, dialect in DIALECTS.items():
            port = free_port()
            stack.enter_context(Child(["-m", "benchmarks.translated", "vendor", name, str(port)], port, measured=False))
            providers.append({"name": name, **dialect.provider, "endpoint": f"http://127.0.0.1:{port}{dialect.path}", "models": [{"name": name}],
                              "credentialsSecretRef": {"name": "vendor", "key": "apiKey"}})
        version = "stratarouter.io/v1alpha1"
        resources = [
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vendor"}, "stringData": {"apiKey": "sk-bench"}},
            {"apiVersion": version, "kind": "ProviderPool", "metadata": {"name": "chat"}, "spec": {"providers": providers}},
            {"apiVersion": version, "kind": "RuntimeConfig", "metadata": {"name": "bench"},
             "spec": {"cache": {"backend": "memory", "embedder": {"type": "none"}}, "defaultRoute": {"pools": [{"name": "chat"}]}}}]
        path = folder / "translated.yaml"
        # JSON is YAML.
        path.write_text("\n---\n".join(json.dumps(each) for each in resources))
        yield _Servers(stack.enter_context(serve(path)))


def _side(name: str) -> Side:
    numbers = itertools.count()

    def requests() -> Iterator[bytes]:
        return (post(CHAT, _asked(name, number)) for number in numbers)

    return Side(name, requests, _streamed, b'"content":" word0"')


def _asked(name: str, number: int) -> bytes:
    body = json.loads(chat(f"Tell me about order {number}?", stream=True))
    return json.dumps({**body, "model": name}).encode()


def _streamed(reply: Reply) -> None:
    assert reply.status == 200, (reply.status, reply.head, reply.body)
    assert reply.body.count(b'"content":" word') == PIECES, reply.body
    assert b'"finish_reason":"stop"' in reply.body, reply.body
    assert b"data: [DONE]" in reply.body, reply.body


def main() -> int:
    """Measure and print; 1 where a target is missed."""
    parser = argparse.ArgumentParser(prog="benchmarks.translated", description="CPU of translated streams beside one passed through.")
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds (default %(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the usual number of requests (default %(default)s)")
    options = parser.parse_args()
    plain, *translated = DIALECTS
    passed = _side(plain)  # one for all, so that it never asks the same twice
    kept = True
    print(f"Streams of {PIECES} chunks at OpenAI's door, CPU of the server in milliseconds a request")
    with _running() as servers:
        for name in translated:
            scenario = Scenario(f"translated-{name}", name, bare=passed, ours=_side(name), count=max(8, int(100 * options.scale)),
                                alone=2, target=TARGET)
            result = measure(scenario, servers, options.rounds)  # type: ignore[arg-type]  # of one server
            kept = kept and result.passed
            cpu = [f"{percentile(figures.cpu, 0.5):.2f}" for figures in (result.bare, result.ours)]
            print(f"  {name:<12}passed through {cpu[0]}, translated {cpu[1]}: {result.ratio:.2f} times, at most {TARGET}: "
                  f"{'kept' if result.passed else 'NOT KEPT'}")
    return 0 if kept else 1


async def _serve_vendor(name: str, port: int) -> None:
    server = await asyncio.get_running_loop().create_server(DIALECTS[name].vendor, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1:2] == ["vendor"]:
        try:
            asyncio.run(_serve_vendor(sys.argv[2], int(sys.argv[3])))
        except KeyboardInterrupt:
            sys.exit(0)
    sys.exit(main())
