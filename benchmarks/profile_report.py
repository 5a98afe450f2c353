"""Reads what ``sampled`` wrote: which part of the program the CPU time went to."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

OURS = "stratarouter_runtime/"
PACKAGES = ("aiohttp", "yarl", "multidict", "propcache", "frozenlist", "aiosignal", "asyncio", "opentelemetry",
            "prometheus_client", "numpy", "logging", "json")


@dataclass(frozen=True, slots=True)
class Profile:
    """Shares of the CPU time, each from 0 to 1."""

    samples: int
    parts: list[tuple[str, float]]
    """By part of the program, innermost frame; highest first."""
    functions: list[tuple[str, float]]
    """Our functions with all they call; highest first."""


def read(path: Path) -> Profile:
    """The shares of a sampled run."""
    found = json.loads(path.read_text())
    total = found["samples"] or 1
    parts: Counter[str] = Counter()
    for (file, _), count in found["innermost"]:
        parts[part_of(file)] += count
    functions = Counter({f"{_short(file)}:{name}": count for (file, name), count in found["inside"]})
    return Profile(found["samples"], [(name, count / total) for name, count in parts.most_common()],
                   [(name, count / total) for name, count in functions.most_common()])


def part_of(file: str) -> str:
    """The room of ours, or the package."""
    if OURS in file:
        room = file.split(OURS, 1)[1].split("/", maxsplit=1)[0].removesuffix(".py")
        return f"ours: {room}"
    for package in PACKAGES:
        if f"/{package}/" in file or file.endswith(f"/{package}.py"):
            return package
    return "other"


def _short(file: str) -> str:
    return file.split(OURS, 1)[-1]
