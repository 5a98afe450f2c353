"""Nearest questions within a partition.

While a partition is small its vectors lie in one matrix, and one multiplication finds the nearest exactly; above
``BRUTE_FORCE`` it moves to an HNSW graph (hnswlib: M 16, ef_construction 100, ef 64).

Invariants: one owner, on the event loop's thread, because hnswlib must not be asked and added to at once; labels only
grow; a removed vector is never returned; entries and bytes are bounded over all partitions, and the partition that was
used the longest time ago goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stratarouter_runtime.model.cache import Vector

BRUTE_FORCE = 4_096
"""Vectors up to which multiplying is quicker than walking a graph, and costs nothing to build."""
FIRST_ROWS = 8
M, EF_CONSTRUCTION, EF = 16, 100, 64
GRAPH_BYTES = 4 * 2 * M + 16
"""Bytes a vector costs in the graph besides itself."""
RECORD_BYTES = 400
"""Bytes the tables keep for an entry: two digests, a label, an expiry."""

Neighbours = list[tuple[str, float]]


class _Matrix:
    """Vectors in rows; a removed one is overwritten by the last."""

    def __init__(self, dimensions: int) -> None:
        self.rows: NDArray[np.float32] = np.empty((FIRST_ROWS, dimensions), dtype=np.float32)
        self.names: list[str] = []
        self.places: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.names)

    def add(self, name: str, vector: Vector) -> None:
        if len(self.names) == len(self.rows):
            grown = np.empty((2 * len(self.rows), self.rows.shape[1]), dtype=np.float32)
            grown[:len(self.rows)] = self.rows
            self.rows = grown
        self.places[name] = len(self.names)
        self.rows[len(self.names)] = vector
        self.names.append(name)

    def remove(self, name: str) -> None:
        place, last = self.places.pop(name), self.names.pop()
        if last != name:
            self.names[place], self.places[last] = last, place
            self.rows[place] = self.rows[len(self.names)]

    def search(self, vector: Vector, k: int) -> Neighbours:
        scores = self.rows[:len(self.names)] @ vector
        nearest = np.argpartition(-scores, k)[:k] if len(scores) > k else np.arange(len(scores))
        ordered = nearest[np.argsort(-scores[nearest], kind="stable")]
        return [(self.names[place], float(scores[place])) for place in ordered]

    def vectors(self) -> NDArray[np.float32]:
        return self.rows[:len(self.names)]

    @property
    def bytes(self) -> int:
        return int(self.rows.nbytes) + RECORD_BYTES * len(self.names)


class _Graph:
    """Vectors in an HNSW graph; removed ones are marked, and it is rebuilt when half of them are."""

    def __init__(self, names: list[str], vectors: NDArray[np.float32]) -> None:
        self.dimensions = int(vectors.shape[1])
        self.labels: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._next = 0
        self._dead = 0
        self._graph = self._make(2 * len(names))
        self._extend(names, vectors)

    def __len__(self) -> int:
        return len(self.labels)

    def add(self, name: str, vector: Vector) -> None:
        if self._next == self._graph.get_max_elements():
            if self._dead * 2 >= self._next:
                self._rebuild()
            else:
                self._graph.resize_index(2 * self._next)
        self._extend([name], vector.reshape(1, -1))

    def remove(self, name: str) -> None:
        label = self.labels.pop(name)
        del self._names[label]
        self._graph.mark_deleted(label)
        self._dead += 1
        if self._dead * 2 >= self._next and self.labels:
            self._rebuild()

    def search(self, vector: Vector, k: int) -> Neighbours:
        labels, distances = self._graph.knn_query(vector.reshape(1, -1), k=min(k, len(self.labels)), num_threads=1)
        return [(self._names[int(label)], 1.0 - float(distance)) for label, distance in zip(labels[0], distances[0], strict=True)
                if int(label) in self._names]

    @property
    def bytes(self) -> int:
        return int(self._graph.get_max_elements()) * (4 * self.dimensions + GRAPH_BYTES) + RECORD_BYTES * len(self.labels)

    def _make(self, capacity: int) -> Any:
        import hnswlib  # noqa: PLC0415 (only a large partition needs it)

        graph = hnswlib.Index(space="ip", dim=self.dimensions)
        graph.init_index(max_elements=max(capacity, 2 * BRUTE_FORCE), M=M, ef_construction=EF_CONSTRUCTION)
        graph.set_ef(EF)
        graph.set_num_threads(1)
        return graph

    def _extend(self, names: list[str], vectors: NDArray[np.float32]) -> None:
        labels = range(self._next, self._next + len(names))
        self._graph.add_items(vectors, list(labels), num_threads=1)
        self._next += len(names)
        self.labels.update(zip(names, labels, strict=True))
        self._names.update(zip(labels, names, strict=True))

    def _rebuild(self) -> None:
        names = list(self.labels)
        vectors = np.asarray(self._graph.get_items([self.labels[name] for name in names]), dtype=np.float32)
        self.labels, self._names, self._next, self._dead = {}, {}, 0, 0
        self._graph = self._make(2 * len(names))
        self._extend(names, vectors)


class VectorIndex:
    """Indexes vectors by partition; ``max_entries`` and ``max_bytes`` hold over all partitions."""

    def __init__(self, *, max_entries: int, max_bytes: int) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._partitions: OrderedDict[str, _Matrix | _Graph] = OrderedDict()
        self._homes: OrderedDict[str, str] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._homes)

    def add(self, partition: str, exact: str, vector: Vector, expires: float) -> None:  # noqa: ARG002 (stores know expiry)
        """Index an entry; the same entry again replaces it. A vector of other dimensions than its partition's is ignored."""
        if exact in self._homes:
            self.remove(exact)
        part = self._partitions.get(partition)
        if part is None:
            part = self._partitions[partition] = _Matrix(len(vector))
        elif len(vector) != _dimensions(part):
            return
        before = part.bytes if len(part) else 0
        part.add(exact, vector)
        if isinstance(part, _Matrix) and len(part) > BRUTE_FORCE:
            part = self._partitions[partition] = _Graph(part.names, part.vectors())
        self._partitions.move_to_end(partition)
        self._homes[exact] = partition
        self.bytes += part.bytes - before
        while len(self._homes) > self._max_entries:
            self.remove(next(iter(self._homes)))
        while self.bytes > self._max_bytes and len(self._partitions) > 1:
            self._drop(next(iter(self._partitions)))

    def remove(self, exact: str) -> None:
        """Forget an entry; nothing happens where it is not known."""
        partition = self._homes.pop(exact, None)
        if partition is None:
            return
        part = self._partitions[partition]
        before = part.bytes
        part.remove(exact)
        if len(part):
            self.bytes += part.bytes - before
        else:
            del self._partitions[partition]
            self.bytes -= before

    def search(self, partition: str, vector: Vector, k: int) -> Neighbours:
        """The ``k`` nearest entries of a partition with their cosines, nearest first."""
        part = self._partitions.get(partition)
        if part is None or len(vector) != _dimensions(part):
            return []
        self._partitions.move_to_end(partition)
        return part.search(vector, k)

    def clear(self) -> None:
        """Forget everything."""
        self._partitions.clear()
        self._homes.clear()
        self.bytes = 0

    def _drop(self, partition: str) -> None:
        part = self._partitions.pop(partition)
        self.bytes -= part.bytes
        for exact in list(part.places if isinstance(part, _Matrix) else part.labels):
            del self._homes[exact]


def _dimensions(part: _Matrix | _Graph) -> int:
    return int(part.rows.shape[1]) if isinstance(part, _Matrix) else part.dimensions
