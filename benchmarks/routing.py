"""What it costs to be routed, and how often the route is right.

    python -m benchmarks.routing [--data DIR]

Cost: ``core.Router`` with a given vector of 384 numbers, 50 routes of 10 utterances each, beside the same search in numpy;
percentiles in milliseconds of CPU (what other programs of the machine take does not count; nothing here waits) and of wall-clock
time. Fails where the p99 is above 1.2 ms of CPU.

Accuracy: with ``DIR`` (else ``STRATA_CACHE_DATA``) holding ``clinc150.jsonl`` (rows ``text, group, split``), its 150 intents are
routes of ten utterances each, embedded with MiniLM; other texts of these intents, and texts of no intent at all, are routed, with the
accuracy of the nearest utterance in numpy beside it. The table is what ``spec.routing.threshold`` was chosen from.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from stratarouter_runtime.cache import open_minilm
from stratarouter_runtime.config import RoutingConfig
from stratarouter_runtime.core import Router
from stratarouter_runtime.model.cache import Embedder

ROUTES, UTTERANCES, DIMENSION, ROUNDS = 50, 10, 384, 5_000
LIMIT_MS = 1.2
TEXTS, OUTSIDE = 10, 500
"""Texts routed: of each intent, and of none."""
THRESHOLDS = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6)
"""Cosines."""
SMALL, TRIALS = 5, 40
"""Routes, and utterances of each, of a small pod; and how many of them are drawn."""
SEED = 7

Matrix = np.ndarray


# --- cost ---------------------------------------------------------------------------------------------------------------
def cost() -> bool:
    """Measure and print; whether the limit is kept."""
    random = np.random.default_rng(SEED)
    vectors = random.normal(size=(ROUTES * UTTERANCES, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    router = router_of([(f"route-{number // UTTERANCES}", f"utterance {number}") for number in range(len(vectors))], vectors, 0.5)
    queries = [row.tolist() for row in random.normal(size=(100, DIMENSION)).astype(np.float32)]

    def nearest(query: list[float]) -> int:
        vector = np.asarray(query, dtype=np.float32)
        return int((vectors @ (vector / np.linalg.norm(vector))).argmax())

    print(f"Routing, {ROUTES} routes x {UTTERANCES} utterances, {DIMENSION} dimensions, {ROUNDS} requests, milliseconds")
    calls: dict[str, Callable[[list[float]], Any]] = {"core": lambda query: router.route("where is my invoice?", query), "numpy": nearest}
    taken = measured(calls, queries)
    for name, each in taken.items():
        for kind, values in zip(("CPU", "wall"), each, strict=True):
            print(f"  {name:<8}{kind:<6}" + "  ".join(f"p{share:g} {percentile(values, share / 100):.3f}" for share in (50, 95, 99)))
    p99 = percentile(taken["core"][0], 0.99)
    ratio = percentile(taken["core"][0], 0.5) / percentile(taken["numpy"][0], 0.5)
    print(f"  core over numpy at p50: {ratio:.1f}; {'kept' if p99 <= LIMIT_MS else 'NOT KEPT'}: core p99 {p99:.3f} ms of CPU, "
          f"at most {LIMIT_MS} ms")
    return p99 <= LIMIT_MS


def measured(calls: dict[str, Callable[[list[float]], Any]], queries: Sequence[list[float]]) -> dict[str, tuple[list[int], list[int]]]:
    """Nanoseconds of each call, of CPU and by the clock, sorted; the calls take turns, so that the machine is the same for all."""
    taken: dict[str, tuple[list[int], list[int]]] = {name: ([], []) for name in calls}
    gc.collect()
    for number in range(ROUNDS):
        query = queries[number % len(queries)]
        for name, call in calls.items():
            began, spent = time.perf_counter_ns(), time.thread_time_ns()
            call(query)
            taken[name][0].append(time.thread_time_ns() - spent)
            taken[name][1].append(time.perf_counter_ns() - began)
    return {name: (sorted(cpu), sorted(wall)) for name, (cpu, wall) in taken.items()}


def percentile(values: list[int], share: float) -> float:
    return values[int(len(values) * share)] / 1e6


# --- accuracy -----------------------------------------------------------------------------------------------------------
@dataclass
class Intents:
    """Utterances of intents, other texts of theirs, and texts of none; each list with its vectors."""

    utterances: list[tuple[str, str]]
    texts: list[tuple[str, str]]
    outside: list[str]
    of_utterances: Matrix
    of_texts: Matrix
    of_outside: Matrix


def router_of(utterances: Sequence[tuple[str, str]], vectors: Any, threshold: float) -> Router:
    """A router; the utterances of a route stand together."""
    routes: dict[str, list[str]] = defaultdict(list)
    for name, text in utterances:
        routes[name].append(text)
    router = Router(threshold=threshold)
    router.add_routes(routes)
    router.build_index(vectors)
    return router


async def accuracy(name: str, rows: list[dict[str, Any]]) -> None:
    """Route the intents of a file's rows and print."""
    embedder = await open_minilm()
    try:
        intents = await read(rows, embedder)
    finally:
        await embedder.aclose()
    threshold = RoutingConfig().threshold
    router = router_of(intents.utterances, intents.of_utterances, 0.0)
    decisions = [router.route(text, vector.tolist()) for (_, text), vector in zip(intents.texts, intents.of_texts, strict=True)]
    cosines = intents.of_texts @ intents.of_utterances.T
    nearest = [intents.utterances[index][0] for index in cosines.argmax(axis=1)]
    wanted = [name for name, _ in intents.texts]
    print(f"\n{len({name for name, _ in intents.utterances})} intents of {name}, {len(intents.utterances)} utterances, MiniLM; "
          f"{len(wanted)} other texts of theirs, {len(intents.outside)} of none")
    print(f"  accuracy of core.Router {share(d.route_id == name for d, name in zip(decisions, wanted, strict=True))}, "
          f"of the nearest utterance in numpy {share(found == name for found, name in zip(nearest, wanted, strict=True))}, "
          f"the same route {share(d.route_id == found for d, found in zip(decisions, nearest, strict=True))}")
    table(intents, threshold)


