"""Steady load with the official openai SDK, from inside the cluster, until standard input ends.

Arguments: base URL, model, calls a second. Each call has a prompt of its own, so that none is answered from the cache;
every third one is a stream. Nothing is tried again: each failure counts. Writes a line when the first call is over, and
``{"calls", "failed", "failures": [...], "slowest"}`` at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
import uuid
from typing import Any

import openai

MOST_SECONDS = 300
SHOWN = 20


async def main(base_url: str, model: str, rate: float) -> None:
    """Call until standard input ends, wait for what is under way, report."""
    run = uuid.uuid4().hex
    outcomes = Outcomes()
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    async with openai.AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0, timeout=60) as client, \
            asyncio.TaskGroup() as calls:
        for number in range(int(MOST_SECONDS * rate)):
            calls.create_task(outcomes.call(client, model, f"{run} {number}", stream=number % 3 == 0))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(ended), 1 / rate)
                break
    print(json.dumps(outcomes.report()), flush=True)


class Outcomes:
    """What became of the calls."""

    def __init__(self) -> None:
        self._durations: list[float] = []
        self._failures: list[str] = []

    def report(self) -> dict[str, Any]:
        """The figures."""
        return {"calls": len(self._durations) + len(self._failures), "failed": len(self._failures),
                "failures": self._failures[:SHOWN], "slowest": max(self._durations, default=0)}

    async def call(self, client: openai.AsyncOpenAI, model: str, prompt: str, *, stream: bool) -> None:
        """One call: only a whole answer to this very prompt counts as one."""
        began, started = time.strftime("%H:%M:%S"), time.perf_counter()
        messages: Any = [{"role": "user", "content": prompt}]
        try:
            if stream:
                text = await _streamed(await client.chat.completions.create(model=model, messages=messages, stream=True))
            else:
                answer = await client.chat.completions.create(model=model, messages=messages)
                text = answer.choices[0].message.content or ""
            problem = "" if prompt in text else f"incomplete: {text!r}"
        except openai.APIError as error:
            problem = f"{type(error).__name__}: {error}"
        if problem:
            self._failures.append(f"{began} after {time.perf_counter() - started:.2f} s (stream: {stream}): {problem}")
        else:
            self._durations.append(time.perf_counter() - started)
        if len(self._durations) + len(self._failures) == 1:
            print("under way", flush=True)


async def _streamed(chunks: openai.AsyncStream[Any]) -> str:
    """The text of a stream; empty unless it came to a normal end."""
    pieces, finished = [], None
    async for chunk in chunks:
        for choice in chunk.choices:
            pieces.append(choice.delta.content or "")
            finished = choice.finish_reason or finished
    return "".join(pieces) if finished == "stop" else ""


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
