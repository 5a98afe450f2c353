"""Prices that no pool gives come from the bundled list, by type and name; what it does not know stays unknown."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from types import SimpleNamespace

import pytest
from genai_prices.types import ConditionalPrice, ModelPrice, StartDateConstraint, Tier, TieredPrices, TimeOfDateConstraint

from builders import environment, model, pool, provider, snapshot
from stratarouter_runtime.bridge import prices
from stratarouter_runtime.bridge.candidates import PoolCandidates
from stratarouter_runtime.model.plan import Rate
from stratarouter_runtime.model.response import Usage

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def rate(kind: str, upstream: str, *, name: str = "public", endpoint: str = "http://127.0.0.1:9/v1") -> Rate | None:
    """The rate of a model of a provider of that type."""
    found = snapshot(None, pool("chat", provider("a", model(name, upstreamName=upstream), type=kind, endpoint=endpoint)))
    (served,) = found.pools["chat"].providers
    return prices.rate_of(served, served.models[0], now=NOW)


def listed(kind: str, upstream: str, **more: str) -> Rate:
    """The same where there must be one."""
    found = rate(kind, upstream, **more)
    assert found is not None
    return found


@pytest.mark.parametrize(("kind", "name", "expected"), [
    ("openai", "gpt-4o", ("2.5", "10", "1.25")), ("openai", "gpt-4o-2024-11-20", ("2.5", "10", "1.25")),
    ("openai", "gpt-4o-2024-05-13", ("5", "15", None)), ("openai", "gpt-4.1-2025-04-14", ("2", "8", "0.5")),
    ("openai", "o3-2025-04-16", ("2", "8", "0.5")), ("openai", "text-embedding-3-small", ("0.02", "0", None)),
    ("anthropic", "claude-3-5-haiku-20241022", ("0.8", "4", "0.08")), ("google", "gemini-2.5-flash", ("0.3", "2.5", "0.03")),
    ("cohere", "command-r-08-2024", ("0.15", "0.6", None)), ("cohere", "command-a-03-2025", ("2.5", "10", None)),
    ("cohere", "embed-v4.0", ("0.12", "0", None))])
def test_models_are_known_by_the_vendors_name_with_its_date(kind: str, name: str, expected: tuple[str, str, str | None]) -> None:
    """As the vendors' price pages of 2025 have them."""
    if kind not in {"openai", "cohere"}:
        owner = SimpleNamespace(type=kind, base_url="")
        found = prices.rate_of(owner, SimpleNamespace(upstream=name, name=name), now=NOW)  # type: ignore[arg-type]
        assert found is not None
    else:
        found = listed(kind, name)
    assert (found.input, found.output, found.cached_input) == tuple(each and Decimal(each) for each in expected)


@pytest.mark.parametrize(("kind", "upstream", "expected"), [
    ("vertexai", "claude-sonnet-4-5@20250929", "3"), ("vertexai", "gemini-2.5-flash", "0.3"), ("azureopenai", "gpt-4o-mini", "0.15"),
    ("azureopenai", "team-a-chat", "2.5")])
def test_clouds_have_the_prices_of_the_models_they_serve(kind: str, upstream: str, expected: str) -> None:
    """Azure's deployments have any name, so there the public one counts too."""
    found = prices.rate_of(SimpleNamespace(type=kind, base_url=""), SimpleNamespace(upstream=upstream, name="gpt-4o"), now=NOW)  # type: ignore[arg-type]
    assert found is not None
    assert found.input == Decimal(expected)


@pytest.mark.parametrize(("endpoint", "name", "expected"), [
    ("https://api.groq.com/openai/v1", "llama-3.3-70b-versatile", "0.59"), ("http://127.0.0.1:9/v1", "llama-3.3-70b-versatile", None),
    ("http://127.0.0.1:9/v1", "gpt-4o", None)])
def test_a_compatible_server_is_known_by_its_endpoint_alone(endpoint: str, name: str, expected: str | None) -> None:
    """A server of one's own that calls its model `gpt-4o` has not OpenAI's price."""
    found = rate("openaicompatible", name, endpoint=endpoint)
    assert (found and found.input) == (expected and Decimal(expected))


@pytest.mark.parametrize(("kind", "name"), [("openai", "my-own-model"), ("openai", "whisper-1"), ("cohere", "command-z"), ("cohere", "gpt-4o")])
def test_what_the_list_does_not_know_stays_unknown(kind: str, name: str) -> None:
    """Also what is not paid by the token."""
    assert rate(kind, name) is None


