"""The README's quick start, tried as a new user would: its very commands and programs, on free ports."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SECTION = "Quick start without Kubernetes"
START_SECONDS = 60


def blocks(language: str) -> list[str]:
    """The fenced blocks of the section, in order."""
    text = (ROOT / "README.md").read_text()
    section = text.split(f"## {SECTION}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Place:
    """Where the README's ports and paths are in this test."""

    def __init__(self, folder: Path) -> None:
        self.ports = {usual: free_port() for usual in (8080, 9090, 9999, 9998)}
        self.config = folder / "local"
        shutil.copytree(ROOT / "examples/local", self.config)
        for each in self.config.glob("*.yaml"):
            each.write_text(self.moved(each.read_text()))

    def moved(self, text: str) -> str:
        for usual, port in self.ports.items():
            text = re.sub(rf"\b{usual}\b", str(port), text)
        return text

    def command(self, text: str) -> str:
        text = self.moved(text).replace("examples/local/", f"{self.config}/").replace(".venv/bin/", f"{Path(sys.executable).parent}/")
        if " serve " in text:
            text = f"{text.rstrip()} --port {self.ports[8080]} --platform-port {self.ports[9090]}"
        return text

    @contextmanager
    def background(self, command: str, port: int) -> Iterator[None]:
        process = subprocess.Popen(["bash", "-c", f"exec env {self.command(command)}"], cwd=ROOT,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            until = time.monotonic() + START_SECONDS
            while not listens(port):
                assert process.poll() is None, process.stderr.read()
                assert time.monotonic() < until, "it does not listen"
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            try:
                process.wait(0.5)
            except subprocess.TimeoutExpired:
                process.terminate()
                process.wait(10)
            process.stderr.close()

    def shell(self, command: str) -> str:
        return self._run(["bash", "-c", self.command(command)])

    def python(self, program: str) -> str:
        return self._run([sys.executable, "-c", self.moved(program)])

    @staticmethod
    def _run(arguments: list[str]) -> str:
        done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
                              env={**os.environ, "NO_PROXY": "*"})
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Place]:
    """The section's vendor and data plane, started by its commands."""
    place = Place(tmp_path_factory.mktemp("quick-start"))
    commands = blocks("sh")
    with ExitStack() as stack:
        for word, port in (("fakes.vendor", 9999), (" serve ", 8080)):
            [command] = [each for each in commands if word in each]
            stack.enter_context(place.background(command, place.ports[port]))
        yield place


def test_the_sections_commands_all_succeed(served):
    """Every command of the section that returns, returns 0; the call is answered and says by whom."""
    commands = [each for each in blocks("sh") if "fakes.vendor" not in each and " serve " not in each]
    said = {command: served.shell(command) for command in commands}
    [called] = [text for command, text in said.items() if "chat/completions" in command]
    assert called.startswith("HTTP/1.1 200")
    assert "x-strata-provider: primary" in called
    assert "Where can I find my last invoice?" in called
    assert any("is valid" in text for text in said.values())
    assert any("stratarouter_runtime_requests_total" in text for text in said.values())


def test_the_sections_programs_print_answers(served):
    """The Python blocks run as they stand, in order; the last one asks again and is answered by the cache."""
    programs = blocks("python")
    first, second = [served.python(program) for program in programs]
    assert "invoice" in first
    assert "Tell me about my order." in first
    assert "primary" in second
    assert "; hit" in second
