"""PostgreSQL over TLS, as its DSN asks for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes.state import made
from stratarouter_runtime.state import StateUnavailable
from stratarouter_runtime.state.postgres import PostgresStore

TLS = Path(__file__).parents[2] / "unit/providers/tls"
OTHER_CA = Path(__file__).parents[2] / "fakes/tls/other.crt"
ENCRYPTED = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


@pytest.fixture(scope="module")
def tls_dsn(postgres_clusters):
    """A server whose certificate is for 127.0.0.1."""
    server = postgres_clusters.new()
    server.use_tls(TLS / "server.pem", TLS / "server.key")
    server.start()
    yield server.dsn
    server.stop()


@pytest.mark.parametrize(("query", "encrypted"), [
    ("", True), ("?sslmode=disable", False), ("?sslmode=require", True), (f"?sslmode=verify-full&sslrootcert={TLS / 'ca.pem'}", True)])
async def test_the_dsn_says_whether_and_how_the_connection_is_encrypted(tls_dsn, query, encrypted):
    """As libpq's parameters do; without any, it is where the server can."""
    store = PostgresStore(tls_dsn + query)
    await store.write([made()])
    assert [row["ssl"] for row in await store._fetch(ENCRYPTED)] == [encrypted]
    await store.aclose()


@pytest.mark.parametrize(("query", "told"), [
    ("?sslmode=verify-full", "sslrootcert"), ("?sslmode=verify-full&sslrootcert=/nowhere/ca.crt", "FileNotFoundError"),
    (f"?sslmode=verify-full&sslrootcert={OTHER_CA}", "SSLCertVerificationError")])
async def test_a_server_that_cannot_be_verified_is_not_used(tls_dsn, query, told):
    """No authority given, none there, or another one: nothing is sent, and the kind of trouble is told."""
    store = PostgresStore(tls_dsn + query)
    with pytest.raises(StateUnavailable, match=told):
        await store.write([made()])
    await store.aclose()
