"""May an answer to one question be given to another? Cosine proposes, the guard disposes.

A vector model scores "enable" and "disable", 10 and 12, "from A to B" and "from B to A" as nearly the same. The guard
reads both texts and allows the answer only if every fact, every turning word, every person and every word with a
meaning of its own is found on both sides, in the same roles. It is pure, knows nothing of vectors, and what it does not
know it refuses: a gap in its word lists costs a hit, never a wrong answer.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from .lexicon import DATES, UNITS, known_words
from .order import swapped
from .reading import Reading, read, surface
from .tense import contradict

__all__ = ["SURFACE_VERSION", "GuardVerdict", "surface", "verdict", "warm"]

SURFACE_VERSION = "1"
"""Changes when ``surface`` would make another text of the same one: vectors of two versions must not meet."""

_FACT_REASONS = {"number": "number", "id": "identifier", "url": "url", "code": "code", "quote": "quote", "op": "symbol"}
_NONE: Counter[str] = Counter()
_DETAIL = 200  # characters
_LONG = 12  # distinct words from which a repeated word may be a second fact rather than emphasis
_ENOUGH = 2  # distinct words both sides must share before a light word more or less is let pass
# Ways of asking that want the same answer. One marker alone: the other text does not say how it asks.
_INTERCHANGEABLE = frozenset(
    frozenset(pair.split())
    for pair in ("=how =want", "=what", "=want", "=do", "=exists =what", "=exists =is", "=do =want", "=do =how", "=howmany", "=howmuch")
)


@dataclass(frozen=True, slots=True)
class GuardVerdict:
    """``reason`` is one word, a metric's label; ``detail`` names the words that differ."""

    allowed: bool
    reason: str
    detail: str = ""


def warm() -> None:
    """Read the word lists (a tenth of a second), so that no request does."""
    known_words()
    verdict("What is it?", "What is that?")


def verdict(a: str, b: str) -> GuardVerdict:
    """Whether the answer to ``a`` may answer ``b``."""
    first, second = read(a), read(b)
    if first.strict == second.strict:
        return GuardVerdict(True, "same")
    if not (first.english and second.english):
        return GuardVerdict(False, "language")
    if first.facts.get("quote") != second.facts.get("quote") and _quoted_alike(first, second):
        first, second = read(a, quotes=False), read(b, quotes=False)
    return _compare(first, second)


def _quoted_alike(a: Reading, b: Reading) -> bool:
    """Whether what one quotes the other says without quotes."""
    return all(
        text in other.plain
        for one, other in ((a, b), (b, a))
        for text in one.facts.get("quote", ())
    )


def _compare(a: Reading, b: Reading) -> GuardVerdict:
    for check in (_facts, _polarity, _content, _persons, _asks, _tense, _order):
        refused = check(a, b)
        if refused is not None:
            return refused
    return GuardVerdict(True, "alike")


def _facts(a: Reading, b: Reading) -> GuardVerdict | None:
    for kind, reason in _FACT_REASONS.items():
        left, right = a.facts.get(kind, _NONE), b.facts.get(kind, _NONE)
        if left != right:
            return _refused(reason, set(left), set(right))
    return None


def _polarity(a: Reading, b: Reading) -> GuardVerdict | None:
    return None if a.polarity == b.polarity else _refused("negation", set(a.polarity), set(b.polarity))


def _content(a: Reading, b: Reading) -> GuardVerdict | None:
    left, right = _unmatched(a, b), _unmatched(b, a)
    if not left and not right:
        return None
    differing = left | right
    for reason, kind in (("unit", UNITS), ("date", DATES), ("name", a.names | b.names)):
        if differing & kind:
            return _refused(reason, left, right)
    return _refused("word", left, right)


def _persons(a: Reading, b: Reading) -> GuardVerdict | None:
    """The same persons, but for one who is named by one side alone ("cancel my order", "cancel an order")."""
    left, right = set(a.persons), set(b.persons)
    alike = left == right or left ^ right in ({"i"}, {"you"}, {"your"})
    return None if alike else _refused("person", left, right)


def _asks(a: Reading, b: Reading) -> GuardVerdict | None:
    alike = a.asks == b.asks or a.asks ^ b.asks in _INTERCHANGEABLE
    return None if alike else _refused("question", set(a.asks), set(b.asks))


def _tense(a: Reading, b: Reading) -> GuardVerdict | None:
    return GuardVerdict(False, "tense") if contradict(a.tense, b.tense) else None


def _order(a: Reading, b: Reading) -> GuardVerdict | None:
    return GuardVerdict(False, "order") if swapped(a, b) else None


def _refused(reason: str, a: set[str], b: set[str]) -> GuardVerdict:
    return GuardVerdict(False, reason, f"{' '.join(sorted(a - b))} / {' '.join(sorted(b - a))}"[:_DETAIL])


def _unmatched(a: Reading, b: Reading) -> set[str]:
    """The words of ``a`` that mean something and are missing in ``b``."""
    missing = (a.content + a.light) - (b.content + b.light)
    # A word said twice is emphasis, but a name said twice is not: "if A implies B, does B imply A".
    words = {word for word in missing if word in a.names or (word not in b.content and word not in b.light)}
    if len(a.content) > _LONG or missing.total() > len(words) + 1:
        words = set(missing)
    light = words & a.light.keys() - a.content.keys()
    one_sided = len(b.content) >= _ENOUGH and not (b.content + b.light) - (a.content + a.light)
    return words - light if one_sided else words
