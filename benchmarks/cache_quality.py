"""How often the semantic cache answers, and how often wrongly: threshold by threshold, with and without the guard.

    python -m benchmarks.cache_quality [--data DIR] [--sets pairs,banking77,clinc150] [--write docs/cache-quality.md]

``DIR`` (else ``STRATA_CACHE_DATA``) holds the labelled sets: ``near_miss.jsonl`` and any other ``*pairs*.jsonl`` with rows
``a, b, label (1: a's answer may be given for b), category``; ``banking77.jsonl`` and ``clinc150.jsonl`` with rows
``text, group``. A hit is wrong where the stored text is of another group. Streams are played once through, in the file's
order and shuffled, and as a Zipf stream of repeated texts; the five nearest stored texts are tried in order, as in the cache.
The last column of each table is the cache itself (index, guard, embedder) at its calibrated threshold on the same stream.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stratarouter_runtime.cache import MemoryStore, SemanticCache, VectorIndex, open_minilm
from stratarouter_runtime.cache.guard import verdict
from stratarouter_runtime.cache.service import NEIGHBOURS
from stratarouter_runtime.model.cache import CacheEntry, CacheKey, Embedder, Hit

THRESHOLDS = (0.80, 0.85, 0.88, 0.89, 0.90, 0.92, 0.95, 0.98)
ZIPF_EXPONENT = 1.1
ZIPF_REQUESTS = 20_000
SHORT = 200
"""Characters up to which a pair counts as short."""
SEED = 7

Vectors = dict[str, np.ndarray]
Row = tuple[str, str]


@dataclass
class Count:
    """What became of a stream."""

    requests: int = 0
    hits: int = 0
    wrong: int = 0
    examples: list[tuple[str, str]] = field(default_factory=list)

    def cells(self) -> str:
        low, high = wilson(self.wrong, self.hits)
        share = 100 * self.wrong / self.hits if self.hits else 0.0
        return f"{100 * self.hits / self.requests:.1f} % | {share:.2f} % ({100 * low:.2f}-{100 * high:.2f})"


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    if not trials:
        return 0.0, 0.0
    z, share = 1.96, successes / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, middle - half), min(1.0, middle + half)


# --- data -------------------------------------------------------------------------------------------------------------
def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]


def pair_files(data: Path) -> list[Path]:
    own = Path(__file__).parents[1] / "tests" / "unit" / "cache" / "pairs.jsonl"
    return [*sorted({*data.glob("near_miss*.jsonl"), *data.glob("*pairs*.jsonl")}), own]


async def embed(embedder: Embedder, texts: Iterable[str], vectors: Vectors) -> float:
    """Embed what is not embedded yet; the CPU milliseconds a text took."""
    wanted = [text for text in dict.fromkeys(texts) if text not in vectors]
    began = time.process_time()
    for number, text in enumerate(wanted):
        if embedder.fits(text):
            vector = await embedder.embed(text)
            assert vector is not None
            vectors[text] = np.asarray(vector)
        if number % 2_000 == 1_999:
            print(f"  embedded {number + 1} of {len(wanted)}", file=sys.stderr)
    return 1_000 * (time.process_time() - began) / max(1, len(wanted))


# --- pairs ------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Judged:
    """A pair with its cosine (0 where a text does not fit the embedder's window) and the guard's verdict."""

    kind: str
    score: float
    allowed: bool


def judge(pairs: list[dict[str, Any]], vectors: Vectors) -> list[Judged]:
    judged = []
    for pair in pairs:
        a, b = vectors.get(pair["a"]), vectors.get(pair["b"])
        score = float(a @ b) if a is not None and b is not None else 0.0
        judged.append(Judged(kind_of(pair), score, verdict(pair["a"], pair["b"]).allowed))
    return judged


def kind_of(pair: dict[str, Any]) -> str:
    if pair["label"]:
        return f"to reuse: {pair['category'].removeprefix('pos:')}"
    length = "short" if max(len(pair["a"]), len(pair["b"])) <= SHORT else "long"
    return f"near-miss, {length}"


def pairs_table(name: str, judged: Sequence[Judged], calibrated: float) -> list[str]:
    kinds = sorted({each.kind for each in judged})
    lines = [f"### {name}: share accepted", "", "| threshold | guard | " + " | ".join(kinds) + " |",
             "| --- | --- |" + " --- |" * len(kinds)]
    for threshold in sorted({*THRESHOLDS, calibrated}):
        for guarded in (False, True):
            cells = []
            for kind in kinds:
                chosen = [each for each in judged if each.kind == kind]
                accepted = sum(each.score >= threshold and (each.allowed or not guarded) for each in chosen)
                cells.append(f"{100 * accepted / len(chosen):.1f} % of {len(chosen)}")
            mark = " (calibrated)" if threshold == calibrated else ""
            lines.append(f"| {threshold:.2f}{mark} | {'on' if guarded else 'off'} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def category_table(name: str, pairs: list[dict[str, Any]], judged: Sequence[Judged], calibrated: float) -> list[str]:
    accepted: dict[str, list[bool]] = defaultdict(list)
    unguarded: dict[str, int] = defaultdict(int)
    for pair, each in zip(pairs, judged, strict=True):
        accepted[pair["category"]].append(each.score >= calibrated and each.allowed)
        unguarded[pair["category"]] += each.score >= calibrated
    lines = [f"### {name} by category at {calibrated:.2f}", "", "| category | pairs | accepted | without the guard |", "| --- | --- | --- | --- |"]
    for category, hits in sorted(accepted.items()):
        lines.append(f"| {category} | {len(hits)} | {100 * sum(hits) / len(hits):.1f} % | {100 * unguarded[category] / len(hits):.1f} % |")
    return [*lines, ""]


# --- streams ----------------------------------------------------------------------------------------------------------
class Neighbours:
    """For each text of a set the others from the lowest threshold on, nearest first."""

    def __init__(self, texts: Sequence[str], vectors: Vectors, lowest: float) -> None:
        matrix = np.stack([vectors[text] for text in texts])
        self.texts = texts
        self.near: dict[str, list[tuple[str, float]]] = {}
        for start in range(0, len(texts), 512):
            scores = matrix[start : start + 512] @ matrix.T
            for row, text in enumerate(texts[start : start + 512]):
                found = np.nonzero(scores[row] >= lowest)[0]
                ordered = found[np.argsort(-scores[row, found], kind="stable")]
                self.near[text] = [(texts[place], float(scores[row, place])) for place in ordered]


class Guard:
    """The guard, asked once a pair."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, str], bool] = {}

    def __call__(self, a: str, b: str) -> bool:
        key = (a, b) if a < b else (b, a)
        if key not in self._said:
            self._said[key] = a == b or verdict(a, b).allowed
        return self._said[key]


def play(stream: Sequence[Row], neighbours: Neighbours, threshold: float, allowed: Callable[[str, str], bool]) -> Count:
    """A stream through a cache of unlimited size."""
    stored: dict[str, str] = {}
    count = Count()
    for text, group in stream:
        count.requests += 1
        close = [near for near, score in neighbours.near.get(text, []) if score >= threshold and near in stored][:NEIGHBOURS]
        found = next((near for near in close if allowed(near, text)), None)
        if found is None:
            stored[text] = group
            continue
        count.hits += 1
        if stored[found] != group:
            count.wrong += 1
            count.examples.append((found, text))
    return count


async def play_cache(stream: Sequence[Row], vectors: Vectors, embedder: Embedder) -> Count:
    """The same stream through the cache itself, exact tier first."""
    remembered = Remembered(embedder, vectors)
    store = MemoryStore(max_entries=10**6, max_bytes=10**10)
    cache = SemanticCache(store, VectorIndex(max_entries=10**6, max_bytes=10**10), remembered)
    await cache.start()
    groups: dict[str, str] = {}
    count = Count()
    for text, group in stream:
        count.requests += 1
        key = CacheKey(scope="s", partition="p", exact=text, family="chat", tenant="t", route="r", model="m", text=text)
        found = await cache.lookup_exact(key)
        if not isinstance(found, Hit):
            found = await cache.lookup_semantic(key)
        if isinstance(found, Hit):
            count.hits += 1
            count.wrong += groups[found.entry.text or ""] != group
            continue
        groups[text] = group
        await cache.store(key, CacheEntry(partition="p", exact=text, body=b"{}", pool="c", provider="p", model="m", region="",
                                          created=time.time(), ttl=86_400, text=text))
    await cache.aclose()
    return count


class Remembered:
    """The embedder with the vectors it has made."""

    def __init__(self, embedder: Embedder, vectors: Vectors) -> None:
        self.id, self.threshold, self.fits = embedder.id, embedder.threshold, embedder.fits
        self._vectors = vectors

    async def embed(self, text: str) -> Any:
        return self._vectors.get(text)

    async def aclose(self) -> None:
        """Nothing is open."""


def zipf(rows: Sequence[Row], requests: int = ZIPF_REQUESTS, exponent: float = ZIPF_EXPONENT) -> list[Row]:
    """Requests that repeat texts by Zipf's law, the texts in random order of popularity."""
    rng = np.random.default_rng(SEED)
    order = rng.permutation(len(rows))
    weights = 1 / np.arange(1, len(rows) + 1) ** exponent
    return [rows[order[rank]] for rank in rng.choice(len(rows), size=requests, p=weights / weights.sum())]


async def streams_table(name: str, rows: list[Row], vectors: Vectors, embedder: Embedder) -> list[str]:
    rows = [row for row in rows if row[0] in vectors]
    shuffled = [rows[place] for place in np.random.default_rng(SEED).permutation(len(rows))]
    streams = {"once, file order": rows, "once, shuffled": shuffled, f"Zipf {ZIPF_EXPONENT}": zipf(rows)}
    neighbours = Neighbours(list(dict.fromkeys(text for text, _ in rows)), vectors, min(THRESHOLDS))
    guard, calibrated = Guard(), embedder.threshold
    lines = [f"### {name}: hits of all requests, wrong of hits (95 % interval)", "",
             "| threshold | guard |" + "".join(f" {stream}: hits | wrong |" for stream in streams),
             "| --- | --- |" + " --- | --- |" * len(streams)]
    for threshold in sorted({*THRESHOLDS, calibrated}):
        for guarded in (False, True):
            counts = [play(stream, neighbours, threshold, guard if guarded else lambda _a, _b: True) for stream in streams.values()]
            mark = " (calibrated)" if threshold == calibrated else ""
            lines.append(f"| {threshold:.2f}{mark} | {'on' if guarded else 'off'} | " + " | ".join(each.cells() for each in counts) + " |")
    counts = [await play_cache(stream, vectors, embedder) for stream in streams.values()]
    lines.append(f"| {calibrated:.2f} | the cache itself | " + " | ".join(each.cells() for each in counts) + " |")
    most = oracle(shuffled)
    ours = play(shuffled, neighbours, calibrated, guard)
    told = f"An oracle that knows the groups would hit {100 * most / len(shuffled):.1f} % of the shuffled stream"
    return [*lines, "", f"{told}; the cache gets {100 * (ours.hits - ours.wrong) / most:.1f} % of those hits.", ""]


def oracle(stream: Sequence[Row]) -> int:
    """Requests whose group was asked before."""
    return len(stream) - len({group for _, group in stream})


# --- the whole --------------------------------------------------------------------------------------------------------
async def measure(data: Path, sets: set[str]) -> list[str]:
    embedder = await open_minilm()
    vectors: Vectors = {}
    lines = ["## MiniLM", "", f"Embedder `{embedder.id}`, calibrated threshold {embedder.threshold:.2f}.", ""]
    costs = []
    try:
        if "pairs" in sets:
            for path in pair_files(data):
                pairs = read(path)
                costs.append(await embed(embedder, (pair[side] for pair in pairs for side in "ab"), vectors))
                judged = judge(pairs, vectors)
                lines += pairs_table(path.name, judged, embedder.threshold) + category_table(path.name, pairs, judged, embedder.threshold)
        for name in ("banking77", "clinc150"):
            if name in sets:
                rows = [(row["text"], row["group"]) for row in read(data / f"{name}.jsonl")]
                costs.append(await embed(embedder, (text for text, _ in rows), vectors))
                lines += await streams_table(name, rows, vectors, embedder)
    finally:
        await embedder.aclose()
    lines += ["Embedding took " + ", ".join(f"{cost:.1f}" for cost in costs) + " CPU ms a text in these sets.", ""]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="cache_quality", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("STRATA_CACHE_DATA"), help="the folder of the labelled sets")
    parser.add_argument("--sets", default="pairs,banking77,clinc150")
    parser.add_argument("--write", type=Path, help="also write the report to this file")
    options = parser.parse_args()
    if options.data is None or not Path(options.data).is_dir():
        parser.error("--data or STRATA_CACHE_DATA must name the folder with the labelled sets")
    lines = ["# Quality of the semantic cache", "", "Written by `make bench-cache`; a hit is wrong where the stored question is of another group.",
             "The groups of clinc150 are intents, not answers: its wrong hits are a lower bound.", "",
             *asyncio.run(measure(Path(options.data), set(options.sets.split(","))))]
    print("\n".join(lines))
    if options.write is not None:
        options.write.write_text("\n".join(lines).rstrip() + "\n", "utf-8")


if __name__ == "__main__":
    main()
