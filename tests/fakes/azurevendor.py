"""A fake Azure OpenAI resource: the deployments route with its versions, the route without, keys or tokens, and filters.

Sources: Azure OpenAI REST API reference ("Chat completions", 2024-10-21; "v1"), "Content filtering" (``prompt_filter_results`` in an
event of its own, ``content_filter_results`` beside each choice, 400 with an inner error), recorded replies.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from fakes.vendor import FakeVendor
from fakes.vendor.bodies import DONE, Answer, completion, events
from fakes.vendor.errors import ApiError
from fakes.vendor.sending import whole

TOKEN = "eyJ0eXAiOiJKV1QifQ.eyJhdWQiOiJodHRwczovL2NvZ25pdGl2ZXNlcnZpY2VzLmF6dXJlLmNvbSJ9.c2ln"
"""A token of Entra ID that is accepted."""

VERSIONS = frozenset({"2024-02-01", "2024-06-01", "2024-10-21", "2025-04-01-preview"})
_SAFE = {name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")}
_PROMPT = [{"prompt_index": 0, "content_filter_results": {**_SAFE, "jailbreak": {"filtered": False, "detected": False}}}]
FILTERED = "how to hurt"
"""A prompt with these words is refused."""


class FakeAzure(FakeVendor):
    """Serves its models as deployments; ``endpoint`` is what Azure's portal shows."""

    @property
    def endpoint(self) -> str:
        """The resource's endpoint."""
        return f"http://{self.host}:{self.port}"

    def _app(self) -> web.Application:
        app = super()._app()
        for path, serve in (("chat/completions", self._chat_of), ("embeddings", self._embeddings_of)):
            app.router.add_post(f"/openai/deployments/{{deployment}}/{path}", serve)
            app.router.add_post(f"/openai/v1/{path}", serve)
        app.router.add_post("/openai/v1/responses", self._responses_of)
        return app

    async def _chat_of(self, request: web.Request) -> web.StreamResponse:
        self._check(request)
        asked = json.loads(await request.read())
        if FILTERED in json.dumps(asked.get("messages")):
            return whole(json.dumps(_refused()).encode(), {"apim-request-id": "a1"}, status=400)
        return await self._chat(request)

    async def _embeddings_of(self, request: web.Request) -> web.StreamResponse:
        self._check(request)
        return await self._embeddings(request)

    async def _responses_of(self, request: web.Request) -> web.StreamResponse:
        self._check(request)
        return await self._responses(request)

    def _check(self, request: web.Request) -> None:
        """The deployment in the path is the model, whatever the body says; the version must be one that exists."""
        deployment = request.match_info.get("deployment")
        body = self.record.last.json
        if deployment is None:
            if request.query.get("api-version") not in (None, "preview", "latest"):
                raise ApiError(400, "API version not supported", code="BadRequest")
        elif request.query.get("api-version", "") not in VERSIONS:
            raise ApiError(404, "Resource not found", code="404")
        elif request.query["api-version"] < "2024-09" and "stream_options" in body:
            raise ApiError(400, "Unrecognized request argument supplied: stream_options")
        if (deployment or body.get("model")) not in (self.models or {}):
            raise ApiError(404, "The API deployment for this resource does not exist. If you created the deployment within the last 5 "
                           "minutes, please wait a moment and try again.", code="DeploymentNotFound")

    def _check_key(self, request: web.Request) -> None:
        if not request.path.startswith("/openai"):
            return
        if request.headers.get("api-key") not in self.api_keys and request.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise ApiError(401, "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an "
                           "active subscription and use a correct regional API endpoint for your resource.", code="401")

    def _completion(self, answer: Answer) -> bytes:
        body = json.loads(completion(answer))
        for choice in body["choices"]:
            choice["content_filter_results"] = _SAFE
        return json.dumps({**body, "prompt_filter_results": _PROMPT}, separators=(",", ":")).encode()

    def _events(self, answer: Answer) -> Iterable[bytes]:
        yield _compact({"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": _PROMPT})
        for event in events(answer):
            yield event if event == DONE else _filtered(json.loads(event))


def _filtered(body: dict[str, Any]) -> bytes:
    for choice in body["choices"]:
        choice["content_filter_results"] = _SAFE if choice["delta"].get("content") else {}
    body.pop("obfuscation", None)
    return _compact(body)


def _compact(body: dict[str, Any]) -> bytes:
    return re.sub(rb"\n", b" ", json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode())


def _refused() -> dict[str, Any]:
    results = {**_SAFE, "violence": {"filtered": True, "severity": "medium"}}
    message = ("The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify your prompt and "
               "retry. To learn more about our content filtering policies please read our documentation: https://go.microsoft.com/fwlink/?linkid=2198766")
    return {"error": {"message": message, "type": None, "param": "prompt", "code": "content_filter", "status": 400,
                      "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": results}}}
