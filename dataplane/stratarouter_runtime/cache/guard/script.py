"""Which texts the guard may judge by English words, and how strictly it compares all others.

English in Latin letters is compared by meaning. Any other text, or one that mixes scripts, is only ever the same as a
text that differs in case, spacing and sentence marks: a stated refusal rather than a guess.
"""

from __future__ import annotations

import re
import unicodedata

from .lexicon import ENGLISH, FOREIGN
from .scan import fold

_WORD = re.compile(r"[^\W\d_]+")
# Stops, commas, brackets and quotes of Latin, Arabic, Indic and East Asian scripts.
_SENTENCE_MARKS = frozenset(
    ".,!?;:\"'()[]{}"
    "\u2026\u00bf\u00a1\u00ab\u00bb\u201c\u201d\u201e\u2018\u2019"
    "\u3001\u3002\uff01\uff0c\uff0e\uff1a\uff1b\uff1f\u300c\u300d\u300e\u300f"
    "\u060c\u061b\u061f\u0964"
)


def is_english(text: str) -> bool:
    """Whether a folded text is English enough to be judged by English words."""
    if any(not _latin(char) for char in text if char.isalpha()):
        return False
    found = [word.casefold() for word in _WORD.findall(text)]
    foreign = sum(word in FOREIGN and word not in ENGLISH for word in found)
    english = sum(word in ENGLISH for word in found)
    accented = sum(not word.isascii() for word in found)
    return not (foreign > english or (accented and not english) or accented + foreign > len(found) / 3)


def _latin(char: str) -> bool:
    return char.isascii() or ord(char) < 0x250 or "LATIN" in unicodedata.name(char, "")


def strict_form(text: str) -> str:
    """The text without case, spacing around ideographs and sentence marks; marks between digits or letters stay."""
    folded = fold(text).casefold()
    out: list[str] = []
    for index, char in enumerate(folded):
        if char not in _SENTENCE_MARKS:
            out.append(char)
            continue
        inside = 0 < index < len(folded) - 1 and folded[index - 1].isalnum() and folded[index + 1].isalnum()
        out.append(char if inside and char.isascii() else " ")
    spaced = " ".join("".join(out).split())
    return re.sub(r"(?<=[\u3040-\u30ff\u3400-\u9fff]) | (?=[\u3040-\u30ff\u3400-\u9fff])", "", spaced)
