"""Calls made with the official openai SDK, from inside the cluster.

Reads a JSON list of calls on standard input, makes them one after the other, writes a JSON list of results to
standard output. A call: ``{"base_url", "model", "prompt", "stream": false, "key": "none", "headers": {}, "body": {}}``
(``input`` instead of ``prompt`` asks for embeddings; ``feedback``, an execution's id, and ``correct`` judge an answer).
A result has ``text``, ``headers`` and ``seconds``, for a stream ``first`` and ``chunks``; or ``error``, the SDK's
exception class, with ``status`` and ``body``.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import openai


def main() -> None:
    """Make the calls of standard input."""
    json.dump([call(wanted) for wanted in json.load(sys.stdin)], sys.stdout)


def call(wanted: dict[str, Any]) -> dict[str, Any]:
    """One call; a failure is a result."""
    started = time.perf_counter()
    try:
        with openai.OpenAI(base_url=wanted["base_url"], api_key=wanted.get("key", "none"), max_retries=0,
                           timeout=60, default_headers=wanted.get("headers")) as client:
            result = _stream(client, wanted, started) if wanted.get("stream") else _whole(client, wanted)
    except openai.APIStatusError as error:
        result = {"error": type(error).__name__, "status": error.status_code, "body": error.body,
                  "headers": dict(error.response.headers)}
    except openai.APIError as error:
        result = {"error": type(error).__name__, "status": 0, "body": str(error), "headers": {}}
    return {**result, "seconds": time.perf_counter() - started}


def _arguments(wanted: dict[str, Any]) -> dict[str, Any]:
    messages = [{"role": "user", "content": wanted.get("prompt")}]
    return {"model": wanted["model"], "messages": messages, **wanted.get("body", {})}


def _whole(client: openai.OpenAI, wanted: dict[str, Any]) -> dict[str, Any]:
    if "feedback" in wanted:
        judged = {"execution_id": wanted["feedback"], "correct": wanted["correct"]}
        return {"feedback": client.post("/feedback", cast_to=object, body=judged), "headers": {}}
    if "input" in wanted:
        raw = client.embeddings.with_raw_response.create(model=wanted["model"], input=wanted["input"])
        return {"dimensions": [len(each.embedding) for each in raw.parse().data], "headers": dict(raw.headers)}
    answer = client.chat.completions.with_raw_response.create(**_arguments(wanted))
    completion = answer.parse()
    return {"text": completion.choices[0].message.content, "model": completion.model, "headers": dict(answer.headers)}


def _stream(client: openai.OpenAI, wanted: dict[str, Any], started: float) -> dict[str, Any]:
    answer = client.chat.completions.with_raw_response.create(stream=True, **_arguments(wanted))
    first, pieces = None, []
    for chunk in answer.parse():
        content = chunk.choices[0].delta.content if chunk.choices else None
        if content:
            first = first or time.perf_counter() - started
            pieces.append(content)
    return {"text": "".join(pieces), "chunks": len(pieces), "first": first, "headers": dict(answer.headers)}


if __name__ == "__main__":
    main()
