"""Settings: arguments, then environment, then defaults; and no half-right ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from stratarouter_operator.settings import Settings, parse

NOWHERE = Path("/nonexistent")


def read(*arguments: str, **environment: str) -> Settings:
    return parse(arguments, environment, namespace_file=NOWHERE)


def test_defaults() -> None:
    settings = read()
    assert settings.watch_namespaces == ()
    assert settings.resync_seconds == 120
    assert not settings.elects, "outside a cluster no namespace for a Lease is known"
    assert settings.identity


def test_an_argument_wins_over_the_environment() -> None:
    assert read(STRATA_DATAPLANE_IMAGE="env:1").dataplane_image == "env:1"
    assert read("--dataplane-image", "arg:1", STRATA_DATAPLANE_IMAGE="env:1").dataplane_image == "arg:1"


def test_namespaces_are_a_list() -> None:
    assert read("--watch-namespaces", "a, b,,c").watch_namespaces == ("a", "b", "c")
    assert read(STRATA_WATCH_NAMESPACES="a").watch_namespaces == ("a",)


def test_in_a_pod_the_lease_lives_in_its_namespace_and_is_held_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "namespace"
    file.write_text("system\n")
    settings = parse([], {"POD_NAME": "operator-0"}, namespace_file=file)
    assert (settings.lease_namespace, settings.identity, settings.elects) == ("system", "operator-0", True)
    assert parse([], {"POD_NAMESPACE": "other"}, namespace_file=file).lease_namespace == "other"


@pytest.mark.parametrize("off", [("--no-leader-election",), ()])
def test_election_can_be_switched_off(off: tuple[str, ...]) -> None:
    environment = {} if off else {"STRATA_LEADER_ELECTION": "false"}
    assert not read(*off, "--lease-namespace", "system", **environment).elects


@pytest.mark.parametrize(("arguments", "environment", "message"), [
    (("--workers", "many"), {}, "workers"),
    ((), {"STRATA_WORKERS": "many"}, "workers"),
    (("--platform-access", "magic"), {}, "platform-access"),
    ((), {"STRATA_LOG_LEVEL": "loud"}, "STRATA_LOG_LEVEL"),
    (("--renew-deadline-seconds", "20"), {}, "less than lease-seconds"),
    (("--retry-seconds", "10"), {}, "less than renew-deadline-seconds"),
    (("--unknown",), {}, "unknown"),
])
def test_wrong_ones_end_with_a_message(arguments: tuple[str, ...], environment: dict[str, str], message: str,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        read(*arguments, **environment)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
