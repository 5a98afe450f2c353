"""Routing by example utterances, over the Rust core of StrataRouter.

``stratarouter._core.PyRouter`` (checked: 0.2.5) finds the entry nearest to a vector and turns its cosine into a
confidence. What is added here, because the core leaves it to its caller: each utterance is an entry of its own and the
nearest one's route is taken (its own Python router indexes only the first utterance of each); the threshold is applied
(the core returns its best entry however far it is); vectors are checked (for one with a NaN the core returns some route with
the score 1); an index is never older than its routes (the core goes on with the old one).

Invariants: ``stratarouter`` and numpy are imported when a router is made, never with this module; a router is safe to use
from several threads: an index is built aside and swapped in whole, and the core holds the GIL while it works.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from .model.decision import RoutingDecision

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = Sequence[float] | NDArray[np.floating[Any]]

DEFAULT_THRESHOLD = 0.5
"""The core's own default: a cosine of about 0.09, which nearly everything has. A pod uses ``spec.routing.threshold``."""
MAX_UTTERANCES = 16_384
MAX_UTTERANCE_LENGTH = 4_096
MAX_NAME_LENGTH = 253
MAX_DIMENSION = 65_536
MAX_NUMBERS = 2**26
"""Of all vectors together: 256 MiB."""
MAX_QUERY = 4_096
"""Characters of a query that the core sees; it scores keywords, of which there are none here."""

INSTALL = ("routing by utterances needs the Rust core of StrataRouter: pip install 'stratarouter-runtime[core]' (on Linux x86-64 with "
           "glibc 2.34 or newer, macOS on ARM, or Windows: it has no other wheels)")


class Router:
    """Finds the route whose utterances are nearest to a query.

    ``dimension`` is that of the vectors, by default that of the first one ``build_index`` gets. ``threshold`` is the least
    confidence (0 to 1) at which a route is taken: with cosine 0, 0.3, 0.5, 0.7 and 1 the core's confidence is 0.48, 0.55,
    0.59, 0.63 and 0.70. Raises ``ImportError`` where ``stratarouter`` (extra ``core``) is not installed.
    """

    def __init__(self, dimension: int | None = None, threshold: float = DEFAULT_THRESHOLD) -> None:
        if dimension is not None and not (isinstance(dimension, int) and 1 <= dimension <= MAX_DIMENSION):
            raise ValueError(f"dimension must be from 1 to {MAX_DIMENSION}")
        if not 0 <= threshold <= 1:
            raise ValueError("threshold must be from 0 to 1")
        _core()
        self._dimension = dimension
        self._threshold = threshold
        self._routes: dict[str, tuple[str, ...]] = {}
        self._index: _Index | None = None

    @property
    def threshold(self) -> float:
        """The least confidence at which a route is taken."""
        return self._threshold

    @property
    def utterances(self) -> list[tuple[str, str]]:
        """(route, utterance) in the order in which ``build_index`` wants their vectors."""
        return [(name, text) for name, texts in self._routes.items() for text in texts]

    @property
    def is_built(self) -> bool:
        """Whether it can route."""
        return self._index is not None

    def add_routes(self, routes: Any) -> None:
        """Add routes; ``build_index`` has to be called after it.

        ``routes``: objects with ``name`` and ``utterances`` (a ``RuntimeConfig``'s routes, StrataRouter's ``Route``), mappings
        with these keys (or ``id`` and ``examples``), pairs (name, utterances), or one mapping of names to utterances. Of
        StrataRouter's own routes only these two fields count: its core knows one threshold for all. Raises ``ValueError``
        for anything else, a route without utterances, a name twice, or too much; then nothing is added.
        """
        added: dict[str, tuple[str, ...]] = {}
        for each in _listed(routes):
            name, utterances = _route(each)
            if name in self._routes or name in added:
                raise ValueError(f"route {name!r} is there twice")
            added[name] = utterances
        known = sum(map(len, self._routes.values())) + sum(map(len, added.values()))
        if known > MAX_UTTERANCES:
            raise ValueError(f"{known} utterances are more than the {MAX_UTTERANCES} that are possible")
        self._routes |= added
        self._index = None

    def build_index(self, embeddings: Iterable[Numbers]) -> None:
        """Build the index from one vector per utterance, or one per route, in the order of ``add_routes``.

        May be called again, also while others route. Raises ``ValueError`` for another number of vectors (the message says
        how many were expected) and for vectors that are not finite, all zeros, or of different dimensions.
        """
        if not self._routes:
            raise ValueError("there are no routes; call add_routes first")
        each = self.utterances
        vectors = _rows(embeddings, limit=len(each))
        if len(vectors) != len(each):
            if len(vectors) != len(self._routes):
                raise ValueError(f"expected {len(each)} embeddings, one per utterance, or {len(self._routes)}, one per route, "
                                 f"in the order of add_routes, but got {'more' if len(vectors) > len(each) else len(vectors)}")
            each = [(name, texts[0]) for name, texts in self._routes.items()]
        dimension = self._dimension or len(vectors[0])
        if len(each) * dimension > MAX_NUMBERS:
            raise ValueError(f"{len(each)} vectors of {dimension} numbers are more than fits into memory")
        units = [_unit(vector, dimension, f"embedding {number} (route {name!r})")
                 for number, ((name, _), vector) in enumerate(zip(each, vectors, strict=True))]
        self._index = _Index(each, units, dimension, self._threshold)

    def route(self, query: str, embedding: Numbers) -> RoutingDecision:
        """Where a query goes; the decision carries ``query`` and ``embedding``, so that the cache need not embed it again.

        ``route_id`` is None where even the nearest route's confidence is below the threshold; ``scores`` are the core's
        (``semantic`` is the cosine) and the threshold; ``metadata`` names the nearest route and utterance. Raises
        ``RuntimeError`` without an index, ``ValueError`` for an empty query and for a vector that is no direction of the index's
        dimension.
        """
        index = self._index
        if index is None:
            raise RuntimeError("the index is not built; call build_index after add_routes")
        if not isinstance(query, str) or not query.strip():
            raise ValueError("query must be a text")
        vector = _unit(_plain(embedding), index.dimension, "the query's embedding")
        name, utterance, confidence, scores = index.nearest(query, vector)
        taken = confidence >= self._threshold
        return RoutingDecision(
            route_id=name if taken else None, confidence=confidence, scores={**scores, "threshold": self._threshold}, query=query,
            embedding=cast("Sequence[float]", embedding), metadata={"nearest": name, "utterance": utterance},
            reason="" if taken else f"the nearest route, '{name}', has the confidence {confidence:.3f}, below the threshold "
                                    f"{self._threshold:g}")


