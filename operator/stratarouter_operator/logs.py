"""JSON logs, one object a line.

Invariant: fields are named here alone: ``time``, ``level``, ``logger``, ``message``, ``error``.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from .clock import micro_timestamp

MAX_FRAMES = 12


class JsonFormatter(logging.Formatter):
    """A record as a JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": micro_timestamp(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = trace(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False)


def trace(error: BaseException) -> str:
    """An error and where it came from, in one line; unlike a traceback it reads no source files in the event loop."""
    frames = []
    step = error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        frames.append(f"{code.co_filename}:{step.tb_lineno} {code.co_name}")
        step = step.tb_next
    where = " > ".join(frames[-MAX_FRAMES:])
    inner = "".join(f" [{trace(each)}]" for each in error.exceptions) if isinstance(error, BaseExceptionGroup) else ""
    return f"{type(error).__name__}: {error} ({where}){inner}"


def configure(level: str) -> None:
    """Log to standard error from ``level`` on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in ("kopf", "aiohttp", "asyncio"):  # their debug lines are about themselves
        logging.getLogger(chatty).setLevel(logging.WARNING if level != "debug" else logging.INFO)
