"""What the README and the hand-written pages point at is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
HAND_WRITTEN = [page for page in PAGES if page.name not in ("reference.md", "telemetry.md")]
SOURCES = [*(ROOT / "dataplane").rglob("*.py"), *(ROOT / "operator").rglob("*.py")]


def text_of(page: Path) -> str:
    return page.read_text()


def shell_of(page: Path) -> str:
    return "\n".join(re.findall(r"^```sh\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_resolve(page):
    """A link to a file of the repository names one that exists, and a fragment a heading of it."""
    prose = re.sub(r"`[^`\n]*`", "", text_of(page))
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        if fragment:
            headings = re.findall(r"^#+ (.*)$", text_of(found), re.MULTILINE)
            assert fragment in {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}, target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_name_what_exists(page):
    """Make targets, charts, manifests and folders in shell blocks are in the repository."""
    shell = shell_of(page)
    makefiles = (ROOT / "Makefile").read_text() + (ROOT / "e2e/e2e.mk").read_text()
    for target in re.findall(r"\bmake ([a-z][a-z-]*)", shell):
        assert re.search(rf"^{target}:", makefiles, re.MULTILINE), target
    for path in re.findall(r"(?:^|\s)((?:examples|charts|crds|docs|tests|e2e|benchmarks)/[\w./-]*)", shell):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", HAND_WRITTEN, ids=lambda page: page.name)
def test_headers_and_metrics_are_those_of_the_code(page):
    """A documented ``x-strata-`` header or metric is one that the code has."""
    code = "\n".join(path.read_text() for path in SOURCES)
    for header in set(re.findall(r"`(x-strata-[a-z][a-z-]*[a-z])`", text_of(page))):
        assert header in code, header
    for metric in set(re.findall(r"`stratarouter_(?:runtime|operator)_([a-z_]+)", text_of(page))):
        assert f'"{metric}"' in code or f"_{metric}" in code, metric


@pytest.mark.parametrize("page", [page for page in PAGES if page.name == "operations.md"], ids=lambda page: page.name)
def test_reasons_and_codes_are_those_of_the_code(page):
    """A documented reason, alert or error code is one that the code or the chart has."""
    charts = [path for path in (ROOT / "charts").rglob("*.yaml") if path.is_file()]
    code = "\n".join(path.read_text() for path in [*SOURCES, *charts])
    for word in set(re.findall(r"`((?:[A-Z][a-z]+){2,})`", text_of(page))):
        assert word in code, word
    for error in set(re.findall(r"`((?!stratarouter)[a-z]+(?:_[a-z]+)+)`", text_of(page))):
        reason = "".join(part.capitalize() for part in error.split("_"))
        assert reason in code or f'"{error}"' in code, error
