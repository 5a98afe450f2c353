"""Run a program and sample where its CPU time goes: ``python -m benchmarks.sampled OUT MODULE ARGUMENTS...``.

A timer that ticks in CPU time of the process (``ITIMER_PROF``) looks at the stack, so waiting does not count and nothing
but the ticks themselves is added; a profiler that traces every call would bill short functions several times their cost.
Work done in C counts for the Python function that called it. Written to OUT on SIGTERM, as JSON.
"""

from __future__ import annotations

import json
import runpy
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

TICK = 0.001
"""Seconds; the kernel rounds up to its own tick, usually 4 ms."""
Place = tuple[str, str]


class Sampler:
    """Counts samples by (file, function): the innermost frame, and each frame of ours that was on the stack."""

    def __init__(self, marker: str) -> None:
        self._marker = marker
        self.samples = 0
        self.innermost: Counter[Place] = Counter()
        self.inside: Counter[Place] = Counter()

        self._running = False
        signal.signal(signal.SIGPROF, self._tick)

    def toggle(self) -> None:
        """Begin, or end."""
        self._running = not self._running
        tick = TICK if self._running else 0.0
        signal.setitimer(signal.ITIMER_PROF, tick, tick)

    def _tick(self, _: int, frame: FrameType | None) -> None:
        self.samples += 1
        if frame is not None:
            self.innermost[_place(frame)] += 1
        seen: set[Place] = set()
        while frame is not None:
            place = _place(frame)
            if self._marker in place[0]:
                seen.add(place)
            frame = frame.f_back
        self.inside.update(seen)


def _place(frame: FrameType) -> Place:
    return frame.f_code.co_filename, frame.f_code.co_qualname


def main(out: Path, module: str, arguments: list[str]) -> None:
    """Run the module's main under the sampler."""
    sampler = Sampler("stratarouter_runtime")
    # From one SIGUSR1 to the next, so that neither start, warm-up nor drain counts.
    signal.signal(signal.SIGUSR1, lambda *_: sampler.toggle())
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit:
        pass
    finally:
        out.write_text(json.dumps({"samples": sampler.samples, "innermost": list(map(list, sampler.innermost.items())),
                                   "inside": list(map(list, sampler.inside.items()))}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
