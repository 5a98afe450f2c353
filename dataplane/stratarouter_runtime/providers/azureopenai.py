"""Azure OpenAI: ``https://NAME.openai.azure.com``, a key in ``api-key`` or a token of Entra ID.

With ``azureopenai.apiVersion`` calls go to ``/openai/deployments/DEPLOYMENT/...``; without, to ``/openai/v1/...``, where the
body's ``model`` is the deployment and the Responses API is served as well. Source: Azure OpenAI REST API reference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

import orjson
from yarl import URL

from stratarouter_runtime.config import AzureOpenAI, Provider
from stratarouter_runtime.model.request import ChatRequest
from stratarouter_runtime.wire import openai_errors
from stratarouter_runtime.wire.answers import VendorError
from stratarouter_runtime.wire.azure_stream import AzureStream
from stratarouter_runtime.wire.decoder import EventDecoder

from .dialect import Outgoing
from .openai import OpenAIProvider

_OWN_PATH = re.compile(r"(/openai)?(/v1|/deployments/[^/]+)?$")
"""What SDKs and the portal append to a resource's endpoint."""

USAGE_SINCE = "2024-09"
"""Earlier versions of the API refuse to be asked for a stream's usage, which is then estimated."""


class AzureOpenAIProvider(OpenAIProvider):
    """One resource, or a gateway in front of it."""

    def __init__(self, config: Provider, *, api_key: str = "", ca_bundle: str | None = None) -> None:
        terms = config.azureopenai or AzureOpenAI()
        self._version = terms.api_version
        self._auth = _authorization(api_key, entra=terms.auth == "entra")
        super().__init__(config, api_key=api_key, ca_bundle=ca_bundle)

    @staticmethod
    def base_url(config: Provider) -> str:
        """The endpoint with ``/openai`` at its end, whatever of the API's own path a user has copied with it."""
        return _OWN_PATH.sub("", config.base_url) + "/openai"

    @staticmethod
    def fixed_headers(api_key: str) -> Mapping[str, str]:  # noqa: ARG004 (it depends on the configuration where the key goes)
        """None: see ``authorization``."""
        return {}

    async def authorization(self, due: float) -> Mapping[str, str]:  # noqa: ARG002 (nothing is fetched)
        """The key or the token, where the configuration says that it goes."""
        return self._auth

    @staticmethod
    def parse_error(raw: bytes) -> VendorError:
        """As OpenAI's; what Azure's filters refused is told by the inner error where the code does not."""
        return parse_error(raw)

    def url(self, path: str, model: str) -> URL:
        """Of a deployment, or of the API without versions."""
        if self._version is None:
            return super().url(f"/v1{path}", model)
        # Built once a deployment: their names are the configuration's.
        return super().url(f"/deployments/{quote(model, safe='')}{path}?api-version={self._version}", model)

    def chat_call(self, request: ChatRequest, model: str, *, stream: bool) -> Outgoing:
        """OpenAI's body; earlier versions are not asked for the usage of a stream."""
        outgoing = super().chat_call(request, model, stream=stream)
        if not stream or request.native is not None or self._version is None or self._version >= USAGE_SINCE:
            return outgoing
        body = {name: value for name, value in orjson.loads(outgoing.body).items() if name != "stream_options"}
        return Outgoing(outgoing.url, orjson.dumps(body), outgoing.headers)

    def decoder(self, request: ChatRequest) -> EventDecoder:
        """A stream whose every event has a choice; a response's as it is."""
        if request.native is not None:
            return super().decoder(request)
        return AzureStream(choices=request.body.get("n") or 1)


def parse_error(raw: bytes) -> VendorError:
    """The vendor's words, with the code of the filter that refused, where one did."""
    told = openai_errors.parse_error(raw)
    if told.code == "content_filter" or b"ResponsibleAIPolicyViolation" not in raw:
        return told
    return VendorError(told.message, told.type, told.param, "content_filter", told.wait)


def _authorization(secret: str, *, entra: bool) -> Mapping[str, str]:
    if not secret:
        return {}
    return {"Authorization": f"Bearer {secret}"} if entra else {"api-key": secret}
