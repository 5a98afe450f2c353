"""A fake of Cohere's API, version 2 (chat and embed), byte for byte as its reference documents it.

Requests are checked as the vendor checks them: unknown fields, wrong types and combinations it refuses are errors with
its bodies. ``tests/contract/vendor/test_cohere_sdk.py`` holds it to what the vendor's own SDK accepts.
"""

from .server import MODELS, CohereVendor, Reply, events_of

__all__ = ["MODELS", "CohereVendor", "Reply", "events_of"]
