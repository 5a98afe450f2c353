"""The figures as a table on the terminal and as ``docs/benchmarks.md``."""

from __future__ import annotations

import os
import platform
import statistics
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from benchmarks.measure import Result, percentile
from benchmarks.profile_report import Profile

MEMORY_TARGET = 150 * 1024 * 1024
MEGABYTE = 1024 * 1024
LIBRARIES = ("aiohttp", "orjson", "onnxruntime", "hnswlib", "numpy")
SHOWN_PARTS = 12
EVERYWHERE = 0.98
SHOWN_FUNCTIONS = 12


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident bytes of a server."""

    title: str
    started: int
    loaded: int
    """After all of its scenarios, with what it has cached."""
    target: int | None = None

    @property
    def passed(self) -> bool:
        """Whether it stays within its target, where there is one."""
        return self.target is None or max(self.started, self.loaded) <= self.target


@dataclass(slots=True)
class Report:
    """All figures of a run."""

    rounds: int
    results: list[Result] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    profiles: dict[str, Profile] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every target is met."""
        return all(result.passed for result in self.results) and all(each.passed for each in self.memory)

    def terminal(self) -> str:
        """As a text table."""
        return "\n\n".join(_text(header, rows) for header, rows in (self._cpu(), self._latency(), self._memory()))

    def markdown(self) -> str:
        """As a page."""
        tables = [_markdown(header, rows) for header, rows in (self._cpu(), self._latency(), self._memory())]
        return PAGE.format(machine=machine(), rounds=self.rounds, cpu=tables[0], latency=tables[1], memory=tables[2],
                           profile=self._profile())

    def _cpu(self) -> tuple[list[str], list[list[str]]]:
        header = ["CPU per request", "bare aiohttp", "StrataRouter", "ratio", "rounds", "target"]
        return header, [[
            result.scenario.title, f"{statistics.median(result.bare.cpu):.3f} ms", f"{statistics.median(result.ours.cpu):.3f} ms",
            f"{result.ratio:.2f}", f"{min(result.ratios):.2f} to {max(result.ratios):.2f}",
            _target(result.scenario.target, result.passed)] for result in self.results]

    def _latency(self) -> tuple[list[str], list[list[str]]]:
        header = ["latency, one request at a time", "bare p50", "bare p99", "StrataRouter p50", "StrataRouter p99"]
        rows = []
        for result in self.results:
            streamed = result.scenario.name == "stream"
            sides = [(figures.first if streamed else figures.total) for figures in (result.bare, result.ours)]
            title = f"{result.scenario.title}{': first content' if streamed else ''}"
            rows.append([title, *(f"{percentile(side, share):.2f} ms" for side in sides for share in (0.5, 0.99))])
        return header, rows

    def _memory(self) -> tuple[list[str], list[list[str]]]:
        header = ["resident memory", "after start", "after the load", "target"]
        return header, [[each.title, _megabytes(each.started), _megabytes(each.loaded),
                         _target(None if each.target is None else f"{each.target // MEGABYTE} MiB", each.passed)]
                        for each in self.memory]

    def _profile(self) -> str:
        blocks = []
        for title, profile in self.profiles.items():
            parts = _markdown(["part (innermost function)", "share of CPU"], _shares(profile.parts, SHOWN_PARTS))
            functions = _markdown(["function of ours, with all it calls", "share of CPU"],
                                  _shares(profile.functions, SHOWN_FUNCTIONS))
            ours = sum(share for name, share in profile.parts if name.startswith("ours"))
            blocks.append(f"### {title}\n\nCode of ours: {ours * 100:.0f} %; the rest is HTTP, towards caller and vendor.\n\n"
                          f"{parts}\n\n{functions}")
        return "\n\n".join(blocks)


PAGE = """# Benchmarks

Written by `make bench`; do not edit. {machine}

Each figure stands beside that of a bare aiohttp server doing the least that answers, in the same run: for misses and streams
a proxy that only passes bytes through, for hits a handler that answers from memory. CPU is that of the server process
alone, all threads, user and system, from the kernel's clock of that process; vendor and load generator are processes of
their own on another core. The sides take turns ({rounds} rounds, alternating order), the ratio is taken within a round, and
its median is shown with the lowest and highest. Every answer is checked: a hit that is no hit ends the benchmark.

The server measured is `strata-runtime serve` with its defaults (metrics, one log line a request, checks, cache in memory);
the caller's vector has no HTTP header, so that row is the library inside an aiohttp handler.

## CPU

{cpu}

## Latency

{latency}

## Memory

{memory}

## Profile

Samples of the stack every few milliseconds of CPU time, under the same load, without MiniLM. Work in C (sockets, JSON) counts
for the Python function that called it.

{profile}
"""


def machine() -> str:
    """What it ran on; no names."""
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (f"Measured on {len(os.sched_getaffinity(0))} cores ({_processor()}), {platform.system()} "
            f"{platform.machine()}, Python {platform.python_version()}, {libraries}; load average {os.getloadavg()[2]:.1f} (where that is "
            "much above 1, other programs ran beside it: the ratios stand that, the latencies do not).")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _shares(found: list[tuple[str, float]], count: int) -> list[list[str]]:
    # What is on the stack of every sample (main, serve) says nothing.
    return [[f"`{name}`", f"{share * 100:.1f} %"] for name, share in found if share < EVERYWHERE][:count]


def _megabytes(size: int) -> str:
    return f"{size / MEGABYTE:.0f} MiB"


def _target(target: object, passed: bool) -> str:
    if target is None:
        return ""
    return f"at most {target}: {'met' if passed else 'MISSED'}"


def _text(header: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [header, *rows]]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows]]
    return "\n".join(lines)
