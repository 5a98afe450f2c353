"""The layers as contracts: who may import whom, and what a bare import costs."""

from __future__ import annotations

import configparser
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS = ROOT / ".importlinter"
HEAVY = ("aiohttp", "numpy", "onnxruntime", "tokenizers", "hnswlib", "redis", "orjson", "opentelemetry", "prometheus_client", "grpc",
         "kopf", "kubernetes", "asyncpg")


@pytest.fixture(scope="session")
def graph() -> grimp.ImportGraph:
    """All imports of both packages, other people's included."""
    return grimp.build_graph("stratarouter_runtime", "stratarouter_operator", include_external_packages=True, cache_dir=None)


def test_the_contracts_are_kept() -> None:
    """Also by `make lint`; here they fail with the rest."""
    done = subprocess.run([Path(sys.executable).with_name("lint-imports"), "--config", CONTRACTS, "--no-cache"], cwd=ROOT,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3_000:]


def test_make_lint_runs_them() -> None:
    """And `make test` runs `make lint`."""
    makefile = (ROOT / "Makefile").read_text()
    assert "lint-imports" in makefile
    assert "\ntest: $(READY) lint" in makefile


def test_every_module_of_the_data_plane_is_in_the_layers(graph: grimp.ImportGraph) -> None:
    """A new room or module must say where it belongs; a contract cannot hold what it does not name."""
    parser = configparser.ConfigParser()
    parser.read(CONTRACTS)
    layers = parser["importlinter:contract:layers"]["layers"]
    named = {word for word in layers.replace("|", " ").replace(":", " ").split() if word.startswith("stratarouter_runtime.")}
    children = graph.find_children("stratarouter_runtime")
    assert children - named - {"stratarouter_runtime._version"} == set()
    assert named <= children


def importers(graph: grimp.ImportGraph, package: str) -> set[str]:
    """Modules of ours that import a package directly."""
    return graph.find_modules_that_directly_import(package) if package in graph.modules else set()


def of(prefix: str, modules: set[str]) -> set[str]:
    """The modules that are not below a prefix."""
    return {module for module in modules if module != prefix and not module.startswith(f"{prefix}.")}


@pytest.mark.parametrize(("package", "home"), [
    ("prometheus_client", "telemetry"), ("opentelemetry", "telemetry"), ("redis", "cache"), ("hnswlib", "cache"), ("onnxruntime", "cache"),
    ("tokenizers", "cache"), ("asyncpg", "state")])
def test_an_sdk_lives_in_one_room(graph: grimp.ImportGraph, package: str, home: str) -> None:
    """Of the data plane; the operator has metrics of its own."""
    found = {module for module in importers(graph, package) if module.startswith("stratarouter_runtime")}
    assert of(f"stratarouter_runtime.{home}", found) == set()
    assert found


def test_the_kubernetes_client_lives_in_one_module(graph: grimp.ImportGraph) -> None:
    """Behind a small protocol, so that all else is tested without a cluster."""
    assert importers(graph, "kubernetes") == {"stratarouter_operator.kube"}


def test_the_operator_sees_only_the_contract(graph: grimp.ImportGraph) -> None:
    """Directly and through anything it imports."""
    below = graph.find_descendants("stratarouter_runtime")
    seen = {module for operator in graph.find_descendants("stratarouter_operator") for module in below if graph.chain_exists(operator, module)}
    assert "stratarouter_runtime.config.snapshot" in seen
    assert of("stratarouter_runtime.config", seen) <= {"stratarouter_runtime._version"}


@pytest.mark.parametrize("module", ["stratarouter_runtime", "stratarouter_runtime.config"])
def test_a_bare_import_is_light(module: str) -> None:
    """No HTTP stack, no numbers, no SDK: the operator and command lines import it."""
    program = f"import sys, {module}; print(' '.join(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_bare_import_costs_less_than_a_third_of_a_second_of_cpu() -> None:
    """The best of three, because the machine may be busy with other things."""
    program = "import time; began = time.process_time(); import stratarouter_runtime; print(time.process_time() - began)"
    costs = [float(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout) for _ in range(3)]
    assert min(costs) < 0.3


def test_help_and_check_load_no_server(tmp_path: Path) -> None:
    """They are answered at once."""
    program = ("import sys; from stratarouter_runtime.cli import main\n"
               "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
               f"print('LOADED', ' '.join(name for name in {HEAVY!r} if name in sys.modules))")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].strip() == "LOADED"
