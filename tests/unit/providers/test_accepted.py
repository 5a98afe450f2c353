"""What a vendor would refuse although the caller did not ask for it is left out."""

from __future__ import annotations

from typing import Any

import pytest

from stratarouter_runtime.model.request import ChatRequest
from stratarouter_runtime.providers.openai import OpenAIProvider
from stratarouter_runtime.providers.vllm import VllmProvider

BODY: dict[str, Any] = {"model": "m", "messages": [], "metadata": {"team": "billing"}}


def test_openai_gets_metadata_only_with_what_it_stores() -> None:
    """It answers 400 to metadata without ``store``."""
    assert "metadata" not in OpenAIProvider.accepted(ChatRequest(BODY)).body
    stored = {**BODY, "store": True}
    assert OpenAIProvider.accepted(ChatRequest(stored)).body == stored


@pytest.mark.parametrize("body", [BODY, {**BODY, "store": False}])
def test_others_get_what_was_asked(body: dict[str, Any]) -> None:
    assert VllmProvider.accepted(ChatRequest(body)).body == body
