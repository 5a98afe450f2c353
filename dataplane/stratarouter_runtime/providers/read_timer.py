"""Bounds the wait for the next bytes of a stream, at the cost of one timer for many reads.

``asyncio.timeout`` would set and cancel a timer for each read, and must not span the yields of a generator. Here a
single timer is moved only when it fires too early. Invariant: only the time spent waiting for the vendor counts; a slow
consumer never makes a vendor look slow.
"""

from __future__ import annotations

import asyncio

import aiohttp

_NEVER = float("inf")


class ReadTimer:
    """Makes the pending read of ``content`` raise ``TimeoutError`` when its time has come."""

    __slots__ = ("_content", "_due", "_handle", "_loop")

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._loop = asyncio.get_running_loop()
        self._content = content
        self._due = _NEVER
        self._handle: asyncio.TimerHandle | None = None

    async def read(self, due: float) -> bytes:
        """What has arrived, at least something; empty at the end. ``due`` is on the loop's clock.

        Raises what aiohttp raises, and ``TimeoutError``.
        """
        self._due = due
        if self._handle is None or self._handle.when() > due:
            self._schedule(due)
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

    def _schedule(self, when: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._loop.call_at(when, self._fire)

    def _fire(self) -> None:
        self._handle = None
        if self._due == _NEVER:
            return
        if self._due > self._loop.time():
            self._schedule(self._due)
        else:
            self._content.set_exception(TimeoutError())
