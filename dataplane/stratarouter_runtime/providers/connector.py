"""Kept connections, of which only those are used again that have been silent since.

aiohttp looks whether a kept connection is still open, but not whether something arrived on it meanwhile: a second answer
behind the first (a vendor's or a proxy's defect) would be taken for the answer to the next request, which may be another
caller's (https://github.com/aio-libs/aiohttp/issues/13656).
"""

from __future__ import annotations

import aiohttp
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.tracing import Trace


class SilentConnector(aiohttp.TCPConnector):
    """Invariant: an answer is never taken from what arrived before its request was sent on that connection."""

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        while (connection := await super()._get(key, traces)) is not None:
            protocol = connection.protocol
            if protocol is not None and not protocol.should_close:
                return connection
            connection.close()
        return None
