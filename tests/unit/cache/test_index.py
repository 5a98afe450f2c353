"""The vector index against plain arithmetic: what it finds, what it forgets, and how much it keeps."""

from __future__ import annotations

import threading
from concurrent.futures import Executor, Future

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stratarouter_runtime.cache import index as index_module
from stratarouter_runtime.cache.graph import Graph, Matrix, build
from stratarouter_runtime.cache.index import VectorIndex

DIMENSIONS = 8
FAR = 1e12


class LaterExecutor(Executor):
    """Runs what was submitted when told to, so that a test decides what happens meanwhile."""

    def __init__(self):
        self.waiting = []

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        self.waiting.append((future, fn, args, kwargs))
        return future

    def run(self):
        waiting, self.waiting = self.waiting, []
        for future, fn, args, kwargs in waiting:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except Exception as error:  # noqa: BLE001 (as an executor does)
                    future.set_exception(error)


@pytest.fixture(autouse=True)
def small_matrices(monkeypatch):
    """Graphs from 40 vectors on, so that tests of both forms are quick."""
    monkeypatch.setattr(index_module, "BRUTE_FORCE", 40)
    monkeypatch.setattr(index_module, "FEW", 5)


def unit_vectors(count, seed=1, dimensions=DIMENSIONS):
    vectors = np.random.default_rng(seed).standard_normal((count, dimensions)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def make(executor=None, **bounds):
    return VectorIndex(max_entries=bounds.get("max_entries", 10_000), max_bytes=bounds.get("max_bytes", 10**9),
                       executor=executor or LaterExecutor())


def fill(index, vectors, partition="p", start=0, expires=FAR):
    for number, vector in enumerate(vectors, start=start):
        index.add(partition, f"k{number}", vector, expires, f"text {number}")


def found(index, vector, k=5, partition="p", now=0.0):
    return [neighbour.exact for neighbour in index.search(partition, vector, k, now)]


def nearest(vectors, vector, k, alive=None):
    scores = vectors @ vector
    order = [int(place) for place in np.argsort(-scores, kind="stable")]
    return [f"k{place}" for place in order if alive is None or place in alive][:k]


def test_an_unknown_partition_and_other_dimensions_find_nothing():
    """Neither is an error: both are misses."""
    index = make()
    fill(index, unit_vectors(3))
    assert index.search("other", unit_vectors(1)[0], 5, 0) == []
    assert index.search("p", np.ones(3, dtype=np.float32), 5, 0) == []
    index.add("p", "odd", np.ones(3, dtype=np.float32), FAR)
    assert len(index) == 3


def test_the_nearest_come_first_with_their_cosines_and_texts():
    """While small the answer is exact."""
    index, vectors = make(), unit_vectors(30)
    fill(index, vectors)
    got = index.search("p", vectors[7], 5, 0)
    assert [neighbour.exact for neighbour in got] == nearest(vectors, vectors[7], 5)
    assert got[0].text == "text 7"
    assert got[0].score == pytest.approx(1.0)
    assert all(neighbour.score <= 1.0 for neighbour in got)


def test_no_neighbour_comes_from_another_partition():
    """The partition is a wall, however near the vector behind it."""
    index, vectors = make(), unit_vectors(2)
    index.add("a", "in-a", vectors[0], FAR)
    index.add("b", "in-b", vectors[1], FAR)
    assert found(index, vectors[1], partition="a") == ["in-a"]
    assert "a" in index
    assert "c" not in index


def test_what_is_removed_is_never_found_again():
    """Whatever form the partition has."""
    index, vectors = make(), unit_vectors(30)
    fill(index, vectors)
    index.remove("k7")
    index.remove("k7")
    index.remove("never there")
    assert "k7" not in found(index, vectors[7], k=30)
    assert len(index) == 29


def test_what_has_expired_is_not_returned_and_is_forgotten():
    """The clock is asked at each search; live ones behind the expired are still found."""
    index, vectors = make(), unit_vectors(20)
    fill(index, vectors[:10], expires=100.0)
    fill(index, vectors[10:], start=10)
    assert set(found(index, vectors[0], k=3, now=100.0)) <= {f"k{number}" for number in range(10, 20)}
    assert len(index) < 20


def test_putting_the_same_entry_again_renews_its_expiry():
    """The record of a put comes twice: from the request that made it and over the stream."""
    index, vectors = make(), unit_vectors(1)
    index.add("p", "k", vectors[0], 100.0, "t")
    before = index.bytes
    index.add("p", "k", vectors[0], 200.0, "t")
    assert (len(index), index.bytes) == (1, before)
    assert found(index, vectors[0], now=150.0) == ["k"]


def test_another_text_under_the_same_key_replaces_it():
    """The newest vector counts."""
    index, vectors = make(), unit_vectors(2)
    index.add("p", "k", vectors[0], FAR, "old")
    index.add("p", "k", vectors[1], FAR, "new")
    assert [(each.text, each.score) for each in index.search("p", vectors[1], 5, 0)] == [("new", pytest.approx(1.0))]


def test_a_graph_takes_over_without_losing_what_came_and_went_meanwhile():
    """Until it is built the matrix serves; afterwards late and gone entries are as they should be."""
    executor = LaterExecutor()
    index, vectors = make(executor), unit_vectors(60)
    fill(index, vectors[:41])
    assert len(executor.waiting) == 1
    fill(index, vectors[41:44], start=41)
    index.remove("k3")
    assert found(index, vectors[42])[0] == "k42"
    executor.run()
    assert isinstance(index._partitions["p"].form, Matrix)
    alive = set(range(44)) - {3}
    assert found(index, vectors[42], k=10) == nearest(vectors[:44], vectors[42], 10, alive)
    assert isinstance(index._partitions["p"].form, Graph)
    assert "k3" not in found(index, vectors[3], k=43)


def test_a_graph_that_fell_far_behind_is_extended_in_the_thread():
    """Bulk loading never inserts many vectors on the event loop's thread."""
    executor = LaterExecutor()
    index, vectors = make(executor), unit_vectors(100)
    fill(index, vectors[:41])
    fill(index, vectors[41:], start=41)
    executor.run()
    found(index, vectors[0])
    assert isinstance(index._partitions["p"].form, Matrix)
    assert len(executor.waiting) == 1
    executor.run()
    assert found(index, vectors[99])[0] == "k99"
    assert isinstance(index._partitions["p"].form, Graph)


def test_a_graph_of_which_half_is_dead_is_rebuilt():
    """Removed vectors take space until then; few left become a matrix again."""
    executor = LaterExecutor()
    index, vectors = make(executor), unit_vectors(400)
    fill(index, vectors)
    executor.run()
    found(index, vectors[0])
    executor.run()
    found(index, vectors[0])
    graph = index._partitions["p"].form
    assert isinstance(graph, Graph)
    for number in range(201):
        index.remove(f"k{number}")
    executor.run()
    assert found(index, vectors[350])[0] == "k350"
    rebuilt = index._partitions["p"].form
    assert isinstance(rebuilt, Graph)
    assert rebuilt is not graph
    assert rebuilt.dead == 0
    for number in range(201, 390):
        index.remove(f"k{number}")
    executor.run()
    found(index, vectors[395])
    assert found(index, vectors[395])[0] == "k395"
    assert isinstance(index._partitions["p"].form, Matrix)


def test_a_graph_that_cannot_be_built_leaves_the_matrix_serving(monkeypatch, caplog):
    """It is tried once and reported; nothing is wrong but the speed."""
    monkeypatch.setattr(index_module, "build", lambda *_: 1 / 0)
    executor = LaterExecutor()
    index, vectors = make(executor), unit_vectors(50)
    fill(index, vectors)
    executor.run()
    assert found(index, vectors[3])[0] == "k3"
    assert not executor.waiting
    assert "could not be built" in caplog.text


def test_entries_are_bounded_and_the_oldest_of_the_least_used_partition_goes_first():
    """Partitions in use keep their entries."""
    index, vectors = make(max_entries=4), unit_vectors(6)
    index.add("old", "o1", vectors[0], FAR)
    index.add("old", "o2", vectors[1], FAR)
    index.add("new", "n1", vectors[2], FAR)
    found(index, vectors[0], partition="old")
    index.add("new", "n2", vectors[3], FAR)
    found(index, vectors[0], partition="old")
    index.add("third", "t1", vectors[4], FAR)
    assert found(index, vectors[2], partition="new") == ["n2"]
    assert len(index) == 4


def test_bytes_are_bounded_also_within_one_partition():
    """One tenant with one prompt must not grow without bound."""
    index, vectors = make(max_bytes=20_000), unit_vectors(200)
    fill(index, vectors)
    assert index.bytes <= 20_000
    assert 10 < len(index) < 40
    assert found(index, vectors[199])[0] == "k199"


def test_clearing_and_closing_leave_nothing():
    """Bytes return to zero; a closed index builds nothing more."""
    executor = LaterExecutor()
    index = make(executor)
    fill(index, unit_vectors(50))
    index.clear()
    assert (len(index), index.bytes, found(index, unit_vectors(1)[0])) == (0, 0, [])
    executor.run()
    index.close()
    fill(index, unit_vectors(50))
    assert not executor.waiting


def test_its_own_thread_builds_and_can_be_stopped():
    """Without an executor it starts one; closing neither waits for nor keeps a build."""
    index, vectors = VectorIndex(max_entries=1_000, max_bytes=10**9), unit_vectors(41)
    # The last one starts the build: any later one might already take it over.
    fill(index, vectors)
    job = index._partitions["p"].job
    assert job.result(30) is not None
    assert found(index, vectors[5])[0] == "k5"
    index.close()
    stopped = threading.Event()
    stopped.set()
    assert len(build(None, [1, 2], vectors[:2], stopped)) == 0


def test_a_graph_whose_neighbours_are_all_dead_gives_what_it_can():
    """hnswlib raises where it finds fewer than asked for; that is not the caller's trouble."""
    graph, vectors = Graph(DIMENSIONS, 300), unit_vectors(300)
    graph.extend(list(range(300)), vectors)
    for label in range(295):
        graph.remove(label)
    assert {label for label, _ in graph.search(vectors[0], 5)} <= set(range(295, 300))
    for label in range(295, 300):
        graph.remove(label)
    assert graph.search(vectors[0], 5) == []


def test_a_matrix_gives_back_space():
    """What once was large does not stay so."""
    matrix, vectors = Matrix(DIMENSIONS), unit_vectors(100)
    for label, vector in enumerate(vectors):
        matrix.add(label, vector)
    for label in range(95):
        matrix.remove(label)
    assert len(matrix._rows) <= 20
    assert matrix.search(vectors[97], 1)[0][0] == 97


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("aaaard"), st.integers(0, 119), st.integers(0, 2)), max_size=160), st.integers(0, 119))
def test_any_course_of_events_ends_like_a_plain_list(steps, asked):
    """Additions, removals and finished builds in any order leave what a list would hold, in both forms."""
    executor = LaterExecutor()
    index, vectors = make(executor), unit_vectors(120)
    alive = {0: {}, 1: {}, 2: {}}
    for action, number, partition in steps:
        key = f"k{number}"
        for other in alive.values():
            other.pop(number, None)
        if action == "a":
            index.add(str(partition), key, vectors[number], FAR, key)
            alive[partition][number] = vectors[number]
        elif action == "r":
            index.remove(key)
        else:
            index.remove(key)
            executor.run()
    assert len(index) == sum(len(each) for each in alive.values())
    for partition, held in alive.items():
        got = index.search(str(partition), vectors[asked], 5, 0)
        best = sorted((float(vector @ vectors[asked]) for vector in held.values()), reverse=True)[:5]
        assert [neighbour.score for neighbour in got] == pytest.approx(best, abs=1e-5)
        assert {int(neighbour.exact[1:]) for neighbour in got} <= held.keys()
