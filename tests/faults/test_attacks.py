"""A caller who means harm: malformed HTTP and JSON, injected headers, uploads without end, connections by the thousand.

Whatever comes, it is refused in words a client can read or with a closed connection, nothing of it reaches the vendor or the
log, and the next caller is served.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from builders import runtime, secret, until
from fakes.vendor import FakeVendor
from faults.world import CLIENT_KEY, Lines, watched_log
from pod import Pod, line, resources, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = 262_144
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
AUTH = f"Authorization: Bearer {CLIENT_KEY}\r\n"


class Target:
    """A pod under attack."""

    def __init__(self, pod: Pod, vendor: FakeVendor, log: Lines) -> None:
        self.pod = pod
        self.vendor = vendor
        self.log = log

    async def send(self, *parts: bytes, within: float = 10.0, half: bool = False) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (lower case) and body of what these bytes get; status 0 where the connection just ends."""
        async with line(self.pod) as client, asyncio.timeout(within):
            try:
                await client.send(*parts)
                if half:
                    client.writer.write_eof()
                head = await client.head()
            except (ConnectionError, asyncio.IncompleteReadError):
                return 0, {}, b""
            status, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in lines)}
            body = await client.reader.readexactly(int(headers.get("content-length", 0)))
            return int(status.split()[1]), headers, body

    async def well(self) -> None:
        """The next caller is served."""
        assert (await self.pod.chat("and now?", key=CLIENT_KEY)).status == 200


