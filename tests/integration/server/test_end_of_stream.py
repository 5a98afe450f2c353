"""The end of a stream as clients cause it: OpenAI's SDK closes its connection as soon as it has read ``[DONE]``."""

from __future__ import annotations

import pytest

from builders import runtime, until
from fakes.vendor import FakeVendor
from pod import line, question, resources, running

REQUESTS = "stratarouter_runtime_requests_total"


@pytest.fixture
async def vendor():
    """A vendor that takes its time between an event and the next, and so between ``[DONE]`` and the end of the body."""
    async with FakeVendor(interval=0.05) as made:
        yield made


async def leave_at(pod, marker: bytes) -> None:
    """Ask for a stream, read up to ``marker``, and go."""
    async with line(pod) as connection:
        await connection.ask(question(stream=True, max_tokens=5))
        await connection.reader.readuntil(marker)


async def over(pod) -> None:
    def idle() -> bool:
        """nothing is in flight"""
        return pod.server.drain.in_flight == 0
    await until(idle)


async def test_a_client_that_leaves_with_the_last_event_was_answered(tmp_path, vendor):
    """What such a request counts as is 200: it got all there was to get."""
    async with running(tmp_path, *resources(runtime(), vendor)) as pod:
        await leave_at(pod, b"data: [DONE]\n\n")
        await over(pod)
        assert await pod.figure(REQUESTS, status="200") == 1
        assert await pod.figure(REQUESTS) == 1


async def test_a_client_that_leaves_before_the_last_event_was_not(tmp_path, vendor):
    """What such a request counts as is 499, though its first events had been sent with status 200."""
    async with running(tmp_path, *resources(runtime(), vendor)) as pod:
        await leave_at(pod, b'"content"')
        await over(pod)
        assert await pod.figure(REQUESTS, status="499") == 1
        assert await pod.figure(REQUESTS) == 1
