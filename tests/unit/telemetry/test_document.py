"""The page of names is generated, complete and up to date, and the code uses no name that is not on it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import stratarouter_runtime
from stratarouter_runtime.telemetry import document, names

PACKAGE = Path(stratarouter_runtime.__file__).parent
PAGE = PACKAGE.parents[1] / "docs" / "telemetry.md"
SOURCES = sorted(PACKAGE.rglob("*.py"))


def test_the_committed_page_is_up_to_date():
    """What users read is what the code does."""
    assert PAGE.read_text(encoding="utf-8") == document.render()


def test_the_page_has_every_name():
    """Metrics, labels, buckets, attributes, events and fields."""
    page = document.render()
    every = [metric.name for metric in names.METRICS] + [name for name, _, _ in names.PROCESS_METRICS]
    every += [label.name for metric in names.METRICS for label in metric.labels]
    every += [term.name for term in (*names.ATTRIBUTES, *names.EVENTS, *names.LOG_FIELDS)]
    assert [name for name in every if f"`{name}`" not in page] == []


def test_check_fails_on_a_page_that_differs_and_changes_nothing(tmp_path, capsys):
    """A drift fails CI with a word on what to do."""
    page = tmp_path / "telemetry.md"
    assert document.main(["--check", str(page)]) == 1
    page.write_text("old", encoding="utf-8")
    assert document.main(["--check", str(page)]) == 1
    assert page.read_text(encoding="utf-8") == "old"
    assert "make generate" in capsys.readouterr().err


def test_writing_makes_check_pass(tmp_path):
    """The two agree."""
    page = tmp_path / "telemetry.md"
    assert document.main([str(page)]) == 0
    assert document.main(["--check", str(page)]) == 0


def extras(source):
    """Literal names of fields that a file passes to the log."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "extra" and isinstance(node.value, ast.Dict):
            for key in node.value.keys:
                if isinstance(key, ast.Constant):
                    yield key.value


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: str(source.relative_to(PACKAGE)))
def test_fields_passed_to_the_log_are_documented(source):
    """A field that `names` does not have would silently not be written: give it a name and a meaning there."""
    assert set(extras(source)) <= {term.name for term in names.LOG_FIELDS}


def test_every_attribute_and_event_is_recorded_somewhere():
    """No name is promised that nobody sends."""
    constants = {value: name for name, value in vars(names).items() if isinstance(value, str) and name.isupper()}
    code = "".join(source.read_text(encoding="utf-8") for source in SOURCES if source.name != "names.py")
    unused = [term.name for term in (*names.ATTRIBUTES, *names.EVENTS) if f"names.{constants[term.name]}" not in code]
    assert unused == []
