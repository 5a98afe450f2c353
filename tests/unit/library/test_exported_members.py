"""What the package exports, and that asking for it is cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import stratarouter_runtime

HEAVY = ("aiohttp", "numpy", "onnxruntime", "tokenizers", "hnswlib", "redis", "orjson", "opentelemetry", "prometheus_client", "grpc",
         "kopf", "kubernetes", "asyncpg", "openai", "anthropic", "cohere", "google", "stratarouter")
SOURCE = Path(str(stratarouter_runtime.__file__))


def imported_for_type_checkers() -> set[str]:
    tree = ast.parse(SOURCE.read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    return {alias.asname or alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}


def test_every_name_is_there() -> None:
    """And known by its own name, so that it can be found."""
    for name in stratarouter_runtime.__all__:
        value = getattr(stratarouter_runtime, name)
        if isinstance(value, type):
            assert value.__name__ == name


def test_type_checkers_see_the_same_names() -> None:
    """``__all__``, the imports under ``TYPE_CHECKING`` and the lazy table agree."""
    lazy = set(stratarouter_runtime.__all__) - {"__version__"}
    assert imported_for_type_checkers() == lazy == set(stratarouter_runtime._HOMES)
    assert sorted(stratarouter_runtime.__all__) == stratarouter_runtime.__all__
    assert set(stratarouter_runtime.__all__) <= set(dir(stratarouter_runtime))


def test_the_documented_names_are_among_them() -> None:
    """Those of the documentation's examples."""
    documented = {"CoreRuntimeBridge", "RuntimeConfig", "RoutingDecision", "LLMClientRegistry", "OpenAIClient", "LocalClient",
                  "CacheManager", "StateManager", "ChatRequest", "StrataError", "RequestError", "ExecutionError", "ProviderError",
                  "PolicyError", "ConfigError", "MissingQueryError", "ExecutionResult", "CacheConfig"}
    assert documented <= set(stratarouter_runtime.__all__)


def test_another_name_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        stratarouter_runtime.Nothing  # noqa: B018 (the look-up is the point)


@pytest.mark.parametrize("program", ["import stratarouter_runtime", "from stratarouter_runtime import RuntimeConfig",
                                     "from stratarouter_runtime import StrataError, RoutingDecision",
                                     "from stratarouter_runtime import RuntimeConfig\nRuntimeConfig(execution_timeout=3)"])
def test_asking_for_plain_values_loads_nothing_heavy(program: str) -> None:
    """No model, SDK, HTTP stack or Kubernetes."""
    told = f"{program}\nimport sys\nprint(' '.join(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_missing_extra_is_named() -> None:
    """Whoever installed the bare package hears what to install."""
    program = ("import sys\nsys.modules['aiohttp'] = None\nfrom stratarouter_runtime import RuntimeConfig\n"
               "try:\n    from stratarouter_runtime import CoreRuntimeBridge\nexcept ImportError as error:\n    print(error)")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "CoreRuntimeBridge needs aiohttp: pip install 'stratarouter-runtime[runtime]'"


def test_a_bridge_without_a_local_model_loads_none() -> None:
    """Nor a vendor's SDK, Redis or PostgreSQL."""
    program = ("from stratarouter_runtime import *\nimport sys\n"
               "CoreRuntimeBridge(RuntimeConfig(execution_timeout=3), registry=LLMClientRegistry({'o': OpenAIClient('k')}))\n"
               "print(' '.join(n for n in ('onnxruntime', 'grpc', 'redis', 'asyncpg', 'openai', 'kubernetes', 'stratarouter') if n in sys.modules))")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
