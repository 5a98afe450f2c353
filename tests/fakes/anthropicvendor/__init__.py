"""Anthropic's Messages API, as its reference documents it and its SDK reads it."""

from .bodies import Reply, text, thinking, tool_use
from .server import AnthropicVendor, Fault

__all__ = ["AnthropicVendor", "Fault", "Reply", "text", "thinking", "tool_use"]
