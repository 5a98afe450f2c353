"""kopf is told to watch what we own, hand on every event, and do nothing else."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from kopf._core.intents.registries import OperatorRegistry

from builders import runtime
from stratarouter_operator.cluster import OWNED, POD, PROVIDER_POOL, RUNTIME_CONFIG, SERVICE_MONITOR
from stratarouter_operator.events import Events
from stratarouter_operator.handlers import WATCHED, registry, settings
from stratarouter_operator.index import Index
from stratarouter_operator.logs import JsonFormatter, configure, trace
from stratarouter_operator.queue import Key


def made(marks: list[Key]) -> OperatorRegistry:
    async def login() -> Any:
        raise AssertionError("nobody logs in here")

    return registry(Events(Index(), marks.append), login)


def test_everything_that_a_reconcile_reads_is_watched_but_the_api_that_may_go_away() -> None:
    assert set(WATCHED) == {RUNTIME_CONFIG, PROVIDER_POOL, POD, *OWNED}
    assert SERVICE_MONITOR not in WATCHED


def test_only_event_handlers_are_there_so_that_nobodys_object_is_changed() -> None:
    registered = made([])
    assert len(registered._watching.get_all_handlers()) == len(WATCHED)
    for other in (registered._changing, registered._spawning, registered._indexing, registered._webhooks):
        assert list(other.get_all_handlers()) == []


async def test_an_event_is_handed_on_as_it_comes() -> None:
    marks: list[Key] = []
    [handler] = [each for each in made(marks)._watching.get_all_handlers() if each.id == "watch-runtimeconfigs"]
    manifest = runtime("assistant")
    manifest["metadata"] |= {"namespace": "default", "uid": "u", "generation": 1}
    await handler.fn(event={"type": "ADDED", "object": manifest}, anything="else")
    assert marks[0] == Key("RuntimeConfig", "default", "assistant")


def test_owned_kinds_are_watched_by_label_and_ours_whole() -> None:
    selectors = {selector.any_name: value for selector, value in settings().watching.label_selectors.items()}
    assert set(selectors) == {kind.plural for kind in (*OWNED, POD)}
    assert set(selectors.values()) == {"app.kubernetes.io/managed-by=stratarouter-operator,app.kubernetes.io/instance"}


def test_kopf_posts_no_events_and_watches_no_crds() -> None:
    chosen = settings()
    assert not chosen.posting.enabled
    assert chosen.scanning.disabled


def test_logs_are_one_json_object_a_line() -> None:
    try:
        raise ValueError("broken\nin two lines")
    except ValueError as error:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "it is %s", ("so",), (ValueError, error, error.__traceback__))
        line = JsonFormatter().format(record)
    assert "\n" not in line
    assert '"message": "it is so"' in line
    assert "ValueError: broken\\nin two lines" in line


def test_a_trace_names_the_errors_inside_a_group() -> None:
    text = trace(ExceptionGroup("several", [KeyError("a"), ValueError("b")]))
    assert "KeyError: 'a'" in text
    assert "ValueError: b" in text


@pytest.mark.parametrize("level", ["debug", "info"])
def test_frameworks_speak_only_of_trouble(level: str) -> None:
    before = logging.getLogger().handlers[:], logging.getLogger().level
    try:
        configure(level)
        assert logging.getLogger("kopf").level >= logging.INFO
        assert logging.getLogger().level == getattr(logging, level.upper())
    finally:
        logging.getLogger().handlers, logging.getLogger().level = before
        for chatty in ("kopf", "aiohttp", "asyncio"):
            logging.getLogger(chatty).setLevel(logging.NOTSET)
