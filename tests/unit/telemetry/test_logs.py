"""One line of JSON an event, one a request, with ids, without prompts and keys, and never in anybody's way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
import threading
import time
import warnings

import pytest

from stratarouter_runtime.config import ConfigError
from stratarouter_runtime.model.errors import ExecutionError
from stratarouter_runtime.telemetry.logs import (
    TEXT,
    JsonFormatter,
    LogContext,
    Logging,
    bind,
    log_request,
    logs_requests,
    set_level,
    unbind,
)

log = logging.getLogger("stratarouter_runtime.somewhere")


@pytest.fixture
def lines(monkeypatch):
    """Emit through the formatter alone; the list of decoded lines."""
    collected = []

    class Collect(logging.Handler):
        def emit(self, record):
            collected.append(json.loads(JsonFormatter().format(record)))

    handler, ours = Collect(), logging.getLogger("stratarouter_runtime")
    monkeypatch.setattr(ours, "propagate", False)
    ours.addHandler(handler)
    ours.setLevel(logging.DEBUG)
    yield collected
    ours.removeHandler(handler)
    ours.setLevel(logging.NOTSET)


@pytest.fixture
def pipe():
    """A pipe whose read end is read as text once the write end is closed."""
    read, write = os.pipe()
    yield read, write
    for end in (read, write):
        with contextlib.suppress(OSError):
            os.close(end)


def drained(read, write):
    os.close(write)
    with os.fdopen(read, closefd=False) as stream:
        return [json.loads(line) for line in stream]


def reading(read):
    """Read lines in a thread, from now on and until the other end is closed."""
    got = []

    def run():
        with os.fdopen(read, closefd=False) as stream:
            got.extend(stream)

    reader = threading.Thread(target=run)
    reader.start()
    return reader, got


class TestLine:
    def test_has_time_level_logger_and_message(self, lines):
        """What every line has, under the documented names."""
        log.warning("pool %s is empty", "chat")
        (line,) = lines
        assert line.keys() == {"ts", "level", "logger", "message"}
        assert (line["level"], line["logger"], line["message"]) == ("warning", "stratarouter_runtime.somewhere", "pool chat is empty")

    def test_time_is_utc_with_milliseconds(self):
        """RFC 3339, also right after a change of second."""
        formatter = JsonFormatter()
        record = logging.LogRecord("a", logging.INFO, "", 0, "x", None, None)
        told = []
        for record.created in (1_700_000_000.25, 1_700_000_000.999, 1_700_000_001.0):
            told.append(json.loads(formatter.format(record))["ts"])
        assert told == ["2023-11-14T22:13:20.250Z", "2023-11-14T22:13:20.999Z", "2023-11-14T22:13:21.000Z"]

    def test_documented_extras_are_written_and_others_are_not(self, lines):
        """A prompt does not get into the log because somebody passed it along."""
        log.info("x", extra={"provider": "openai-eu", "count": 3, "prompt": "where is my invoice", "headers": {"a": "b"}})
        (line,) = lines
        assert (line["provider"], line["count"]) == ("openai-eu", 3)
        assert "prompt" not in line
        assert "headers" not in line

    def test_extras_cannot_replace_what_every_line_has(self, lines):
        """A level, time or id that a caller passes is not the line's, except where the line has no id of its own."""
        extra = {"level": "critical", "ts": "never", "logger": "z", "execution_id": "e-extra"}
        log.info("x", extra=extra)
        token = bind(LogContext(execution_id="e-own"))
        log.info("x", extra=extra)
        unbind(token)
        assert {(line["level"], line["logger"]) for line in lines} == {("info", "stratarouter_runtime.somewhere")}
        assert "never" not in {line["ts"] for line in lines}
        assert [line["execution_id"] for line in lines] == ["e-extra", "e-own"]

    def test_keys_are_redacted_in_message_extra_and_exception(self, lines):
        """The last thing before a line is written."""
        key = "sk-proj-Abc123Def456Ghi789"
        try:
            raise ConnectionError(f"bad key {key}")
        except ConnectionError:
            log.exception("refused %s", key, extra={"reason": key})
        (line,) = lines
        assert key not in json.dumps(line)
        assert line["exception"]["message"] == "bad key [redacted]"

    @pytest.mark.parametrize("error", [KeyError, ValueError, RuntimeError, TypeError])
    def test_exceptions_have_type_and_stack_and_quote_no_prompt(self, lines, error):
        """Enough to find the place; what an exception stumbled over may be somebody's question."""
        prompt = "where is my invoice"
        try:
            try:
                raise error(prompt)
            except error as inner:
                raise RuntimeError(prompt) from inner
        except RuntimeError:
            log.exception("failed")
        (line,) = lines
        assert prompt not in json.dumps(line)
        assert (line["exception"]["type"], line["exception"]["caused_by"]) == ("RuntimeError", [error.__name__])
        (frame,) = line["exception"]["stack"]
        assert "test_logs.py:" in frame
        assert frame.endswith("test_exceptions_have_type_and_stack_and_quote_no_prompt")

    @pytest.mark.parametrize("error", [
        ConnectionRefusedError("connection refused"), TimeoutError("too slow"), ConfigError("PoolNotFound", "no pool"),
        ExecutionError("AllFailed", "nobody answered", status=502)])
    def test_messages_of_the_system_and_of_ours_are_told(self, lines, error):
        """They never hold a prompt."""
        log.error("failed", exc_info=error)
        assert lines[0]["exception"]["message"] == str(error)

    def test_long_texts_are_cut(self, lines):
        """A vendor's HTML page does not fill the disk."""
        log.info("%s", "x" * 100_000)
        assert len(lines[0]["message"]) == TEXT

    @pytest.mark.parametrize("extra", [{"count": 2**70}, {"reason": "\ud800"}, {"reason": {1, 2}}, {"reason": object()}])
    def test_values_that_json_does_not_have_are_still_written(self, lines, extra):
        """A line is never lost to its values."""
        log.info("x", extra=extra)
        assert lines[0].keys() >= extra.keys()

    def test_arguments_that_do_not_fit_are_no_error(self):
        """A wrong format string costs its arguments, not the request."""
        record = logging.LogRecord("a", logging.INFO, "", 0, "%d and %d", ("one",), None)
        assert json.loads(JsonFormatter().format(record))["message"] == "%d and %d"


