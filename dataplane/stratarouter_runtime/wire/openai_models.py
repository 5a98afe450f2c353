"""What the names of OpenAI's models tell of their parameters.

Source: OpenAI API reference ("max_tokens ... is not compatible with o-series models") and model guides ("Using GPT-5":
``temperature``, ``top_p`` and ``logprobs`` are refused by GPT-5, GPT-5 mini and GPT-5 nano, and by later ones while they
reason). Only what is sure is told here; anything else the vendor judges, and its refusal reaches the client.

Invariant: a name that is not known tells nothing. Models go by two names, the public and the vendor's (on Azure a
deployment's, which may be anything); either may tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

_REASONS = re.compile(r"o[1-9](-|$)|gpt-5(?!-chat)|codex-|computer-use")
_FIXED = re.compile(r"(o[1-9](-[a-z-]+)?|gpt-5(-(mini|nano|pro|codex))?)(-\d{4}-\d{2}-\d{2})?$")
_STOPLESS = re.compile(r"o3(?!-mini)|o4|gpt-5")
_NEVER_REASONS = re.compile(r"gpt-4|gpt-3\.5|chatgpt-4o|gpt-5-chat")


@lru_cache(maxsize=1_024)
def reasons(*names: str) -> bool:
    """Whether it is a reasoning model: it takes ``max_completion_tokens`` and not ``max_tokens``."""
    return any(_REASONS.match(each) for each in _bare(names))


@lru_cache(maxsize=1_024)
def never_reasons(*names: str) -> bool:
    """Whether it is a model that refuses ``reasoning_effort``."""
    return any(_NEVER_REASONS.match(each) for each in _bare(names))


@lru_cache(maxsize=1_024)
def fixes_sampling(*names: str) -> bool:
    """Whether it refuses to be told how to sample: temperature, penalties, log probabilities."""
    return any(_FIXED.match(each) for each in _bare(names))


@lru_cache(maxsize=1_024)
def takes_no_stop(*names: str) -> bool:
    """Whether it refuses stop sequences as well."""
    return any(_FIXED.match(each) and _STOPLESS.match(each) for each in _bare(names))


def _bare(names: Iterable[str]) -> list[str]:
    """Without what gateways and fine-tuning put in front: ``openai/o3``, ``ft:o4-mini-2025-04-16:acme::1``."""
    return [each.rpartition("/")[2].removeprefix("ft:").partition(":")[0].lower() for each in names]
