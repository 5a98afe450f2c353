"""Records as rows of PostgreSQL and back: pure.

Invariant: every column is named in every statement, so that a schema with more columns does no harm.
"""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import orjson

from .records import Checkpoint, ExecutionRecord, Step, StreamCheckpoint

_COLUMNS = tuple(each.name for each in fields(ExecutionRecord))
_JSON = frozenset({"decision", "plan", "attempts"})

# S608: the names are those of our own fields.
UPSERT_EXECUTION = (
    f"INSERT INTO stratarouter_executions ({', '.join(_COLUMNS)}) "  # noqa: S608
    f"VALUES ({', '.join(f'${index}' for index in range(1, len(_COLUMNS) + 1))}) "
    f"ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _COLUMNS[1:])}")
SELECT_EXECUTION = f"SELECT {', '.join(_COLUMNS)} FROM stratarouter_executions WHERE id = $1"  # noqa: S608
UPSERT_STREAM = """
    INSERT INTO stratarouter_stream_checkpoints (execution_id, step, text, created_at, truncated) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (execution_id, step) DO UPDATE
    SET text = excluded.text, created_at = excluded.created_at, truncated = excluded.truncated"""
SELECT_STREAM = """
    SELECT execution_id, step, text, created_at, truncated FROM stratarouter_stream_checkpoints
    WHERE execution_id = $1 ORDER BY step"""
UPSERT_CHECKPOINT = """
    INSERT INTO stratarouter_checkpoints (execution_id, step, data, created_at) VALUES ($1, $2, $3, $4)
    ON CONFLICT (execution_id, step) DO UPDATE SET data = excluded.data, created_at = excluded.created_at"""
APPEND_CHECKPOINT = """
    INSERT INTO stratarouter_checkpoints (execution_id, step, data, created_at)
    SELECT $1::text, coalesce(max(step) + 1, 0), $2::json, $3::timestamptz FROM stratarouter_checkpoints WHERE execution_id = $1
    ON CONFLICT (execution_id, step) DO NOTHING RETURNING step"""
SELECT_CHECKPOINTS = """
    SELECT execution_id, step, data, created_at FROM stratarouter_checkpoints
    WHERE execution_id = $1 ORDER BY step DESC LIMIT $2"""
SELECT_STEPS = """
    SELECT step, octet_length(data::text) AS size, created_at FROM stratarouter_checkpoints
    WHERE execution_id = $1 ORDER BY step DESC LIMIT $2"""
DELETE_CHECKPOINTS = "DELETE FROM stratarouter_checkpoints WHERE execution_id = $1 RETURNING step"
PURGE = (
    """
    DELETE FROM stratarouter_executions WHERE id IN (
        SELECT id FROM stratarouter_executions WHERE started_at < $1 ORDER BY started_at LIMIT $2)""",
    """
    DELETE FROM stratarouter_stream_checkpoints WHERE (execution_id, step) IN (
        SELECT execution_id, step FROM stratarouter_stream_checkpoints WHERE created_at < $1 ORDER BY created_at LIMIT $2)""")


def of_execution(record: ExecutionRecord) -> tuple[object, ...]:
    """The values of ``UPSERT_EXECUTION``."""
    return tuple(_value(name, getattr(record, name)) for name in _COLUMNS)


def execution(row: Any) -> ExecutionRecord:
    """A row of ``SELECT_EXECUTION``."""
    values = {name: orjson.loads(row[name]) if name in _JSON else row[name] for name in _COLUMNS}
    values["started_at"] = row["started_at"].timestamp()
    values["attempts"] = tuple(values["attempts"])
    return ExecutionRecord(**values)


def of_stream(checkpoint: StreamCheckpoint) -> tuple[object, ...]:
    """The values of ``UPSERT_STREAM``."""
    return checkpoint.execution_id, checkpoint.step, checkpoint.text, time(checkpoint.created_at), checkpoint.truncated


def stream(row: Any) -> StreamCheckpoint:
    """A row of ``SELECT_STREAM``."""
    return StreamCheckpoint(row["execution_id"], row["step"], row["text"], row["created_at"].timestamp(), row["truncated"])


def of_checkpoint(checkpoint: Checkpoint) -> tuple[object, ...]:
    """The values of ``UPSERT_CHECKPOINT``."""
    return checkpoint.execution_id, checkpoint.step, checkpoint.encoded, time(checkpoint.created_at)


def checkpoint(row: Any) -> Checkpoint:
    """A row of ``SELECT_CHECKPOINTS``."""
    return Checkpoint(row["execution_id"], row["step"], row["data"], row["created_at"].timestamp())


def step(row: Any) -> Step:
    """A row of ``SELECT_STEPS``."""
    return Step(row["step"], row["size"], row["created_at"].timestamp())


def time(seconds: float) -> datetime:
    """Unix seconds as a ``timestamptz``."""
    return datetime.fromtimestamp(seconds, UTC)


def _value(name: str, value: Any) -> object:
    if name in _JSON:
        return orjson.dumps(value).decode()
    return time(value) if name == "started_at" else value
