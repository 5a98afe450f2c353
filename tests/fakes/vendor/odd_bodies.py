"""Successful JSON replies that are no answers, or odd ones: each a function of what a good one would have been."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any


def _changed(good: bytes, **fields: Any) -> bytes:
    return json.dumps({**json.loads(good), **fields}).encode()


def _choice(good: bytes, **fields: Any) -> bytes:
    """The first choice with other fields; without choices (embeddings) the body as it is."""
    body = json.loads(good)
    if "choices" in body:
        body["choices"][0].update(fields)
    return json.dumps(body).encode()


def _message(good: bytes, **fields: Any) -> bytes:
    body = json.loads(good)
    if "choices" in body:
        body["choices"][0]["message"].update(fields)
    return json.dumps(body).encode()


def _deep(good: bytes) -> bytes:
    return _changed(good, odd="X").replace(b'"X"', b"[" * 600 + b"]" * 600)


def _rows(good: bytes, change: Callable[[list[Any]], Any]) -> bytes:
    body = json.loads(good)
    return _changed(good, data=change(body["data"])) if "data" in body else good


ODD_BODIES: dict[str, Callable[[bytes], bytes]] = {
    "empty_200": lambda good: b"",
    "blank_200": lambda good: b"\r\n  \n",
    "wrong_shape": lambda good: b'{"object":"chat.completion","choices":"none"}',
    "empty_object": lambda good: b"{}",
    "json_null": lambda good: b"null",
    "json_array": lambda good: b"[]",
    "json_text": lambda good: b'"ok"',
    "truncated_json": lambda good: good[: len(good) // 2],
    "trailing_json": lambda good: good + b'{"more":1}',
    "invalid_utf8": lambda good: b'{"id":"\xff\xfe","choices":[]}',
    "json_nan": lambda good: good.rstrip()[:-1] + b',"odd":NaN}',
    "json_deep": _deep,
    "json_very_deep": lambda good: b"[" * 100_000 + b"]" * 100_000,
    "empty_choices": lambda good: _changed(good, choices=[], data=[]),
    "null_choices": lambda good: _changed(good, choices=None, data=None),
    "text_choice": lambda good: _changed(good, choices=["yes"], data=["yes"]),
    "no_message": lambda good: _changed(good, choices=[{"index": 0, "finish_reason": "stop"}], data=[{"index": 0}]),
    "null_content": lambda good: _message(good, content=None),
    "number_content": lambda good: _message(good, content=7),
    "text_tool_calls": lambda good: _message(good, tool_calls="pay"),
    "odd_tool_calls": lambda good: _message(good, tool_calls=["pay", 7]),
    "odd_finish": lambda good: _choice(good, finish_reason={"because": 1}),
    "no_finish": lambda good: _choice(good, finish_reason=None),
    "odd_usage": lambda good: _changed(good, usage={"prompt_tokens": "many", "completion_tokens": -4, "total_tokens": 1e300}),
    "rows_missing": lambda good: _rows(good, lambda rows: rows[:-1]),
    "rows_twice": lambda good: _rows(good, lambda rows: [*rows, *rows]),
    "rows_indices": lambda good: _rows(good, lambda rows: [{**row, "index": 3} for row in rows]),
    "rows_text": lambda good: _rows(good, lambda rows: [{**row, "embedding": "!!!"} for row in rows]),
    "rows_empty": lambda good: _rows(good, lambda rows: [{**row, "embedding": []} for row in rows]),
    "rows_words": lambda good: _rows(good, lambda rows: [{**row, "embedding": ["a", "b"]} for row in rows]),
    "rows_nulls": lambda good: _rows(good, lambda rows: [{**row, "embedding": [None, 1.0]} for row in rows]),
}
"""By name; each of phase ``answer``, with status 200 and JSON's content type."""
