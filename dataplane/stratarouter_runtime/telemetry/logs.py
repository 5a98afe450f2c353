"""JSON lines, one an event and one a request, with the ids of trace and request, and never a prompt or a key.

Only fields that ``names`` has are written: an ``extra`` under another name is left out, so that no prompt gets into
the log because somebody found it handy while debugging. Third-party libraries log warnings and errors only, because
at lower levels some of them log what they send.

Invariants: a line is valid JSON and at most some ``TEXT`` bytes a text; formatting and writing never raise.
"""

from __future__ import annotations

import json
import logging
import time
import traceback
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import orjson

from stratarouter_runtime.config import ConfigError
from stratarouter_runtime.model.errors import StrataError

from . import names
from .logwriter import LineWriter
from .redaction import redact

OURS = "stratarouter_runtime"
TEXT = 8_192
"""Characters of a message or traceback that are kept."""

MAX_FRAMES = 30
MAX_CAUSES = 5

_QUOTES_NOBODY = (OSError, StrataError, ConfigError)
"""Exceptions whose message is the system's or ours; any other may quote the prompt that it stumbled over."""

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

_SET_HERE = frozenset({names.LOG_TIME, names.LOG_LEVEL, names.LOG_LOGGER, names.LOG_MESSAGE, names.LOG_EXCEPTION})
_EXTRA = frozenset(term.name for term in names.LOG_FIELDS) - _SET_HERE
_FIELDS = "strata_fields"

_access = logging.getLogger(f"{OURS}.access")


@dataclass(slots=True)
class LogContext:
    """The ids that lines of a request carry; set them as they become known, empty ones are left out."""

    trace_id: str = ""
    span_id: str = ""
    request_id: str = ""
    execution_id: str = ""


_context: ContextVar[LogContext | None] = ContextVar("strata_log_context", default=None)


def bind(context: LogContext) -> Token[LogContext | None]:
    """Lines of this task, and of tasks that it starts, carry these ids from now on."""
    return _context.set(context)


def unbind(token: Token[LogContext | None]) -> None:
    """Undo ``bind``."""
    _context.reset(token)


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON, keys redacted."""

    def __init__(self) -> None:
        super().__init__()
        self._second = 0
        self._prefix = ""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its newline."""
        return self.encode(record).decode()

    def encode(self, record: logging.LogRecord) -> bytes:
        """The line as bytes, without its newline."""
        line: dict[str, Any] = {
            names.LOG_TIME: self._time(record.created), names.LOG_LEVEL: record.levelname.lower(), names.LOG_LOGGER: record.name,
            names.LOG_MESSAGE: _message(record)}
        fields = record.__dict__.get(_FIELDS)
        if fields is not None:  # of ``log_request``: no text to search for keys
            line.update(fields)
            _add_context(line)
            return _dumps(line)
        for name in record.__dict__.keys() & _EXTRA:
            line[name] = record.__dict__[name]
        _add_context(line)
        if record.exc_info:
            line[names.LOG_EXCEPTION] = _exception(record.exc_info)
        return redact(_dumps(line))

    def _time(self, created: float) -> str:
        second = int(created)
        if second != self._second:
            self._second, self._prefix = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._prefix}.{int((created - second) * 1000):03d}Z"


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()[:TEXT]
    except Exception:  # noqa: BLE001 (arguments that do not fit, or that fail to print themselves)
        return str(record.msg)[:TEXT]


def _add_context(line: dict[str, Any]) -> None:
    context = _context.get()
    if context is not None:
        ids = ((names.LOG_TRACE, context.trace_id), (names.LOG_SPAN, context.span_id), (names.LOG_REQUEST, context.request_id),
               (names.LOG_EXECUTION, context.execution_id))
        line.update((name, value) for name, value in ids if value)


def _exception(info: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]) -> Mapping[str, Any]:
    kind, error, trace = info
    if kind is None or error is None:
        return {}
    told: dict[str, Any] = {"type": kind.__name__, "stack": _stack(trace)}
    if isinstance(error, _QUOTES_NOBODY):
        told["message"] = str(error)[:TEXT]
    if causes := _causes(error):
        told["caused_by"] = causes
    return told


