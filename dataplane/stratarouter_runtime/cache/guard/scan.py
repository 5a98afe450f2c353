"""From raw text to tokens: what is written is told apart from how it is written.

``fold`` removes what never matters (Unicode forms, curly quotes, spacing). ``scan`` then cuts the text into words and
facts; a fact (number, date, identifier, URL, code, quoted text, operator, emoji) is kept verbatim and is never
stemmed, corrected or replaced.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

_SIMPLE = str.maketrans(
    {
        "\u2018": "'", "\u2019": "'", "\u201b": "'", "\u02bc": "'", "\u00b4": "'",
        "\u201c": '"', "\u201d": '"', "\u201e": '"', "\u201f": '"', "\u00ab": '"', "\u00bb": '"',
        "\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-", "\u2014": " - ", "\u2015": " - ", "\u2212": "-",
        "\u00d7": "*", "\u00f7": "/", "\u2044": "/",
    }
)
_SUPERSCRIPT = re.compile("([\u2070\u00b9\u00b2\u00b3\u2074-\u207f]+)")
_VULGAR = re.compile("(?<=\\d)([\u00bc-\u00be\u2150-\u215e])")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Token:
    """``kind`` is word, number, id, url, code, quote, op, mark (end of a clause) or comma.

    ``proper`` marks a word written as a name: with a capital inside a sentence, or as an acronym. ``raw`` is how a fact
    was written, where that reads better than ``text``.
    """

    kind: str
    text: str
    proper: bool = False
    raw: str = ""


def fold(text: str) -> str:
    """The text in one Unicode form, with plain quotes and dashes and single spaces; case is kept."""
    text = _VULGAR.sub(r" \1", _SUPERSCRIPT.sub(r"^\1", text))
    text = unicodedata.normalize("NFKC", text).translate(_SIMPLE)
    text = "".join(_visible(char) for char in text)
    return _unquote(_SPACE.sub(" ", text).strip())


def _visible(char: str) -> str:
    if char.isascii():
        return char if char.isprintable() or char.isspace() else ""
    if char.isdecimal():
        return str(unicodedata.decimal(char))
    category = unicodedata.category(char)
    return "" if category in {"Cf", "Cc", "Mn"} and not unicodedata.combining(char) else char


def _unquote(text: str) -> str:
    """A text that is one quotation as a whole was quoted by accident."""
    while len(text) > 2 and text[0] == text[-1] and text[0] in "\"'" and text[0] not in text[1:-1]:
        text = text[1:-1].strip()
    return text


_SUFFIXES = (
    "kilometers|kilometres|kilometer|kilometre|miles|mile|km|cm|mm|kg|mg|ml|gb|mb|kb|tb|lbs|lb|oz|ft|hrs|hr|hours|hour|mins|min|"
    "secs|sec|seconds|minutes|ms|days|day|weeks|week|months|month|years|year|usd|eur|gbp|percent|g|l|h|m|s"
)
_GRAMMAR = re.compile(
    rf"""
      (?P<fence>```.*?```)
    | (?P<tick>`[^`]+`)
    | (?P<quote>"[^"]{{1,2000}}"|(?<!\w)'[^']{{2,2000}}'(?!\w))
    | (?P<url>(?:https?|ftp|wss?)://\S+|www\.\S+)
    | (?P<mail>[\w.+-]+@[\w-]+(?:\.[\w-]+)+(?::[\w./-]+)?)
    | (?P<handle>(?<!\w)[@#][A-Za-z][\w-]*)
    | (?P<flag>(?<!\S)--?[A-Za-z][\w-]*(?:=\S+)?)
    | (?P<path>(?<![\w.])(?:~|\.{{1,2}})?/[\w.-]+(?:/[\w.-]+)*/?)
    | (?P<initials>(?<![\w.])(?:[A-Za-z]\.){{2,}}(?!\w)|(?<![\w.])(?:[A-Za-z]\.)+[A-Za-z](?!\w))
    | (?P<call>[A-Za-z_]\w*(?:(?:::|\.|->)[A-Za-z_]\w*)*\([^()\s]?[^()]*\))
    | (?P<name>[A-Za-z_]\w*(?:(?:::|\.|->|/|\\)[A-Za-z_0-9][\w+#-]*)+|(?<!\S)\.[A-Za-z]\w+)
    | (?P<date>\d{{4}}-\d\d?-\d\d?(?:T[\d:.]+Z?)?|\d\d?/\d\d?(?:/\d{{2,4}})|\d\d?\.\d\d?\.\d{{4}})
    | (?P<decade>\d{{2,4}}'?s\b)
    | (?P<time>\d\d?:\d\d(?::\d\d)?)
    | (?P<phone>\+\d[\d ()-]{{6,}}\d)
    | (?P<version>\d+(?:\.\d+){{2,}}[\w.-]*)
    | (?P<number>(?P<sign>(?<![\w)])[-+])?(?:(?P<money>[$\u20ac\u00a3\u00a5\u20b9\u20bd])\ ?)?(?P<value>\d+(?:[.,]\d+)*)
        (?:(?P<ordinal>st|nd|rd|th)\b|(?P<scale>k|bn)\b|(?P<meridian>\ ?[ap]\.?m\b\.?)|\ ?(?P<percent>%)
          |(?P<unit>{_SUFFIXES})\b|(?=-[A-Za-z])|(?![\w])))
    | (?P<id>(?=[\w-]*\d)[A-Za-z0-9_][\w-]*|[^\W\d]\w*_\w*|_\w+)
    | (?P<grade>\b[A-Za-z](?:\+\+|--|[+\#-])(?!\w)|\b[A-Za-z]\#|\b[A-Za-z]+\+\+)
    | (?P<word>[^\W\d_]+(?:'[^\W\d_]+)*'?)
    | (?P<mark>[.!?:;\u2026\u3002\uff01\uff1f\u061f]+|\s-\s)
    | (?P<comma>[,\u3001\u060c\uff0c])
    | (?P<op>==|!=|<=|>=|&&|\|\||=>|\+\+|--|[-+*/=<>^~|&%])
    | (?P<other>\S)
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_MONEY = {"$": "dollars", "\u20ac": "euros", "\u00a3": "pounds", "\u00a5": "yen", "\u20b9": "rupees", "\u20bd": "roubles"}
_VERBATIM = {"mail": "id", "handle": "id", "flag": "code", "path": "code", "call": "code", "date": "number",
             "decade": "number", "time": "number", "version": "number", "id": "id", "grade": "id"}
_PLAIN_SLASH = frozenset({"and/or", "he/she", "she/he", "his/her", "he/her", "w/o"})


def scan(text: str) -> list[Token]:
    """The tokens of a folded text."""
    shouted = _shouted(text)
    tokens: list[Token] = []
    opening = True
    for match in _GRAMMAR.finditer(text):
        made = _make(_outer(match), match, opening=opening, shouted=shouted, before=tokens)
        tokens.extend(made)
        opening = tokens[-1].kind == "mark" if made else opening
    return _trimmed(tokens)


def _outer(match: re.Match[str]) -> str:
    return next((name for name in _OUTER if match[name] is not None), "other")


_OUTER = ("fence", "tick", "quote", "url", "mail", "handle", "flag", "path", "initials", "call", "name", "date", "decade", "time",
          "phone", "version", "number", "id", "grade", "word", "mark", "comma", "op")


def _make(kind: str, match: re.Match[str], *, opening: bool, shouted: bool, before: list[Token]) -> list[Token]:
    raw = match.group()
    if kind == "word":
        return [_word(raw, opening=opening, shouted=shouted)]
    if kind == "number":
        return _number(match, before)
    if kind == "op":
        return _operator(match, before)
    if kind in _VERBATIM:
        return [Token(_VERBATIM[kind], raw.casefold())]
    return _MADE[kind](raw)


def _word(raw: str, *, opening: bool, shouted: bool) -> Token:
    raw = raw.rstrip("'")
    if len(raw) > 2 and raw[-1] == "s" and raw[:-1].isupper():
        raw = raw[:-1]
    acronym = len(raw) > 1 and raw.isupper()
    capital = raw[:1].isupper() and not opening and raw != "I" and not raw.startswith("I'")
    inner = any(char.isupper() for char in raw[1:])
    return Token("word", raw.casefold(), proper=not shouted and (acronym or capital or inner))


def _name(raw: str) -> list[Token]:
    """Dotted or slashed names are identifiers; a plain "either/or" is two words."""
    lowered = raw.casefold()
    if lowered in _PLAIN_SLASH:
        return [Token("word", part) for part in lowered.split("/")]
    return [Token("id", lowered)]


def _initials(raw: str) -> list[Token]:
    """"U.S." is the acronym "US", "p.m." the word "pm"; "e.g." says nothing."""
    letters = raw.replace(".", "").casefold()
    return [] if letters in {"eg", "ie"} else [Token("word", letters, proper=raw.isupper())]


def _quoted_code(raw: str) -> list[Token]:
    return [Token("code", _SPACE.sub(" ", raw.strip("`").strip()))]


