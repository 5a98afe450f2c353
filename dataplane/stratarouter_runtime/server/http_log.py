"""What the HTTP library says of requests that are no HTTP.

To it they are errors, each with a traceback; here they are anybody's bytes on an open port, which are answered with a 400
and must not fill the log. Its other errors would be defects of ours and stay errors.
"""

from __future__ import annotations

import logging

from aiohttp.http_exceptions import HttpProcessingError

logger = logging.getLogger(__name__)
"""For ``AppRunner``."""


def _lowered(record: logging.LogRecord) -> bool:
    """Whether to write it: what a client caused only at level debug."""
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(error, HttpProcessingError):
        return True
    record.levelno, record.levelname = logging.DEBUG, logging.getLevelName(logging.DEBUG)
    return logger.isEnabledFor(logging.DEBUG)


logger.addFilter(_lowered)
