"""``make demo`` as it is run: a program that exits with 0 only if everything was as it says."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TIMEOUT = 90


def start(*arguments: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    return subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            # A shell that runs the tests in the background lets its children ignore Ctrl-C.
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # noqa: PLW1509 (no threads here)


def run(*arguments: str) -> tuple[int, str, str]:
    process = start(*arguments)
    out, err = process.communicate(timeout=TIMEOUT)
    return process.returncode, out, err


def test_the_demo_shows_what_it_claims():
    """All steps in order, each with its proof, then figures; no colour codes where there is no terminal."""
    status, out, err = run("-m", "examples.demo")
    assert status == 0, out + err
    titles = re.findall(r"^\d  (.*)$", out, re.MULTILINE)
    assert [word for title in titles for word in re.findall("answered|again|other words|another account|fails|stream", title)] == [
        "answered", "again", "other words", "another account", "fails", "stream"]
    assert "detail=exact" in out
    assert "semantic score=" in out
    assert re.search(r"near miss .* primary$", out, re.MULTILINE)
    assert re.search(r"failover .* fallback$", out, re.MULTILINE)
    assert re.search(r"stratarouter_runtime_cache_hits_total\{.*\} 1", out)
    assert "\x1b[" not in out


def test_a_claim_that_does_not_hold_ends_the_demo_with_1():
    """Another question in the place of the paraphrase is no hit, and the demo says so instead of going on."""
    program = "import sys, examples.demo as demo; demo.PARAPHRASE = 'Do you ship to Norway?'; sys.argv[1:] = []; sys.exit(demo.main())"
    status, out, err = run("-c", program)
    assert status == 1, out + err
    assert "a semantic hit: not so" in err
    assert "near miss" not in out


def test_taken_ports_are_replaced_and_ctrl_c_leaves_nothing_behind():
    """With the usual client port taken it listens elsewhere; interrupted, it ends its servers and says 130."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 8080))
            taken.listen()
        except OSError:
            pass  # somebody else has it, which is as good
        process = start("-u", "-m", "examples.demo")
        port = 0
        for line in process.stdout:
            if found := re.search(r"listening on http://127\.0\.0\.1:(\d+)/v1", line):
                port = int(found[1])
                break
        assert port not in (0, 8080)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 130, out + err
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_with_the_real_vendor_the_configuration_is_the_examples_with_its_type_and_key(tmp_path):
    """The copy for ``--vendor openai`` is valid, as it is and with the primary broken, and differs in nothing else."""
    program = """
import sys; from pathlib import Path
from examples import demo, demo_servers
from stratarouter_runtime.config import load
folder = Path(sys.argv[1])
copy = demo_servers.configuration(folder, dict(demo_servers.PORTS), 'sk-mine')
def providers():
    loaded = load([copy])
    return [(each.name, each.type, each.endpoint) for _, each in loaded.snapshot.providers()], loaded.secrets['vendor']['apiKey']
print(providers())
demo.point_to_nobody(copy / '20-providerpool.yaml')
print(providers())
"""
    status, out, err = run("-c", program, str(tmp_path))
    assert status == 0, out + err
    before, after = out.splitlines()
    assert before == "([('primary', 'openai', None), ('fallback', 'openai', None)], b'sk-mine')"
    assert after == "([('primary', 'openai', 'http://127.0.0.1:9/v1'), ('fallback', 'openai', None)], b'sk-mine')"