_MADE: dict[str, Callable[[str], list[Token]]] = {
    "fence": _quoted_code,
    "tick": _quoted_code,
    "quote": lambda raw: [Token("quote", raw[1:-1].strip().rstrip(".,!?;:").casefold())],
    "initials": _initials,
    "name": _name,
    "phone": lambda raw: [Token("id", re.sub(r"\D", "", raw))],
    "url": lambda raw: [Token("url", raw.rstrip(".,!?;:)'\""))],
    "mark": lambda raw: [Token("mark", "|")],  # noqa: ARG005 (one shape for all)
    "comma": lambda raw: [Token("comma", ",")],  # noqa: ARG005
    "other": lambda raw: [Token("op", raw)] if unicodedata.category(raw)[0] == "S" else [],
}


def _operator(match: re.Match[str], before: list[Token]) -> list[Token]:
    raw = match.group()
    if raw == "&":
        return [Token("word", "and")]
    previous = before[-1] if before else None
    spaced = match.string[match.end() : match.end() + 1] == " " and match.string[match.start() - 1 : match.start()] == " "
    operand = previous is not None and (previous.kind in {"number", "id"} or (len(previous.text) == 1 and spaced))
    if raw in {"-", "/", "--", "~", "*"} and not operand:
        return []
    return [Token("op", raw)]


