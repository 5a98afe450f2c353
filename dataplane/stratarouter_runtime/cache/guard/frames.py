"""The frame of a question: how it is asked, apart from what is asked.

``reframe`` rewrites a spaced lower-case text so that each way of asking becomes one marker (``=how``, ``=why``,
``=can``, ...): "what is the way to cancel my order" and "how do I cancel my order" both become "=how cancel my order".
``without_courtesy`` removes greetings, thanks and fillers. The rules are data (``data/frames.txt``) and run in
order, on text in which facts are already opaque.
"""

from __future__ import annotations

import re

from .lexicon import lines

_CONTRACTED = {
    "can't": "can not", "cannot": "can not", "cant": "can not", "won't": "will not", "wont": "will not", "shan't": "shall not",
    "ain't": "is not", "let's": "let us", "gonna": "going to", "wanna": "want to", "gotta": "have to", "gimme": "give me",
    "lemme": "let me", "dont": "do not", "doesnt": "does not", "didnt": "did not", "isnt": "is not", "arent": "are not",
    "wasnt": "was not", "werent": "were not", "havent": "have not", "hasnt": "has not", "hadnt": "had not",
    "couldnt": "could not", "wouldnt": "would not", "shouldnt": "should not", "im": "i am", "ive": "i have",
    "whats": "what is", "wheres": "where is", "hows": "how is", "whos": "who is", "whens": "when is", "whys": "why is",
    "thats": "that is", "theres": "there is", "pls": "please", "plz": "please", "thx": "thanks", "u": "you", "ur": "your",
    "w/o": "without",
    "mon": "monday", "tue": "tuesday", "tues": "tuesday", "wed": "wednesday", "thu": "thursday", "thurs": "thursday", "fri": "friday",
    "jan": "january", "feb": "february", "apr": "april", "aug": "august", "sept": "september", "oct": "october", "nov": "november",
    "dec": "december",
}
_IS = frozenset("what who where when why how that there here it he she this which".split())  # noqa: SIM905 (read as a line)
_PART = re.compile("<([A-Z]+)>")

Rule = tuple[re.Pattern[str], str]


def expand(word: str) -> str:
    """A contraction in full; a possessive without its ending; any other word as it is."""
    if word in _CONTRACTED:
        return _CONTRACTED[word]
    stem, quote, ending = word.rpartition("'")
    if not quote:
        return word
    if ending == "t" and stem.endswith("n"):
        return stem[:-1] + " not"
    if ending == "s":
        return stem + " is" if stem in _IS else stem
    full = {"re": " are", "ve": " have", "ll": " will", "d": " would", "m": " am"}.get(ending)
    return stem + full if full else word.replace("'", "")


def without_courtesy(text: str) -> str:
    """The text without greetings, thanks, "please" and fillers."""
    return _rewritten(text, _RULES["courtesy"]).strip(" |,")


def phrased(text: str) -> str:
    """The text with its fixed phrases as single words."""
    return _rewritten(text, _RULES["phrases"])


def reframe(text: str) -> str:
    """The text with its ways of asking as markers."""
    return _rewritten(text, _RULES["frames"])


def _rewritten(text: str, rules: list[Rule]) -> str:
    for pattern, replacement in rules:
        text, changed = pattern.subn(replacement, text)
        if changed:
            text = " ".join(text.split())
    return text


def _read() -> dict[str, list[Rule]]:
    parts: dict[str, str] = {}
    rules: dict[str, list[Rule]] = {"phrases": [], "courtesy": [], "frames": []}
    for section, line in lines("frames.txt"):
        if section == "parts":
            name, _, alternatives = line.partition(" = ")
            parts[name] = alternatives
            continue
        pattern, _, replacement = line.partition(" ==>")
        pattern = _PART.sub(lambda match: parts[match[1]], pattern)
        if section == "phrases":
            pattern = rf"\b(?:{pattern})\b"
        elif pattern.endswith("_"):
            pattern = pattern[:-1] + " "
        rules[section].append((re.compile(pattern), replacement.strip().replace("_", " ")))
    return rules


_RULES = _read()
