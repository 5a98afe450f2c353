"""One comparison: interleaved rounds of both sides on a machine that also does other things.

Invariant: the two sides of a round run right after one another, in alternating order, so that what else the machine does
falls on both; the ratio is taken within a round and its median over the rounds is what is reported.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass, field

from benchmarks.load import Reply, generate
from benchmarks.scenarios import Scenario, Side
from benchmarks.servers import Servers

WARM_UP = 0.25
"""Share of a round that is sent first and does not count."""


@dataclass(slots=True)
class Figures:
    """Of one side: CPU milliseconds per request of each round; latencies in milliseconds, one request at a time."""

    cpu: list[float] = field(default_factory=list)
    total: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)

    def add(self, cpu: float, alone: list[Reply]) -> None:
        """One round."""
        self.cpu.append(cpu)
        self.total += [reply.total * 1000 for reply in alone]
        self.first += [reply.first * 1000 for reply in alone]


@dataclass(slots=True)
class Result:
    """A scenario's outcome."""

    scenario: Scenario
    bare: Figures = field(default_factory=Figures)
    ours: Figures = field(default_factory=Figures)

    @property
    def ratios(self) -> list[float]:
        """CPU of ours over bare, round by round."""
        return [ours / bare for ours, bare in zip(self.ours.cpu, self.bare.cpu, strict=True)]

    @property
    def ratio(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.ratios)

    @property
    def passed(self) -> bool:
        """Whether the ratio is within the target, where there is one."""
        return self.scenario.target is None or self.ratio <= self.scenario.target


def percentile(values: list[float], share: float) -> float:
    """The value below which that share lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def measure(scenario: Scenario, servers: Servers, rounds: int) -> Result:
    """All rounds of a scenario."""
    result = Result(scenario)
    _prepare(scenario, servers)
    for side in (scenario.bare, scenario.ours):
        _send(side, servers, int(scenario.count * WARM_UP) or 1, scenario.connections)
    for number in range(rounds):
        pairs = [(scenario.bare, result.bare), (scenario.ours, result.ours)]
        for side, figures in pairs if number % 2 == 0 else reversed(pairs):
            server = servers.of(side.server)
            before = server.cpu_seconds()
            _send(side, servers, scenario.count, scenario.connections)
            cpu = (server.cpu_seconds() - before) / scenario.count * 1000
            figures.add(cpu, _send(side, servers, scenario.alone, 1))
    return result


def _prepare(scenario: Scenario, servers: Servers) -> None:
    if scenario.prepare is None:
        return
    requests = list(scenario.prepare())
    side = Side(scenario.ours.server, lambda: iter(requests), _answered)
    _send(side, servers, len(requests), 2)
    time.sleep(scenario.settle)


def _answered(reply: Reply) -> None:
    assert reply.status == 200, (reply.status, reply.body)


def _send(side: Side, servers: Servers, count: int, connections: int) -> list[Reply]:
    port = servers.of(side.server).port
    return asyncio.run(generate(port, side.requests(), side.check, count=count, connections=connections, marker=side.marker))
