"""Secrets from manifests and from volumes as the kubelet lays them out."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders import mount
from stratarouter_runtime.config import MountedSecrets, SecretKeyRef, StaticSecrets, capture, text

REFERENCE = SecretKeyRef(name="vendor", key="apiKey")


def test_a_volume_shows_keys_and_values(tmp_path: Path) -> None:
    """And none of the kubelet's own entries."""
    mount(tmp_path, "vendor", {"apiKey": "sk-1", "other": b"\x00"})
    secrets = MountedSecrets(tmp_path)
    assert secrets.keys("vendor") == ("apiKey", "other")
    assert (secrets.read("vendor", "apiKey"), secrets.read("vendor", "other")) == (b"sk-1", b"\x00")


def test_a_rotated_volume_shows_the_new_value(tmp_path: Path) -> None:
    """Values are read when asked for: no restart, no cache."""
    mount(tmp_path, "vendor", {"apiKey": "sk-1", "old": "x"})
    secrets = MountedSecrets(tmp_path)
    assert secrets.read("vendor", "apiKey") == b"sk-1"
    mount(tmp_path, "vendor", {"apiKey": "sk-2", "new": "y"})
    assert secrets.keys("vendor") == ("apiKey", "new")
    assert (secrets.read("vendor", "apiKey"), secrets.read("vendor", "old")) == (b"sk-2", None)


def test_an_optional_volume_of_a_missing_secret_is_a_missing_secret(tmp_path: Path) -> None:
    """The kubelet mounts an empty folder; once the Secret exists it fills it."""
    mount(tmp_path, "vendor", None)
    secrets = MountedSecrets(tmp_path)
    assert (secrets.keys("vendor"), secrets.read("vendor", "apiKey")) == (None, None)
    mount(tmp_path, "vendor", {"apiKey": "sk-1"})
    assert secrets.keys("vendor") == ("apiKey",)
    mount(tmp_path, "vendor", None)
    assert secrets.keys("vendor") is None


def test_nothing_mounted_is_a_missing_secret(tmp_path: Path) -> None:
    """Never an exception: it can appear later."""
    secrets = MountedSecrets(tmp_path / "nowhere")
    assert (secrets.keys("vendor"), secrets.read("vendor", "apiKey")) == (None, None)


@pytest.mark.parametrize("key", ["..", ".", "..data"])
def test_a_key_that_is_a_folder_has_no_value(tmp_path: Path, key: str) -> None:
    """Kubernetes allows dots in keys; a folder is not read and raises nothing."""
    mount(tmp_path, "vendor", {"apiKey": "sk-1"})
    assert MountedSecrets(tmp_path).read("vendor", key) is None


def test_what_is_not_mounted_comes_from_the_manifests(tmp_path: Path) -> None:
    """`--secrets DIR` and Secret manifests may be mixed; the mounted one wins as a whole."""
    mount(tmp_path, "vendor", {"apiKey": "mounted"})
    fallback = StaticSecrets({"vendor": {"apiKey": b"manifest"}, "redis": {"url": b"redis://x"}})
    secrets = MountedSecrets(tmp_path, fallback)
    assert (secrets.read("vendor", "apiKey"), secrets.read("redis", "url")) == (b"mounted", b"redis://x")
    assert (secrets.keys("vendor"), secrets.keys("redis"), secrets.keys("none")) == (("apiKey",), ("url",), None)


def test_a_captured_secret_stays_as_it_was(tmp_path: Path) -> None:
    """Requests read no files: a change is taken by the next reload."""
    mount(tmp_path, "vendor", {"apiKey": "sk-1"})
    captured = capture(MountedSecrets(tmp_path), ["vendor", "missing"])
    mount(tmp_path, "vendor", {"apiKey": "sk-2"})
    assert captured.read("vendor", "apiKey") == b"sk-1"
    assert captured.keys("missing") is None
    assert repr(captured) == "StaticSecrets(['vendor'])"


@pytest.mark.parametrize(("value", "expected"), [
    (b"sk-1", "sk-1"), (b"  sk-1\n", "sk-1"), (b"", None), (b" \n", None), (b"\xff", None), ("schlüssel".encode(), "schlüssel")])
def test_a_value_as_text_has_no_white_space_around_it(value: bytes, expected: str | None) -> None:
    """`echo key | base64` leaves a line end; empty or not UTF-8 counts as missing."""
    assert text(StaticSecrets({"vendor": {"apiKey": value}}), REFERENCE) == expected


def test_a_missing_value_is_none() -> None:
    """Missing Secret, missing key."""
    assert text(StaticSecrets(), REFERENCE) is None
    assert text(StaticSecrets({"vendor": {}}), REFERENCE) is None


def test_a_mounted_secret_shows_only_its_place(tmp_path: Path) -> None:
    """No value in a repr."""
    mount(tmp_path, "vendor", {"apiKey": "sk-hush"})
    assert repr(MountedSecrets(tmp_path)) == f"MountedSecrets('{tmp_path}')"
