"""Which providers of a pool serve a model, and in which order they are tried."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from builders import Document, model, pool, provider, snapshot
from stratarouter_runtime.bridge.candidates import PoolCandidates
from stratarouter_runtime.model.plan import Candidate, Rate
from stratarouter_runtime.model.response import Usage


def candidates(*providers: Document, **fields: Any) -> PoolCandidates:
    """The candidates of a pool with these providers."""
    return PoolCandidates("chat", snapshot(None, pool("chat", *providers, **fields)).pools["chat"])


def names(found: list[Candidate]) -> list[str]:
    """Providers in order."""
    return [each.provider for each in found]


def test_the_lowest_priority_is_first_then_the_order_listed() -> None:
    """Strategy `priority`: fixed, also among equals."""
    made = candidates(provider("c", priority=5), provider("a"), provider("b"), provider("d", priority=5), provider("e", priority=1))
    for seed in range(5):
        assert names(made.serve("chat", "gpt-4o", Random(seed))) == ["a", "b", "e", "c", "d"]


def test_weights_mean_nothing_under_priority() -> None:
    """A weight left over from another strategy changes no order."""
    made = candidates(provider("a", weight=0), provider("b", weight=10_000))
    assert names(made.serve("chat", "gpt-4o", Random(1))) == ["a", "b"]


def test_weighted_draws_the_first_by_weight() -> None:
    """Shares of 20,000 draws are within one percent of the weights."""
    made = candidates(provider("a", weight=60), provider("b", weight=30), provider("c", weight=10), strategy="weighted")
    random = Random(42)
    first = Counter(names(made.serve("chat", "gpt-4o", random))[0] for _ in range(20_000))
    for name, share in {"a": 0.6, "b": 0.3, "c": 0.1}.items():
        assert first[name] / 20_000 == pytest.approx(share, abs=0.01)


def test_weighted_draws_the_second_by_what_is_left() -> None:
    """Without replacement: given that `a` came first, `b` and `c` share by 3 to 1."""
    made = candidates(provider("a", weight=60), provider("b", weight=30), provider("c", weight=10), strategy="weighted")
    random = Random(7)
    drawn = [names(made.serve("chat", "gpt-4o", random)) for _ in range(20_000)]
    second = Counter(order[1] for order in drawn if order[0] == "a")
    assert second["b"] / second.total() == pytest.approx(0.75, abs=0.01)
    assert all(sorted(order) == ["a", "b", "c"] for order in drawn)


def test_weighted_draws_among_equal_priorities_only() -> None:
    """The rest stay as fallbacks, by priority."""
    made = candidates(provider("a", weight=1), provider("b", weight=1), provider("z", weight=10_000, priority=1), strategy="weighted")
    random = Random(3)
    orders = {tuple(names(made.serve("chat", "gpt-4o", random))) for _ in range(200)}
    assert orders == {("a", "b", "z"), ("b", "a", "z")}


def test_weight_zero_stands_by_for_all_others() -> None:
    """Also for those of a later priority: it is used only when nothing else is eligible."""
    made = candidates(provider("spare", weight=0), provider("a"), provider("later", priority=9), strategy="weighted")
    random = Random(3)
    assert {tuple(names(made.serve("chat", "gpt-4o", random))) for _ in range(100)} == {("a", "later", "spare")}


def test_a_single_candidate_is_not_drawn() -> None:
    """No randomness is spent where there is no choice."""
    random = Random(1)
    before = random.getstate()
    assert names(candidates(provider("a"), strategy="weighted").serve("chat", "gpt-4o", random)) == ["a"]
    assert random.getstate() == before


def test_only_providers_with_the_model_serve_it() -> None:
    """By the name clients ask for, not by the vendor's."""
    made = candidates(provider("a", model("gpt-4o", upstreamName="gpt-4o-2024")), provider("b", "llama3"))
    assert names(made.serve("chat", "llama3", Random(0))) == ["b"]
    assert names(made.serve("chat", "gpt-4o-2024", Random(0))) == []


def test_a_request_never_meets_a_model_without_the_capability() -> None:
    """Omitted: all that the type can do."""
    made = candidates(
        provider("a", model("m", capabilities=["embeddings"])), provider("b", model("m", capabilities=["chat"])),
        provider("c", model("m")))
    assert names(made.serve("chat", "m", Random(0))) == ["b", "c"]
    assert names(made.serve("embeddings", "m", Random(0))) == ["a", "c"]


def test_models_are_listed_by_family_in_order() -> None:
    """Each once, however many providers serve it."""
    made = candidates(provider("b", "x", model("v", capabilities=["embeddings"]), priority=1), provider("a", "y", "x"))
    assert made.models("chat") == ["y", "x"]
    assert made.models("embeddings") == ["y", "x", "v"]


def test_a_candidate_carries_what_the_engine_needs() -> None:
    """Upstream name, region, space and price of its own provider."""
    served = model("m", upstreamName="m-1", embeddingSpace="space", price={"inputPerMillionTokens": "2.50", "outputPerMillionTokens": "10"})
    (found,) = candidates(provider("a", served, region="eu")).serve("chat", "m", Random(0))
    assert found == Candidate("chat", "a", "m", "m-1", "eu", "space", Rate(Decimal("2.50"), Decimal(10)),
                              type="openaicompatible")
    assert found.rate is not None
    assert found.rate.cost(Usage(input=1_000, output=100)) == Decimal("0.0035")


@pytest.mark.parametrize(("kind", "rate"), [("ollama", Rate(Decimal(0), Decimal(0))), ("vllm", Rate(Decimal(0), Decimal(0))),
                                            ("openai", Rate(Decimal("2.5"), Decimal(10), Decimal("1.25"))), ("openaicompatible", None)])
def test_local_models_cost_nothing_and_others_what_the_list_says(kind: str, rate: Rate | None) -> None:
    """An unknown price is not a price of zero."""
    (found,) = candidates(provider("a", type=kind)).serve("chat", "gpt-4o", Random(0))
    assert found.rate == rate


def test_a_given_price_outweighs_the_types() -> None:
    """Somebody may charge for a local model."""
    served = model("m", price={"inputPerMillionTokens": "1", "outputPerMillionTokens": "2"})
    (found,) = candidates(provider("a", served, type="ollama")).serve("chat", "m", Random(0))
    assert found.rate == Rate(Decimal(1), Decimal(2))
