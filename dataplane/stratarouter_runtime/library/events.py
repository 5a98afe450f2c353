"""The events of ``bridge.stream``, as ``POST /v1/execute`` sends them.

``plan`` comes first, then ``delta`` for each piece of the answer, then ``completed`` or ``error``. What fails before
there is anything to tell is raised instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from stratarouter_runtime.model.errors import StrataError
from stratarouter_runtime.model.plan import Plan
from stratarouter_runtime.results import ExecutionResult


@dataclass(frozen=True, slots=True)
class PlanEvent:
    """What is being done: the first content has come."""

    plan: Plan
    type: Literal["plan"] = "plan"


@dataclass(frozen=True, slots=True)
class DeltaEvent:
    """A piece of the answer.

    ``text`` is its text; ``delta`` the whole of it in OpenAI's shape, for tool calls, reasoning and refusals.
    """

    text: str
    delta: Mapping[str, Any] = field(default_factory=dict, repr=False)
    type: Literal["delta"] = "delta"


@dataclass(frozen=True, slots=True)
class CompletedEvent:
    """The answer is complete."""

    result: ExecutionResult
    type: Literal["completed"] = "completed"


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """The answer broke off: what has come of it is not all of it."""

    error: StrataError
    type: Literal["error"] = "error"


StreamEvent = PlanEvent | DeltaEvent | CompletedEvent | ErrorEvent
