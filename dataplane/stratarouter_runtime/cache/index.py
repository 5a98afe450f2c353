"""Nearest questions within a partition.

While a partition is small its vectors lie in one matrix, and one multiplication finds the nearest exactly. Above
``BRUTE_FORCE`` a graph is built in a thread while the matrix goes on serving, and then takes its place; a graph of which
half is removed is rebuilt in the same way. What came and went meanwhile is applied at the change.

Invariants: one owner, the event loop's thread, because hnswlib must not be asked and added to at once: the thread only
ever touches a graph nobody else knows yet; labels only grow; what is removed or expired is never returned; entries and
bytes are bounded over all partitions, and the oldest entry of the partition unused for the longest goes first.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from stratarouter_runtime.model.cache import Vector

from .graph import GRAPH_BYTES, Form, Graph, Matrix, build

logger = logging.getLogger(__name__)

BRUTE_FORCE = 4_096
"""Vectors up to which multiplying (about 0.2 ms) is as quick as walking a graph, and costs nothing to build."""
FEW = 64
"""Vectors that are added to a finished graph at once (about 10 ms), rather than by the thread."""
RECORD_BYTES = 600
"""Bytes the tables keep for an entry besides vector and text."""
PARTITION_BYTES = 700
"""Bytes a partition costs besides its entries."""
ROUNDS = 4
"""Searches of one look-up: each removes the expired ones it met."""
BUILDER_NICENESS = 10


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An entry found: its exact key, the text it answered, and the cosine."""

    exact: str
    text: str
    score: float


@dataclass(slots=True)
class _Record:
    exact: str
    partition: str
    label: int
    expires: float
    text: str


@dataclass(slots=True)
class _Part:
    form: Form
    records: dict[int, _Record] = field(default_factory=dict)
    job: Future[Graph] | None = None
    failed: bool = False


