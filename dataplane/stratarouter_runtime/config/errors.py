"""What is wrong with a configuration, in words a user can act on.

Invariant: a message names the resource and the field; it never holds the value of a Secret.
"""

from __future__ import annotations

from pydantic import ValidationError


class ConfigError(ValueError):
    """A configuration that cannot be run.

    ``reason`` is CamelCase and becomes the condition's reason; ``problems`` are complete sentences, the first
    of which is the most important one.
    """

    def __init__(self, reason: str, *problems: str) -> None:
        self.reason = reason
        self.problems = problems
        super().__init__("; ".join(problems))


def invalid(resource: str, error: ValidationError) -> ConfigError:
    """A pydantic error as ours: each problem as ``RuntimeConfig/x: spec.field: what is wrong``."""
    problems = []
    all_found = error.errors(include_url=False, include_input=False)
    for found in all_found:
        if found["type"] == "too_short" and any(_inside(each["loc"], found["loc"]) for each in all_found):
            continue  # it is only short because what is wrong inside was left out
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in found["loc"])
        message = found["msg"].removeprefix("Value error, ")
        if found["type"] == "extra_forbidden":
            message = "unknown field"
        problems.append(f"{resource}: spec{path}: {message}")
    return ConfigError("InvalidSpec", *problems)


def _inside(place: tuple[int | str, ...], other: tuple[int | str, ...]) -> bool:
    return len(place) > len(other) and place[:len(other)] == other
