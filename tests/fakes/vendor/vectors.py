"""Embeddings that mean something: a hashed bag of stemmed words, so that paraphrases are close and others are not.

Pure and deterministic. Function words weigh little, numbers and names as much as any word, so that a near-miss
(another number) is near but not equal.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIMENSIONS = {"text-embedding-3-large": 3072, "nomic-embed-text": 768, "all-minilm": 384}
DEFAULT_DIMENSIONS = 1536
_LIGHT = ("a an and are at be by can could do does for from has have how i in is it me my of on or our please so that the "
          "this to us was we were what when where which who will with would you your")
LIGHT_WORDS = frozenset(_LIGHT.split())
LIGHT_WEIGHT = 0.15
SYNONYMS = {"locate": "find", "get": "find", "see": "find", "bill": "invoice", "reset": "change", "purchase": "order"}


def embed(text: str, dimensions: int) -> NDArray[np.float32]:
    """The unit vector of a text; the empty text has one too."""
    total = np.zeros(dimensions, dtype=np.float64)
    for word in re.findall(r"[a-z0-9]+(?:'[a-z]+)?", text.lower()) or [""]:
        weight = LIGHT_WEIGHT if word in LIGHT_WORDS else 1.0
        total += weight * _direction(_stem(word), dimensions)
    return (total / np.linalg.norm(total)).astype(np.float32)


def token_count(item: Any) -> int:
    """Tokens billed for one input: a text's words, or the tokens given."""
    return max(1, len(item.split())) if isinstance(item, str) else len(item)


def encoded(vector: NDArray[np.float32], encoding: str) -> list[float] | str:
    """As the API sends it: numbers, or base64 of little-endian 32-bit floats."""
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return [float(value) for value in vector]


def as_text(item: Any) -> str:
    """A text as it is; a list of tokens as a text that only the same tokens give."""
    return item if isinstance(item, str) else " ".join(f"t{token}" for token in item)


def _stem(word: str) -> str:
    word = SYNONYMS.get(word, word)
    for ending in ("ing", "ed", "es", "s"):
        if len(word) > len(ending) + 3 and word.endswith(ending):
            return word[: -len(ending)]
    return word


@functools.lru_cache(maxsize=4096)
def _direction(word: str, dimensions: int) -> NDArray[np.float64]:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).standard_normal(dimensions)
