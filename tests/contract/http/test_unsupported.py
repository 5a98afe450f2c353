"""What a vendor cannot carry, over HTTP: another one is asked, a 400 names it, or it is dropped and named in a header."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from builders import model, pool, runtime, secret
from fakes.vendor import FakeVendor
from pod import Pod, question, running, served_by

DROP = {"x-strata-unsupported": "drop"}


@asynccontextmanager
async def serving(path: Path, *vendors: tuple[FakeVendor, str]) -> AsyncIterator[Pod]:
    """OpenAI providers of the model `m`, by the vendor's name of it."""
    served = [served_by(vendor, f"p{number}", model("m", upstreamName=name), type="openai", priority=number)
              for number, (vendor, name) in enumerate(vendors)]
    async with running(path, runtime(), pool("chat", *served), secret("vendor", apiKey=vendors[0][0].api_key)) as pod:
        yield pod


@pytest.fixture
async def thinker() -> AsyncIterator[FakeVendor]:
    """A vendor with a reasoning model."""
    async with FakeVendor(models=["o3", "gpt-4o"]) as made:
        yield made


async def test_a_hint_is_dropped_and_named(tmp_path: Path, thinker: FakeVendor) -> None:
    """Whole, streamed, from the cache, and in the document of an execution; not where there was none."""
    async with serving(tmp_path, (thinker, "gpt-4o")) as pod:
        answer = await pod.chat(model="m", metadata={"a": "b"})
        assert (answer.status, answer.headers["x-strata-warning"]) == (200, "dropped: metadata")
        assert "metadata" not in thinker.record.last.json
        cached = await pod.chat(model="m", metadata={"a": "b"})
        assert "hit" in cached.cache.parameters
        assert cached.headers["x-strata-warning"] == "dropped: metadata"
        streamed = await pod.chat("Other?", model="m", metadata={"a": "b"}, stream=True)
        assert streamed.headers["x-strata-warning"] == "dropped: metadata"
        assert "x-strata-warning" not in (await pod.chat("Third?", model="m")).headers
        executed = await pod.send("POST", "/v1/execute", json={"query": "Hi", "request": {"model": "m", "metadata": {"a": "b"}}})
        assert executed.json["warnings"] == [{"param": "metadata", "reason": "OpenAI takes it only where the answer is stored"}]


async def test_only_who_has_a_place_for_it_is_asked(tmp_path: Path, thinker: FakeVendor, second: FakeVendor) -> None:
    """And nothing is dropped then."""
    async with serving(tmp_path, (thinker, "o3"), (second, "gpt-4o")) as pod:
        answer = await pod.chat(model="m", temperature=0.2)
        assert (answer.status, answer.headers["x-strata-provider"]) == (200, "p1")
        assert "x-strata-warning" not in answer.headers
        assert thinker.record.total == 0


async def test_where_nobody_has_the_400_names_parameter_and_candidate(tmp_path: Path, thinker: FakeVendor) -> None:
    """With leave it is dropped; that answer is not for those who gave none."""
    async with serving(tmp_path, (thinker, "o3")) as pod:
        refused = await pod.chat(model="m", temperature=0.2)
        assert (refused.status, refused.error["code"], refused.error["param"]) == (400, "unsupported_parameter", "temperature")
        assert "chat/p0/m" in refused.error["message"]
        assert thinker.record.total == 0
        dropped = await pod.chat(model="m", temperature=0.2, max_tokens=50, headers=DROP)
        assert (dropped.status, dropped.headers["x-strata-warning"]) == (200, "dropped: temperature")
        sent: dict[str, Any] = thinker.record.last.json
        assert (sent.get("temperature"), sent.get("max_tokens"), sent["max_completion_tokens"]) == (None, None, 50)
        again = await pod.chat(model="m", temperature=0.2, max_tokens=50, headers=DROP)
        assert "hit" in again.cache.parameters
        assert (await pod.chat(model="m", temperature=0.2, max_tokens=50)).status == 400


async def test_a_dry_run_tells_it(tmp_path: Path, thinker: FakeVendor) -> None:
    """Nobody is called."""
    async with serving(tmp_path, (thinker, "o3")) as pod:
        body = {"messages": question()["messages"], "request": {"model": "m", "temperature": 0.2}}
        told = (await pod.send("POST", "/v1/execute?dryRun=true", json=body)).json
        assert (told["allowed"], told["refusal"]["code"], told["candidates"][0]["reasons"]) == (False, "unsupported_parameter", ["temperature"])
        told = (await pod.send("POST", "/v1/execute?dryRun=true", json=body, headers=DROP)).json
        assert told["plan"]["dropped"][0]["parameters"][0]["param"] == "temperature"
        assert thinker.record.total == 0


async def test_another_value_of_the_header_is_refused(pod: Pod) -> None:
    """Never guessed."""
    answer = await pod.chat(headers={"x-strata-unsupported": "ignore"})
    assert (answer.status, answer.error["param"]) == (400, "x-strata-unsupported")
