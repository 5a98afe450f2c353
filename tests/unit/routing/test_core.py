"""The router over the real Rust core: what it accepts, what it decides, and that the core's gaps are closed."""

from __future__ import annotations

import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from stratarouter import Route as TheirRoute

from stratarouter_runtime import core
from stratarouter_runtime.bridge.decisions import check
from stratarouter_runtime.config import Route
from stratarouter_runtime.core import Router

UTTERANCES = {"billing": ["where is my invoice", "i was charged twice"], "shipping": ["where is my parcel"]}
EAST, NORTH, UP = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]
EACH = [EAST, NORTH, UP]


def router(**settings: Any) -> Router:
    """Three utterances of two routes, one axis each."""
    made = Router(**settings)
    made.add_routes(UTTERANCES)
    made.build_index(EACH)
    return made


# --- what is refused ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("embeddings", [[EAST], [*EACH, EAST], [EAST] * 1_000])
def test_another_number_of_vectors_is_refused_with_the_number_that_was_expected(embeddings: list[Any]) -> None:
    """One per utterance or one per route: nothing else has a meaning."""
    made = Router()
    made.add_routes(UTTERANCES)
    with pytest.raises(ValueError, match=r"expected 3 embeddings, one per utterance, or 2, one per route, in the order"):
        made.build_index(embeddings)
    assert not made.is_built


@pytest.mark.parametrize(("vector", "why"), [
    ([float("nan"), 0.0, 0.0], "must be finite"), ([float("inf"), 0.0, 0.0], "must be finite"), ([0.0, 0.0, 0.0], "all zeros"),
    ([1.0, 0.0], r"must have 3 numbers, but has the shape \(2,\)"), ([], "must have 3 numbers"), ("abc", "list of numbers"),
    (None, "must have 3 numbers|list of numbers|must be finite"), ([[1.0], [0.0], [0.0]], "must have 3 numbers"), ([None, 1, 2], "list of numbers|finite")])
def test_a_vector_without_a_direction_is_refused(vector: Any, why: str) -> None:
    """The core itself answers NaN with an arbitrary route and the score 1."""
    made = router()
    with pytest.raises(ValueError, match=why):
        made.route("where is it", vector)
    with pytest.raises(ValueError, match=r"list of vectors|embedding 1 \(route 'billing'\)"):
        made.build_index([EAST, vector, UP])
    assert made.route("where is it", EAST).route_id == "billing", "a failed build leaves the index that was"


@pytest.mark.parametrize("query", ["", " \n", None, 5])
def test_a_query_without_text_is_refused(query: Any) -> None:
    """There is nothing to route."""
    with pytest.raises(ValueError, match="query must be a text"):
        router().route(query, EAST)


def test_routing_before_building_says_what_is_missing() -> None:
    """Also after further routes: the core would go on with an index that does not know them."""
    made = Router()
    with pytest.raises(ValueError, match="no routes; call add_routes first"):
        made.build_index(EACH)
    made.add_routes(UTTERANCES)
    with pytest.raises(RuntimeError, match="call build_index after add_routes"):
        made.route("where is it", EAST)
    made.build_index(EACH)
    made.add_routes([("other", ["something else"])])
    with pytest.raises(RuntimeError, match="call build_index after add_routes"):
        made.route("where is it", EAST)


@pytest.mark.parametrize(("routes", "why"), [
    ([("a", [])], "route 'a': utterances must be a list of at least one text"), ([("a", "text")], "must be a list of at least one"),
    ([("a", [" "])], "not all blank"), ([("a", ["x" * 4_097])], "1 to 4096 characters"), ([("a", [5])], "an utterance is a text"),
    ([("", ["x"])], "a route is an object or a mapping"), ([("a" * 254, ["x"])], "a route is"), (["billing"], "but got str"),
    ("billing", "but got str"), (5, "but got int"), ([None], "but got NoneType"), ([("a", ["x"]), ("a", ["y"])], "'a' is there twice"),
    ([("billing", ["x"])], "'billing' is there twice"), ([("a", ["x"] * 16_384)], "16387 utterances are more than the 16384"),
    ([("a", ["x"] * 16_385)], "more than 16384"), ([{"name": "a"}], "utterances must be a list")])
def test_routes_that_are_none_are_refused_and_nothing_is_added(routes: Any, why: str) -> None:
    """Half of a configuration would route wrongly."""
    made = Router()
    made.add_routes(UTTERANCES)
    with pytest.raises(ValueError, match=why):
        made.add_routes(routes)
    assert [name for name, _ in made.utterances] == ["billing", "billing", "shipping"]