def table(intents: Intents, default: float) -> None:
    """What each threshold takes and leaves: with all intents, and in small pods drawn from them."""
    print(f"  threshold (default {default:g})       | all routes: taken  taken and right  taken of no intent "
          f"| {SMALL} routes x {SMALL}: taken  taken and right  of no intent")
    pods = [small(intents, Random(SEED + number)) for number in range(TRIALS)]
    whole = (intents.of_texts @ intents.of_utterances.T, [name for name, _ in intents.utterances], [name for name, _ in intents.texts],
             intents.of_outside @ intents.of_utterances.T)
    for cosine in THRESHOLDS:
        rows = [figures(*whole, cosine), np.mean([figures(*pod, cosine) for pod in pods], axis=0)]
        cells = " | ".join("  ".join(f"{100 * value:>6.1f} %" for value in row) for row in rows)
        print(f"  cosine {cosine:.2f}, confidence {confidence(cosine):.3f} | {cells}")


def small(intents: Intents, random: Random) -> tuple[Matrix, list[str], list[str], Matrix]:
    """Cosines of a pod of a few routes: its own texts, and those of no intent."""
    chosen = set(random.sample(sorted({name for name, _ in intents.utterances}), SMALL))
    seen: dict[str, int] = defaultdict(int)
    kept: list[int] = []
    for index, (name, _) in enumerate(intents.utterances):
        seen[name] += 1
        if name in chosen and seen[name] <= SMALL:
            kept.append(index)
    asked = [index for index, (name, _) in enumerate(intents.texts) if name in chosen]
    known = intents.of_utterances[kept]
    return (intents.of_texts[asked] @ known.T, [intents.utterances[index][0] for index in kept],
            [intents.texts[index][0] for index in asked], intents.of_outside @ known.T)


def figures(cosines: Matrix, names: list[str], wanted: list[str], outside: Matrix, cosine: float) -> tuple[float, float, float]:
    """Shares of the texts that are taken, that are taken and right, and of the texts of no intent that are taken."""
    taken = cosines.max(axis=1) >= cosine
    right = np.asarray([names[index] for index in cosines.argmax(axis=1)]) == np.asarray(wanted)
    return float(taken.mean()), float((taken & right).mean()), float((outside.max(axis=1) >= cosine).mean())


def confidence(cosine: float) -> float:
    """The core's, for a cosine."""
    router = router_of([("only", "x")], [[1.0, 0.0]], 0.0)
    return float(router.route("q", [cosine, (1 - cosine**2) ** 0.5]).confidence or 0)


async def read(rows: list[dict[str, Any]], embedder: Embedder) -> Intents:
    """Ten utterances of each intent from ``train``, texts from ``test``, and those of no intent."""
    Random(SEED).shuffle(rows)
    utterances = some((row for row in rows if row["split"] == "train" and row["group"] != "oos"), UTTERANCES)
    texts = some((row for row in rows if row["split"] == "test" and row["group"] != "oos"), TEXTS)
    outside = [row["text"] for row in rows if row["group"] == "oos"][:OUTSIDE]
    vectors = [await embedded(embedder, each) for each in ([text for _, text in utterances], [text for _, text in texts], outside)]
    return Intents(utterances, texts, outside, *vectors)


def some(rows: Any, count: int) -> list[tuple[str, str]]:
    """So many texts of each intent, those of one together."""
    found: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if len(found[row["group"]]) < count:
            found[row["group"]].append(row["text"])
    return [(name, text) for name, texts in sorted(found.items()) for text in texts]


async def embedded(embedder: Embedder, texts: Sequence[str]) -> Matrix:
    vectors = []
    for text in texts:
        vector = await embedder.embed(text)
        if vector is None:
            raise RuntimeError("the embedder failed")
        vectors.append(vector)
    return np.asarray(vectors)


def share(values: Any) -> str:
    given = list(values)
    return f"{100 * sum(given) / len(given):.1f} %"


def main() -> int:
    """Measure and print; 1 where the limit is not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("STRATA_CACHE_DATA"))
    given = parser.parse_args().data
    kept = cost()
    path = Path(given) / "clinc150.jsonl" if given else None
    if path is not None and path.exists():
        asyncio.run(accuracy(path.name, [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]))
    else:
        print("  accuracy is not measured: STRATA_CACHE_DATA (or --data) names no folder with clinc150.jsonl")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
