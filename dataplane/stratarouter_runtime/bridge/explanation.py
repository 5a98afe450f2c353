"""Why a plan is as it is: what a planner notes down while it decides.

Invariant: an explanation is made by the very steps that make a plan, so that it cannot tell another story.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from stratarouter_runtime.model.decision import RoutingDecision
from stratarouter_runtime.model.errors import RequestError
from stratarouter_runtime.model.plan import Candidate, Plan
from stratarouter_runtime.model.verdict import Verdict


@dataclass(frozen=True, slots=True)
class CandidateNote:
    """A candidate of a route: in, or out for these reasons (a capability, ``contextTokens``, or rules of a policy)."""

    route: str
    candidate: Candidate
    included: bool
    reasons: tuple[str, ...] = ()

    def to_document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"route": self.route, **self.candidate.to_document(), "in": self.included, "reasons": list(self.reasons)}


@dataclass(slots=True)
class Journal:
    """What is noted while planning: the decision once it is checked; verdicts also of rules that hold."""

    verdicts: list[Verdict] = field(default_factory=list)
    notes: list[CandidateNote] = field(default_factory=list)
    decision: RoutingDecision | None = None

    def note(self, route: str, kept: Iterable[Candidate], left_out: Iterable[tuple[Candidate, str]],
             violations: Iterable[Verdict] = ()) -> None:
        """What became of a route's candidates."""
        rules: dict[tuple[str, str, str], list[str]] = {}
        for each in violations:
            if each.candidate is not None:
                rules.setdefault(_key(each.candidate), []).append(each.rule)
        self.notes += [CandidateNote(route, each, included=True, reasons=tuple(rules.get(_key(each), ()))) for each in kept]
        self.notes += [CandidateNote(route, each, included=False, reasons=tuple(rules.get(_key(each), (reason,))))
                       for each, reason in left_out]


    def rerouted(self, route: str) -> None:
        """The violations of a route led to another one."""
        self.verdicts[:] = [each if each.allowed or each.route != route else each.with_effect("rerouted")
                            for each in self.verdicts]


@dataclass(frozen=True, slots=True, repr=False)
class Explanation:
    """The plan, or the refusal, and why: the routing decision, all verdicts, and each candidate in or out."""

    plan: Plan | None
    refusal: RequestError | None
    verdicts: tuple[Verdict, ...] = ()
    candidates: tuple[CandidateNote, ...] = ()
    decision: RoutingDecision | None = None

    def to_document(self) -> dict[str, Any]:
        """As JSON has it."""
        refusal = self.refusal
        return {
            "allowed": self.plan is not None,
            "decision": None if self.decision is None else self.decision.to_document(),
            "plan": None if self.plan is None else self.plan.to_document(),
            "refusal": None if refusal is None else {
                "status": refusal.status, "type": refusal.type, "code": refusal.code, "param": refusal.param,
                "message": refusal.message},
            "verdicts": [each.to_document() for each in self.verdicts],
            "candidates": [each.to_document() for each in self.candidates]}

    def __repr__(self) -> str:
        # In a notebook it is to be read, and the generated one would quote prompts.
        return str(self)

    def __str__(self) -> str:
        lines = [str(self.plan)] if self.plan is not None else [f"refused: {self.refusal}"]
        for each in self.candidates:
            reasons = f": {', '.join(each.reasons)}" if each.reasons else ""
            lines.append(f"  {'in ' if each.included else 'out'} {each.route}: {each.candidate}{reasons}")
        lines += [f"  {each.effect}: {each}" for each in self.verdicts]
        return "\n".join(lines)


def _key(candidate: Candidate) -> tuple[str, str, str]:
    return candidate.pool, candidate.provider, candidate.model
