"""Bad input, each with its exact reply."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from builders import Document, runtime, secret
from fakes.vendor import FakeVendor
from pod import Answer, Pod, bearing, line, question, resources, running
from stratarouter_runtime.wire.openai_checks import UNPARSABLE

CHAT = "/v1/chat/completions"


def refusal(answer: Answer) -> tuple[int, str, str, str | None, str]:
    """Status, type, code, param and message of an error, after what every error must have."""
    error = answer.error
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["x-request-id"]
    assert answer.headers["x-strata-execution-id"].startswith("exec-")
    return answer.status, error["type"], error["code"], error["param"], error["message"]


def invalid(code: str, param: str | None, message: str, status: int = 400) -> tuple[int, str, str, str | None, str]:
    """What ``refusal`` gives for the caller's mistake."""
    return status, "invalid_request_error", code, param, message


# --- bodies ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"{", b'{"model": "gpt-4o",}', b"\xff\xfe", b"model=gpt-4o", b'{"model": NaN}', b'{"a":1}{"b":2}'])
@pytest.mark.parametrize("path", [CHAT, "/v1/embeddings"])
async def test_malformed_json(pod: Pod, vendor: FakeVendor, path: str, body: bytes) -> None:
    """400 in OpenAI's words, and no vendor is asked."""
    answer = await pod.send("POST", path, data=body)
    assert refusal(answer) == invalid("invalid_json", None, UNPARSABLE)
    assert vendor.record.total == 0


@pytest.mark.parametrize(("body", "kind"), [(b"[]", "an array"), (b'"text"', "a string"), (b"1", "an integer"), (b"null", "null")])
async def test_json_that_is_no_object(pod: Pod, body: bytes, kind: str) -> None:
    """Named by what it is."""
    answer = await pod.send("POST", CHAT, data=body)
    assert refusal(answer) == invalid("invalid_type", None, f"Invalid type for the request's body: expected an object, but got {kind} instead.")


async def test_a_body_nested_beyond_reason(pod: Pod) -> None:
    """Refused, not a crash of the parser."""
    deep = b'{"model":"gpt-4o","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    answer = await pod.send("POST", CHAT, data=deep)
    assert (answer.status, answer.error["code"]) == (400, "invalid_json")


WRONG: list[tuple[Document, str, str | None, str]] = [
    ({}, "missing_required_parameter", "model", "you must provide a model parameter"),
    ({"model": None}, "missing_required_parameter", "model", "you must provide a model parameter"),
    ({"model": 4}, "invalid_type", "model", "Invalid type for 'model': expected a string, but got an integer instead."),
    ({"model": "gpt-4o"}, "missing_required_parameter", "messages", "Missing required parameter: 'messages'."),
    ({"model": "gpt-4o", "messages": "hi"}, "invalid_type", "messages",
     "Invalid type for 'messages': expected an array of objects, but got a string instead."),
    ({"model": "gpt-4o", "messages": []}, "empty_array", "messages",
     "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead."),
    ({"model": "gpt-4o", "messages": ["hi"]}, "invalid_type", "messages[0]",
     "Invalid type for 'messages[0]': expected an object, but got a string instead."),
    ({"model": "gpt-4o", "messages": [{"content": "x"}]}, "missing_required_parameter", "messages[0].role",
     "Missing required parameter: 'messages[0].role'."),
    ({"model": "gpt-4o", "messages": [{"role": "user", "content": 5}]}, "invalid_type", "messages[0].content",
     "Invalid type for 'messages[0].content': expected one of a string or array of objects, but got an integer instead."),
    (question(stream="yes"), "invalid_type", "stream", "Invalid type for 'stream': expected a boolean, but got a string instead."),
    (question(stream=1), "invalid_type", "stream", "Invalid type for 'stream': expected a boolean, but got an integer instead."),
    (question(temperature="hot"), "invalid_type", "temperature",
     "Invalid type for 'temperature': expected a decimal, but got a string instead."),
    (question(n=0), "integer_below_min_value", "n", "Invalid 'n': integer below minimum value. Expected a value >= 1, but got 0 instead."),
    (question(max_tokens=1.5), "invalid_type", "max_tokens", "Invalid type for 'max_tokens': expected an integer, but got a decimal instead."),
    (question(tools={}), "invalid_type", "tools", "Invalid type for 'tools': expected an array of objects, but got an object instead."),
    (question(stream_options={"include_usage": True}), "invalid_value", "stream_options",
     "The 'stream_options' parameter is only allowed when 'stream' is enabled."),
]


@pytest.mark.parametrize(("body", "expected"), [(body, invalid(*rest)) for body, *rest in WRONG],
                         ids=[f"{param}-{code}" for _, code, param, _ in WRONG])