@pytest.mark.parametrize("settings", [{"dimension": 0}, {"dimension": 65_537}, {"dimension": "3"}, {"threshold": -0.1}, {"threshold": 1.1},
                                      {"threshold": float("nan")}])
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    """By name."""
    with pytest.raises(ValueError, match=next(iter(settings))):
        Router(**settings)


def test_a_dimension_that_was_asked_for_is_kept() -> None:
    """Vectors of another embedder do not slip in."""
    made = Router(dimension=4)
    made.add_routes(UTTERANCES)
    with pytest.raises(ValueError, match=r"embedding 0 \(route 'billing'\) must have 4 numbers"):
        made.build_index(EACH)


def test_more_than_fits_into_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is copied."""
    monkeypatch.setattr(core, "MAX_NUMBERS", 8)
    made = Router()
    made.add_routes(UTTERANCES)
    with pytest.raises(ValueError, match="3 vectors of 3 numbers are more than fits"):
        made.build_index(EACH)


def test_without_stratarouter_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """And comes when a router is made, not with the first request."""
    monkeypatch.setitem(sys.modules, "stratarouter", None)
    with pytest.raises(ImportError, match=r"pip install 'stratarouter-runtime\[core\]'"):
        Router()


def test_importing_the_module_imports_neither_stratarouter_nor_numpy() -> None:
    """Both cost more than the whole package."""
    program = ("import sys; import stratarouter_runtime.core, stratarouter_runtime.model.routing; "
               "print([name for name in ('stratarouter', 'numpy') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- what is decided ----------------------------------------------------------------------------------------------
def test_every_utterance_counts_not_only_a_routes_first() -> None:
    """The core's own Python router indexes one for each route."""
    made = router()
    assert [made.route("text", vector).route_id for vector in EACH] == ["billing", "billing", "shipping"]
    assert made.route("text", NORTH).metadata == {"nearest": "billing", "utterance": "i was charged twice"}


def test_one_vector_per_route_is_enough() -> None:
    """As the original's index has it."""
    made = Router()
    made.add_routes(UTTERANCES)
    made.build_index([EAST, UP])
    assert [made.route("text", vector).route_id for vector in (EAST, UP)] == ["billing", "shipping"]


def test_the_decision_remembers_query_and_embedding() -> None:
    """As they were given, so that the cache need not embed the text again."""
    given = [0.9, 0.1, 0.0]
    decision = router().route("where is my invoice?", given)
    assert decision.query == "where is my invoice?"
    assert decision.embedding is given
    assert check(decision).embedding == (0.9, 0.1, 0.0)


def test_the_confidence_is_the_cores_and_the_scores_tell_the_cosine() -> None:
    """Figures of 0.2.5: a change of the core's formula moves every threshold, and must not go unnoticed."""
    decision = router().route("text", [0.6, 0.0, 0.8])
    assert decision.route_id == "shipping"
    assert decision.scores["semantic"] == pytest.approx(0.8)
    assert decision.confidence == pytest.approx(0.6561, abs=1e-4)
    assert decision.scores["threshold"] == 0.5
    cosines = {0.0: 0.48, 0.3: 0.5473, 0.4: 0.5695, 0.5: 0.5915, 0.7: 0.6349, 1.0: 0.6975}
    single = Router()
    single.add_routes({"only": ["x"]})
    single.build_index([[1.0, 0.0]])
    for cosine, confidence in cosines.items():
        found = single.route("q", [cosine, (1 - cosine * cosine) ** 0.5]).confidence
        assert found == pytest.approx(confidence, abs=1e-4)


def test_below_the_threshold_there_is_no_route_and_the_reason_says_by_how_much() -> None:
    """The core itself returns its best entry however far it is."""
    decision = router(threshold=0.68).route("text", [0.6, 0.0, 0.8])
    assert (decision.route_id, decision.confidence) == (None, pytest.approx(0.6561, abs=1e-4))
    assert decision.reason == "the nearest route, 'shipping', has the confidence 0.656, below the threshold 0.68"
    assert decision.metadata["nearest"] == "shipping"


def test_a_confidence_equal_to_the_threshold_is_enough() -> None:
    """The least that is taken."""
    confidence = router().route("text", [0.6, 0.0, 0.8]).confidence
    assert confidence is not None
    assert router(threshold=confidence).route("text", [0.6, 0.0, 0.8]).route_id == "shipping"