def _number(match: re.Match[str], before: list[Token]) -> list[Token]:
    sign = match["sign"] or ""
    minus: list[Token] = []
    if sign and before and before[-1].kind in {"number", "id"}:
        minus, sign = [Token("op", sign)], ""
    value = _value(match["value"], 1000 if match["scale"] in {"k", "K"} else 10**9 if match["scale"] else 1)
    value = ("-" if sign == "-" else "") + value
    if match["ordinal"]:
        return [*minus, Token("number", value + "th", raw=match["value"] + match["ordinal"].casefold())]
    unit = _unit(match)
    return [*minus, Token("number", value), *([Token("word", unit)] if unit else [])]


def _unit(match: re.Match[str]) -> str:
    if match["money"]:
        return _MONEY[match["money"]]
    if match["percent"]:
        return "percent"
    if match["meridian"]:
        return "am" if match["meridian"].strip()[0] in "aA" else "pm"
    unit = (match["unit"] or "").casefold()
    return {"m": "meters", "s": "seconds", "h": "hours", "g": "grams", "l": "liters"}.get(unit, unit)


def _value(digits: str, scale: int = 1) -> str:
    """Digits as a plain decimal: "1,000" is 1000, "2.50" is 2.5; a comma before other than three digits is a decimal one."""
    if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", digits):
        digits = digits.replace(",", "")
    elif digits.count(",") == 1 and "." not in digits:
        digits = digits.replace(",", ".")
    if digits.startswith("0") and digits.isdigit() and len(digits) > 1:
        return digits
    try:
        value = Decimal(digits) * scale
    except InvalidOperation:
        return digits
    return format(value.normalize(), "f") if len(digits) < 30 else digits


def _shouted(text: str) -> bool:
    """Whether capitals say nothing here: all is upper case, or every word of several has a capital."""
    found = re.findall(r"[^\W\d_]{2,}", text)
    if not found:
        return False
    if sum(word.isupper() for word in found) > 0.6 * len(found):
        return True
    return len(found) >= 3 and all(word[0].isupper() for word in found)


def _trimmed(tokens: list[Token]) -> list[Token]:
    """Without the emoji and marks around the text: they are decoration there, content only inside."""
    start, end = 0, len(tokens)
    while start < end and _decoration(tokens[start]):
        start += 1
    while end > start and _decoration(tokens[end - 1]):
        end -= 1
    return tokens[start:end]


def _decoration(token: Token) -> bool:
    return token.kind in {"mark", "comma"} or (token.kind == "op" and unicodedata.category(token.text[0]) == "So")
