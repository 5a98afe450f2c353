"""One word at a time: its base form, and the word meant when it is misspelled.

Both are conservative. Only inflection is undone ("paid" is "pay", but "unpaid" and "payer" stay), and a spelling is
corrected only when the word is unknown, the change is a typical slip in its inside, and the result is known: two real
words, names or codes are never taken for one another.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from .lexicon import IRREGULAR, known_words

_NEIGHBOURS = {
    key: frozenset(near)
    for key, near in {
        "q": "wa", "w": "qase", "e": "wsdr", "r": "edft", "t": "rfgy", "y": "tghu", "u": "yhji", "i": "ujko", "o": "iklp",
        "p": "ol", "a": "qwsz", "s": "awedxz", "d": "serfcx", "f": "drtgvc", "g": "ftyhbv", "h": "gyujnb", "j": "huikmn",
        "k": "jiolm", "l": "kop", "z": "asx", "x": "zsdc", "c": "xdfv", "v": "cfgb", "b": "vghn", "n": "bhjm", "m": "njk",
    }.items()
}
_SOUNDS = frozenset({("i", "y"), ("y", "i"), ("c", "s"), ("s", "c"), ("c", "k"), ("k", "c"), ("s", "z"), ("z", "s")})
_VOWELS = frozenset("aeiouy")
_SHORTEST_CORRECTED = 5
_COMMON = 40_000  # ranks up to here are words people mean; a slip is never turned into a rarer one


@lru_cache(maxsize=16384)
def lemma(word: str) -> str:
    """The base form of an inflected English word in lower case; the word itself where in doubt."""
    if word in IRREGULAR:
        return IRREGULAR[word]
    if len(word) <= 3 or not word.isascii():
        return word
    known = known_words()
    bases = [base for base in _bases(word) if base in known]
    return IRREGULAR.get(bases[0], bases[0]) if bases else word


def _bases(word: str) -> list[str]:
    for ending, make in _ENDINGS:
        if word.endswith(ending):
            return make(word) if len(word) > len(ending) + 1 else []
    return []


def _verb(stem: str) -> list[str]:
    """Bases of what is left of -ed or -ing: a doubled consonant was doubled, a single one after a vowel lost its e."""
    if len(stem) < 3:
        return [stem + "e"]
    if stem[-1] == stem[-2]:
        return _by_rank([stem, stem[:-1]])
    short = stem[-1] not in _VOWELS and stem[-2] in _VOWELS and stem[-3] not in _VOWELS
    return [stem + "e", stem] if short and len(stem) <= 4 else _by_rank([stem, stem + "e"])


def _by_rank(bases: list[str]) -> list[str]:
    return sorted(bases, key=known_words().rank)


# The first ending that fits decides; an empty result means that the word is not inflected.
_ENDINGS: list[tuple[str, Callable[[str], list[str]]]] = [
    ("ies", lambda word: [word[:-3] + "y", word[:-1]]),
    *((ending, lambda word: [word[:-2], word[:-1]]) for ending in ("sses", "shes", "ches", "xes", "zes", "oes")),
    *((ending, lambda word: []) for ending in ("ss", "us", "is")),  # noqa: ARG005 (one shape for all)
    ("s", lambda word: [word[:-1]]),
    ("ied", lambda word: [word[:-3] + "y"]),
    ("ed", lambda word: _verb(word[:-2])),
    ("ing", lambda word: _verb(word[:-3])),
]


def american(word: str) -> str:
    """One spelling for "-ise" and "-ize", "-our" and "-or", "-yse" and "-yze"; the word itself elsewhere."""
    for british, ending in _BRITISH:
        if word.endswith(british) and len(word) > len(british) + 2:
            changed = word[: -len(british)] + ending
            if changed in known_words():
                return changed
    return word


_BRITISH = [("isation", "ization"), ("ising", "izing"), ("ised", "ized"), ("ises", "izes"), ("ise", "ize"), ("yse", "yze"),
            ("our", "or"), ("ours", "ors"), ("oured", "ored")]


@lru_cache(maxsize=16384)
def respelled(word: str) -> str:
    """The known word meant by a misspelled one, else the word itself."""
    known = known_words()
    if len(word) < _SHORTEST_CORRECTED or not (word.isascii() and word.isalpha()) or word in known or lemma(word) in known:
        return word
    for slips in (_swapped, _doubled, _missing, _extra, _replaced):
        best = min(slips(word), key=lambda candidate: (known.rank(candidate), candidate), default=word)
        if known.rank(best) < _COMMON:
            return best
    return word


def _swapped(word: str) -> set[str]:
    return {word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(1, len(word) - 1)}


def _doubled(word: str) -> set[str]:
    return {word[:i] + word[i + 1 :] for i in range(1, len(word)) if word[i] == word[i - 1]}


def _extra(word: str) -> set[str]:
    return {word[:i] + word[i + 1 :] for i in range(1, len(word) - 1)}


def _missing(word: str) -> set[str]:
    return {word[:i] + letter + word[i:] for i in range(1, len(word)) for letter in _NEIGHBOURS}


def _replaced(word: str) -> set[str]:
    return {
        word[:i] + letter + word[i + 1 :]
        for i in range(1, len(word) - 1)
        for letter in _NEIGHBOURS
        if letter in _NEIGHBOURS.get(word[i], ()) or (word[i], letter) in _SOUNDS
    }
