"""Number words as numbers: "twenty-one" and "21", "third" and "3rd", "1.5 million" and "1,500,000" are the same fact."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from .lexicon import MONTHS, ONES, ORDINALS, ROMAN, TENS
from .scan import Token

_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}


def with_numbers(tokens: list[Token]) -> list[Token]:
    """The tokens with every number, in words, scaled, ordinal or Roman after a name, as one number token."""
    out: list[Token] = []
    index = 0
    while index < len(tokens):
        value, used = _number_at(tokens, index)
        if used:
            out.append(Token("number", value))
            index += used
        else:
            out.append(tokens[index])
            index += 1
    return _dated(out)


def _number_at(tokens: list[Token], index: int) -> tuple[str, int]:
    token = tokens[index]
    if token.kind == "number":
        return _scaled(tokens, index)
    if token.kind != "word":
        return "", 0
    word = token.text
    if word in ORDINALS and not _is_unit(tokens, index):
        return f"{ORDINALS[word]}th", 1
    if word == "dozen":
        return "12", 1
    if word in ROMAN and index and tokens[index - 1].kind == "word" and (len(word) > 1 or (token.proper and word != "i")):
        return str(ROMAN[word]), 1
    return _spelled_out(tokens, index)


def _is_unit(tokens: list[Token], index: int) -> bool:
    """Whether "second" is the unit of time: after a number, or after "per"."""
    before = tokens[index - 1] if index else None
    return tokens[index].text == "second" and before is not None and (before.kind == "number" or before.text == "per")


def _scaled(tokens: list[Token], index: int) -> tuple[str, int]:
    token = tokens[index]
    following = tokens[index + 1] if index + 1 < len(tokens) else None
    if following is None or following.text not in _SCALES:
        return token.text, 1
    try:
        return format((Decimal(token.text) * _SCALES[following.text]).normalize(), "f"), 2
    except InvalidOperation:
        return token.text, 1


def _spelled_out(tokens: list[Token], index: int) -> tuple[str, int]:
    total, group, used = 0, 0, 0
    while index + used < len(tokens):
        token = tokens[index + used]
        word = token.text
        if token.kind != "word":
            break
        if word in ONES:
            group += ONES[word]
        elif word in TENS:
            group += TENS[word]
        elif word == "hundred":
            group = max(group, 1) * 100
        elif word in _SCALES:
            total, group = total + max(group, 1) * _SCALES[word], 0
        elif word in ORDINALS and used and group % 10 == 0 and ORDINALS[word] < 10:
            return f"{total + group + ORDINALS[word]}th", used + 1
        else:
            break
        used += 1
    if used == 1 and tokens[index].text == "one":
        return "", 0
    return (str(total + group), used) if used else ("", 0)


def _dated(tokens: list[Token]) -> list[Token]:
    """Day and month in one order: "April 3", "3 April" and "the 3rd of April" become the same two tokens."""
    out: list[Token] = []
    for index, read in enumerate(tokens):
        ordinal = read.kind == "number" and read.text.endswith("th") and read.text[:-2].isdigit()
        token = Token("number", read.text[:-2]) if ordinal and _near_month(tokens, index) else read
        if token.kind == "number" and out and out[-1].text in MONTHS and token.text.isdigit() and int(token.text) <= 31:
            out.insert(len(out) - 1, token)
        else:
            out.append(token)
    return out


def _near_month(tokens: list[Token], index: int) -> bool:
    near = tokens[max(0, index - 1) : index + 3]
    return any(token.text in MONTHS for token in near)