def _stack(trace: TracebackType | None) -> list[str]:
    """Innermost first. Without source lines: reading those would block the event loop for the disk."""
    frames = [f"{frame.f_code.co_filename}:{line} {frame.f_code.co_qualname}" for frame, line in traceback.walk_tb(trace)]
    return frames[:-MAX_FRAMES - 1:-1]


def where(error: BaseException) -> str:
    """File, line and function that an exception came from; empty for one that was never raised."""
    return next(iter(_stack(error.__traceback__)), "")


def _causes(error: BaseException) -> list[str]:
    found: list[str] = []
    cause = error.__cause__ or error.__context__
    while cause is not None and len(found) < MAX_CAUSES:
        found.append(type(cause).__name__)
        cause = cause.__cause__ or cause.__context__
    return found


def _dumps(line: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(line, default=str)
    except (TypeError, ValueError):  # lone surrogates, integers beyond 64 bits
        return json.dumps(line, default=str).encode()


def log_request(fields: Mapping[str, Any]) -> None:
    """Write a request's line, at level ``info``.

    ``fields`` are those that ``names`` has for it. Texts among them are names of the configuration and reasons, never what
    a client wrote, because these lines are not searched for keys.
    """
    record = logging.LogRecord(_access.name, logging.INFO, "", 0, "request", None, None)
    record.__dict__[_FIELDS] = fields
    _access.handle(record)


def logs_requests() -> bool:
    """Whether requests are logged: if not, do not gather their fields."""
    return _access.isEnabledFor(logging.INFO)


def set_level(level: str) -> None:
    """The least level of our lines: ``debug``, ``info``, ``warning`` or ``error``. Others log from ``warning`` on."""
    logging.getLogger(OURS).setLevel(LEVELS[level])
    if installed() is not None:
        logging.getLogger().setLevel(max(LEVELS[level], logging.WARNING))


class _LineHandler(logging.Handler):
    def __init__(self, owner: Logging, writer: LineWriter) -> None:
        super().__init__()
        self.owner = owner
        self._writer = writer
        self._lost = 0
        self._json = JsonFormatter()
        self.setFormatter(self._json)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self._json.encode(record) + b"\n"
        except Exception:  # noqa: BLE001 (a line is not worth a request, and logging's own report would print the arguments)
            line = b'{"level":"error","logger":"stratarouter_runtime.telemetry","message":"a log record could not be written"}\n'
        if not self._writer.put(line):
            self._lost += 1
            self.owner.on_drop(1)
        elif self._lost:
            lost, self._lost = self._lost, 0
            told = logging.LogRecord(__name__, logging.WARNING, "", 0, "log lines were dropped", None, None)
            told.__dict__[names.LOG_COUNT] = lost
            self.emit(told)


class Logging:
    """The process's log: JSON lines to a file descriptor. ``on_drop`` hears how many lines were dropped, from any thread.

    It takes over the root logger, so it is for a process of our own; a program that embeds the runtime keeps its own
    logging and may use ``JsonFormatter``. Open from its creation until ``close``, or as a context manager.
    """

    def __init__(self, level: str = "info", *, descriptor: int = 1) -> None:
        self.on_drop: Callable[[int], None] = _ignore
        self._writer = LineWriter(descriptor)
        root = logging.getLogger()
        self._before = (root.level, root.handlers[:])
        root.handlers[:] = [_LineHandler(self, self._writer)]
        _collect_unused(False)
        logging.captureWarnings(True)
        set_level(level)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the root logger back and write what waits, for two seconds at most; blocks."""
        root = logging.getLogger()
        root.setLevel(self._before[0])
        root.handlers[:] = self._before[1]
        logging.getLogger(OURS).setLevel(logging.NOTSET)
        logging.captureWarnings(False)
        _collect_unused(True)
        self._writer.close()


def installed() -> Logging | None:
    """The process's log, where it is ours."""
    return next((each.owner for each in logging.getLogger().handlers if isinstance(each, _LineHandler)), None)


def _ignore(_count: int) -> None:
    """Nobody counts."""


def _collect_unused(wanted: bool) -> None:
    """Threads' and processes' names are not in our lines, and cost half of a record (logging HOWTO, "Optimization")."""
    logging.logThreads = wanted
    logging.logProcesses = wanted
    logging.logMultiprocessing = wanted
