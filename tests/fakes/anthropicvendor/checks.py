"""What Anthropic refuses of a request, in its words.

Source: Anthropic API reference and the refusals that its users report; the newer models' limits are those of the migration
guides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

FIELDS = {"model", "messages", "max_tokens", "system", "metadata", "stop_sequences", "stream", "temperature", "top_k", "top_p", "tools",
          "tool_choice", "thinking", "service_tier", "container", "mcp_servers", "context_management", "output_config", "cache_control",
          "inference_geo", "speed", "diagnostics"}
COUNTED = {"model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control", "mcp_servers",
           "context_management"}
BLOCKS = {
    "text": {"text", "cache_control", "citations"}, "image": {"source", "cache_control", "transformations"},
    "document": {"source", "cache_control", "citations", "context", "title"}, "thinking": {"thinking", "signature"},
    "redacted_thinking": {"data"}, "tool_use": {"id", "name", "input", "cache_control", "caller"},
    "tool_result": {"tool_use_id", "content", "is_error", "cache_control"},
    "server_tool_use": {"id", "name", "input", "cache_control", "caller"},
    "web_search_tool_result": {"tool_use_id", "content", "cache_control", "caller"},
    "search_result": {"content", "source", "title", "cache_control", "citations"}}
TOOL = {"name", "description", "input_schema", "cache_control", "type", "strict", "input_examples", "eager_input_streaming",
        "allowed_callers", "defer_loading"}
NAME = re.compile(r"^[a-zA-Z0-9_-]{1,128}$")
IDENTITY = re.compile(r"^[a-zA-Z0-9_-]+$")
EFFORTS = {"low", "medium", "high", "xhigh", "max"}
MODELS = re.compile(r"^claude-(?:[a-z]+-)?(\d+)(?:-(\d{1,2}))?(?!\d)")


class Refused(Exception):  # noqa: N818 (says what happened)
    """A refusal with its status and type."""

    def __init__(self, told: str, *, status: int = 400, kind: str = "invalid_request_error") -> None:
        super().__init__(told)
        self.told, self.status, self.kind = told, status, kind


def refuse(condition: Any, told: str) -> None:
    if condition:
        raise Refused(told)


def check(body: Any, api: str = "2023-06-01", *, counting: bool = False) -> None:
    """Raises ``Refused`` for what the vendor would not take."""
    refuse(not isinstance(body, dict), "The request body is not valid JSON")
    for name in ("model", "messages") if counting else ("model", "max_tokens", "messages"):
        refuse(name not in body, f"{name}: Field required")
    for name in body:
        refuse(name not in (COUNTED if counting else FIELDS), f"{name}: Extra inputs are not permitted")
    for name in ("temperature", "top_p", "top_k") if api > "2026" else ():
        refuse(name in body, f"{name}: Extra inputs are not permitted")
    version = _version(body["model"])
    tools = _tools(body.get("tools"))
    _choice(body, tools)
    if not counting:
        refuse(type(body["max_tokens"]) is not int, "max_tokens: Input should be a valid integer")
        refuse(body["max_tokens"] < 1, "max_tokens: Input should be greater than or equal to 1")
        _sampling(body, version)
    _thinking(body, version)
    _output(body.get("output_config"), version)
    system = body.get("system")
    if isinstance(system, list):
        for index, block in enumerate(system):
            _block(block, f"system.{index}", {"text"})
    else:
        refuse(system is not None and not isinstance(system, str), "system: Input should be a valid string")
    for index, sequence in enumerate(body.get("stop_sequences", ())):
        refuse(not isinstance(sequence, str) or not sequence.strip(), f"stop_sequences.{index}: each stop sequence must contain "
               "non-whitespace")
    refuse(set(body.get("metadata", {})) - {"user_id"}, "metadata: Extra inputs are not permitted")
    _messages(body["messages"])


def _version(model: str) -> tuple[int, int]:
    found = MODELS.match(model)
    if found is None:
        raise Refused(f"model: {model}", status=404, kind="not_found_error")
    return int(found[1]), int(found[2] or 0)


def _messages(messages: Any) -> None:
    refuse(not isinstance(messages, list), "messages: Input should be a valid list")
    refuse(not messages, "messages: at least one message is required")
    waiting: set[str] = set()
    for index, message in enumerate(messages):
        where = f"messages.{index}"
        refuse(set(message) - {"role", "content"}, f"{where}: Extra inputs are not permitted")
        refuse(message.get("role") not in ("user", "assistant"), f"{where}: Unexpected role")
        content = message.get("content")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        refuse(not blocks, f"{where}: all messages must have non-empty content except for the optional final assistant message")
        for number, block in enumerate(blocks):
            _block(block, f"{where}.content.{number}", None)
        results = {block["tool_use_id"] for block in blocks if block["type"] == "tool_result"}
        refuse(message["role"] == "user" and waiting != results, f"{where}: `tool_use` ids were found without `tool_result` blocks "
               f"immediately after: {', '.join(sorted(waiting ^ results))}")
        refuse(results and message["role"] != "user", f"{where}: `tool_result` blocks can only be in `user` messages")
        waiting = {block["id"] for block in blocks if block["type"] == "tool_use"}
        refuse(waiting and message["role"] != "assistant", f"{where}: `tool_use` blocks can only be in `assistant` messages")
    last = messages[-1]
    refuse(last["role"] == "assistant" and isinstance(last["content"], str) and last["content"] != last["content"].rstrip(),
           "messages: final assistant content cannot end with trailing whitespace")


def _block(block: Any, where: str, kinds: set[str] | None) -> None:
    kind = block.get("type")
    refuse(kind not in (kinds or BLOCKS), f"{where}: Input tag '{kind}' found using 'type' does not match any of the expected tags")
    refuse(set(block) - BLOCKS[kind] - {"type"}, f"{where}.{kind}: Extra inputs are not permitted")
    if kind == "text":
        refuse(not block["text"], f"{where}: text content blocks must be non-empty")
        refuse(not block["text"].strip(), f"{where}: text content blocks must contain non-whitespace text")
    elif kind in ("image", "document"):
        _source(block["source"], f"{where}.{kind}.source")
    elif kind == "thinking":
        refuse(not block.get("signature"), f"{where}.thinking.signature: Field required")
    elif kind == "tool_use":
        refuse(not IDENTITY.match(block["id"]), f"{where}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
        refuse(not isinstance(block["input"], dict), f"{where}.tool_use.input: Input should be a valid dictionary")
    elif kind == "tool_result":
        content = block.get("content")
        for number, inner in enumerate(content if isinstance(content, list) else ()):
            _block(inner, f"{where}.content.{number}", {"text", "image", "document", "search_result"})
    control = block.get("cache_control")
    refuse(control is not None and control.get("type") != "ephemeral", f"{where}.cache_control: Input should be 'ephemeral'")


def _source(source: Mapping[str, Any], where: str) -> None:
    wanted = {"base64": {"type", "media_type", "data"}, "url": {"type", "url"}, "text": {"type", "media_type", "data"},
              "file": {"type", "file_id"}}.get(source.get("type", ""))
    refuse(wanted is None or set(source) != wanted, f"{where}: Input tag does not match any of the expected tags")


def _tools(tools: Any) -> set[str]:
    names: set[str] = set()
    for index, tool in enumerate(tools or ()):
        where = f"tools.{index}"
        if tool.get("type", "custom") == "custom":
            refuse(set(tool) - TOOL, f"{where}.custom: Extra inputs are not permitted")
            refuse(tool.get("input_schema", {}).get("type") != "object", f"{where}.custom.input_schema.type: Field required")
            if tool.get("strict"):
                _closed(tool["input_schema"], where)
        refuse(not NAME.match(tool.get("name", "")), f"{where}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
        refuse(tool["name"] in names, "tools: Tool names must be unique.")
        names.add(tool["name"])
    return names


def _choice(body: Mapping[str, Any], tools: set[str]) -> None:
    choice = body.get("tool_choice")
    if choice is None:
        return
    refuse(not tools, "tool_choice: tool_choice may only be specified while providing tools")
    refuse(choice.get("type") not in ("auto", "any", "tool", "none"), "tool_choice: Input tag does not match")
    refuse(choice["type"] == "tool" and choice.get("name") not in tools, f"Tool '{choice.get('name')}' not found in provided tools")
    refuse(choice["type"] == "none" and "disable_parallel_tool_use" in choice, "tool_choice.none: Extra inputs are not permitted")


def _sampling(body: Mapping[str, Any], version: tuple[int, int]) -> None:
    for name in ("temperature", "top_p", "top_k"):
        refuse(name in body and version >= (4, 7), f"`{name}` is deprecated for this model.")
    temperature = body.get("temperature")
    refuse(temperature is not None and not 0 <= temperature <= 1, "temperature: range: 0..1")
    refuse("temperature" in body and "top_p" in body and version >= (4, 1),
           "`temperature` and `top_p` cannot both be specified for this model. Please use only one.")


def _thinking(body: Mapping[str, Any], version: tuple[int, int]) -> None:
    thinking = body.get("thinking")
    if thinking is None or thinking.get("type") == "disabled":
        return
    refuse(version < (3, 7), "thinking: this model does not support thinking")
    if thinking["type"] == "enabled":
        refuse(version >= (4, 7), '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and '
               '"output_config.effort" to control thinking behavior.')
        refuse(thinking.get("budget_tokens", 0) < 1024, "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
        refuse(thinking["budget_tokens"] >= body.get("max_tokens", 10**9), "`max_tokens` must be greater than `thinking.budget_tokens`.")
    else:
        refuse(thinking["type"] != "adaptive" or version < (4, 6), "adaptive thinking is not supported on this model")
    refuse(body.get("temperature", 1) != 1, "`temperature` may only be set to 1 when thinking is enabled.")
    refuse(body.get("tool_choice", {}).get("type") in ("any", "tool"), "Thinking may not be enabled when tool_choice forces tool use.")
    if thinking["type"] == "enabled":
        last = next((message for message in reversed(body["messages"]) if message["role"] == "assistant"), None)
        content = last["content"] if last is not None and isinstance(last["content"], list) else ()
        refuse(any(block["type"] == "tool_use" for block in content) and content[0]["type"] not in ("thinking", "redacted_thinking"),
               "messages: Expected `thinking` or `redacted_thinking`, but found `tool_use`. When `thinking` is enabled, a final "
               "`assistant` message must start with a thinking block")


def _output(config: Any, version: tuple[int, int]) -> None:
    if config is None:
        return
    refuse(set(config) - {"format", "effort"}, "output_config: Extra inputs are not permitted")
    refuse(config.get("effort", "high") not in EFFORTS, "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'")
    refuse("effort" in config and version < (4, 5), "This model does not support the effort parameter.")
    if "format" in config:
        refuse(version < (4, 1), "output_config.format: Structured outputs are not supported on this model")
        refuse(set(config["format"]) != {"type", "schema"} or config["format"]["type"] != "json_schema", "output_config.format: Invalid")
        _closed(config["format"]["schema"], "output_config.format.schema")


def _closed(schema: Any, where: str) -> None:
    if isinstance(schema, list):
        for each in schema:
            _closed(each, where)
    elif isinstance(schema, dict):
        refuse(schema.get("type") == "object" and schema.get("additionalProperties") is not False,
               f"{where}: For 'object' type, 'additionalProperties' must be explicitly set to false")
        for name in ("minimum", "maximum", "minLength", "maxLength", "multipleOf"):
            refuse(isinstance(schema.get(name), int), f"{where}: For '{schema.get('type')}' type, property '{name}' is not supported")
        for value in schema.values():
            _closed(value, where)