def test_a_vectors_length_does_not_matter() -> None:
    """Not every embedder gives unit vectors; very short and very long ones keep their direction."""
    made = Router()
    made.add_routes(UTTERANCES)
    made.build_index([[5.0, 0, 0], [0, 1e-30, 0], [0, 0, 1e30]])
    assert [made.route("q", vector).route_id for vector in ([1e-40, 0, 0], [0, 1e35, 0], [0, 0, 3])] == ["billing", "billing", "shipping"]
    assert made.route("q", [1e-40, 0, 0]).confidence == pytest.approx(0.6975, abs=1e-4)


def test_an_index_can_be_built_again() -> None:
    """With other vectors of the same routes."""
    made = router()
    made.build_index([UP, NORTH, EAST])
    assert made.route("text", EAST).route_id == "shipping"


@pytest.mark.parametrize("query", ["x" * 100_000, "half \ud800 of a pair", "nul \0", "日本語"])
def test_any_text_can_be_routed(query: str) -> None:
    """What Rust would not take as a text is no concern of the caller."""
    assert router().route(query, EAST).route_id == "billing"


@pytest.mark.parametrize("routes", [
    UTTERANCES,
    list(UTTERANCES.items()),
    [list(pair) for pair in UTTERANCES.items()],
    [{"name": name, "utterances": texts} for name, texts in UTTERANCES.items()],
    [{"id": name, "examples": tuple(texts)} for name, texts in UTTERANCES.items()],
    [SimpleNamespace(name=name, utterances=texts) for name, texts in UTTERANCES.items()],
    [TheirRoute(name=name, utterances=texts, threshold=0.99) for name, texts in UTTERANCES.items()],
    tuple(Route(name=name, utterances=tuple(texts), pools=({"name": "chat"},)) for name, texts in UTTERANCES.items()),
    ((name, texts) for name, texts in UTTERANCES.items()),
], ids=["mapping", "pairs", "lists", "mappings", "ids", "objects", "stratarouter", "contract", "generator"])
def test_routes_come_in_every_documented_form(routes: Any) -> None:
    """The same routes in all of them."""
    made = Router()
    made.add_routes(routes)
    assert made.utterances == [(name, text) for name, texts in UTTERANCES.items() for text in texts]


@pytest.mark.parametrize("route", [{"name": "a", "utterances": ["x"]}, TheirRoute(name="a", utterances=["x"]), {"id": "a", "examples": ["x"]}])
def test_a_single_route_may_come_alone(route: Any) -> None:
    """It is not taken apart."""
    made = Router()
    made.add_routes(route)
    assert made.utterances == [("a", "x")]


@pytest.mark.parametrize("shape", [np.float32, np.float64, list, tuple, lambda row: np.asarray([row])], ids=str)
def test_vectors_come_in_every_usual_form(shape: Any) -> None:
    """Also as the single row of a matrix, as encoders return it."""
    given = np.asarray(EAST, dtype=shape) if shape in (np.float32, np.float64) else shape(EAST)
    made = Router()
    made.add_routes(UTTERANCES)
    made.build_index(np.asarray(EACH))
    assert made.route("text", given).route_id == "billing"


def test_threads_may_route_while_the_index_is_built_again() -> None:
    """Each sees a whole index, the old or the new one."""
    made = router()
    wrong: list[Any] = []

    def ask() -> None:
        for _ in range(300):
            try:
                if made.route("text", NORTH).route_id != "billing":
                    wrong.append("another route")
            except Exception as error:  # noqa: BLE001 (whatever it is, the test must see it)
                wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        made.build_index(EACH)
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("count", [1, 7, 300])
def test_it_agrees_with_the_nearest_utterance(count: int) -> None:
    """Against numpy, on random vectors: an exact search, whatever the number of routes."""
    random = np.random.default_rng(count)
    routes = {f"route-{number}": [f"text {number}.{each}" for each in range(1 + number % 3)] for number in range(count)}
    made = Router()
    made.add_routes(routes)
    names = [name for name, _ in made.utterances]
    vectors = random.normal(size=(len(names), 24))
    made.build_index(vectors)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for query in random.normal(size=(50, 24)):
        cosines = units @ (query / np.linalg.norm(query))
        decision = made.route("text", query)
        if cosines.max() > 0:
            assert (decision.metadata["nearest"], decision.scores["semantic"]) == (names[int(cosines.argmax())], pytest.approx(cosines.max(), abs=1e-5))
