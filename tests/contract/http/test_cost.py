"""Claims: what a request cost is told to the cent, in the header, in `/metrics` and in the execution, by the pool's price, else by the
price list; tokens that a vendor does not tell are estimated and marked; an unknown price stays unknown."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from builders import Document, model, pool, provider, runtime, secret
from fakes.coherevendor import CohereVendor
from fakes.ollamavendor import OllamaVendor
from fakes.ollamavendor import Reply as Said
from fakes.scripted import Fault
from fakes.vendor import FakeVendor, Reply
from pod import CREDENTIALS, running, served_by

COST = "stratarouter_runtime_cost_usd_total"
TOKENS = "stratarouter_runtime_tokens_used_total"
QUICK: Document = {"execution": {"maxRetries": 0}, "cache": {"enabled": False}}
OWN = {"inputPerMillionTokens": "100", "outputPerMillionTokens": "1000", "cachedInputPerMillionTokens": "10"}


def openai_over(vendor: FakeVendor, served: Document | str, **fields: str) -> list[Document]:
    """A pod's resources over the fake as OpenAI."""
    return [runtime(**QUICK), pool("chat", served_by(vendor, "primary", served, **{"type": "openai", **fields})), secret("vendor", apiKey=vendor.api_key)]


@pytest.mark.parametrize(("served", "cached", "rates"), [
    ("gpt-4o-2024-11-20", 0, ("2.5", "10", "1.25")), ("gpt-4o-2024-11-20", 8, ("2.5", "10", "1.25")),
    (model("gpt-4o", price=OWN), 8, ("100", "1000", "10"))])
async def test_the_pools_price_or_the_lists_to_the_cent(tmp_path: Path, served: Document | str, cached: int, rates: tuple[str, str, str]) -> None:
    """What the vendor had cached costs less."""
    given, taken, again = map(Decimal, rates)
    async with FakeVendor(models=["gpt-4o", "gpt-4o-2024-11-20"]) as vendor, running(tmp_path, *openai_over(vendor, served)) as pod:
        vendor.script.say(Reply(text="It is forty-two.", cached=cached))
        answer = await pod.chat("What is six times seven?", model=served if isinstance(served, str) else "gpt-4o")
        usage = answer.json["usage"]
        expected = ((usage["prompt_tokens"] - cached) * given + cached * again + usage["completion_tokens"] * taken) / 1_000_000
        assert Decimal(answer.headers["x-strata-cost-usd"]) == expected
        assert await pod.figure(COST, provider="primary") == pytest.approx(float(expected), rel=1e-12)


async def test_a_stream_costs_what_its_whole_answer_does(tmp_path: Path) -> None:
    """Its cost is known at its end, so it is no header."""
    async with FakeVendor(models=["gpt-4o"]) as vendor, running(tmp_path, *openai_over(vendor, "gpt-4o")) as pod:
        vendor.script.say("It is forty-two.")
        cost = float((await pod.chat("x")).headers["x-strata-cost-usd"])
        vendor.script.say("It is forty-two.")
        assert (await pod.chat("x", stream=True)).streamed_text == "It is forty-two."
        assert await pod.figure(COST) == pytest.approx(2 * cost, rel=1e-12)


async def test_an_unknown_price_is_no_price_of_zero(tmp_path: Path) -> None:
    """Nothing is told where nothing is known."""
    async with FakeVendor(models=["my-own"]) as vendor, running(tmp_path, *openai_over(vendor, "my-own")) as pod:
        answer = await pod.chat("x", model="my-own")
        assert (answer.status, "x-strata-cost-usd" in answer.headers, f"{COST}{{" in await pod.metrics()) == (200, False, False)


async def test_coheres_models_have_the_lists_price_for_its_billed_units(tmp_path: Path) -> None:
    """12 units in at 2.50 and 7 out at 10 US dollars a million; vectors at 0.12."""
    async with CohereVendor() as vendor:
        served = provider("co", "command-a-03-2025", "embed-v4.0", type="cohere", endpoint=vendor.url, credentialsSecretRef=CREDENTIALS)
        async with running(tmp_path, runtime(**QUICK), pool("chat", served), secret("vendor", apiKey=vendor.api_key)) as pod:
            assert (await pod.chat("x", model="command-a-03-2025")).headers["x-strata-cost-usd"] == "0.0001"
            assert (await pod.embed(["a", "b"], model="embed-v4.0")).headers["x-strata-cost-usd"] == "0.00000072"


@pytest.mark.parametrize("stream", [False, True])
async def test_tokens_that_are_not_told_are_estimated_and_marked(tmp_path: Path, stream: bool) -> None:
    """A server that had the prompt cached counts nothing; its price is one of the pool's own."""
    async with OllamaVendor() as vendor:
        served = provider("local", model("qwen3", price=OWN), type="ollama", endpoint=vendor.url)
        async with running(tmp_path, runtime(**QUICK), pool("chat", served)) as pod:
            vendor.say(Said(text="It is forty-two.", prompt=None))
            answer = await pod.chat("What is six times seven?", model="qwen3", stream=stream)
            assert answer.status == 200
            if not stream:
                assert "usage" not in answer.json, "the client is told nothing that the vendor has not said"
                assert Decimal(answer.headers["x-strata-cost-usd"]) > 0
            assert 10 <= await pod.figure(TOKENS, provider="local") <= 40
            assert await pod.figure(COST) > 0
            vendor.say(Said(text="It is forty-two.", prompt=None))
            body = {"request": {"model": "qwen3", "messages": [{"role": "user", "content": "What is six times seven?"}]}}
            executed = (await pod.send("POST", "/v1/execute", json=body)).json
            assert executed["usage"]["estimated"] is True
            assert executed["usage"]["input_tokens"] > 5


async def test_a_failure_costs_nothing(tmp_path: Path) -> None:
    """Nothing was answered."""
    async with OllamaVendor() as vendor:
        served = provider("local", model("qwen3", price=OWN), type="ollama", endpoint=vendor.url)
        async with running(tmp_path, runtime(**QUICK), pool("chat", served)) as pod:
            vendor.say(Fault(500, b'{"error":"lost"}'))
            assert (await pod.chat("x", model="qwen3")).status == 502
            assert f"{COST}{{" not in await pod.metrics()
