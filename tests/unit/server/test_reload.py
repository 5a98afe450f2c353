"""Hot reload: what changed on disk is taken whole or not at all, and what was refused is shown with its hash and reason."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from pathlib import Path
from typing import Any

import pytest

from builders import dump, mount, pool, provider, runtime, secret, until, write
from stratarouter_runtime.config import ConfigError, Secrets, Snapshot
from stratarouter_runtime.server.reload import RETRY_SECONDS, ConfigSource, Rejection, Reloader, _walk


class Target:
    """What a reload is handed to."""

    def __init__(self) -> None:
        self.taken: list[tuple[Snapshot, Secrets]] = []
        self.outcomes: list[bool] = []
        self.error: Exception | None = None

    async def apply(self, snapshot: Snapshot, secrets: Secrets) -> None:
        if self.error is not None:
            raise self.error
        self.taken.append((snapshot, secrets))

    @property
    def snapshot(self) -> Snapshot:
        """The one in force."""
        return self.taken[-1][0]


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class World:
    """A reloader over a folder."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.target = Target()
        self.clock = Clock()
        self.reloader = Reloader(ConfigSource([folder], **options), self.target.apply, reloaded=self.target.outcomes.append,
                                 clock=self.clock)

    def write(self, *documents: Any, name: str = "all.yaml") -> str:
        """Write a file and return its hash."""
        return hashlib.sha256(write(self.folder / name, *documents).read_bytes()).hexdigest()


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A valid configuration, not loaded yet."""
    made = World(tmp_path)
    made.write(runtime(), pool())
    return made


async def test_the_first_load_takes_what_is_there(world: World) -> None:
    """And nothing more happens while nothing changes."""
    await world.reloader.load()
    assert world.target.snapshot.name == "assistant"
    await world.reloader.poll()
    assert (len(world.target.taken), world.target.outcomes) == (1, [True])


async def test_the_first_load_fails_for_what_cannot_run(world: World) -> None:
    """There is no last good one to serve."""
    world.write(runtime())
    with pytest.raises(ConfigError, match="ProviderPool 'chat' does not exist"):
        await world.reloader.load()


async def test_a_change_is_taken_by_the_next_look(world: World) -> None:
    """The snapshot's digest is that of the file's bytes."""
    await world.reloader.load()
    digest = world.write(runtime(execution={"maxRetries": 0}), pool())
    await world.reloader.poll()
    assert world.target.snapshot.digest == digest
    assert world.target.snapshot.runtime.execution.max_retries == 0


async def test_a_new_file_and_a_removed_file_are_changes(world: World) -> None:
    """As a folder of resources grows and shrinks."""
    await world.reloader.load()
    world.write(pool("other"), runtime("second"), name="more.yaml")
    await world.reloader.poll()
    assert world.reloader.rejection is not None
    assert world.reloader.rejection.reason == "RuntimeConfigAmbiguous"
    (world.folder / "more.yaml").unlink()
    await world.reloader.poll()
    assert world.reloader.rejection is None


async def test_a_bad_configuration_changes_nothing_and_is_shown_by_its_hash(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """With the reason and the words that name the field; logged once, however long it stays."""
    await world.reloader.load()
    digest = world.write(runtime(execution={"maxRetries": -1}), pool())
    await world.reloader.poll()
    assert len(world.target.taken) == 1
    assert world.reloader.rejection == Rejection(
        digest, "InvalidSpec", "RuntimeConfig/assistant: spec.execution.maxRetries: Input should be greater than or equal to 0")
    assert world.target.outcomes == [True, False]
    world.write(runtime(execution={"maxRetries": -1}), pool())
    await world.reloader.poll()
    assert [record.levelno for record in caplog.records if "refused" in record.message] == [logging.ERROR]


async def test_a_good_one_after_a_bad_one_clears_the_error(world: World) -> None:
    """Also the very one that was in force."""
    await world.reloader.load()
    world.write(runtime(execution={"maxRetries": -1}), pool())
    await world.reloader.poll()
    world.write(runtime(), pool())
    await world.reloader.poll()
    assert world.reloader.rejection is None
    assert world.target.outcomes == [True, False, True]


async def test_a_torn_file_is_refused_and_the_whole_one_taken(world: World) -> None:
    """An editor that writes in place shows half a file for a moment."""
    await world.reloader.load()
    content = dump(runtime(execution={"maxRetries": 1}), pool())
    for end in (10, len(content) // 2, len(content) - 60):
        (world.folder / "all.yaml").write_bytes(content[:end])
        await world.reloader.poll()
        assert world.reloader.rejection is not None
        assert world.reloader.rejection.digest == hashlib.sha256(content[:end]).hexdigest()
        assert len(world.target.taken) == 1
    (world.folder / "all.yaml").write_bytes(content)
    await world.reloader.poll()
    assert world.reloader.rejection is None
    assert world.target.snapshot.runtime.execution.max_retries == 1


async def test_a_file_that_vanishes_keeps_the_last_good_one(world: World) -> None:
    """As a volume that is unmounted."""
    await world.reloader.load()
    (world.folder / "all.yaml").unlink()
    await world.reloader.poll()
    assert world.reloader.rejection == Rejection("", "FileNotFound", f"{world.folder}: the folder has no .yaml file")
    assert len(world.target.taken) == 1


async def test_a_change_between_look_and_read_is_not_missed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read is what is applied, and the next look sees that the file has changed since the last one."""
    await world.reloader.load()
    source = world.reloader._source
    plain = source.fingerprint
    first = world.write(runtime(execution={"maxRetries": 1}), pool())

    def fingerprint() -> Any:
        found = plain()
        monkeypatch.setattr(source, "fingerprint", plain)
        world.write(runtime(execution={"maxRetries": 2}), pool())
        return found

    monkeypatch.setattr(source, "fingerprint", fingerprint)
    await world.reloader.poll()
    assert world.target.snapshot.digest != first
    await world.reloader.poll()
    assert world.target.snapshot.runtime.execution.max_retries == 2


