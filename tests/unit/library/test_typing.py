"""What type checkers make of an app's programs: the good one passes, the bad one fails on exactly the marked lines."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PROGRAMS = ROOT / "tests/typing"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[tuple[int, str]]]:
    """mypy's errors by program: (line, kind). As an app runs it, without plugins; once, with a cache that is kept."""
    cache = ROOT / ".mypy_cache" if (ROOT / ".mypy_cache").is_dir() else tmp_path_factory.mktemp("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", str(cache / "typing"), "--no-error-summary",
               "--follow-imports=silent", "--show-error-codes", str(PROGRAMS / "good.py"), str(PROGRAMS / "bad.py")]
    done = subprocess.run(command, cwd=PROGRAMS, capture_output=True, text=True, check=False, timeout=110,
                          env={"MYPYPATH": str(ROOT / "dataplane"), "PATH": "/usr/bin:/bin"})
    assert done.stderr == ""
    errors: dict[str, set[tuple[int, str]]] = {}
    for path, line, kind in re.findall(r"^(?:.*/)?(\w+\.py):(\d+): error: .*\[([a-z-]+)\]$", done.stdout, re.MULTILINE):
        errors.setdefault(path, set()).add((int(line), kind))
    assert errors, done.stdout
    return errors


def test_the_good_program_type_checks(found: dict[str, set[tuple[int, str]]]) -> None:
    """All that an app may write, strictly."""
    assert found.get("good.py", set()) == set()


def test_the_bad_program_fails_where_it_is_marked(found: dict[str, set[tuple[int, str]]]) -> None:
    """Each marked line, and no other."""
    lines = (PROGRAMS / "bad.py").read_text().splitlines()
    marked = {(number, mark[1]) for number, line in enumerate(lines, 1) if (mark := re.search(r"# E: ([a-z-]+)$", line))}
    assert found.get("bad.py", set()) == marked
