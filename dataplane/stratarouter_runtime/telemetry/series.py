"""Where figures are kept: cells that are cheap to change, in label sets that are known and bounded.

Prometheus keeps every label set for ever, so one that a client can choose (a model's name, say) would grow without
limit. Here a value that its label's source does not know is replaced by ``other``, and what is admitted is counted.

The client library's own counters take a lock and its histograms walk their buckets; with a dozen changes a request
that costs three times what these cells do. The library still collects, formats and negotiates.

Invariants: a ``Series`` never has more than its limit of label sets besides the one that is ``other`` throughout;
cells change on the event loop's thread alone (or under the caller's lock) and may be read from any.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Generic, TypeVar

from prometheus_client import Metric as Family
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from stratarouter_runtime.config import Snapshot

from .names import NONE, OTHER, Kind, Label, Metric, Source

LIMIT = 2_000
"""Label sets of one metric: 100 routes by 20 providers. More cost memory here and in Prometheus."""
CODE_LIMIT = 64
"""Distinct identifiers from the code that one label may have."""

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_STATUS = re.compile(r"[1-5][0-9][0-9]")


class Cell:
    """A counter's or gauge's figure."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def add(self, amount: float = 1.0) -> None:
        """Count."""
        self.value += amount


class Distribution:
    """A histogram's figures: a count for each bucket (the last without bound), and the sum."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value into the first bucket whose bound is not below it."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value


CellT = TypeVar("CellT", Cell, Distribution)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The names that the configuration allows as label values."""

    routes: frozenset[str] = frozenset()
    providers: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()

    @classmethod
    def of(cls, snapshot: Snapshot) -> Vocabulary:
        """All names of a snapshot."""
        providers = [provider for _, provider in snapshot.providers()]
        return cls(
            routes=frozenset(name for name, _ in snapshot.routes()),
            providers=frozenset(provider.name for provider in providers),
            models=frozenset(model.name for provider in providers for model in provider.models),
        )


class Guards:
    """What each label lets through, by the configuration now in use."""

    def __init__(self) -> None:
        self._known: dict[Source, frozenset[str]] = {}
        self._seen: dict[Label, set[str]] = {}
        self.use(Vocabulary())

    def use(self, vocabulary: Vocabulary) -> None:
        """Let other names through from now on."""
        self._known = {
            Source.ROUTES: vocabulary.routes | {NONE},
            Source.PROVIDERS: vocabulary.providers | {NONE},
            Source.MODELS: vocabulary.models,
        }

    def clean(self, label: Label, value: str) -> str:
        """The value, or ``other``."""
        return value if self._allows(label, value) else OTHER

    def _allows(self, label: Label, value: str) -> bool:
        match label.source:
            case Source.ROUTES | Source.PROVIDERS | Source.MODELS:
                return value in self._known[label.source]
            case Source.CLOSED:
                return value in label.values
            case Source.STATUS:
                return _STATUS.fullmatch(value) is not None
            case Source.CODE:
                return self._coined(label, value)
            case Source.OWN:
                return True

    def _coined(self, label: Label, value: str) -> bool:
        seen = self._seen.setdefault(label, set())
        if value in seen:
            return True
        if len(seen) >= CODE_LIMIT or _IDENTIFIER.fullmatch(value) is None:
            return False
        seen.add(value)
        return True


class Series(Generic[CellT]):
    """A metric's label sets. ``child(*values)`` costs a dictionary look-up for values that were admitted before."""

    def __init__(self, metric: Metric, guards: Guards, make: Callable[[], CellT], limit: int = LIMIT) -> None:
        self.metric = metric
        self._guards = guards
        self._make: Callable[[], CellT] = make
        self._limit = limit
        self._children: dict[tuple[str, ...], CellT] = {}

    def child(self, *values: str) -> CellT:
        """The cell of these label values, cleaned."""
        return self._children.get(values) or self._admit(values)

    def items(self) -> list[tuple[tuple[str, ...], CellT]]:
        """All label sets with their cells; a copy, so that a scrape in another thread may walk it."""
        return list(self._children.items())

    def retain(self) -> None:
        """Drop the label sets that the guards would no longer let through."""
        for values in [each for each in self._children if self._clean(each) != each]:
            del self._children[values]

    def drop(self, *values: str) -> None:
        """Drop one label set."""
        self._children.pop(values, None)

    def reset(self) -> None:
        """Drop all label sets."""
        self._children.clear()

    def _clean(self, values: Iterable[str]) -> tuple[str, ...]:
        return tuple(self._guards.clean(label, value) for label, value in zip(self.metric.labels, values, strict=True))

    def _admit(self, values: tuple[str, ...]) -> CellT:
        cleaned = self._clean(values)
        if cleaned not in self._children and len(self._children) >= self._limit:
            cleaned = (OTHER,) * len(cleaned)
        return self._children.setdefault(cleaned, self._make())


class Families(Collector):
    """All metrics of one runtime, made from their descriptions; what a registry collects."""

    def __init__(self) -> None:
        self._guards = Guards()
        self._simple: list[Series[Cell]] = []
        self._distributions: list[Series[Distribution]] = []

    def simple(self, metric: Metric) -> Series[Cell]:
        """A counter or gauge with labels."""
        series = Series(metric, self._guards, Cell)
        self._simple.append(series)
        return series

    def single(self, metric: Metric) -> Cell:
        """A counter or gauge without labels; it is there, as 0, from the start."""
        return self.simple(metric).child()

    def distribution(self, metric: Metric) -> Series[Distribution]:
        """A histogram."""
        series = Series(metric, self._guards, lambda: Distribution(metric.buckets))
        self._distributions.append(series)
        return series

    def use(self, vocabulary: Vocabulary) -> None:
        """Take over the names of another configuration and drop series of names that are gone."""
        self._guards.use(vocabulary)
        for simple in self._simple:
            simple.retain()
        for distribution in self._distributions:
            distribution.retain()

    def collect(self) -> Iterator[Family]:
        """Everything, as the client library formats it."""
        for simple in self._simple:
            yield _simple_family(simple)
        for distribution in self._distributions:
            yield _histogram_family(distribution)


def _simple_family(series: Series[Cell]) -> Family:
    metric = series.metric
    kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=[label.name for label in metric.labels])
    for values, cell in series.items():
        family.add_metric(values, cell.value)
    return family


def _histogram_family(series: Series[Distribution]) -> Family:
    metric = series.metric
    family = HistogramMetricFamily(metric.name, metric.help, labels=[label.name for label in metric.labels])
    bounds = [*map(repr, metric.buckets), "+Inf"]
    for values, cell in series.items():
        family.add_metric(values, buckets=list(zip(bounds, accumulate(cell.counts), strict=True)), sum_value=cell.sum)
    return family