async def test_a_failure_outside_the_configuration_is_tried_again(world: World) -> None:
    """Without a new file, after some seconds; the reason names no secret detail."""
    await world.reloader.load()
    digest = world.write(runtime(execution={"maxRetries": 1}), pool())
    world.target.error = OSError("redis://:password@host is down")
    await world.reloader.poll()
    assert world.reloader.rejection == Rejection(digest, "ApplyFailed", "OSError: the configuration could not be built")
    world.target.error = None
    await world.reloader.poll()
    assert len(world.target.taken) == 1
    world.clock.now += RETRY_SECONDS
    await world.reloader.poll()
    assert world.target.snapshot.digest == digest
    assert world.reloader.rejection is None


async def test_a_configuration_that_is_wrong_is_not_tried_again(world: World) -> None:
    """It will not get better by itself."""
    await world.reloader.load()
    world.write(runtime(), name="all.yaml")
    await world.reloader.poll()
    world.clock.now += 1_000
    await world.reloader.poll()
    assert world.target.outcomes == [True, False]


async def test_an_error_while_applying_names_a_config_errors_own_reason(world: World) -> None:
    """What only shows while building, such as a bad CA bundle."""
    await world.reloader.load()
    digest = world.write(runtime(execution={"maxRetries": 1}), pool())
    world.target.error = ConfigError("InvalidCaBundle", "key 'ca' of Secret 'x' holds no PEM certificate")
    await world.reloader.poll()
    assert world.reloader.rejection == Rejection(digest, "InvalidCaBundle", "key 'ca' of Secret 'x' holds no PEM certificate")


# --- Secrets --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def mounted(tmp_path: Path) -> World:
    """A configuration that uses a Secret, mounted as the kubelet does."""
    (tmp_path / "config").mkdir()
    mount(tmp_path / "secrets", "vendor", {"apiKey": "sk-1"})
    made = World(tmp_path / "config", secrets=tmp_path / "secrets")
    made.write(runtime(), pool("chat", provider(credentialsSecretRef={"name": "vendor", "key": "apiKey"})))
    return made


