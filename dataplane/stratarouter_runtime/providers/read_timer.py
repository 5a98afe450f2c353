"""Bounds the wait for the next bytes of an answer, at the cost of one timer for many reads.

``asyncio.timeout`` would set and cancel a timer for each read, and must not span the yields of a generator. Here a
single timer is moved only when it fires too early. Invariants: only the time spent waiting for the vendor counts, so that a
slow consumer never makes a vendor look slow; nobody waits long on a connection that is gone.
"""

from __future__ import annotations

import asyncio

import aiohttp

CHECK_SECONDS = 0.5
"""How often a pending read looks whether its connection is still there: after some errors in the framing aiohttp closes it
without a word to the reader."""

_NEVER = float("inf")


class ReadTimer:
    """Makes the pending read of a response raise ``TimeoutError`` when its time has come."""

    __slots__ = ("_content", "_due", "_handle", "_loop", "_response")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._loop = asyncio.get_running_loop()
        self._response = response
        self._content = response.content
        self._due = _NEVER
        self._handle: asyncio.TimerHandle | None = None

    async def read(self, due: float) -> bytes:
        """What has arrived, at least something; empty at the end. ``due`` is on the loop's clock.

        Raises what aiohttp raises, and ``TimeoutError``.
        """
        self._due = due
        if self._handle is None or self._handle.when() > due:
            self._schedule(due, self._loop.time())
        try:
            return await self._content.readany()
        except RuntimeError:
            # aiohttp's way to say that the connection was closed on this side.
            raise aiohttp.ClientConnectionError from None
        finally:
            self._due = _NEVER

    def stop(self) -> None:
        """Nothing fires any more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _schedule(self, due: float, now: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._loop.call_at(min(due, now + CHECK_SECONDS), self._fire)

    def _fire(self) -> None:
        self._handle = None
        if self._due == _NEVER:
            return
        now = self._loop.time()
        if self._due <= now:
            self._content.set_exception(TimeoutError())
        elif self._lost():
            self._content.set_exception(aiohttp.ClientPayloadError())
        else:
            self._schedule(self._due, now)

    def _lost(self) -> bool:
        connection = self._response.connection
        return connection is not None and connection.closed and not self._content.is_eof()
