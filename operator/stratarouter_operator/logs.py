"""JSON logs, one object a line.

Invariant: fields are named here alone: ``time``, ``level``, ``logger``, ``message``, ``error``.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from .clock import micro_timestamp


class JsonFormatter(logging.Formatter):
    """A record as a JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": micro_timestamp(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure(level: str) -> None:
    """Log to standard error from ``level`` on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in ("kopf", "aiohttp", "asyncio"):  # their debug lines are about themselves
        logging.getLogger(chatty).setLevel(logging.WARNING if level != "debug" else logging.INFO)
