"""What was executed: executions with their attempts, usage and cost, checkpoints of streams and of an app's own steps.

Invariants: never on a request's way: writing is queued, bounded and batched; what had to be dropped is counted; nothing
is acknowledged as stored before it is; no prompt and no key is in what the runtime stores.

``open_state`` is for the runtime, ``StateManager`` for an app. asyncpg is imported only where PostgreSQL is used.
"""

from __future__ import annotations

from .manager import ExecutionState, StateManager
from .records import Checkpoint, ExecutionRecord, StateDataError, StreamCheckpoint, begun, record
from .service import Backend, StateService, open_state
from .store import StateRefused, StateStore, StateUnavailable
from .streams import StreamCheckpoints

__all__ = ["Backend", "Checkpoint", "ExecutionRecord", "ExecutionState", "StateDataError", "StateManager", "StateRefused", "StateService",
           "StateStore", "StateUnavailable", "StreamCheckpoint", "StreamCheckpoints", "begun", "open_state", "record"]