def post(body: bytes | Any, headers: str = "", *, path: str = "/v1/chat/completions") -> bytes:
    """A POST with its length."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"POST {path} HTTP/1.1\r\nHost: x\r\n{AUTH}{headers}Content-Length: {len(raw)}\r\n\r\n".encode("latin-1") + raw


def get(path: bytes, headers: bytes = b"") -> bytes:
    """A GET."""
    return b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n" + AUTH.encode() + headers + b"\r\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def target(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Target]:
    """One pod for all attacks: it has to live through all of them."""
    fields = {"execution": {"timeoutSeconds": 2, "maxRetries": 1, "retryDelayMs": 1}, "server": {"maxBodyBytes": LIMIT},
              "auth": {"apiKeysSecretRef": {"name": "tenants"}, "trustedTenantHeader": True}}
    with watched_log() as log:
        async with FakeVendor() as vendor, running(tmp_path_factory.mktemp("attacks"), *resources(runtime(**fields), vendor),
                                                   secret("tenants", acme=CLIENT_KEY)) as pod:
            yield Target(pod, vendor, log)
            assert not [each for each in log.written if CLIENT_KEY in each or '"level":"error"' in each]


MALFORMED = {
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n",
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "version": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "no_host": b"GET /v1/models HTTP/1.1\r\n\r\n",
    "line_feeds": b"GET /v1/models HTTP/1.1\nHost: x\n\n",
    "zero_in_path": get(b"/v1/\x00models"),
    "bytes_in_path": get(b"/v1/\xff\xfe"),
    "space_in_name": get(b"/v1/models", b"X-A : b\r\n"),
    "folded_header": get(b"/v1/models", b"X: a\r\n b\r\n"),
    "many_headers": get(b"/v1/models", b"".join(b"X-%d: y\r\n" % each for each in range(1000))),
    "huge_header": get(b"/v1/models", b"X: " + b"y" * 100_000 + b"\r\n"),
    "huge_line": get(b"/v1/models?" + b"y" * 100_000),
    "two_lengths": post(b"hello!").replace(b"Content-Length: 6", b"Content-Length: 5\r\nContent-Length: 6"),
    "length_and_chunks": get(b"/v1/models", b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") + b"0\r\n\r\nGET /x HTTP/1.1\r\nHost: x\r\n\r\n",
    "negative_length": get(b"/v1/models", b"Content-Length: -1\r\n"),
    "length_in_words": get(b"/v1/models", b"Accept: text/html\r\nContent-Length: <script>\r\n"),
    "odd_transfer": get(b"/v1/models", b"Transfer-Encoding: xchunked\r\n"),
    "brotli": post(CHAT, "Content-Encoding: br\r\n"),
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_what_is_no_http(target: Target, name: str) -> None:
    """A plain 400, the connection ends, and no request is begun: nothing behind it is taken for one either."""
    before = target.vendor.record.total
    status, headers, body = await target.send(MALFORMED[name])
    assert (status, headers["content-type"]) == (400, "text/plain; charset=utf-8")
    assert len(body) < 2000
    assert target.vendor.record.total == before
    await target.well()


NAMED = {
    "route_bytes": (post(CHAT, "x-strata-route: \xff\xfe\r\n"), 404, "route_not_found"),
    "route_quotes": (post(CHAT, 'x-strata-route: a"b\\\r\n'), 404, "route_not_found"),
    "route_long": (post(CHAT, f"x-strata-route: {'r' * 30_000}\r\n"), 404, "route_not_found"),
    "tenant_bytes": (post(CHAT, "x-strata-tenant: \xff\r\n"), 400, "invalid_tenant"),
    "timeout_nan": (post(CHAT, "x-strata-timeout-ms: nan\r\n"), 400, "invalid_header"),
    "timeout_huge": (post(CHAT, "x-strata-timeout-ms: 1e400\r\n"), 400, "invalid_header"),
    "threshold_words": (post(CHAT, "x-strata-similarity-threshold: \xff\r\n"), 400, "invalid_header"),
    "model_line_ends": (post({**CHAT, "model": "x\r\nX-Evil: 1"}), 404, "model_not_found"),
    "model_zero": (post({**CHAT, "model": "\x00"}), 404, "model_not_found"),
    "model_long": (post({**CHAT, "model": "m" * 200_000}), 404, "model_not_found"),
    "encoding_long": (post({"model": "text-embedding-3-small", "input": "x", "encoding_format": "e" * 200_000}, path="/v1/embeddings"),
                      400, "invalid_value"),
    "path_line_ends": (get(b"/v1/models/%0d%0aX-Evil:%201"), 404, "model_not_found"),
    "path_bytes": (get(b"/v1/%ff%fe%0a"), 404, "unknown_url"),
    "key_bytes": (post(CHAT).replace(CLIENT_KEY.encode(), b"\xff\xfe"), 401, "invalid_api_key"),
    "key_none": (post(CHAT).replace(AUTH.encode(), b""), 401, "invalid_api_key"),
    "deep_arrays": (post(b"[" * 100_000 + b"]" * 100_000), 400, "invalid_json"),
    "deep_objects": (post(b'{"a":' * 300 + b"1" + b"}" * 300), 400, "invalid_json"),
    "deep_message": (post(b'{"model":"gpt-4o","messages":[{"role":"user","content":' + b"[" * 400 + b"]" * 400 + b"}]}"), 400, "invalid_json"),
    "not_a_number": (post(b'{"model":"gpt-4o","messages":[],"temperature":NaN}'), 400, "invalid_json"),
    "infinity": (post(b'{"model":"gpt-4o","messages":[],"temperature":-Infinity}'), 400, "invalid_json"),
    "beyond_doubles": (post(b'{"model":"gpt-4o","messages":[],"temperature":1e999}'), 400, "invalid_json"),
    "surrogate": (post(b'{"model":"gpt-4o","messages":[{"role":"user","content":"\\ud800"}]}'), 400, "invalid_json"),
    "invalid_utf8": (post(b'{"model":"gpt-4o\xff"}'), 400, "invalid_json"),
    "utf16": (post(json.dumps(CHAT).encode("utf-16")), 400, "invalid_json"),
    "huge_seed": (post({**CHAT, "seed": 10**30}), 400, "invalid_type"),
    "huge_limit": (post({**CHAT, "max_tokens": -(2**63)}), 400, "integer_below_min_value"),
    "messages_text": (post({**CHAT, "messages": "hi"}), 400, "invalid_type"),
    "messages_of_lists": (post({**CHAT, "messages": [[]]}), 400, "invalid_type"),
    "role_object": (post({**CHAT, "messages": [{"role": {}, "content": "x"}]}), 400, "invalid_type"),
    "body_list": (post([CHAT]), 400, "invalid_type"),
    "execute_field": (post({"x" * 100_000: 1}, path="/v1/execute"), 400, "unknown_parameter"),
    "execute_decision": (post({"decision": [1], "query": "x"}, path="/v1/execute"), 400, "invalid_decision"),
    "gzip_that_is_none": (post(CHAT, "Content-Encoding: gzip\r\n"), 400, "invalid_body"),
    "gzip_bomb": (post(gzip.compress(b" " * 50_000_000), "Content-Encoding: gzip\r\n"), 413, "request_too_large"),
    "over_the_limit": (post(b" " * (LIMIT + 1)), 413, "request_too_large"),
    "chunks_over_the_limit": (get(b"/x").replace(b"GET /x", b"POST /v1/chat/completions").replace(
        b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n") + (b"10000\r\n" + b"x" * 65_536 + b"\r\n") * 5, 413, "request_too_large"),
    "slow_body": (post(b"x" * 100)[:-50], 408, "request_timeout"),
    "expecting_too_much": (post(b"").replace(b"Content-Length: 0", b"Expect: 100-continue\r\nContent-Length: 9999999"), 413, "request_too_large"),
    "metrics_here": (get(b"/metrics"), 404, "unknown_url"),
    "config_here": (get(b"/config"), 404, "unknown_url"),
    "parent": (get(b"/v1/models/../../config"), 404, "model_not_found"),
    "absolute": (get(b"http://169.254.169.254/latest/meta-data"), 404, "unknown_url"),
}


@pytest.mark.parametrize("name", NAMED)
async def test_it_is_refused_in_words(target: Target, name: str) -> None:
    """OpenAI's shape, the request's id, no header of the caller's making, bounded in size; the vendor hears nothing."""
    sent, status, code = NAMED[name]
    before = target.vendor.record.total
    got, headers, body = await target.send(sent)
    assert got == status, body[:500]
    error = json.loads(body)["error"]
    assert sorted(error) == ["code", "message", "param", "type"]
    assert error["code"] == code, error
    assert len(body) < 10_000
    assert headers["x-request-id"].startswith("req-")
    assert "x-evil" not in headers
    assert target.vendor.record.total == before
    await target.well()


