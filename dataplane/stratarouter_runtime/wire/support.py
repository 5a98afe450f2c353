"""What a dialect cannot carry of a request in canonical form, as its codec tells.

Each codec of another dialect than OpenAI's has ``unsupported(body)``: pure, total, and complete, so that nothing is lost
in silence; its encoder leaves out what that names. A model's own abilities (tools, vision) are not told here: those are
capabilities. ``dialects`` has the table by which planners find these functions.
"""

from __future__ import annotations

from stratarouter_runtime.model.support import Unsupported

__all__ = ["Unsupported"]
