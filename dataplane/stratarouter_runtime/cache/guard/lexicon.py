"""The guard's word knowledge: known words, synonyms, inflections, and which words carry no meaning of their own.

The tables are deliberately one-sided. A word that is on no list counts as meaning something, so a gap costs a hit and
never a wrong answer. The tables are data files beside this module; the list of known words is read on first use.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from functools import lru_cache
from importlib import resources


def lines(name: str) -> Iterator[tuple[str, str]]:
    """The lines of a data file, each with the ``[section]`` it stands in; comments and empty lines left out."""
    section = ""
    for line in resources.files(__package__).joinpath("data", name).read_text("utf-8").splitlines():
        if line.startswith("[") and line.endswith("]") and " " not in line:
            section = line[1:-1]
        elif line and not line.startswith("#"):
            yield section, line


def _table() -> dict[str, list[list[str]]]:
    table: dict[str, list[list[str]]] = {}
    for section, line in lines("grammar.txt"):
        table.setdefault(section, []).append(line.split())
    return table


def _flat(section: str) -> frozenset[str]:
    return frozenset(word for line in _GRAMMAR[section] for word in line)


def _ordered(section: str, first: int, step: int = 1) -> dict[str, int]:
    return {word: first + step * place for place, word in enumerate(word for line in _GRAMMAR[section] for word in line)}


def _led(section: str) -> dict[str, str]:
    return {word: line[0] for line in _GRAMMAR[section] for word in line}


_GRAMMAR = _table()
IGNORED = _flat("ignored")
LIGHT = _flat("light")
ROLES = _flat("roles")
SYMMETRIC = _flat("symmetric")
AFTER_NO_ARTICLE = _flat("after-no-article")
FOREIGN = _flat("foreign")
ENGLISH = _flat("english")
PERSONS = _led("persons")
FORMS = _led("forms")
POLARITY = _led("polarity")
ONES = _ordered("ones", 0)
TENS = _ordered("tens", 20, 10)
ORDINALS = _ordered("ordinals", 1)
ROMAN = _ordered("roman", 1)
MONTHS = _flat("months")
DATES = _flat("dates")
UNITS = _flat("units")
CONTRASTING = frozenset(frozenset(line) for line in _GRAMMAR["contrasting"])
PREPOSITIONS = _flat("contrasting") | frozenset({"of", "on", "at"})
TENSES = _led("tenses")
PAST = dict(pair.split(":") for pair in _flat("irregular-past"))
IRREGULAR = PAST | dict(pair.split(":") for pair in _flat("irregular"))


class Words:
    """Known words and how common each is, as two arrays: a dict of 100,000 strings takes ten times the memory."""

    def __init__(self, ranked: list[str]) -> None:
        """``ranked``: the most frequent first."""
        hashes = [hash(word) for word in ranked]
        order = sorted(range(len(ranked)), key=hashes.__getitem__)
        self._hashes = array("q", [hashes[rank] for rank in order])
        self._ranks = array("l", order)

    def rank(self, word: str) -> int:
        """The word's place by frequency; beyond all places where it is unknown."""
        wanted = hash(word)
        index = bisect_left(self._hashes, wanted)
        found = index < len(self._hashes) and self._hashes[index] == wanted
        return self._ranks[index] if found else len(self._hashes)

    def __contains__(self, word: str) -> bool:
        return self.rank(word) < len(self._hashes)


@lru_cache(maxsize=1)
def known_words() -> Words:
    """The known words."""
    listed = [line for _, line in lines("words.txt")]
    return Words(list(dict.fromkeys([*listed, *synonyms()])))


@lru_cache(maxsize=1)
def synonyms() -> dict[str, str]:
    """Word to the name of its group; a word in two groups belongs to the first."""
    table: dict[str, str] = {}
    for _, line in lines("synonyms.txt"):
        group = line.split()
        for word in group:
            table.setdefault(word, group[0])
    return table
