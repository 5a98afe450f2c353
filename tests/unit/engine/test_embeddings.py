"""Vectors of two models never mix."""

from __future__ import annotations

import pytest

from fakes.engine_bench import candidate
from fakes.provider import fail
from stratarouter_runtime.model.errors import ExecutionError, Failure

PRIMARY = candidate("a", model="embed", upstream="small-3", space="s")


async def run(bench, *others, failure=Failure.SERVER_ERROR):
    bench.add("a", always=fail(failure, retry_after=500), models=("embed",))
    bench.add("b", models=("embed", "other"))
    return await bench.complete(bench.plan(PRIMARY, *others, family="embeddings"))


@pytest.mark.parametrize("other", [
    candidate("b", model="embed", upstream="small-3"),
    candidate("b", model="other", upstream="small-3", space="t"),
    candidate("b", model="other", upstream="large-3", space="s"),
], ids=["same upstream", "same upstream, other space", "same space"])
async def test_they_fail_over_within_one_space(bench, other):
    assert (await run(bench, other)).candidate == other


@pytest.mark.parametrize("other", [
    candidate("b", model="embed", upstream="large-3"),
    candidate("b", model="embed", upstream="large-3", space="t"),
], ids=["none declared", "another"])
async def test_they_never_fail_over_to_another_space(bench, other):
    with pytest.raises(ExecutionError) as caught:
        await run(bench, other)
    assert caught.value.status == 502
    assert bench.observer.skips == [("b", "EmbeddingSpaceDiffers")]
    assert bench.providers["b"].calls == []


async def test_no_declared_space_equals_no_other(bench):
    bench.add("a", always=fail(Failure.SERVER_ERROR, retry_after=500))
    bench.add("b")
    plan = bench.plan(candidate("a", upstream="x"), candidate("b", upstream="y"), family="embeddings")
    with pytest.raises(ExecutionError):
        await bench.complete(plan)
    assert bench.providers["b"].calls == []


async def test_the_primarys_space_counts_even_where_the_primary_cannot_be_called(bench):
    """Who stored the primary's vectors must not search them with another model's."""
    bench.without_key("a")
    bench.add("b", models=("embed",))
    bench.add("c", models=("embed",))
    good, bad = candidate("c", model="embed", upstream="small-3"), candidate("b", model="embed", upstream="large-3")
    outcome = await bench.complete(bench.plan(PRIMARY, bad, good, family="embeddings"))
    assert outcome.candidate == good


async def test_all_limited_counts_only_those_of_the_space(bench):
    with pytest.raises(ExecutionError) as caught:
        await run(bench, candidate("b", model="embed", upstream="large-3"), failure=Failure.RATE_LIMITED)
    assert (caught.value.status, caught.value.retry_after) == (429, 500)


async def test_a_chat_fails_over_to_any_model(bench):
    bench.add("a", fail(Failure.SERVER_ERROR))
    bench.add("b")
    outcome = await bench.complete(bench.plan(candidate("a", upstream="x"), candidate("b", upstream="y")))
    assert outcome.candidate.provider == "b"
