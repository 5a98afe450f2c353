"""Configuration on disk: what is read, in which order, and errors that say where."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest

from builders import dump, pool, runtime, secret, write
from stratarouter_runtime.config import ConfigError, files, load, read


def fails(*paths: Path, name: str | None = None) -> ConfigError:
    """The error of loading."""
    with pytest.raises(ConfigError) as caught:
        load(paths, name=name)
    return caught.value


def test_one_file_holds_everything(tmp_path: Path) -> None:
    """The digest is that of the file, so that anybody can check it with sha256sum."""
    path = write(tmp_path / "all.yaml", runtime(), pool(), secret("vendor", apiKey="sk-1"))
    loaded = load([path])
    assert loaded.snapshot.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert loaded.secrets == {"vendor": {"apiKey": b"sk-1"}}


def test_a_folder_is_read_in_sorted_order(tmp_path: Path) -> None:
    """The digest covers the bytes in that order, whatever the file system says."""
    write(tmp_path / "20-pool.yml", pool())
    write(tmp_path / "10-runtime.yaml", runtime())
    (tmp_path / "README.md").write_text("not a resource")
    (tmp_path / ".hidden.yaml").write_text("[")
    content = read([tmp_path])
    assert [path.name for path, _ in content.files] == ["10-runtime.yaml", "20-pool.yml"]
    assert content.digest == hashlib.sha256(dump(runtime()) + dump(pool())).hexdigest()
    assert content.load().snapshot.digest == content.digest


def test_several_paths_are_read_in_the_order_given(tmp_path: Path) -> None:
    """Files and folders may be mixed."""
    (tmp_path / "pools").mkdir()
    write(tmp_path / "pools" / "chat.yaml", pool())
    first = write(tmp_path / "z.yaml", runtime())
    assert [path.name for path, _ in read([first, tmp_path / "pools"]).files] == ["z.yaml", "chat.yaml"]


def test_a_mounted_config_map_is_a_folder_like_any_other(tmp_path: Path) -> None:
    """The kubelet's `..data` link and dated folder are not resources."""
    dated = tmp_path / "..2026_01_01"
    dated.mkdir()
    write(dated / "snapshot.yaml", runtime(), pool())
    (tmp_path / "..data").symlink_to(dated.name)
    (tmp_path / "snapshot.yaml").symlink_to("..data/snapshot.yaml")
    assert [path.name for path, _ in read([tmp_path]).files] == ["snapshot.yaml"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """With the system's own words."""
    error = fails(tmp_path / "none.yaml")
    assert (error.reason, str(error)) == ("FileNotFound", f"{tmp_path}/none.yaml: No such file or directory")


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    """A mount that is not there yet looks like this."""
    assert str(fails(tmp_path)) == f"{tmp_path}: the folder has no .yaml file"


def test_a_file_beyond_all_reason_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded."""
    monkeypatch.setattr(files, "MAX_BYTES", 100)
    path = tmp_path / "large.yaml"
    path.write_bytes(b"#" * 101)
    assert (fails(path).reason, str(fails(path))) == ("FileTooLarge", f"{path}: larger than 100 bytes")


@pytest.mark.parametrize(("content", "message"), [
    (b"a: 1\nb: [1\nc: 2\n", " line 3 did not find expected ',' or ']'"),
    (b"a: 1\n\tb: 2\n", " line 2 found a tab character that violates indentation"),
    (b"a: &x 1\nb: *y\n", " line 2 found undefined alias"),
    (b"a: !!python/object:os.system 1\n", (" line 1 could not determine a constructor for the tag "
     "'tag:yaml.org,2002:python/object:os.system'")),
    (b"a: \xff\xfe\n", " not YAML"),
    (b"a: 2024-13-45\n", " not YAML"),
    (b"[" * 5_000, " line 1 exceeded maximum nesting depth"),
    (b"- a\n- b\n", " each document must be a mapping"),
    (b"text\n", " each document must be a mapping"),
])
def test_what_is_no_yaml_is_named_with_file_and_line(tmp_path: Path, content: bytes, message: str) -> None:
    """Never a traceback, whatever the bytes."""
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    error = fails(path)
    assert error.reason == "InvalidYaml"
    assert str(error) == f"{path}:{message}"


def test_empty_documents_are_passed_over(tmp_path: Path) -> None:
    """`---` at the end of a file is no resource."""
    path = tmp_path / "all.yaml"
    path.write_bytes(b"---\n---\n" + dump(runtime(), pool()) + b"---\n")
    assert load([path]).snapshot.name == "assistant"


def test_several_runtime_configs_need_a_name(tmp_path: Path) -> None:
    """As `--name` gives it."""
    path = write(tmp_path / "all.yaml", runtime("a"), runtime("b"), pool())
    assert fails(path).reason == "RuntimeConfigAmbiguous"
    assert load([path], name="b").snapshot.name == "b"


# --- Secret manifests -----------------------------------------------------------------------------------------------------


def secrets(tmp_path: Path, *documents: Any) -> Any:
    """The Secrets of a configuration with these documents."""
    return load([write(tmp_path / "all.yaml", runtime(), pool(), *documents)]).secrets


def manifest(name: str = "vendor", **fields: Any) -> dict[str, Any]:
    """A Secret with any fields."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, **fields}


def test_data_is_base64_and_string_data_is_not(tmp_path: Path) -> None:
    """And stringData wins where both have a key, as in Kubernetes."""
    document = manifest(data={"a": base64.b64encode(b"\x00\xff").decode(), "b": "Yg=="}, stringData={"b": "plain", "c": 5})
    assert secrets(tmp_path, document) == {"vendor": {"a": b"\x00\xff", "b": b"plain", "c": b"5"}}


def test_values_of_several_manifests_of_one_secret_are_joined(tmp_path: Path) -> None:
    """The later one wins."""
    assert secrets(tmp_path, manifest(stringData={"a": "1", "b": "1"}), manifest(stringData={"b": "2"})) == {
        "vendor": {"a": b"1", "b": b"2"}}


def test_an_empty_secret_exists(tmp_path: Path) -> None:
    """It has no keys, which is something else than missing."""
    assert secrets(tmp_path, manifest()) == {"vendor": {}}


@pytest.mark.parametrize(("document", "message"), [
    (manifest(data={"apiKey": "not base64!"}), "Secret/vendor: data.apiKey: not base64"),
    (manifest(data={"apiKey": "YQ"}), "Secret/vendor: data.apiKey: not base64"),
    (manifest(data={"apiKey": "ä"}), "Secret/vendor: data.apiKey: not base64"),
    (manifest(data=["YQ=="]), "Secret/vendor: data: must be a mapping"),
    (manifest(stringData="text"), "Secret/vendor: stringData: must be a mapping"),
])
def test_a_broken_secret_is_named_without_its_value(tmp_path: Path, document: Any, message: str) -> None:
    """Secret, key and what is wrong."""
    path = write(tmp_path / "all.yaml", runtime(), pool(), document)
    assert (fails(path).reason, str(fails(path))) == ("InvalidSecret", message)


def test_secrets_of_other_namespaces_are_not_seen(tmp_path: Path) -> None:
    """Pods see their own namespace's only."""
    foreign = manifest(stringData={"a": "1"})
    foreign["metadata"]["namespace"] = "other"
    assert secrets(tmp_path, foreign) == {}


def test_what_is_loaded_shows_no_value(tmp_path: Path) -> None:
    """A Secret's value must not reach a log through a repr."""
    from stratarouter_runtime.config import StaticSecrets

    shown = repr(StaticSecrets(secrets(tmp_path, secret("vendor", apiKey="sk-hush"))))
    assert shown == "StaticSecrets(['vendor'])"
