"""Secrets that are missing, come late and are rotated: never with a restart, never read by the operator."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count

import pytest
from cluster import RELEASE, CommandError, Namespace, kubectl, wait_for
from dataplane import DataPlane, provider, provider_pool, runtime_config, secret

PRIMARY, FALLBACK = "vendor-primary:9999", "vendor-fallback:9998"
KEY = "sk-demo-this-key-opens-nothing"
CREATED_SECONDS = REFUSED_SECONDS = 20.0
ROTATED_SECONDS = 150.0


class Quiet:
    """A data plane whose Secret is rotated while the old key still works."""

    def __init__(self, namespace: Namespace) -> None:
        namespace.vendor(FALLBACK).accept(KEY, "sk-quiet-old", "sk-quiet-new")
        namespace.apply(secret("quiet", apiKey="sk-quiet-old"), provider_pool("quiet", provider("quiet", FALLBACK, "quiet")),
                        runtime_config("quiet", "quiet"))
        self.plane = DataPlane(namespace, "quiet")
        self.plane.wait_ready()
        assert self.plane.call("Before the rotation.")["headers"]["x-strata-provider"] == "quiet"
        self.incarnations = self.plane.incarnations()
        namespace.apply(secret("quiet", apiKey="sk-quiet-new"))
        self.rotated_at = time.monotonic()


@pytest.fixture(scope="module")
def quiet(namespace: Namespace) -> Quiet:
    """Rotated first and looked at last, because nobody hurries it: the kubelet refreshes volumes in its own time."""
    return Quiet(namespace)


@pytest.fixture(scope="module")
def plane(quiet: Quiet, namespace: Namespace) -> DataPlane:
    """A data plane whose first provider has no Secret yet, and whose second has."""
    namespace.apply(
        secret("early", apiKey=KEY),
        provider_pool("chat", provider("first", PRIMARY, "late"), provider("second", FALLBACK, "early", priority=1)),
        runtime_config("assistant"))
    plane = DataPlane(namespace)
    plane.wait_ready()
    return plane


def until_served_by(plane: DataPlane, name: str, seconds: float) -> float:
    """Call until a provider answers; every call must be answered by some. Returns the seconds it took."""
    began, numbers = time.monotonic(), count()
    check: Callable[[], bool] = lambda: plane.call(f"{name}? {began} {next(numbers)}")["headers"]["x-strata-provider"] == name  # noqa: E731
    wait_for(f"an answer by {name}", check, seconds, every=0.5)
    return time.monotonic() - began


def test_operator_has_no_right_to_read_secrets(system):
    """As the API server itself answers for its service account; that it may list pods shows that it was the one asked."""
    def allowed(verb: str, resource: str) -> bool:
        account = f"system:serviceaccount:{system.name}:{RELEASE}"
        try:
            return kubectl("auth", "can-i", verb, resource, "--all-namespaces", "--as", account).strip() == "yes"
        except CommandError:  # a no is an exit status
            return False
    assert allowed("list", "pods")
    assert not [verb for verb in ("get", "list", "watch", "create", "patch") if allowed(verb, "secrets")]


def test_missing_secret_is_named_while_the_other_provider_serves(plane):
    resolved = plane.wait_condition("ResolvedRefs", "False", 30)
    assert resolved["reason"] == "SecretNotFound"
    assert "late" in resolved["message"]
    assert "apiKey" in resolved["message"]
    assert plane.call("Who serves?")["headers"]["x-strata-provider"] == "second"


def test_secret_that_is_created_is_in_use_within_twenty_seconds(plane):
    before = plane.incarnations()
    plane.namespace.vendor(PRIMARY).accept("sk-first")
    plane.namespace.apply(secret("late", apiKey="sk-first"))
    seconds = until_served_by(plane, "first", CREATED_SECONDS)
    print(f"\n  in use {seconds:.1f} s after it was created")
    plane.wait_condition("ResolvedRefs", "True", 45)
    assert plane.incarnations() == before


def test_rotated_secret_is_in_use_within_twenty_seconds_once_the_old_key_is_refused(plane):
    before = plane.incarnations()
    plane.namespace.apply(secret("late", apiKey="sk-second"))
    plane.namespace.vendor(PRIMARY).accept("sk-second")
    seconds = until_served_by(plane, "first", REFUSED_SECONDS)
    print(f"\n  in use {seconds:.1f} s after the old key was first refused, no call failed")
    assert plane.incarnations() == before


def test_rotated_secret_is_in_use_within_150_seconds_even_if_the_old_key_still_works(quiet):
    vendor, numbers = quiet.plane.namespace.vendor(FALLBACK), count()

    def uses_the_new_key() -> bool:
        quiet.plane.call(f"Which key? {next(numbers)}")
        return "sk-quiet-new" in vendor.keys_seen()
    wait_for("the new key", uses_the_new_key, ROTATED_SECONDS - (time.monotonic() - quiet.rotated_at), every=2)
    print(f"\n  in use {time.monotonic() - quiet.rotated_at:.0f} s after it was rotated")
    assert quiet.plane.incarnations() == quiet.incarnations
