"""``/openapi.json`` and ``/docs``: valid, complete, true of what the server really answers, and safe to show."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from builders import Document, runtime, secret, until
from fakes.vendor import FakeVendor
from pod import Answer, Pod, resources, running
from stratarouter_runtime.server.lifecycle import ServeOptions, Server
from stratarouter_runtime.server.openapi import document as made
from stratarouter_runtime.server.openapi import envelope
from stratarouter_runtime.server.openapi.page import render

STREAM = "text/event-stream"
OURS = ("ExecutionResult", "Explanation", "Plan", "Candidate", "Verdict", "Attempt", "Usage", "Error", "PlanEvent", "DeltaEvent",
        "CompletedEvent", "ErrorEvent", "FeedbackResult")
"""Schemas of what this project writes itself: whatever it says must be described."""


# --- complete -------------------------------------------------------------------------------------------------------------


def routes(app: web.Application) -> set[tuple[str, str]]:
    """What the application serves; ``*`` routes only refuse, and HEAD comes with GET."""
    return {(route.method.lower(), route.resource.canonical) for route in app.router.routes()
            if route.method not in ("*", "HEAD") and route.resource is not None}


def test_every_route_is_described_and_every_description_is_served() -> None:
    """Whoever adds a route describes it in server/openapi, in the module of its API."""
    served = routes(Server(ServeOptions(config=()))._client_application())
    described = {(method, path) for path, methods in made()["paths"].items() for method in methods}
    assert served - described == set(), "served and not described in server/openapi"
    assert described - served == set(), "described in server/openapi and not served"


def test_the_document_is_valid_and_says_each_thing_once() -> None:
    """OpenAPI 3.1; nothing unused, nothing unnamed."""
    document = made()
    OpenAPIV31SpecValidator(document).validate()
    operations = [each for methods in document["paths"].values() for each in methods.values()]
    assert len({each["operationId"] for each in operations}) == len(operations)
    assert all(each["summary"] and each["tags"] for each in operations)
    raw = json.dumps(document)
    for kind in ("schemas", "parameters", "headers"):
        for name in document["components"][kind]:
            assert f'#/components/{kind}/{name}"' in raw, f"{kind}/{name} is used nowhere"


def test_examples_are_what_they_are_examples_of() -> None:
    """Of bodies by their schemas, of parameters by theirs."""
    for methods in made()["paths"].values():
        for operation in methods.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                Valid(content["schema"]).check(content["example"])


# --- true -----------------------------------------------------------------------------------------------------------------


def strict(node: Any) -> Any:
    """The schemas without tolerance: what is not described is wrong."""
    if isinstance(node, list):
        return [strict(each) for each in node]
    if not isinstance(node, dict):
        return node
    closed = {key: strict(value) for key, value in node.items()}
    if isinstance(node.get("properties"), dict) and "type" in node and "additionalProperties" not in node:
        closed["additionalProperties"] = False
    return closed


class Valid:
    """Checks values by a schema of the document: ours strictly, vendors' as they are."""

    def __init__(self, schema: Document) -> None:
        document = copy.deepcopy(made())
        schemas = document["components"]["schemas"]
        for name in OURS:
            if name in schemas:
                schemas[name] = strict(schemas[name])
        self._validator = Draft202012Validator({**document, **schema})

    def check(self, value: Any) -> None:
        """Fails with what is not as described."""
        found = [f"{error.json_path}: {error.message[:300]}" for error in self._validator.iter_errors(value)]
        assert found == [], "not as server/openapi describes it"


def operation(method: str, path: str) -> Document:
    described: Document = made()["paths"][path][method]
    return described


def described(method: str, path: str, answer: Answer) -> None:
    """An answer has the status, type, body and headers that the document promises."""
    responses = operation(method, path)["responses"]
    promised = responses.get(str(answer.status), responses.get("default"))
    assert promised is not None, f"{answer.status} is not described"
    media = answer.headers["Content-Type"].partition(";")[0]
    schema = promised["content"][media]["schema"]
    if media == STREAM:
        for event in events(answer, typed="Event" in schema["$ref"]):
            Valid(schema).check(event)
    else:
        Valid(schema).check(answer.json)
    known = {name.lower() for name in promised["headers"]}
    told = {name.lower() for name in answer.headers if name.lower() in {header.lower() for header in envelope.HEADERS}
            or name.lower().startswith("x-")} - {"x-accel-buffering"}
    assert told <= known, "headers that are not described"


def events(answer: Answer, *, typed: bool) -> list[Any]:
    """The events of a stream, as the schema of one has them."""
    frames = [frame for frame in answer.body.decode().split("\n\n") if frame and not frame.startswith(":")]
    found = []
    for frame in frames:
        fields = dict(line.split(": ", 1) for line in frame.split("\n"))
        if fields["data"] != "[DONE]":
            data = json.loads(fields["data"])
            found.append({"event": fields["event"], "data": data} if typed else data)
    return found


TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]