class TestContext:
    async def test_lines_of_a_request_carry_its_ids_also_in_tasks_it_starts(self, lines):
        """Ids that become known later are carried from then on, everywhere."""
        context = LogContext(trace_id="t" * 32, request_id="r-1")
        token = bind(context)
        log.info("first")
        context.execution_id = "e-1"

        async def child():
            log.info("second")

        await asyncio.create_task(child())
        unbind(token)
        log.info("third")
        assert [{key: line.get(key) for key in ("trace_id", "span_id", "request_id", "execution_id")} for line in lines] == [
            {"trace_id": "t" * 32, "span_id": None, "request_id": "r-1", "execution_id": None},
            {"trace_id": "t" * 32, "span_id": None, "request_id": "r-1", "execution_id": "e-1"},
            {"trace_id": None, "span_id": None, "request_id": None, "execution_id": None}]

    async def test_requests_do_not_share_ids(self, lines):
        """Two requests at once, each with its own."""
        async def request(name):
            bind(LogContext(request_id=name))
            await asyncio.sleep(0)
            log.info(name)

        await asyncio.gather(*(asyncio.create_task(request(name)) for name in ("a", "b")))
        assert [(line["message"], line["request_id"]) for line in lines] == [("a", "a"), ("b", "b")]


class TestAccess:
    def test_a_request_is_one_line_with_its_fields(self, lines):
        """Beside what every line has."""
        log_request({"method": "POST", "status": 200, "cost_usd": 0.0125})
        (line,) = lines
        assert line.pop("ts")
        assert line == {"level": "info", "logger": "stratarouter_runtime.access", "message": "request", "method": "POST",
                        "status": 200, "cost_usd": 0.0125}

    def test_requests_are_logged_at_info(self, lines):
        """Whoever asks for less does not pay for gathering their fields."""
        set_level("warning")
        assert not logs_requests()
        set_level("info")
        assert logs_requests()


