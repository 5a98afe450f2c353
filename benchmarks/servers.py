"""The servers of a run: the vendor, the bare one, and ours in each of the ways measured."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import Child, free_port

CONFIG = """
apiVersion: v1
kind: Secret
metadata: {{name: vendor}}
stringData: {{apiKey: sk-bench}}
---
apiVersion: stratarouter.io/v1alpha1
kind: ProviderPool
metadata: {{name: chat}}
spec:
  providers:
  - name: primary
    type: openaicompatible
    endpoint: http://127.0.0.1:{vendor}/v1
    credentialsSecretRef: {{name: vendor, key: apiKey}}
    models:
    - name: gpt-4o-mini
      price: {{inputPerMillionTokens: "0.15", outputPerMillionTokens: "0.60"}}
---
apiVersion: stratarouter.io/v1alpha1
kind: RuntimeConfig
metadata: {{name: bench}}
spec:
  cache: {{backend: memory, maxEntries: 10000, embedder: {{type: {embedder}}}}}
  defaultRoute: {{pools: [{{name: chat}}]}}
"""


@dataclass(frozen=True, slots=True)
class Servers:
    """All that run side by side; what is not being measured is idle."""

    bare: Child
    plain: Child
    """``strata-runtime serve`` with ``embedder: none``."""
    minilm: Child
    """``strata-runtime serve`` with ``embedder: minilm``."""
    embedded: Child
    """An aiohttp handler around the library, given the caller's vector."""

    def of(self, name: str) -> Child:
        """By name."""
        child: Child = getattr(self, name)
        return child


@contextmanager
def running() -> Iterator[Servers]:
    """Start all; stop all on leaving."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        vendor = free_port()
        stack.enter_context(Child(["-m", "benchmarks.vendor", str(vendor)], vendor, measured=False))
        port = free_port()
        upstream = f"http://127.0.0.1:{vendor}/v1/chat/completions"
        bare = stack.enter_context(Child(["-m", "benchmarks.bare", str(port), upstream], port, measured=True))
        plain, minilm = (stack.enter_context(serve(configuration(folder, vendor, embedder))) for embedder in ("none", "minilm"))
        port = free_port()
        arguments = ["-m", "benchmarks.embedded", str(port), str(configuration(folder, vendor, "minilm"))]
        embedded = stack.enter_context(Child(arguments, port, measured=True))
        yield Servers(bare, plain, minilm, embedded)


def configuration(folder: Path, vendor: int, embedder: str) -> Path:
    """The resources as a file: one provider, a cache in memory, every default otherwise."""
    path = folder / f"{embedder}.yaml"
    path.write_text(CONFIG.format(vendor=vendor, embedder=embedder))
    return path


def serve(config: Path, runner: tuple[str, ...] = ("-m", "stratarouter_runtime.cli")) -> Child:
    """``strata-runtime serve``; ``runner`` may put a profiler around it."""
    port, platform = free_port(), free_port()
    arguments = ["serve", "--config", str(config), "--port", str(port), "--platform-port", str(platform)]
    return Child([*runner, *arguments], port, measured=True)
