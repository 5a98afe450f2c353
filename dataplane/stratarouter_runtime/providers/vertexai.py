"""Gemini on Vertex AI: ``https://LOCATION-aiplatform.googleapis.com``, an OAuth token that is renewed before it expires.

Sources: Vertex AI reference, "generateContent" and "Text embeddings API". The Secret holds a service account's key as JSON; without one the token comes from the metadata server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stratarouter_runtime.config import Provider
from stratarouter_runtime.model.request import EmbeddingsRequest
from stratarouter_runtime.wire import gemini_embeddings, gemini_errors
from stratarouter_runtime.wire.answers import VendorError

from .dialect import Outgoing
from .endpoints import versioned
from .google import GoogleProvider
from .google_tokens import GoogleTokens


class VertexAIProvider(GoogleProvider):
    """Google's models on Vertex AI."""

    def __init__(self, config: Provider, *, api_key: str = "", ca_bundle: str | None = None) -> None:
        super().__init__(config, api_key=api_key, ca_bundle=ca_bundle)  # raises for a bundle that is none
        self._tokens = GoogleTokens(api_key, proxy=config.proxy_url, ca_bundle=ca_bundle)
        block = config.vertexai
        self._place = f"projects/{block.project}/locations/{block.location}" if block else ""

    @staticmethod
    def base_url(config: Provider) -> str:
        """The location's host, or the endpoint, with its version: ``v1`` where none is there."""
        return versioned(config.base_url)

    @staticmethod
    def fixed_headers(api_key: str) -> Mapping[str, str]:  # noqa: ARG004 (it is a whole key file, of which only tokens are sent)
        """None: the token changes."""
        return {}

    async def authorization(self, due: float) -> Mapping[str, str]:
        """The token in force."""
        return {"Authorization": f"Bearer {await self._tokens.token(due)}"}

    def parse_error(self, raw: bytes) -> VendorError:  # type: ignore[override]  # called on an instance alone
        """Google's ``Status``; a token that was refused is not sent again."""
        error = gemini_errors.parse_error(raw)
        if error.type == "UNAUTHENTICATED":
            self._tokens.forget()
        return error

    async def aclose(self) -> None:
        """Close all connections, and stop renewing."""
        await self._tokens.aclose()
        await super().aclose()

    def resource(self, model: str) -> str:
        """A model's path: a bare name is Google's, ``PUBLISHER/NAME`` another's; whole paths stay as they are."""
        if model.startswith("projects/"):
            return model
        if model.startswith(("publishers/", "endpoints/")):
            return f"{self._place}/{model}"
        publisher, _, name = model.rpartition("/")
        return f"{self._place}/publishers/{publisher or 'google'}/models/{name}"

    def embedding_calls(self, request: EmbeddingsRequest, model: str) -> Sequence[Outgoing]:
        """As many calls as the model's limits ask for."""
        self._check_texts(request)
        return [Outgoing(self._url(model, call.method), call.body) for call in gemini_embeddings.vertex_calls(request, model)]