async def test_wrong_types(pod: Pod, vendor: FakeVendor, body: Document, expected: Any) -> None:
    """Each named by its parameter in OpenAI's words, before anything is spent."""
    answer = await pod.send("POST", CHAT, json=body)
    assert refusal(answer) == expected
    assert vendor.record.total == 0


@pytest.mark.parametrize(("given", "code", "param"), [
    (None, "missing_required_parameter", "input"), ([], "empty_array", "input"), (5, "invalid_type", "input"),
    (["a", 5], "invalid_type", "input[1]"), ([[]], "invalid_type", "input[0]"), ({"a": 1}, "invalid_type", "input")])
async def test_wrong_embeddings_inputs(pod: Pod, given: Any, code: str, param: str) -> None:
    """The item is named."""
    answer = await pod.embed(given)
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, code, param)


async def test_an_encoding_that_is_none(pod: Pod) -> None:
    """The supported ones are listed."""
    answer = await pod.embed("x", encoding_format="hex")
    assert refusal(answer) == invalid("invalid_value", "encoding_format",
                                      "Invalid value: 'hex'. Supported values are: 'float' and 'base64'.")


async def test_a_body_over_the_limit(tmp_path: Path, vendor: FakeVendor) -> None:
    """413, announced or not; the limit itself passes; the connection of one that announced it is not left half read."""
    async with running(tmp_path, *resources(runtime(server={"maxBodyBytes": 1024}), vendor)) as pod:
        body = json.dumps(question()).encode()
        fits = body + b" " * (1024 - len(body))
        assert (await pod.send("POST", CHAT, data=fits)).status == 200
        expected = invalid("request_too_large", None, "The request's body is larger than the limit of 1024 bytes.", 413)
        assert refusal(await pod.send("POST", CHAT, data=fits + b" ")) == expected

        async def chunks() -> Any:
            for _ in range(3):
                yield b" " * 512
            yield body

        assert refusal(await pod.send("POST", CHAT, data=chunks())) == expected
        assert vendor.record.total == 1
        assert (await pod.chat("another question")).status == 200


async def test_any_content_type_is_read_as_json(pod: Pod) -> None:
    """As OpenAI's API does; curl sends its own."""
    raw = json.dumps(question()).encode()
    answer = await pod.send("POST", CHAT, data=raw, headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status == 200


# --- URLs, methods and names ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), [
    ("POST", "/v1/chat/completion"), ("GET", "/"), ("POST", "/v1/models"), ("GET", "/v2/models"), ("DELETE", "/v1/files/1"),
    ("POST", "//v1/chat/completions"), ("GET", "/metrics"), ("GET", "/config"), ("GET", "/healthz")])
async def test_an_unknown_url(pod: Pod, method: str, path: str) -> None:
    """404 that repeats what was asked; the platform port's documents are not on this port."""
    answer = await pod.send(method, path)
    assert refusal(answer) == invalid("unknown_url", None, f"Unknown request URL: {method} {path}. Please check the URL for typos.", 404)


