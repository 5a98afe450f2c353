"""What vendors have no place for in a request: who is left out for it, and what is left out for the others.

Invariants: pure; the order of the candidates stays; what the caller sent is judged, not what the route added to it; nothing
is lost that is not named, and only hints are without the caller's leave.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stratarouter_runtime.model.errors import RequestError
from stratarouter_runtime.model.plan import Candidate
from stratarouter_runtime.model.request import Request
from stratarouter_runtime.model.support import Unsupported
from stratarouter_runtime.wire import dialects

LeftOut = tuple[tuple[Candidate, str], ...]


@dataclass(frozen=True, slots=True)
class Carried:
    """``kept`` candidates with what is lost for each (only those that lose anything), and those ``left_out`` for a parameter."""

    kept: list[Candidate]
    losses: tuple[tuple[Candidate, tuple[Unsupported, ...]], ...] = ()
    left_out: LeftOut = ()


def tells(types: frozenset[str]) -> bool:
    """Whether any of these types of providers may be unable to carry a request."""
    return not types.isdisjoint(dialects.SOME)


def carried(request: Request, candidates: list[Candidate], *, drop: bool) -> Carried:
    """The candidates that can be told the request, and what is not told them. With ``drop`` all can."""
    if dialects.is_plain(request):
        return Carried(candidates)
    kept: list[Candidate] = []
    lost: list[tuple[Candidate, tuple[Unsupported, ...]]] = []
    left_out: list[tuple[Candidate, str]] = []
    for candidate in candidates:
        losses = tuple(dialects.losses(request, candidate))
        reason = None if drop else next((each.param for each in losses if not each.hint), None)
        if reason is not None:
            left_out.append((candidate, reason))
            continue
        kept.append(candidate)
        if losses:
            lost.append((candidate, losses))
    return Carried(kept, tuple(lost), tuple(left_out))


def refusal(request: Request, left_out: Sequence[tuple[Candidate, str]]) -> RequestError:
    """The error where no candidate is left: each with all that it has no place for."""
    told: list[str] = []
    first = ""
    for candidate, reason in left_out:
        refused = [each for each in dialects.losses(request, candidate) if not each.hint]
        first = first or (refused[0].param if refused else "")
        said = ", ".join(f"'{each.param}': {each.reason}" for each in refused[:_MOST]) or reason
        told.append(f"{candidate} ({said}{', ...' if len(refused) > _MOST else ''})")
    return RequestError(
        "UnsupportedParameter", f"The request has what no candidate has a place for: {'; '.join(told)}. "
        "With the header 'x-strata-unsupported: drop' it is left out.", param=first or None)


_MOST = 8
"""Parameters that are named for one candidate."""
