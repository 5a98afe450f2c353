"""``make bench``: measure everything, print the tables, write ``docs/benchmarks.md``.

Exit status 1 where a target is missed. ``--quick`` is a fraction of the work and writes nothing, to see whether it runs.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.load import generate
from benchmarks.measure import measure
from benchmarks.processes import ROOT, Child, free_port
from benchmarks.profile_report import Profile, read
from benchmarks.report import MEMORY_TARGET, Memory, Report
from benchmarks.scenarios import Scenario, scenarios
from benchmarks.servers import configuration, running, serve

PAGE = ROOT / "docs" / "benchmarks.md"
PROFILED = ("json-miss", "stream", "exact-hit")
QUICK_ROUNDS, QUICK_SCALE = 3, 0.2


def main() -> int:
    """Run; 0 where all targets are met."""
    options = _options()
    rounds, scale = (QUICK_ROUNDS, QUICK_SCALE) if options.quick else (options.rounds, options.scale)
    wanted = [each for each in scenarios(scale) if not options.only or each.name in options.only]
    report = _measured(wanted, rounds)
    for each in wanted:
        if each.name in PROFILED:
            _say(f"profile: {each.title}")
            report.profiles[each.title] = _profiled(each)
    print(report.terminal())
    if options.quick or options.only:
        print("\n" + "\n\n".join(_hot(title, profile) for title, profile in report.profiles.items()))
    else:
        PAGE.write_text(report.markdown())
        print(f"\nwritten to {PAGE.relative_to(ROOT)}")
    return 0 if report.passed else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.run", description="CPU, latency and memory beside bare aiohttp.")
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds of each scenario (default %(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the usual number of requests (default %(default)s)")
    parser.add_argument("--only", action="append", metavar="NAME", help="a scenario's name, repeatable; writes nothing")
    parser.add_argument("--quick", action="store_true", help="few short rounds; writes nothing")
    return parser.parse_args()


def _measured(wanted: Sequence[Scenario], rounds: int) -> Report:
    report = Report(rounds)
    with running() as servers:
        titles = {"bare": ("bare aiohttp", None), "plain": ("strata-runtime serve, embedder none", MEMORY_TARGET),
                  "minilm": ("strata-runtime serve, embedder minilm", None)}
        started = {name: servers.of(name).resident_bytes() for name in titles}
        for scenario in wanted:
            _say(scenario.title)
            report.results.append(measure(scenario, servers, rounds))
        for name, (title, target) in titles.items():
            report.memory.append(Memory(title, started[name], servers.of(name).resident_bytes(), target))
    return report


def _profiled(scenario: Scenario) -> Profile:
    """The scenario's load once more, on a server that samples itself."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder, vendor = Path(name), free_port()
        out = folder / "samples.json"
        runner = ("-m", "benchmarks.sampled", str(out), "stratarouter_runtime.cli")
        with (Child(["-m", "benchmarks.vendor", str(vendor)], vendor, measured=False),
              serve(configuration(folder, vendor, "none"), runner) as server):
            # What is prepared comes first: it is a miss, and with it the server warms up before the samples begin.
            first = list(itertools.islice(scenario.ours.requests(), 20))
            asyncio.run(generate(server.port, iter(first), lambda _: None, count=len(first), connections=1))
            server.toggle_profile()
            asyncio.run(generate(server.port, scenario.ours.requests(), scenario.ours.check, count=scenario.count * 2,
                                 connections=scenario.connections))
            server.toggle_profile()
        return read(out)


def _hot(title: str, profile: Profile) -> str:
    rows = [*profile.parts[:12], ("", 0.0), *profile.functions[:40]]
    return "\n".join([f"{title} ({profile.samples} samples)", *(f"  {share:6.1%}  {name}" for name, share in rows)])


def _say(what: str) -> None:
    print(f"... {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
