"""The example of a data plane that routes by itself does what it says."""

from __future__ import annotations

from pathlib import Path

import yaml

from builders import Document
from fakes.vendor import FakeVendor
from pod import running

EXAMPLE = Path(__file__).resolve().parents[3] / "examples/routing.yaml"
ASKED = {
    "Can you send me my last invoice?": "billing", "I paid two times, give me my money back": "billing",
    "My parcel never arrived": "shipping", "When does my order arrive?": "shipping",
    "I can't remember my password": "account", "I want my account deleted": "account",
    "What is the capital of France?": "default", "Write a poem about autumn leaves": "default"}


async def test_each_question_goes_where_a_reader_would_send_it(tmp_path: Path) -> None:
    """With the file as it is, but for the vendor's address."""
    documents: list[Document] = list(yaml.safe_load_all(EXAMPLE.read_text()))
    async with FakeVendor(api_keys=["sk-demo-this-key-opens-nothing"]) as vendor:
        for provider in documents[1]["spec"]["providers"]:
            provider["endpoint"] = vendor.base_url
        async with running(tmp_path, *documents) as pod:
            answers = {text: await pod.chat(text, model="auto") for text in ASKED}
            assert {each.status for each in answers.values()} == {200}
            assert {text: each.headers["x-strata-route"] for text, each in answers.items()} == ASKED
