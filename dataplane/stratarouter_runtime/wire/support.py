"""What a dialect cannot carry of a request in canonical form, as its codec tells.

Each codec of another dialect than OpenAI's has ``unsupported(body)``: pure, total, and complete, so that nothing is lost
in silence; its encoder leaves out what that names. A model's own abilities (tools, vision) are not told here: those are
capabilities.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A parameter that the dialect has no place for.

    ``param`` as errors name it (``logit_bias``, ``messages[2].content[0]``); ``reason`` is one clause for people (``it takes
    no log probabilities``). A ``hint`` does not change what is asked (``store``, ``user``, ``service_tier``): it is left out,
    and the caller told; anything else is a reason not to ask this vendor.
    """

    param: str
    reason: str
    hint: bool = False