def value(world: World) -> bytes | None:
    """The key in force."""
    return world.target.taken[-1][1].read("vendor", "apiKey")


async def test_a_rotated_secret_is_taken_without_a_new_configuration(mounted: World, tmp_path: Path) -> None:
    """The kubelet swaps the `..data` link at once."""
    await mounted.reloader.load()
    assert value(mounted) == b"sk-1"
    mount(tmp_path / "secrets", "vendor", {"apiKey": "sk-2"})
    await mounted.reloader.poll()
    assert value(mounted) == b"sk-2"
    assert mounted.target.taken[0][0].digest == mounted.target.snapshot.digest


async def test_a_secret_that_appears_and_vanishes_is_taken(mounted: World, tmp_path: Path) -> None:
    """An optional volume starts empty and may become so again."""
    mount(tmp_path / "secrets", "vendor", None)
    await mounted.reloader.load()
    assert value(mounted) is None
    mount(tmp_path / "secrets", "vendor", {"apiKey": "sk-1"})
    await mounted.reloader.poll()
    assert value(mounted) == b"sk-1"
    mount(tmp_path / "secrets", "vendor", None)
    await mounted.reloader.poll()
    assert value(mounted) is None


async def test_requests_see_the_values_of_their_configuration(mounted: World, tmp_path: Path) -> None:
    """A value is captured with its snapshot; files are not read again."""
    await mounted.reloader.load()
    mount(tmp_path / "secrets", "vendor", {"apiKey": "sk-2"})
    assert value(mounted) == b"sk-1"


async def test_a_manifest_stands_in_for_a_secret_that_is_not_mounted(tmp_path: Path) -> None:
    """Both ways may be mixed."""
    made = World(tmp_path, secrets=tmp_path / "nowhere")
    made.write(runtime(), pool("chat", provider(credentialsSecretRef={"name": "vendor", "key": "apiKey"})), secret("vendor", apiKey="sk-3"))
    await made.reloader.load()
    assert value(made) == b"sk-3"


async def test_a_swapped_volume_is_one_change(tmp_path: Path) -> None:
    """A ConfigMap volume: the link moves, all files with it."""
    volume = tmp_path / "volume" / "config"
    mount(tmp_path / "volume", "config", {"snapshot.yaml": dump(runtime(), pool())})
    made = World(volume)
    await made.reloader.load()
    content = dump(runtime(execution={"maxRetries": 1}), pool())
    mount(tmp_path / "volume", "config", {"snapshot.yaml": content})
    await made.reloader.poll()
    assert made.target.snapshot.digest == hashlib.sha256(content).hexdigest()


# --- watching -------------------------------------------------------------------------------------------------------------


async def test_it_watches_until_cancelled(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through whatever happens on disk."""
    monkeypatch.setattr("stratarouter_runtime.server.reload.POLL_SECONDS", 0.001)
    await world.reloader.load()
    task = asyncio.create_task(world.reloader.run())
    (world.folder / "all.yaml").write_bytes(b"[")
    await until(lambda: world.reloader.rejection is not None)
    digest = world.write(runtime(execution={"maxRetries": 1}), pool())
    await until(lambda: world.target.snapshot.digest == digest)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_what_may_not_be_read_does_not_end_the_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that may not be searched looks like an empty one until it may."""
    def denied(_: Path) -> bool:
        raise PermissionError

    monkeypatch.setattr(Path, "is_dir", denied)
    assert list(_walk(tmp_path)) == [str(tmp_path)]


def test_a_fingerprint_tells_files_apart_that_have_the_same_length(tmp_path: Path) -> None:
    """Inode or time of change differ."""
    source = ConfigSource([tmp_path])
    write(tmp_path / "a.yaml", runtime("a"), pool())
    before = source.fingerprint()
    write(tmp_path / "a.yaml", runtime("b"), pool())
    assert source.fingerprint() != before