@pytest.mark.parametrize("path", [CHAT, "/v1/embeddings"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_another_method(pod: Pod, method: str, path: str) -> None:
    """405 that names the one that is served."""
    answer = await pod.send(method, path)
    assert refusal(answer) == invalid("method_not_supported", None, f"Not allowed to {method} on {path}. Only POST is.", 405)


@pytest.mark.parametrize("name", ["gpt-9", "GPT-4o", "gpt-4o ", "default", "auto", "org/model:1", "ü", "x" * 256])
async def test_an_unknown_model(pod: Pod, vendor: FakeVendor, name: str) -> None:
    """404 `model_not_found` whatever the name, and no vendor is asked."""
    answer = await pod.chat(model=name)
    assert refusal(answer) == invalid("model_not_found", "model",
                                      f"The model '{name}' does not exist or you do not have access to it.", 404)
    assert (await pod.chat(model=name, stream=True)).json == answer.json
    assert vendor.record.total == 0


async def test_a_model_that_is_not_there_to_be_read(pod: Pod) -> None:
    """`GET /v1/models/ID` of an unknown one."""
    answer = await pod.send("GET", "/v1/models/org%2Fgpt-9")
    assert refusal(answer) == invalid("model_not_found", "model",
                                      "The model 'org/gpt-9' does not exist or you do not have access to it.", 404)


async def test_a_chat_model_does_not_embed(tmp_path: Path, vendor: FakeVendor) -> None:
    """A model without the capability is not there for that call."""
    documents = resources(runtime(), vendor)
    documents[1]["spec"]["providers"][0]["models"] = [{"name": "gpt-4o", "capabilities": ["chat"]}]
    async with running(tmp_path, *documents) as pod:
        answer = await pod.embed("x", model="gpt-4o")
        assert (answer.status, answer.error["code"]) == (404, "model_not_found")
        assert vendor.record.total == 0


# --- headers --------------------------------------------------------------------------------------------------------------


async def test_an_unknown_route_header(pod: Pod) -> None:
    """404 that lists the known ones."""
    answer = await pod.chat(headers={"x-strata-route": "biling"})
    assert refusal(answer) == invalid("route_not_found", "x-strata-route", "The route 'biling' does not exist; there are: default.", 404)


@pytest.mark.parametrize(("name", "value", "message"), [
    ("x-strata-timeout-ms", "soon", "The header x-strata-timeout-ms must be a number from 1 to 3600000."),
    ("x-strata-timeout-ms", "0", "The header x-strata-timeout-ms must be a number from 1 to 3600000."),
    ("x-strata-timeout-ms", "nan", "The header x-strata-timeout-ms must be a number from 1 to 3600000."),
    ("x-strata-similarity-threshold", "1.5", "The header x-strata-similarity-threshold must be a number from 0 to 1."),
])
async def test_a_bad_header_value(pod: Pod, vendor: FakeVendor, name: str, value: str, message: str) -> None:
    """400 that names the header, never ignored."""
    answer = await pod.chat(headers={name: value})
    assert refusal(answer) == invalid("invalid_header", name, message)
    assert vendor.record.total == 0


async def test_headers_beyond_reason(pod: Pod) -> None:
    """Refused by the HTTP server itself; the next request is served."""
    answer = await pod.chat(headers={"x-filler": "x" * 40_000})
    assert answer.status == 400
    assert (await pod.chat()).status == 200


async def test_what_is_no_http(pod: Pod) -> None:
    """A TLS handshake on the plain port gets a 400 and the connection ends."""
    async with line(pod) as raw:
        await raw.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64 + b"\r\n\r\n")
        assert " 400 " in (await raw.head()).splitlines()[0]
        assert await raw.closed()
    assert (await pod.chat()).status == 200


# --- keys -----------------------------------------------------------------------------------------------------------------

MISSING = ("You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
           "(i.e. Authorization: Bearer YOUR_KEY).")


@pytest.fixture
def guarded(vendor: FakeVendor) -> list[Document]:
    """Resources with an auth block; the Secret with keys is still to be added."""
    return resources(runtime(auth={"apiKeysSecretRef": {"name": "keys"}}), vendor)


@pytest.mark.parametrize(("method", "path"), [("POST", CHAT), ("POST", "/v1/embeddings"), ("GET", "/v1/models"), ("GET", "/nowhere"), ("GET", CHAT)])
async def test_a_missing_or_wrong_key(tmp_path: Path, guarded: list[Document], vendor: FakeVendor, method: str, path: str) -> None:
    """401 on every path, before the body is read or the URL judged."""
    async with running(tmp_path, *guarded, secret("keys", team="sk-right")) as pod:
        assert refusal(await pod.send(method, path)) == invalid("invalid_api_key", None, MISSING, 401)
        for headers in ({"Authorization": "Bearer sk-wrong"}, {"api-key": "sk-wrong"}):
            assert refusal(await pod.send(method, path, headers=headers)) == invalid(
                "invalid_api_key", None, "Incorrect API key provided.", 401)
        assert vendor.record.total == 0


async def test_a_right_key(tmp_path: Path, guarded: list[Document]) -> None:
    """As either SDK sends it."""
    async with running(tmp_path, *guarded, secret("keys", team="sk-right")) as pod:
        assert (await pod.chat(key="sk-right")).status == 200
        assert (await pod.chat(headers={"api-key": "sk-right"})).status == 200


async def test_keys_that_are_not_there(tmp_path: Path, guarded: list[Document]) -> None:
    """503 with Retry-After for everybody and not ready, until the Secret appears."""
    async with running(tmp_path, *guarded) as pod:
        answer = await pod.chat(key="sk-right")
        assert refusal(answer) == (503, "server_error", "auth_keys_unavailable", None,
                                   "The API keys of this service are not available; try again later.")
        assert answer.headers["Retry-After"] == "5"
        ready = await pod.send("GET", f"{pod.platform}/readyz")
        assert (ready.status, ready.body) == (503, b"the Secret 'keys' holds no API keys\n")
        assert (await pod.config())["missingSecrets"] == [{"secret": "keys", "key": "", "usedBy": "auth"}]
        await pod.reload(*guarded, secret("keys", team="sk-right"))
        assert (await pod.send("GET", f"{pod.platform}/readyz")).status == 200
        assert (await pod.send("POST", CHAT, json=question(), headers=bearing("sk-right"))).status == 200