HARMLESS = {
    "request_id_bytes": post({**CHAT, "seed": 1}, "x-request-id: a\xff\r\n"),
    "request_id_long": post({**CHAT, "seed": 2}, f"x-request-id: {'i' * 1000}\r\n"),
    "trace_bytes": post({**CHAT, "seed": 3}, "traceparent: 00-\xff-x\r\ntracestate: \xff\r\nbaggage: \xff\r\n"),
    "expect_continue": post({**CHAT, "seed": 4}, "Expect: 200-perhaps\r\n"),
    "two_keys": post(b'{"model":"nobody","model":"gpt-4o","messages":[{"role":"user","content":"last wins"}]}'),
    "gzip": post(gzip.compress(json.dumps({**CHAT, "seed": 5}).encode()), "Content-Encoding: gzip\r\n"),
    "deepest": post(json.dumps({**CHAT, "odd": "X"}).replace('"X"', "[" * 200 + "]" * 200).encode()),
    "control_characters": post({**CHAT, "messages": [{"role": "user", "content": "\x00\x1b[2J\u202e\ufffe"}]}),
    "seed_of_64_bits": post({**CHAT, "seed": 2**63 - 1}),
    "websocket": get(b"/v1/models", b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\n"),
}


@pytest.mark.parametrize("name", HARMLESS)
async def test_it_is_odd_and_answered(target: Target, name: str) -> None:
    """What can be understood is; a request id that cannot be passed on is replaced."""
    status, headers, body = await target.send(HARMLESS[name])
    assert status == 200, body[:500]
    assert headers["x-request-id"].startswith("req-")


async def test_the_vendor_gets_one_reading_of_a_body(target: Target) -> None:
    """Of a key that is given twice the vendor sees only the one that was checked."""
    await target.send(post(b'{"model":"gpt-4o","messages":[{"role":"user","content":"a"}],"temperature":"x","temperature":0.5}'))
    assert target.vendor.record.last.raw.count(b"temperature") == 1


async def test_a_sender_that_waits_to_be_asked_is_asked(target: Target) -> None:
    """``Expect: 100-continue``: first the invitation, then the answer."""
    raw = json.dumps({**CHAT, "seed": 9}).encode()
    async with line(target.pod) as client:
        await client.send(post(raw, "Expect: 100-continue\r\n")[:-len(raw)])
        assert await client.head() == "HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(raw)
        assert (await client.head()).startswith("HTTP/1.1 200 OK")


async def test_a_body_that_is_cut_begins_nothing(target: Target) -> None:
    """Half-closed in the middle of its body."""
    before = target.vendor.record.total
    status, _, _ = await target.send(post(b"x" * 100)[:-50], half=True)
    assert status in (0, 400)
    assert target.vendor.record.total == before
    await target.well()


async def test_a_hundred_thousand_messages(target: Target, tmp_path: Path) -> None:
    """They are a long request, not a wrong one: it is passed on, and others are served meanwhile."""
    async with FakeVendor() as vendor, running(tmp_path, *resources(runtime(execution={"timeoutSeconds": 20}), vendor)) as pod:
        messages = [{"role": "user", "content": "m"}] * 100_000
        body = io.BytesIO(json.dumps({**CHAT, "messages": messages}).encode())
        long = asyncio.create_task(pod.send("POST", "/v1/chat/completions", data=body))
        others = await asyncio.gather(*(pod.chat(f"meanwhile {each}") for each in range(10)))
        assert {each.status for each in others} == {200}
        assert (await long).status == 200
        assert len(next(each for each in vendor.record.requests if len(each.raw) > 1_000_000).json["messages"]) == 100_000


async def test_a_thousand_connections_at_once(target: Target) -> None:
    """Silent ones take nothing from the others: with 900 of them open a hundred callers are served."""
    opened = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", target.pod.server.port) for _ in range(900)))
    try:
        for _, writer in opened[::2]:
            writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-Slow: ")  # a head that never ends
        answers = await asyncio.gather(*(target.pod.chat(f"busy {each}", key=CLIENT_KEY, stream=each % 2 == 0) for each in range(100)))
        assert {each.status for each in answers} == {200}
    finally:
        for _, writer in opened:
            writer.transport.abort()
    await until(lambda: not target.pod.server.drain.in_flight)
    await target.well()


async def test_pipelined_requests_wait_for_each_other(target: Target) -> None:
    """Two hundred on one connection are answered one after the other, in their order."""
    asked = [get(b"/v1/models/%d" % each) for each in range(200)]
    async with line(target.pod) as client:
        await client.send(*asked)
        for each in range(200):
            head = await client.head()
            assert " 404 " in head
            length = int(head.lower().partition("content-length: ")[2].split()[0])
            assert f"'{each}'" in (await client.reader.readexactly(length)).decode()


async def test_garbage_does_not_fill_the_log(target: Target) -> None:
    """Bytes that are no HTTP are nobody's error."""
    before = len(target.log.written)
    for sent in MALFORMED.values():
        await target.send(sent)
    assert not target.log.written[before:]
