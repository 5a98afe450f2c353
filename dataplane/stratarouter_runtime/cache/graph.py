"""The two forms of a partition's vectors: a matrix, exact and free to build, and an HNSW graph, quick when there are many.

Both keep vectors under labels that only grow and are never used again. Neither is safe for use from two threads at once;
``build`` makes a graph that nobody else sees yet, so that it may run in a thread of its own.

Source: Malkov and Yashunin, arXiv 1603.09320; https://github.com/nmslib/hnswlib (M 16, ef_construction 100, ef 64).
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stratarouter_runtime.model.cache import Vector

M, EF_CONSTRUCTION, EF = 16, 100, 64
GRAPH_BYTES = 4 * 2 * M + 40
"""Bytes a vector costs in the graph besides itself."""

BLOCK = 1_024
"""Rows multiplied at once: more of them would wake the linear algebra's other threads, which costs more CPU than it saves."""
SLICE = 500
"""Vectors added between two looks at whether to stop: about 0.2 s."""

Vectors = NDArray[np.float32]
Found = list[tuple[int, float]]


class Form(Protocol):
    """Vectors under labels."""

    dimensions: int

    def __len__(self) -> int:
        """Vectors that can be found."""

    @property
    def dead(self) -> int:
        """Removed vectors that still take space."""

    def add(self, label: int, vector: Vector) -> None:
        """Keep one more."""

    def remove(self, label: int) -> None:
        """Never find it again."""

    def search(self, vector: Vector, k: int) -> Found:
        """The labels of the ``k`` nearest with their inner products, nearest first."""

    def vectors(self, labels: Sequence[int]) -> Vectors:
        """Copies of vectors, in the order asked for."""


def _grown(capacity: int) -> int:
    """The next capacity: twice while small, then a quarter more, so that little is held in vain."""
    return capacity * 2 if capacity < 1_024 else capacity + capacity // 4


class Matrix:
    """Vectors in rows; a removed one is overwritten by the last."""

    dead = 0

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        self._rows: Vectors = np.empty((1, dimensions), dtype=np.float32)
        self._labels: list[int] = []
        self._places: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._labels)

    def add(self, label: int, vector: Vector) -> None:
        place = len(self._labels)
        if place == len(self._rows):
            self._resize(_grown(place))
        self._rows[place] = vector
        self._places[label] = place
        self._labels.append(label)

    def remove(self, label: int) -> None:
        place, last = self._places.pop(label), self._labels.pop()
        if last != label:
            self._labels[place], self._places[last] = last, place
            self._rows[place] = self._rows[len(self._labels)]
        if 4 * len(self._labels) < len(self._rows):
            self._resize(max(1, 2 * len(self._labels)))

    def search(self, vector: Vector, k: int) -> Found:
        scores = self._scores(np.asarray(vector, dtype=np.float32))
        nearest = np.argpartition(-scores, k)[:k] if len(scores) > k else np.arange(len(scores))
        ordered = nearest[np.argsort(-scores[nearest], kind="stable")]
        return [(self._labels[place], float(scores[place])) for place in ordered]

    def _scores(self, vector: Vectors) -> Vectors:
        scores: Vectors = np.empty(len(self._labels), dtype=np.float32)
        for start in range(0, len(scores), BLOCK):
            end = min(start + BLOCK, len(scores))
            np.dot(self._rows[start:end], vector, out=scores[start:end])
        return scores

    def vectors(self, labels: Sequence[int]) -> Vectors:
        return self._rows[[self._places[label] for label in labels]]

    def _resize(self, capacity: int) -> None:
        kept = len(self._labels)
        rows: Vectors = np.empty((capacity, self.dimensions), dtype=np.float32)
        rows[:kept] = self._rows[:kept]
        self._rows = rows


class Graph:
    """Vectors in an HNSW graph; removed ones are only marked."""

    def __init__(self, dimensions: int, capacity: int) -> None:
        # Only a large partition needs it.
        import hnswlib  # noqa: PLC0415

        self.dimensions = dimensions
        self.labels: set[int] = set()
        self.dead = 0
        self._graph: Any = hnswlib.Index(space="ip", dim=dimensions)
        self._graph.init_index(max_elements=capacity, M=M, ef_construction=EF_CONSTRUCTION, random_seed=1)
        self._graph.set_ef(EF)
        self._graph.set_num_threads(1)

    def __len__(self) -> int:
        return len(self.labels)

    def add(self, label: int, vector: Vector) -> None:
        self.extend([label], np.asarray(vector, dtype=np.float32).reshape(1, -1))

    def extend(self, labels: Sequence[int], vectors: Vectors) -> None:
        """Keep many; the interpreter is free for others meanwhile."""
        needed = len(self.labels) + self.dead + len(labels)
        if needed > self._graph.get_max_elements():
            self._graph.resize_index(max(needed, _grown(self._graph.get_max_elements())))
        self._graph.add_items(vectors, labels, num_threads=1)
        self.labels.update(labels)

    def remove(self, label: int) -> None:
        self.labels.remove(label)
        self._graph.mark_deleted(label)
        self.dead += 1

    def search(self, vector: Vector, k: int) -> Found:
        asked = np.asarray(vector, dtype=np.float32).reshape(1, -1)
        k = min(k, len(self.labels))
        while k:
            try:
                labels, distances = self._graph.knn_query(asked, k=k, num_threads=1)
            except RuntimeError:
                # It says so when marked neighbours leave fewer than k within its beam.
                k //= 2
                continue
            return [(int(label), 1.0 - float(distance)) for label, distance in zip(labels[0], distances[0], strict=True)]
        return []

    def vectors(self, labels: Sequence[int]) -> Vectors:
        return np.asarray(self._graph.get_items(labels, return_type="numpy"), dtype=np.float32)


def build(graph: Graph | None, labels: Sequence[int], vectors: Vectors, stop: Event) -> Graph:
    """A graph of these vectors, or ``graph`` with these added; some of them where ``stop`` is set meanwhile."""
    if graph is None:
        graph = Graph(vectors.shape[1], _grown(len(labels)))
    for start in range(0, len(labels), SLICE):
        if stop.is_set():
            break
        graph.extend(labels[start : start + SLICE], vectors[start : start + SLICE])
    return graph