CALLS: list[tuple[str, Document, str, int]] = [
    ("/v1/messages", {"model": "gpt-4o", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}, "", 200),
    ("/v1/messages", {"model": "gpt-4o", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], "stream": True}, "", 200),
    ("/v1/messages", {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}, "", 400),
    ("/v1/messages", {"model": "nobody", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}, "", 404),
    ("/v1/messages/count_tokens", {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}, "", 200),
    ("/v1/chat/completions", {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}, "", 200),
    ("/v1/chat/completions", {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], "tools": TOOLS}, "", 200),
    ("/v1/chat/completions", {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], "stream": True,
                              "stream_options": {"include_usage": True}}, "", 200),
    ("/v1/chat/completions", {"model": "gpt-4o", "messages": "Hi"}, "", 400),
    ("/v1/chat/completions", {"model": "unknown", "messages": [{"role": "user", "content": "Hi"}]}, "", 404),
    ("/v1/responses", {"model": "gpt-4o", "input": "Hi"}, "", 200),
    ("/v1/responses", {"model": "gpt-4o", "input": [{"role": "user", "content": "Hi"}], "stream": True}, "", 200),
    ("/v1/responses", {"model": "gpt-4o", "input": "Hi", "previous_response_id": "resp_1"}, "", 400),
    ("/v1/embeddings", {"model": "text-embedding-3-small", "input": "a"}, "", 200),
    ("/v1/embeddings", {"model": "text-embedding-3-small", "input": ["a", "b"], "encoding_format": "base64"}, "", 200),
    ("/v1/embeddings", {"model": "text-embedding-3-small"}, "", 400),
    ("/v1/execute", {"query": "Hi", "request": {"model": "gpt-4o"}}, "", 200),
    ("/v1/execute", {"decision": {"route_id": "strict", "confidence": 0.9, "scores": {"strict": 0.9}}, "query": "Hi"}, "", 200),
    ("/v1/execute", {"decision": {"route_id": "strict", "confidence": 0.1}, "query": "Hi"}, "", 403),
    ("/v1/execute", {"decision": "strict", "messages": [{"role": "user", "content": "Hi"}], "stream": True}, "", 200),
    ("/v1/execute", {"query": "Hi", "request": {"model": "gpt-4o", "tools": TOOLS}, "stream": True}, "", 200),
    ("/v1/execute", {"query": "Hi", "request": {"model": "gpt-4o"}}, "?dryRun=true", 200),
    ("/v1/execute", {"decision": {"route_id": "strict", "confidence": 0.1}, "query": "Hi"}, "?dryRun=true", 200),
    ("/v1/execute", {"decision": "nowhere", "query": "Hi"}, "", 404),
    ("/v1/execute", {"quarry": "Hi"}, "", 400),
]


@pytest.fixture
async def served(tmp_path: Path, vendor: FakeVendor, second: FakeVendor) -> Any:
    """A route with a policy beside the default one."""
    strict_route = {"name": "strict", "pools": [{"name": "chat", "model": "gpt-4o"}], "context": {"metadata": {"team": "billing"}},
                    "policy": {"minConfidence": 0.5, "blockedProviders": ["second"]}}
    execution = {"timeoutSeconds": 10, "maxRetries": 3, "retryDelayMs": 1}
    async with running(tmp_path, *resources(runtime(execution=execution, routes=[strict_route]), vendor, second)) as pod:
        yield pod


@pytest.mark.parametrize(("path", "body", "query", "status"), CALLS)
async def test_replies_are_as_described(served: Pod, path: str, body: Document, query: str, status: int) -> None:
    """Twice, so that the cache answers where it may; what is sent is as described, too, unless it is refused."""
    if status == 200:
        Valid(operation("post", path)["requestBody"]["content"]["application/json"]["schema"]).check(body)
    for _ in range(2):
        answer = await served.send("POST", path + query, json=body)
        assert answer.status == status
        described("post", path, answer)
        await until(lambda: not served.server.runtime._background)


async def test_feedback_is_as_described(served: Pod) -> None:
    """Counted, not counted again, unknown, and none."""
    judged = await served.chat()
    for about, status in ((judged.headers["x-strata-execution-id"], 200), (judged.headers["x-strata-execution-id"], 200),
                          ("exec-unknown", 404), ("", 400)):
        answer = await served.send("POST", "/v1/feedback", json={"execution_id": about, "correct": True})
        assert answer.status == status
        described("post", "/v1/feedback", answer)


@pytest.mark.parametrize("name", ["gpt-4o", "strict", "unknown"])
async def test_models_are_as_described(served: Pod, name: str) -> None:
    """Listed, one, and one that is not there."""
    described("get", "/v1/models", await served.send("GET", "/v1/models"))
    described("get", "/v1/models/{id}", await served.send("GET", f"/v1/models/{name}"))


@pytest.mark.parametrize(("fault", "statuses"), [("http_500", {502}), ("http_429", {429}), ("http_401", {502}), ("cut", {200})])
async def test_failures_are_as_described(served: Pod, vendor: FakeVendor, second: FakeVendor, fault: str, statuses: set[int]) -> None:
    """Of all attempts: as a body, and inside a stream that had begun."""
    for each in (vendor, second):
        each.script.fail(fault, times=99)
    body = {"query": "Hi", "request": {"model": "gpt-4o"}, "stream": fault == "cut"}
    answer = await served.send("POST", "/v1/execute", json=body)
    assert answer.status in statuses
    described("post", "/v1/execute", answer)
    if fault == "cut":
        assert events(answer, typed=True)[-1]["event"] == "error"


