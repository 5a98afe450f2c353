"""The runtime's door: what goes in without waiting comes out as a document."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal

import pytest

from fakes.state import NOW, FakeClock, TroubledStore, begun_record, execution, made, settle
from stratarouter_runtime.config import ConfigError
from stratarouter_runtime.state import StateManager, StateService, StateUnavailable, StreamCheckpoint, open_state, record
from stratarouter_runtime.state.retention import Retention
from stratarouter_runtime.state.writer import StateWriter


@pytest.fixture
async def service():
    clock = FakeClock()
    opened = open_state("memory", clock=clock, sleep=clock.sleep)
    yield opened
    await opened.aclose()


async def test_an_execution_comes_out_as_json_with_its_money_as_decimal_text(service):
    """The whole document, as ``GET /executions/{id}`` shows it."""
    service.start()
    stream = service.follow("exec-1", interval=2, begun=begun_record)
    for text in ("Hel", "lo", " you"):
        stream.add(text)
    assert service.put(record(execution(), status=200, started_at=NOW, duration=0.75))
    await service.manager.checkpoint("exec-1", step=5, state_data={"private": "of the app"})
    await settle()
    found = await service.find("exec-1")
    assert json.loads(json.dumps(found)) == {
        "id": "exec-1", "requestId": "req-1", "tenant": "acme", "family": "chat", "route": "billing",
        "startedAt": "2023-11-14T22:13:20.250000+00:00", "durationSeconds": 0.75, "outcome": "Success", "status": 200,
        "cache": None, "pool": "chat", "provider": "fallback", "model": "gpt-4o-2024", "finishReason": "stop",
        "usage": {"inputTokens": 1000, "outputTokens": 20, "cachedTokens": 5, "estimated": False},
        "costUsd": "0.0027", "savedUsd": None, "decision": {"route": "billing", "confidence": 0.875, "scores": {"billing": 0.875, "other": 0.25}},
        "plan": {"route": "billing", "family": "chat", "candidates": ["chat/primary/gpt-4o", "chat/fallback/gpt-4o"],
                 "timeoutSeconds": 60.0, "maxAttempts": 4},
        "attempts": [{"number": 1, "candidate": "chat/primary/gpt-4o", "region": "eu", "outcome": "ServerError", "status": 500,
                      "seconds": 0.25, "firstTokenSeconds": None},
                     {"number": 2, "candidate": "chat/fallback/gpt-4o", "region": "eu", "outcome": "Success", "status": 200,
                      "seconds": 0.5, "firstTokenSeconds": 0.125}],
        "stream": {"chunks": 2, "text": "Hello", "truncated": False, "at": "2023-11-14T22:13:20.250000+00:00"},
        "checkpoints": [{"source": "stream", "step": 2, "at": "2023-11-14T22:13:20.250000+00:00", "characters": 5},
                        {"source": "app", "step": 5, "at": "2023-11-14T22:13:20.250000+00:00", "bytes": 24}],
        "stored": True}


@pytest.mark.parametrize(("cost", "shown"), [
    (Decimal("1E+3"), "1000"), (Decimal("0.000001230"), "0.00000123"), (Decimal("0E-12"), "0"), (Decimal(0), "0"), (None, None),
    (Decimal("100.00"), "100"), (Decimal("12345678901234567890.123456789012345678901234567890"), "12345678901234567890.12345678901234567890123456789")])
async def test_money_is_plain_digits_however_it_was_computed(service, cost, shown):
    """No exponent, no rounding, no zeros at the end: a script may compare it."""
    service.put(made(cost_usd=cost))
    assert (await service.find("exec-1"))["costUsd"] == shown


async def test_what_still_waits_is_found_and_said_to_be_waiting(service):
    """The newest of what waits and of what is stored, put together."""
    service.put(begun_record())
    assert [(await service.find("exec-1"))[name] for name in ("outcome", "stored", "stream")] == [None, False, None]
    service.put(StreamCheckpoint("exec-1", 10, "a", NOW))
    service.start()
    await settle()
    assert (await service.find("exec-1"))["stored"] is True
    service.put(StreamCheckpoint("exec-1", 20, "b", NOW))
    service.put(made())
    service.put(made("exec-2"))
    found = await service.find("exec-1")
    assert (found["outcome"], found["stored"], found["stream"]["text"], found["stream"]["chunks"]) == ("Success", False, "ab", 20)


@pytest.mark.parametrize("identity", ["exec-9", "", "x" * 10_000, "exec-\0", "exec-\ud800"])
async def test_an_id_of_nobody_is_found_nowhere(service, identity):
    """Whatever the path of a request holds."""
    assert await service.find(identity) is None


async def test_a_database_that_is_down_hides_only_what_it_alone_knows():
    """What waits in this process is told; for anything else the question cannot be answered now."""
    class Down(TroubledStore):
        async def execution(self, execution_id):
            raise StateUnavailable("down")

        stream = execution

    store = Down()
    store.down = True
    service = StateService("postgresql", store, StateWriter(store), Retention(store), clock=FakeClock())
    service.put(begun_record())
    service.put(StreamCheckpoint("exec-1", 10, "a", NOW))
    found = await service.find("exec-1")
    assert (found["stored"], found["stream"]["text"], found["checkpoints"][0]["step"]) == (False, "a", 10)
    with pytest.raises(StateUnavailable):
        await service.find("exec-2")
    await service.aclose()


async def test_a_missing_dsn_drops_and_counts_everything_at_once():
    """Nothing waits for a database that nobody named; requests go on, the figures tell."""
    dropped = []
    service = open_state("postgresql", None, dropped=dropped.append)
    service.start()
    stream = service.follow("exec-1", interval=1)
    assert service.put(made()) is False
    stream.add("a")
    assert service.stats() == {"backend": "postgresql", "queued": 0, "lost": 2, "available": False, "errors": 0}
    assert sum(dropped) == 2
    with pytest.raises(StateUnavailable, match="DSN of PostgreSQL is missing"):
        await service.find("exec-1")
    with pytest.raises(StateUnavailable):
        await service.manager.save("exec-1", {})
    await service.aclose()


@pytest.mark.parametrize("dsn", ["host=db password=pw-of-the-tests", "mysql://u:pw-of-the-tests@db/x", "pw-of-the-tests", ""])
def test_what_is_no_dsn_is_a_configuration_error_that_does_not_quote_it(dsn):
    """It says what one looks like instead."""
    with pytest.raises(ValueError, match="postgresql://user:password@host:5432/database") as raised:
        open_state("postgresql", dsn)
    assert "pw-of-the-tests" not in repr(raised.value)
    assert isinstance(raised.value, ConfigError) or not dsn


def test_an_unknown_back_end_is_refused():
    """With the two that there are."""
    with pytest.raises(ValueError, match="'memory' or 'postgresql', not 'mysql'"):
        StateManager("mysql")


async def test_stats_tell_what_waits_and_what_was_lost():
    """For the platform port and the metrics."""
    service = open_state("memory", max_queued=2)
    for number in range(3):
        service.put(made(f"exec-{number}"))
    assert service.stats() == {"backend": "memory", "queued": 2, "lost": 1, "available": True, "errors": 0}
    await service.aclose()
    assert service.stats()["queued"] == 0


def test_importing_the_room_loads_no_database_driver():
    """Who keeps state in memory pays nothing for PostgreSQL."""
    code = "import sys, stratarouter_runtime.state as s; s.StateManager(); sys.exit('asyncpg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
