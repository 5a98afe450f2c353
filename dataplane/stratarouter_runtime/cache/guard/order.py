"""Whether two texts with the same words say them in an order that matters.

Rule: put the two side by side with only their shared items. If the frames around the items are alike (same function
words, same length) but the items stand elsewhere, then two of them have changed places, and "from A to B" has become
"from B to A". If the frame itself changed ("sort a list in Python", "sort a Python list") the words may have moved with
it, as long as no word changed its role ("from", "before", "than", ...).
"""

from __future__ import annotations

from .lexicon import CONTRASTING, PREPOSITIONS, ROLES, SYMMETRIC
from .reading import Item, Reading

_CARRIED = frozenset({"content", "fact"})
_ARTICLES = frozenset({"a", "an", "the"})
_SHORT = 4  # up to so many carried words a changed place is a changed role


def swapped(a: Reading, b: Reading) -> bool:
    """Whether the same words carry other roles in ``b`` than in ``a``."""
    left, right = _carried(a), _carried(b)
    if _turned(a, b) or _turned(b, a):
        return True
    if _reversed_roles(_roles(a), _roles(b)) or _contrasting(a, b):
        return True
    if left != right:
        if _frame(a) == _frame(b) and not _symmetric(a, b):
            return True
        named = len(left) <= _SHORT or bool(set(left) & (a.names | b.names))
        return named and _passive(a) == _passive(b) and _exchanged(left, right) and not _symmetric(a, b)
    if _passive(a) != _passive(b) and len(left) < 5:
        return len(left) > 1
    return len(set(a.persons)) > 1 and set(a.persons) == set(b.persons) and a.persons != b.persons


def _turned(a: Reading, b: Reading) -> bool:
    """Whether somebody who acts in one is only acted on in the other: "I lent Tom", "Tom lent me"."""
    return bool((a.acting - a.suffering) & (b.suffering - b.acting))


def _carried(reading: Reading) -> list[str]:
    return [item.word for item in reading.items if item.role in _CARRIED]


def _frame(reading: Reading) -> list[str]:
    return ["*" if item.role in _CARRIED else item.word for item in reading.items if item.word not in _ARTICLES]


def _roles(reading: Reading) -> set[tuple[str, str]]:
    """Each directing preposition with the next carried word."""
    found = set()
    for index, item in enumerate(reading.items):
        if item.word in ROLES:
            following = next((other.word for other in reading.items[index + 1 :] if other.role in _CARRIED), "")
            found.add((item.word, following))
    return found


def _reversed_roles(a: set[tuple[str, str]], b: set[tuple[str, str]]) -> bool:
    """Whether a word has another preposition than on the other side, or two words each other's."""
    here, there = {word for _, word in a}, {word for _, word in b}
    for role, word in a - b:
        for other_role, other_word in b - a:
            if other_word == word and other_role != role:
                return True
            if other_role == role and (role != "to" or (word in there and other_word in here) or _both_last(a, b, role)):
                return True
    return False


def _both_last(a: set[tuple[str, str]], b: set[tuple[str, str]], role: str) -> bool:
    """Whether the preposition has one word on either side: another one there is an exchange."""
    return sum(each == role for each, _ in a) == 1 == sum(each == role for each, _ in b)


def _contrasting(a: Reading, b: Reading) -> bool:
    """Whether prepositions before the same word say something else: "books by women", "books about women"."""
    ours, theirs = _governed(a), _governed(b)
    return any(frozenset({ours[word], theirs[word]}) in CONTRASTING for word in ours.keys() & theirs.keys())


def _governed(reading: Reading) -> dict[str, str]:
    """Carried words with the preposition right before them, articles and possessives aside."""
    governed: dict[str, str] = {}
    current = ""
    for item in reading.items:
        if item.role in _CARRIED:
            if current:
                governed.setdefault(item.word, current)
            current = ""
        elif item.word in PREPOSITIONS:
            current = item.word
    return governed


def _exchanged(left: list[str], right: list[str]) -> bool:
    """Whether two words that are not neighbours traded places while those between them stayed."""
    if len(left) != len(right):
        return False
    moved = [index for index, pair in enumerate(zip(left, right, strict=True)) if pair[0] != pair[1]]
    return len(moved) == 2 and moved[1] - moved[0] > 1


def _symmetric(a: Reading, b: Reading) -> bool:
    """Whether the texts differ only in the order of what "and", "or" or "versus" joins."""
    return _sorted_pairs(a.items) == _sorted_pairs(b.items)


def _sorted_pairs(items: tuple[Item, ...]) -> list[str]:
    words = [item.word for item in items]
    roles = [item.role for item in items]
    comparing = "compare" in words
    for index in range(1, len(words) - 1):
        joined = words[index] in SYMMETRIC or (comparing and words[index] in {"with", "to"})
        if joined and roles[index - 1] in _CARRIED and roles[index + 1] in _CARRIED and words[index - 1] > words[index + 1]:
            words[index - 1], words[index + 1] = words[index + 1], words[index - 1]
    return words


def _passive(reading: Reading) -> bool:
    words = [item.word for item in reading.items]
    return any(word in {"is", "are", "was", "were", "be", "been"} for word in words) and "by" in words