def test_a_long_input_makes_all_tokens_dearer() -> None:
    """The steps of the vendors' prices are cliffs."""
    found = prices.rate_of(SimpleNamespace(type="anthropic", base_url=""),  # type: ignore[arg-type]
                           SimpleNamespace(upstream="claude-sonnet-4-5-20250929", name="x"), now=NOW)  # type: ignore[arg-type]
    assert found is not None
    assert (found.at(200_000).input, found.at(200_001).input, found.at(200_001).output) == (Decimal(3), Decimal(6), Decimal("22.5"))
    assert found.cost(Usage(input=200_000, output=1_000)) == Decimal("0.615")
    assert found.cost(Usage(input=300_000, output=1_000)) == Decimal("1.8225")


def test_prices_change_on_their_day_and_discounts_by_the_hour_are_not_promised() -> None:
    """A rate holds for as long as a configuration does."""
    early, late, cheap = (ModelPrice(input_mtok=Decimal(each)) for each in (3, 2, 1))
    night = TimeOfDateConstraint(start_time=NOW.time(), end_time=NOW.replace(hour=23).time())
    both = [ConditionalPrice(constraint=None, prices=early), ConditionalPrice(constraint=StartDateConstraint(start_date=NOW.date()), prices=late),
            ConditionalPrice(constraint=night, prices=cheap)]
    assert prices._standard(both, NOW) is late
    assert prices._standard(both, NOW.replace(year=2025)) is early
    assert prices._standard(both[2:], NOW) is cheap


def test_odd_figures_become_nine_decimals() -> None:
    """The list has figures that were once binary fractions."""
    found = prices._rate(ModelPrice(input_mtok=TieredPrices(base=Decimal("0.18000000000000002"), tiers=[Tier(start=5, price=Decimal(1))])))
    assert found is not None
    assert (found.input, found.above[0][0], found.at(6).input) == (Decimal("0.180000000"), 5, Decimal(1))


@pytest.mark.parametrize(("usage", "cost"), [
    (Usage(input=1000, output=100), "0.0035"), (Usage(input=1000, output=100, cached=400), "0.003"), (Usage(input=10, output=0, cached=400), "0.0000125"),
    (Usage(input=1000, output=100, cached=400, stored=400), "0.0032"), (Usage(input=9000, output=900, billed=(1000, 100)), "0.0035")])
def test_cached_and_stored_input_have_rates_of_their_own(usage: Usage, cost: str) -> None:
    """Cached and stored tokens are part of the input."""
    assert Rate(Decimal("2.5"), Decimal(10), Decimal("1.25"), Decimal(3)).cost(usage) == Decimal(cost)
    assert Rate(Decimal("2.5"), Decimal(10)).cost(Usage(input=1000, output=100, cached=400)) == Decimal("0.0035")


def test_a_pools_own_price_outweighs_the_list() -> None:
    """With its rate for what was cached."""
    own = {"inputPerMillionTokens": "1", "outputPerMillionTokens": "2", "cachedInputPerMillionTokens": "0.5"}
    for given, expected in ((own, Rate(Decimal(1), Decimal(2), Decimal("0.5"))), (None, Rate(Decimal("2.5"), Decimal(10), Decimal("1.25")))):
        served = model("gpt-4o", **({"price": given} if given else {}))
        (found,) = PoolCandidates("chat", snapshot(None, pool("chat", provider("a", served, type="openai"))).pools["chat"]).serve("chat", "gpt-4o", Random(0))
        assert found.rate == expected


def test_only_models_without_a_price_need_the_list() -> None:
    """Local ones never do."""
    own = {"inputPerMillionTokens": "1", "outputPerMillionTokens": "2"}
    served = snapshot(None, pool("chat", provider("a", model("x", price=own), "y"), provider("b", "z", type="ollama"))).pools["chat"].providers
    assert [(each.name, named.name) for each, named in prices.unpriced(served)] == [("a", "y")]


def test_the_list_is_not_imported_before_it_is_needed() -> None:
    """It costs a third of a second and 25 MB."""
    program = "import sys, stratarouter_runtime.runtime, stratarouter_runtime.assembly, stratarouter_runtime.bridge.prices\nprint('genai_prices' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment())
    assert done.stdout.strip() == "False"
