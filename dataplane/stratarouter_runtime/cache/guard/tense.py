"""When a question is about, and whether what it asks for acts or is acted on, as far as its verbs show.

Only questions for facts are looked at: who, what, which, where, when, how many, whether. In "why was" and "why is my payment
declined" the tense is a matter of style.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .lexicon import PAST, TENSES

_AUXILIARIES = "|".join([*TENSES, "can", "could", "should", "may", "might", "must"])
_ASKED = re.compile(rf"\b(who|what|which|where|when|how many|how much)\b(?: \w+){{0,3}}? ({_AUXILIARIES})\b")
_BARE = re.compile(r"\b(?:who|what|which|how many|how much)\b((?: \w+){1,3})")
_WHETHER = re.compile(rf"(?:^|\| )({_AUXILIARIES})\b")
_DO = frozenset({"do", "does", "did"})


@dataclass(frozen=True, slots=True)
class Tense:
    """``time`` is past, present, future or empty; ``inverted`` where the asked for is the object ("who did Plato teach")."""

    time: str = ""
    inverted: bool | None = None


def tense(text: str) -> Tense:
    """The tense of the first question of a text in plain words."""
    asked = _ASKED.search(text)
    if asked is not None:
        inverted = asked[2] in _DO and asked[1] in {"who", "what", "which"}
        return Tense(TENSES.get(asked[2], ""), inverted=inverted or None)
    bare = _BARE.search(text)
    if bare is not None:
        return Tense("past" if any(_is_past(word) for word in bare[1].split()) else "present", inverted=False)
    whether = _WHETHER.search(text)
    return Tense(TENSES.get(whether[1], "")) if whether is not None else Tense()


def contradict(a: Tense, b: Tense) -> bool:
    """Whether two questions are about other times, or one asks who acts and the other who is acted on."""
    times, bare = {a.time, b.time}, {a.inverted, b.inverted}
    past = len(times) == 2 and "past" in times and "" not in times
    future = len(times) == 2 and "future" in times and False in bare
    return past or future or bare == {True, False}


def _is_past(word: str) -> bool:
    return word in PAST or (word.endswith("ed") and len(word) > 4 and word not in {"need", "speed", "indeed", "exceed"})
