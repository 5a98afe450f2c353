"""The chart as the real helm binary renders it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/stratarouter-runtime"
PROMETHEUS_OPERATOR = ("monitoring.coreos.com/v1/ServiceMonitor", "monitoring.coreos.com/v1/PrometheusRule")
"""What Helm sees of a cluster with the Prometheus Operator."""

Object = dict[str, Any]
Render = Callable[..., list[Object]]


@pytest.fixture(scope="session")
def helm() -> str:
    """The helm binary: the one HELM names, else the one on PATH."""
    found = shutil.which(os.environ.get("HELM", "helm"))
    if found is None:
        pytest.skip("helm is not on PATH, and HELM names none")
    return found


@pytest.fixture(scope="session")
def render(helm: str) -> Render:
    """Renders the chart with values ``a.b=c``; raises ``ValueError`` with helm's words."""
    def rendered(*values: str, release: str = "strata", api: tuple[str, ...] = ()) -> list[Object]:
        command = [helm, "template", release, str(CHART), "--namespace", "system"]
        # --set knows integers but no decimals.
        command += [part for value in values for part in ("--set-json" if re.search(r"=\d+\.\d+$", value) else "--set", value)]
        command += [part for version in api for part in ("--api-versions", version)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode:
            raise ValueError(done.stderr)
        return [each for each in yaml.safe_load_all(done.stdout) if each]
    return rendered


@pytest.fixture(scope="session")
def objects(render: Render) -> list[Object]:
    """The chart with default values."""
    return render()


@pytest.fixture(scope="session")
def monitored(render: Render) -> list[Object]:
    """The chart with default values, where the Prometheus Operator is."""
    return render(api=PROMETHEUS_OPERATOR)
