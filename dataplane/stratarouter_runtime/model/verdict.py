"""What a policy's rules say of a request and its candidates, and the refusal they may lead to.

Invariants: a rule is named as in the contract (camelCase); ``value`` and ``limit`` are JSON values, money as a decimal
string; a verdict never holds a prompt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from .errors import RequestError

if TYPE_CHECKING:
    from .plan import Candidate

Effect = Literal["held", "refused", "leftOut", "rerouted", "reported"]
"""What came of a verdict: the rule held; the request was refused; the candidate was left out; the request went to
``violationRoute``; or, under ``dryRun``, it was only reported."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One rule applied once.

    ``value`` is what was found (None: unknown), ``limit`` what the rule says; ``candidate`` None for a rule about the
    request as a whole; ``allowed`` whether the rule holds; ``route`` whose policy it is.
    """

    rule: str
    value: Any
    limit: Any
    candidate: Candidate | None = None
    allowed: bool = False
    effect: Effect = "refused"
    route: str = ""

    def with_effect(self, effect: Effect) -> Verdict:
        """The same verdict with what came of it."""
        if effect == self.effect:
            return self
        return Verdict(self.rule, self.value, self.limit, self.candidate, self.allowed, effect, self.route)

    def to_document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "rule": self.rule, "value": self.value, "limit": self.limit, "allowed": self.allowed, "effect": self.effect,
            "candidate": None if self.candidate is None else self.candidate.to_document(), "route": self.route}

    def __str__(self) -> str:
        about = f" ({self.candidate})" if self.candidate is not None else ""
        return f"{self.rule} is {_words(self.value)}, limit {_words(self.limit)}{about}"


class PolicyError(RequestError):
    """The route's policy refuses the request. ``verdicts`` are all that were violated, the decisive one first."""

    def __init__(self, route: str, verdicts: tuple[Verdict, ...], *, more: str = "") -> None:
        super().__init__("PolicyViolation", f"The policy of route '{route}' refuses this request: {verdicts[0]}.{more}",
                         status=403, type="policy_violation", param=verdicts[0].rule)
        self.route = route
        self.verdicts = verdicts


def summary(verdicts: Iterable[Verdict]) -> str:
    """Violations in the short form of a header: ``allowedRegions;effect=leftOut;count=2, minConfidence;effect=reported``.

    A list with parameters as RFC 9651 writes it; empty where nothing was violated.
    """
    counted = Counter((each.rule, each.effect) for each in verdicts if not each.allowed)
    return ", ".join(f"{rule};effect={effect}" + (f";count={count}" if count > 1 else "")
                     for (rule, effect), count in counted.items())


def _words(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, list):
        return ", ".join(str(each) for each in value) or "none"
    return str(value) if value != "" else "unknown"
