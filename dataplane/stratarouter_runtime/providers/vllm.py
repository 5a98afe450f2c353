"""vLLM's OpenAI-compatible server: ``http://localhost:8000/v1``, a key only where it was started with ``--api-key``.

Its errors have a numeric code, older ones without the ``error`` object; in mid-stream it sends ``[DONE]`` after an
error. Both are understood by the codec.
"""

from __future__ import annotations

from stratarouter_runtime.config import Provider

from .endpoints import versioned
from .openai_wire import OpenAIWireProvider


class VllmProvider(OpenAIWireProvider):
    """A vLLM server."""

    @staticmethod
    def base_url(config: Provider) -> str:
        """The endpoint with ``/v1`` at its end."""
        return versioned(config.base_url)
