"""A fake of Ollama's own API (``/api/chat``, ``/api/embed``, ``/api/tags``, ``/api/version``), byte for byte as its documentation has it.

Requests are checked as the server checks them. ``tests/contract/vendor/test_ollama_sdk.py`` holds it to what the project's own SDK accepts.
"""

from .server import MODELS, OllamaVendor, Reply, lines_of, whole

__all__ = ["MODELS", "OllamaVendor", "Reply", "lines_of", "whole"]