class _Index:
    """The core with its entries; never changed."""

    def __init__(self, entries: list[tuple[str, str]], vectors: list[NDArray[np.float32]], dimension: int, threshold: float) -> None:
        core = _core()
        self.dimension = dimension
        self._entries = entries
        self._core = core.PyRouter(dimension, threshold)
        for number, (_, text) in enumerate(entries):
            # An entry of the same id would replace the other one.
            entry = core.PyRoute(str(number))
            entry.examples = [_clean(text)]
            self._core.add_route(entry)
        self._core.build_index([vector.tolist() for vector in vectors])

    def nearest(self, query: str, vector: NDArray[np.float32]) -> tuple[str, str, float, dict[str, float]]:
        """The route, the utterance, the confidence and the scores of the best entry."""
        found = self._core.route(_clean(query), vector.tolist())
        name, utterance = self._entries[int(found["route_id"])]
        # In 32 bits an exact 1 may come out a little above it.
        confidence = min(1.0, max(0.0, float(found["confidence"])))
        return name, utterance, confidence, {key: float(value) for key, value in found["scores"].items()}


def _core() -> Any:
    try:
        from stratarouter import _core as core  # noqa: PLC0415 (a third of a second, and only a router needs it)
    except ImportError as error:
        raise ImportError(f"{INSTALL} ({error})", name=error.name) from None
    return core


def _clean(text: str) -> str:
    """What Rust takes as a text: half of a surrogate pair is none."""
    return text[:MAX_QUERY].encode("utf-8", "replace").decode("utf-8")


def _listed(routes: Any) -> list[Any]:
    if isinstance(routes, Mapping):
        single = ("name" in routes and "utterances" in routes) or ("id" in routes and "examples" in routes)
        return [routes] if single else list(routes.items())
    if hasattr(routes, "utterances") or isinstance(routes, str) or not isinstance(routes, Iterable):
        return [routes]
    return list(routes)


def _route(given: Any) -> tuple[str, tuple[str, ...]]:
    if isinstance(given, Mapping):
        name, utterances = given.get("name", given.get("id")), given.get("utterances", given.get("examples"))
    elif isinstance(given, tuple | list) and len(given) == 2:
        name, utterances = given
    else:
        name, utterances = getattr(given, "name", None), getattr(given, "utterances", None)
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_LENGTH:
        raise ValueError("a route is an object or a mapping with 'name' and 'utterances', or a pair of these, but got "
                         f"{type(given).__name__}")
    if isinstance(utterances, str) or not isinstance(utterances, Sequence) or not utterances:
        raise ValueError(f"route {name!r}: utterances must be a list of at least one text")
    if len(utterances) > MAX_UTTERANCES:
        raise ValueError(f"route {name!r} has more than {MAX_UTTERANCES} utterances")
    for text in utterances:
        if not isinstance(text, str) or not text.strip() or len(text) > MAX_UTTERANCE_LENGTH:
            raise ValueError(f"route {name!r}: an utterance is a text of 1 to {MAX_UTTERANCE_LENGTH} characters that are not all blank")
    return name, tuple(utterances)


def _rows(embeddings: Any, *, limit: int) -> list[Any]:
    """The vectors; of more than there are utterances only so many that it shows."""
    try:
        rows: list[Any] = []
        for row in embeddings:
            rows.append(row)
            if len(rows) > limit:
                break
    except TypeError:
        raise ValueError("embeddings must be a list of vectors") from None
    if any(not hasattr(row, "__len__") for row in rows):
        raise ValueError("embeddings must be a list of vectors")
    return rows


def _plain(embedding: Any) -> Any:
    """A vector; encoders also give it as the only row of a matrix."""
    return embedding[0] if getattr(embedding, "ndim", 1) == 2 and len(embedding) == 1 else embedding


def _unit(vector: Any, dimension: int, what: str) -> NDArray[np.float32]:
    """The direction of a vector; raises ``ValueError``."""
    import numpy as np  # noqa: PLC0415 (a tenth of a second, and only a router needs it)

    try:
        # In 64 bits: the squares of small numbers would vanish in 32.
        values = np.asarray(vector, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{what} must be a list of numbers") from None
    if values.shape != (dimension,):
        raise ValueError(f"{what} must have {dimension} numbers, but has the shape {values.shape}")
    length = float(np.linalg.norm(values))
    if not math.isfinite(length):
        raise ValueError(f"{what} must be finite")
    if length <= 0:
        raise ValueError(f"{what} is all zeros and points nowhere")
    return (values / length).astype(np.float32)
