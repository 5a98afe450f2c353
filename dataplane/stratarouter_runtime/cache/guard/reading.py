"""What a text says, in the parts the guard compares. ``read`` is pure and remembered for recent texts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache

from .frames import expand, phrased, reframe, without_courtesy
from .lexicon import AFTER_NO_ARTICLE, DATES, FORMS, IGNORED, LIGHT, PERSONS, POLARITY, synonyms
from .numbers import with_numbers
from .scan import Token, fold, scan
from .script import is_english, strict_form
from .spelling import american, lemma, respelled
from .tense import Tense, tense

_FACTS = frozenset({"number", "id", "url", "code", "quote", "op"})


@dataclass(frozen=True, slots=True)
class Item:
    """One unit of the order of a text.

    ``role`` is content, light, fact, person, polarity or glue; ``word`` is what is compared.
    """

    role: str
    word: str


@dataclass(frozen=True, slots=True)
class Reading:
    """The parts of one text.

    ``strict`` and ``plain`` are the text without its outer form; ``facts`` by kind; ``names`` the words written as names;
    ``acting`` and ``suffering`` the persons that are subjects and objects; ``asks`` how and ``tense`` when it asks about;
    ``items`` everything in its order. Only ``strict`` and ``plain`` are set where it is not English.
    """

    english: bool
    strict: str
    plain: str
    facts: dict[str, Counter[str]] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    content: Counter[str] = field(default_factory=Counter)
    light: Counter[str] = field(default_factory=Counter)
    polarity: Counter[str] = field(default_factory=Counter)
    persons: tuple[str, ...] = ()
    acting: frozenset[str] = frozenset()
    suffering: frozenset[str] = frozenset()
    asks: frozenset[str] = frozenset()
    tense: Tense = field(default_factory=Tense)
    items: tuple[Item, ...] = ()


_NO_HEAD = frozenset({"=why", "=is", "=do"})


@dataclass(slots=True)
class Clause:
    """How far a clause has come: its first word with a meaning, after "how do I" or "what is" or as an order, is asked for."""

    asked: bool = False
    other: bool = False
    subject: bool = False
    opened: bool = False

    def place(self, item: Item) -> Item:
        """The item with its role in this clause: a light word that is not what is asked for carries little."""
        if item.word == "|":
            self.asked = self.other = self.subject = self.opened = False
        elif item.role == "person":
            self.subject = True
        elif item.role in {"content", "fact"}:
            head = not self.opened and (self.asked or not (self.other or self.subject))
            self.opened = True
            if item.role == "content" and item.word in LIGHT and not head:
                return Item("light", item.word)
        return item


@lru_cache(maxsize=4096)
def read(text: str, *, quotes: bool = True) -> Reading:
    """The parts of ``text``; with ``quotes`` off quotation marks are ignored and their words read as any others."""
    folded = fold(text)
    strict = strict_form(folded)
    if not is_english(folded):
        return Reading(english=False, strict=strict, plain=strict)
    plain = folded.casefold()
    if not quotes:
        folded = folded.replace('"', " ").replace(" '", " ").replace("' ", " ")
    tokens = with_numbers(scan(folded))
    return _compose(tokens, strict, plain)


def surface(text: str) -> str:
    """The text as an embedder should see it: without courtesy, slips of spelling, case, contractions and end marks.

    Two texts that differ only in these have the same surface, so the same vector and the same place in a cache of
    vectors. Texts that are not English are only folded.
    """
    folded = fold(text)
    if not is_english(folded):
        return folded
    opaque: dict[str, Token] = {}
    spelled = " ".join(_spelled(token, opaque, set()) for token in scan(folded))
    return " ".join(_shown(word, opaque) for word in without_courtesy(spelled).split()).replace(" ,", ",").replace(" |", ".")


def _shown(word: str, opaque: dict[str, Token]) -> str:
    if word not in opaque:
        return word
    token = opaque[word]
    return f'"{token.text}"' if token.kind == "quote" else token.raw or token.text


def _compose(tokens: list[Token], strict: str, plain: str) -> Reading:
    opaque: dict[str, Token] = {}
    proper: set[str] = set()
    words: list[str] = []
    for index, token in enumerate(tokens):
        letter = token.text == "a" and _is_letter(tokens, index)
        words.append(_spelled(Token("word", "a", proper=True) if letter else token, opaque, proper))
    facts: dict[str, Counter[str]] = {}
    for token in opaque.values():
        if token.kind in _FACTS:
            facts.setdefault(token.kind, Counter())[token.text] += 1
    items: list[Item] = []
    asks = set()
    forms: dict[str, set[str]] = {"acting": set(), "suffering": set()}
    clause = Clause()
    worded = phrased(without_courtesy(" ".join(words)))
    for word in reframe(worded).split():
        if word.startswith("="):
            asks.add(word)
            clause = Clause(asked=word not in _NO_HEAD, other=word in _NO_HEAD)
            continue
        item = clause.place(_item(word, opaque, proper))
        if item.role == "person" and word in FORMS:
            forms[FORMS[word]].add(item.word)
        items.append(item)
    return Reading(
        english=True, strict=strict, plain=plain, facts=facts, names=frozenset(proper),
        content=Counter(item.word for item in items if item.role == "content"),
        light=Counter(item.word for item in items if item.role == "light"),
        polarity=Counter(item.word for item in items if item.role == "polarity"),
        persons=tuple(item.word for item in items if item.role == "person"),
        acting=frozenset(forms["acting"]), suffering=frozenset(forms["suffering"]),
        asks=frozenset(asks), tense=tense(worded), items=tuple(item for item in items if item.word not in {"|", ","}),
    )


def _is_letter(tokens: list[Token], index: int) -> bool:
    """Whether an "a" is a letter and no article: nothing follows that an article could belong to."""
    if tokens[index].proper or index + 1 == len(tokens):
        return True
    following = tokens[index + 1]
    return following.kind in {"mark", "comma", "op"} or following.text in AFTER_NO_ARTICLE


def _spelled(token: Token, opaque: dict[str, Token], proper: set[str]) -> str:
    if token.kind in {"mark", "comma"}:
        return token.text
    if token.kind in _FACTS:
        holder = chr(0xE000 + len(opaque))
        opaque[holder] = token
        return holder
    if token.proper:
        name = token.text.removesuffix("'s")
        if name in IGNORED or name in PERSONS or name in POLARITY:
            holder = chr(0xE000 + len(opaque))
            opaque[holder] = Token("name", name)
            return holder
        proper.add(name)
        return name
    return " ".join(respelled(american(part)) for part in expand(token.text).split())


def _item(word: str, opaque: dict[str, Token], proper: set[str]) -> Item:
    if word in opaque:
        token = opaque[word]
        return Item("content" if token.kind == "name" else "fact", token.text)
    if word in proper:
        singular = lemma(word) if lemma(word) in DATES else word
        return Item("content", synonyms().get(singular, singular))
    if word in {"|", ","}:
        return Item("glue", word)
    base = lemma(word)
    for role, table in (("polarity", POLARITY), ("person", PERSONS)):
        if word in table:
            return Item(role, table[word])
    if word in IGNORED or base in IGNORED:
        return Item("glue", word)
    return Item("content", synonyms().get(word) or synonyms().get(base, base))
