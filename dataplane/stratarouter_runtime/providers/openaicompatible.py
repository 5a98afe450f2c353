"""Any other server that speaks OpenAI's API: it has no default endpoint, and a key only where one is configured."""

from __future__ import annotations

from stratarouter_runtime.config import Provider

from .endpoints import versioned_host
from .openai_wire import OpenAIWireProvider


class OpenAICompatibleProvider(OpenAIWireProvider):
    """A server known only by its endpoint."""

    @staticmethod
    def base_url(config: Provider) -> str:
        """The endpoint as its SDK takes it; ``/v1`` is added to a bare host."""
        return versioned_host(config.base_url)