class TestProcess:
    def test_levels_change_at_run_time_and_others_are_never_chatty(self, pipe):
        """Debug is for our own lines: some libraries log what they send at that level."""
        read, write = pipe
        logging_ = Logging("warning", descriptor=write)
        log.info("1")
        set_level("debug")
        log.debug("2")
        logging.getLogger("aiohttp.client").debug("3")
        logging.getLogger("aiohttp.client").warning("4")
        set_level("error")
        log.warning("5")
        logging.getLogger("aiohttp.client").warning("6")
        logging_.close()
        assert [line["message"] for line in drained(read, write)] == ["2", "4"]

    def test_warnings_are_lines_too(self, pipe):
        """Nothing but JSON on the process's output."""
        read, write = pipe
        logging_ = Logging(descriptor=write)
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(True)
            warnings.warn("old and tired", DeprecationWarning, stacklevel=1)
            logging_.close()
        (line,) = drained(read, write)
        assert (line["level"], line["logger"]) == ("warning", "py.warnings")
        assert "old and tired" in line["message"]

    def test_the_root_logger_is_given_back(self, pipe):
        """Closing leaves the process as it was."""
        root = logging.getLogger()
        before = (root.level, root.handlers[:], logging.logThreads, logging.logProcesses)
        Logging("debug", descriptor=pipe[1]).close()
        assert (root.level, root.handlers[:], logging.logThreads, logging.logProcesses) == before
        assert logging.getLogger("stratarouter_runtime").level == logging.NOTSET

    def test_many_lines_from_many_threads_arrive_whole_and_once(self, pipe):
        """However they are batched."""
        read, write = pipe
        reader, got = reading(read)
        logging_ = Logging(descriptor=write)
        threads = [threading.Thread(target=lambda n=n: [log.info("%d-%d", n, i) for i in range(500)]) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        logging_.close()
        os.close(write)
        reader.join()
        assert sorted(json.loads(line)["message"] for line in got) == sorted(f"{n}-{i}" for n in range(4) for i in range(500))

    def test_a_reader_that_stands_still_costs_lines_and_no_time(self, pipe):
        """Nobody waits; what is lost is counted, and told once there is room."""
        read, write = pipe
        dropped = []
        logging_ = Logging(descriptor=write)
        logging_.on_drop = dropped.append
        logging_._writer._limit = 50_000
        started = time.perf_counter()
        for _ in range(2_000):
            log.info("x" * 100)
        assert time.perf_counter() - started < 2
        lost = sum(dropped)
        assert lost > 0
        reader, got = reading(read)
        deadline = time.monotonic() + 10
        while logging_._writer._written < logging_._writer._taken_in and time.monotonic() < deadline:
            time.sleep(0.01)
        log.info("back")
        logging_.close()
        os.close(write)
        reader.join()
        lines = [json.loads(line) for line in got]
        assert [line["message"] for line in lines[-2:]] == ["back", "log lines were dropped"]
        assert sum(line["count"] for line in lines if line["message"] == "log lines were dropped") == lost
        assert sum(line["message"] == "x" * 100 for line in lines) == 2_000 - lost

    def test_closing_gives_up_on_a_reader_that_stands_still(self, pipe):
        """A stuck log does not keep a pod from stopping."""
        logging_ = Logging(descriptor=pipe[1])
        for _ in range(2_000):
            log.info("x" * 100)
        started = time.perf_counter()
        logging_.close()
        assert time.perf_counter() - started < 4
        os.close(pipe[0])
        logging_._writer._thread.join(5)
        assert not logging_._writer._thread.is_alive()

    def test_a_reader_that_is_gone_is_no_error(self, pipe, capfd):
        """There is nowhere to say so."""
        os.close(pipe[0])
        logging_ = Logging(descriptor=pipe[1])
        log.info("x")
        logging_.close()
        assert capfd.readouterr() == ("", "")

    def test_a_descriptor_that_does_not_block_loses_nothing(self, pipe):
        """Some shells and event loops make standard output non-blocking."""
        read, write = pipe
        os.set_blocking(write, False)
        logging_ = Logging(descriptor=write)
        for _ in range(2_000):
            log.info("x" * 100)
        reader, got = reading(read)
        logging_.close()
        os.close(write)
        reader.join()
        assert len(got) == 2_000

    def test_a_record_that_cannot_be_formatted_is_told_without_its_content(self, pipe, capfd):
        """Logging's own report of such an error would print the arguments."""
        class Hostile:
            def __str__(self):
                raise RuntimeError("sk-proj-Abc123Def456Ghi789")

        read, write = pipe
        logging_ = Logging(descriptor=write)
        log.info("x", extra={"reason": Hostile()})
        logging_.close()
        (line,) = drained(read, write)
        assert line["message"] == "a log record could not be written"
        assert capfd.readouterr() == ("", "")


def test_standard_output_of_a_process_is_json_only():
    """As it is used: in a process of its own, ending normally with lines still waiting."""
    import subprocess

    code = ("import logging; from stratarouter_runtime.telemetry.logs import Logging; l = Logging();"
            "logging.getLogger('stratarouter_runtime').info('hello'); l.close()")
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout)["message"] == "hello"
    assert ran.stderr == ""