async def test_an_event_nobody_described_would_be_noticed(served: Pod) -> None:
    """The check can fail: a field or an event of another name does not pass."""
    answer = await served.send("POST", "/v1/execute", json={"query": "Hi", "request": {"model": "gpt-4o"}})
    schema = operation("post", "/v1/execute")["responses"]["200"]["content"]["application/json"]["schema"]
    with pytest.raises(AssertionError, match="not as server/openapi"):
        Valid(schema).check({**answer.json, "surprise": 1})
    with pytest.raises(AssertionError, match="not as server/openapi"):
        Valid({"$ref": "#/components/schemas/ExecuteEvent"}).check({"event": "surprise", "data": {}})


async def test_documented_headers_are_those_the_server_sends(served: Pod, vendor: FakeVendor) -> None:
    """Each of them, on one call or another."""
    body = {"decision": {"route_id": "strict", "confidence": 0.9}, "query": "Hi"}
    seen: set[str] = set()
    for _ in range(2):
        seen |= {name.lower() for name in (await served.send("POST", "/v1/execute", json=body)).headers}
        await until(lambda: not served.server.runtime._background)
    vendor.script.fail("http_429", times=99)
    limited = await served.send("POST", "/v1/execute", json={**body, "query": "Again"})
    seen |= {name.lower() for name in limited.headers}
    assert {name.lower() for name in envelope.HEADERS} - seen <= {"x-strata-cost-usd", "x-strata-warning"}


# --- served ---------------------------------------------------------------------------------------------------------------


async def test_the_document_and_the_page_need_no_key_and_the_rest_does(tmp_path: Path, vendor: FakeVendor) -> None:
    """Also while the keys' Secret is missing; nothing of the configuration is in them."""
    guarded = [*resources(runtime("quiet-name", auth={"apiKeysSecretRef": {"name": "keys"}}), vendor), secret("keys", team="sk-team")]
    async with running(tmp_path, *guarded) as pod:
        for path in ("/openapi.json", "/docs"):
            answer = await pod.send("GET", path)
            assert answer.status == 200
            assert b"quiet-name" not in answer.body
            assert (await pod.send("HEAD", path)).status == 200
        assert (await pod.send("GET", "/v1/models")).status == 401
        assert (await pod.send("GET", "/openapi.json")).json == json.loads(json.dumps(made()))


async def test_who_has_it_already_gets_304(pod: Pod) -> None:
    """By its ETag."""
    for path in ("/openapi.json", "/docs"):
        tag = (await pod.send("GET", path)).headers["ETag"]
        assert (await pod.send("GET", path, headers={"If-None-Match": tag})).status == 304
        assert (await pod.send("GET", path, headers={"If-None-Match": '"other"'})).status == 200


async def test_the_page_loads_nothing_and_runs_nothing(pod: Pod) -> None:
    """No script, no address elsewhere, and a policy that would stop both; the style is the one the policy names."""
    answer = await pod.send("GET", "/docs")
    page = answer.body.decode()
    assert re.search(r"<script|\son\w+=|javascript:|(?:src|href)=\"(?:https?:)?//|@import|url\(", page) is None
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    assert f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'" in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


class Reader(HTMLParser):
    """What a browser makes of a page: its text, ids, links, and whether tags are closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words, self.ids, self.links, self.open = "", set[str](), set[str](), list[str]()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids.add(given.get("id") or "")
        if tag == "a":
            self.links.add(given.get("href") or "")
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_page_shows_all_of_the_document() -> None:
    """Every operation, schema, header and parameter, and links that lead somewhere."""
    document = made()
    page = Reader(render(document))
    assert page.open == []
    for path, methods in document["paths"].items():
        assert path in page.words
        assert all(each["summary"] in page.words for each in methods.values())
    for kind in ("schemas", "headers"):
        assert all(name in page.words for name in document["components"][kind])
    assert {link.removeprefix("#") for link in page.links - {"openapi.json"}} <= page.ids
    assert "openapi.json" in page.links


def test_whatever_the_document_says_is_text_on_the_page() -> None:
    """Markup in any string of it stays text."""
    nasty = "<img src=x onerror=alert(1)>`</code><script>`\"'&"
    document = copy.deepcopy(made())

    def spoil(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: spoil(value) if key not in ("$ref", "tags") else value for key, value in node.items()}
        if isinstance(node, list):
            return [spoil(each) for each in node]
        return f"{node}{nasty}" if isinstance(node, str) else node

    spoiled = spoil({key: value for key, value in document.items() if key != "tags"})
    page = render({**spoiled, "tags": [{**tag, "description": nasty} for tag in document["tags"]]})
    assert "<img" not in page
    assert "<script" not in page
    assert Reader(page).open == []
