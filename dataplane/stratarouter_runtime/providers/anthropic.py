"""Anthropic: ``https://api.anthropic.com``, the Messages API, key in ``x-api-key``.

Version 2023-06-01 is asked for, because the next one (2026-10-21) refuses to sample with parameters; a caller that speaks the
dialect itself gets the version that it was written for.
Beta features are asked for in the provider's extra headers (``anthropic-beta``). A request that came in Anthropic's own format
goes out as it came, with only what must change.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from yarl import URL

from stratarouter_runtime.config import Provider
from stratarouter_runtime.model.request import ChatRequest
from stratarouter_runtime.model.response import ChatResponse
from stratarouter_runtime.wire import anthropic_errors, anthropic_native, anthropic_request, anthropic_response
from stratarouter_runtime.wire.answers import VendorError
from stratarouter_runtime.wire.anthropic_stream import MessageStream
from stratarouter_runtime.wire.decoder import EventDecoder

from .dialect import DialectProvider, Outgoing
from .endpoints import versioned

BETA, VERSION = "anthropic-beta", "anthropic-version"


class AnthropicProvider(DialectProvider):
    """Anthropic's API, or a gateway that serves it under a path of its own."""

    needs_limit = True

    def __init__(self, config: Provider, *, api_key: str = "", ca_bundle: str | None = None) -> None:
        super().__init__(config, api_key=api_key, ca_bundle=ca_bundle)
        self._url = URL(f"{versioned(config.base_url)}/messages")
        name, value = next(((name, value) for name, value in config.headers.items() if name.lower() == BETA), (BETA, ""))
        self._beta_name, self._betas = name, value

    @staticmethod
    def fixed_headers(api_key: str) -> Mapping[str, str]:
        """The key and the API's version."""
        version = {VERSION: anthropic_request.VERSION}
        return {**version, "x-api-key": api_key} if api_key else version

    @staticmethod
    def parse_error(raw: bytes) -> VendorError:
        """Anthropic's error object."""
        return anthropic_errors.parse_error(raw)

    def chat_call(self, request: ChatRequest, model: str, *, stream: bool) -> Outgoing:
        """The caller's own body where it is Anthropic's, else the request translated."""
        own = anthropic_native.upstream(request, model=model, stream=stream)
        if own is not None:
            return Outgoing(self._url, own, self._own_headers(request))
        return Outgoing(self._url, anthropic_request.encode(request.body, model=model, stream=stream))

    def read_chat(self, raw: bytes, request: ChatRequest) -> ChatResponse:
        """The message as a completion, and itself where the caller speaks Anthropic's dialect."""
        return anthropic_response.read_message(raw, created=int(time.time()), answered=_answered(request), native=_native(request))

    def decoder(self, request: ChatRequest) -> EventDecoder:
        """The events of a message."""
        return MessageStream(created=int(time.time()), answered=_answered(request), native=_native(request))

    def _own_headers(self, request: ChatRequest) -> Mapping[str, str]:
        """The version that the caller was written for, and its beta features after the provider's."""
        asked = request.native.headers if request.native is not None else {}
        made = {VERSION: asked[VERSION]} if VERSION in asked else {}
        if BETA in asked:
            features = (each.strip() for each in f"{self._betas},{asked[BETA]}".split(","))
            made[self._beta_name] = ",".join(dict.fromkeys(each for each in features if each))
        return made


def _native(request: ChatRequest) -> bool:
    return request.asked_in("anthropic") is not None


def _answered(request: ChatRequest) -> bool:
    """Whether a structured answer may come as the call of a tool: which one is told by the tool's name."""
    return anthropic_request.structured(request.body)