class VectorIndex:
    """Indexes vectors by partition; ``max_entries`` and ``max_bytes`` (up to a quarter more) hold over all partitions.

    ``executor`` builds graphs; None: a thread of its own, started with the first and of low priority.
    """

    def __init__(self, *, max_entries: int, max_bytes: int, executor: Executor | None = None) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._executor = executor
        self._partitions: OrderedDict[str, _Part] = OrderedDict()
        self._records: dict[str, _Record] = {}
        self._next = 0
        self._stop = threading.Event()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._records)

    def add(self, partition: str, exact: str, vector: Vector, expires: float, text: str = "") -> None:
        """Index an entry, or renew the expiry of the one that answers the same text under that key already.

        A vector of other dimensions than its partition's is ignored.
        """
        known = self._records.get(exact)
        if known is not None and known.partition == partition and known.text == text:
            # It comes twice: from the request that stored it, and over the stream that told everyone.
            known.expires = expires
            return
        self.remove(exact)
        part = self._partitions.get(partition)
        if part is None:
            part = self._partitions[partition] = _Part(Matrix(len(vector)))
            self.bytes += PARTITION_BYTES
        elif len(vector) != part.form.dimensions:
            return
        record = _Record(exact, partition, self._next, expires, text)
        self._next += 1
        part.form.add(record.label, vector)
        part.records[record.label] = record
        self._records[exact] = record
        self.bytes += _size(record, part)
        self._partitions.move_to_end(partition)
        self._tend(part)
        while len(self._records) > self._max_entries or self.bytes > self._max_bytes:
            self._evict()

    def remove(self, exact: str) -> None:
        """Forget an entry; nothing happens where it is not known."""
        record = self._records.pop(exact, None)
        if record is None:
            return
        part = self._partitions[record.partition]
        part.form.remove(record.label)
        del part.records[record.label]
        self.bytes -= _size(record, part)
        if part.records:
            self._tend(part)
        else:
            self._forget(record.partition)

    def drop(self, partition: str) -> None:
        """Forget a partition; nothing happens where it is not known."""
        part = self._partitions.get(partition)
        for record in list(part.records.values()) if part is not None else ():
            self.remove(record.exact)

    def search(self, partition: str, vector: Vector, k: int, now: float) -> list[Neighbour]:
        """The ``k`` nearest entries of a partition that have not expired at ``now`` (Unix seconds), nearest first."""
        for _ in range(ROUNDS):
            part = self._partitions.get(partition)
            if part is None or len(vector) != part.form.dimensions:
                return []
            self._partitions.move_to_end(partition)
            self._tend(part)
            found = [(part.records[label], score) for label, score in part.form.search(vector, k)]
            expired = [record for record, _ in found if record.expires <= now]
            for record in expired:
                self.remove(record.exact)
            if not expired:
                break
        return [Neighbour(record.exact, record.text, min(1.0, score)) for record, score in found if record.expires > now]

    def __contains__(self, partition: str) -> bool:
        return partition in self._partitions

    def clear(self) -> None:
        """Forget everything."""
        for partition in list(self._partitions):
            self._forget(partition)
        self._records.clear()
        self.bytes = 0

    def close(self) -> None:
        """Forget everything and stop building."""
        self._stop.set()
        self.clear()
        if isinstance(self._executor, _Builder):
            self._executor.shutdown(wait=False, cancel_futures=True)

    # --- bounds ---
    def _evict(self) -> None:
        part = next(iter(self._partitions.values()))
        self.remove(next(iter(part.records.values())).exact)

    def _forget(self, partition: str) -> None:
        part = self._partitions.pop(partition)
        self.bytes -= PARTITION_BYTES
        if part.job is not None:
            part.job.cancel()

    # --- form ---
    def _tend(self, part: _Part) -> None:
        """Take over a finished graph, or have one built where it is due."""
        if part.job is not None:
            if part.job.done():
                self._adopt(part, part.job)
            return
        matrix_full = isinstance(part.form, Matrix) and len(part.form) > BRUTE_FORCE
        half_dead = part.form.dead > max(len(part.form), BRUTE_FORCE)
        if half_dead and len(part.form) <= BRUTE_FORCE // 2:
            self._change(part, self._matrix(part))
        elif (matrix_full or half_dead) and not part.failed and not self._stop.is_set():
            self._submit(part, None, list(part.records))

    def _matrix(self, part: _Part) -> Matrix:
        matrix = Matrix(part.form.dimensions)
        labels = list(part.records)
        for label, vector in zip(labels, part.form.vectors(labels), strict=True):
            matrix.add(label, vector)
        return matrix

    def _adopt(self, part: _Part, job: Future[Graph]) -> None:
        part.job = None
        failure = None if job.cancelled() else job.exception()
        if job.cancelled() or failure is not None:
            # A partition whose graph cannot be built stays a matrix: slow beyond some 100,000 entries, never wrong.
            part.failed = True
            logger.error("the graph of a cache partition could not be built", extra={"error": type(failure).__name__})
            return
        graph = job.result()
        late = [label for label in part.records if label not in graph.labels]
        if len(late) > FEW:
            self._submit(part, graph, late)
            return
        if late:
            graph.extend(late, part.form.vectors(late))
        for label in graph.labels - part.records.keys():
            graph.remove(label)
        self._change(part, graph)

    def _change(self, part: _Part, form: Form) -> None:
        self.bytes -= sum(_size(record, part) for record in part.records.values())
        part.form = form
        self.bytes += sum(_size(record, part) for record in part.records.values())

    def _submit(self, part: _Part, graph: Graph | None, labels: list[int]) -> None:
        if self._executor is None:
            self._executor = _Builder()
        part.job = self._executor.submit(build, graph, labels, part.form.vectors(labels), self._stop)


class _Builder(ThreadPoolExecutor):
    """One thread that gives way to the event loop's."""

    def __init__(self) -> None:
        super().__init__(max_workers=1, thread_name_prefix="cache-index", initializer=_give_way)


def _give_way() -> None:
    # Linux keeps a niceness per thread; elsewhere there is no such call.
    with suppress(AttributeError, OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BUILDER_NICENESS)


def _size(record: _Record, part: _Part) -> int:
    graph = GRAPH_BYTES if isinstance(part.form, Graph) else 0
    return RECORD_BYTES + 4 * part.form.dimensions + len(record.text) + graph
