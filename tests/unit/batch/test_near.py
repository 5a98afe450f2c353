"""For a short while after its start a call accepts joiners that ask almost the same."""

from __future__ import annotations

import numpy as np
import pytest

from stratarouter_runtime.batch import NearFlights
from stratarouter_runtime.batch.near import MAX_OPEN
from stratarouter_runtime.model.cache import CacheKey


def key(exact: str, text: str | None = None, partition: str = "p") -> CacheKey:
    return CacheKey(scope="s", partition=partition, exact=exact, family="chat", tenant="t", route="r", model="m", text=text or exact)


def unit(*values: float):
    vector = np.array(values, dtype=np.float32)
    return vector / np.linalg.norm(vector)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def make(clock, allowed=lambda a, b: True, **how):
    return NearFlights(allowed, **{"window": 0.05, "threshold": 0.98, "clock": clock, **how})


def test_a_near_question_joins_within_the_window_and_not_after(clock):
    near = make(clock)
    near.opened(key("a"), unit(1, 0))
    assert near.find(key("b"), unit(1, 0.05)) == "a"
    clock.now += 0.06
    assert near.find(key("b"), unit(1, 0.05)) is None


def test_a_less_similar_question_and_another_partition_do_not_join(clock):
    near = make(clock)
    near.opened(key("a"), unit(1, 0))
    assert near.find(key("b"), unit(1, 0.5)) is None
    assert near.find(key("b", partition="q"), unit(1, 0)) is None


def test_the_guard_has_the_last_word(clock):
    near = make(clock, allowed=lambda a, b: a != "pay 10")
    near.opened(key("a", "pay 10"), unit(1, 0))
    assert near.find(key("b", "pay 12"), unit(1, 0)) is None


def test_a_call_that_is_over_takes_no_joiners(clock):
    near = make(clock)
    near.opened(key("a"), unit(1, 0))
    near.closed(key("a"))
    near.closed(key("a"))
    assert near.find(key("b"), unit(1, 0)) is None


def test_the_nearest_of_several_is_joined(clock):
    near = make(clock, threshold=0.5)
    near.opened(key("far"), unit(1, 0.4))
    near.opened(key("close"), unit(1, 0.1))
    assert near.find(key("b"), unit(1, 0)) == "close"


def test_what_is_remembered_is_bounded(clock):
    near = make(clock, window=1e9)
    for number in range(MAX_OPEN + 50):
        near.opened(key(f"k{number}", partition=f"p{number}"), unit(1, 0))
    assert near._count == MAX_OPEN
    assert len(near._open) == MAX_OPEN


def test_without_a_window_nothing_joins(clock):
    near = make(clock, window=0)
    near.opened(key("a"), unit(1, 0))
    assert near.find(key("b"), unit(1, 0)) is None
