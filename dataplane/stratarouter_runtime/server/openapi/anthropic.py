"""Anthropic's Messages API as this door speaks it.

What we check or use is described; further fields of Anthropic's reference go to Anthropic and come back as they are. Source:
https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

from .envelope import EXECUTED, EXECUTING, OF_EXECUTION
from .operation import (
    Operation,
    Schema,
    anything,
    array,
    boolean,
    constant,
    either,
    integer,
    mapping,
    nullable,
    number,
    obj,
    ref,
    text,
    word,
)

TAG = ("Anthropic", "Anthropic's Messages API: use any of its SDKs with this server as base URL. `model` is a model or a route.")

_BLOCKS = array(obj({"type": text(examples=["text", "image", "document", "thinking", "tool_use", "tool_result"])}))

_ASKED: dict[str, Schema] = {
    "model": text("A model or route of the configuration; `auto` leaves the choice to the pod."), "messages": array(ref("MessageTurn"))}
_MORE: dict[str, Schema] = {
    "system": nullable(either(text(), _BLOCKS)), "tools": nullable(array(mapping(anything()))), "tool_choice": nullable(mapping(anything())),
    "thinking": nullable(mapping(anything())), "output_config": nullable(mapping(anything(), "`effort`, and a JSON schema as `format`."))}

_TOKENS = obj({"input_tokens": integer("Without what came from or went into a prompt cache.", minimum=0), "output_tokens": integer(minimum=0)},
              {"cache_creation_input_tokens": nullable(integer(minimum=0)), "cache_read_input_tokens": nullable(integer(minimum=0))},
              about="The vendor's own figures.")

SCHEMAS: dict[str, Schema] = {
    "MessagesRequest": obj({**_ASKED, "max_tokens": integer("Most tokens of the answer.", minimum=0)}, {
        **_MORE, "stream": nullable(boolean("Answer as server-sent events.")), "stop_sequences": nullable(array(text())),
        "temperature": nullable(number("Above `cache.maxTemperature` the answer is not cached.")), "top_p": nullable(number()),
        "top_k": nullable(integer()), "metadata": nullable(mapping(anything(), "`user_id`."))}),
    "MessageTurn": obj({"role": word("user", "assistant", "system"), "content": either(text(), _BLOCKS)}),
    "Message": obj({"id": text(), "type": constant("message"), "role": constant("assistant"), "model": text("What the vendor reported."),
                    "content": _BLOCKS, "stop_reason": nullable(text(examples=["end_turn", "max_tokens", "tool_use", "stop_sequence", "refusal"])),
                    "stop_sequence": nullable(text()), "usage": ref("MessageTokens")}),
    "MessageTokens": _TOKENS,
    "MessageStreamPart": obj({"type": text(examples=["message_start", "content_block_delta", "message_delta", "message_stop", "ping", "error"])},
                             about="The JSON of each event's `data:` line; the event's name is its `type`. The last is `message_stop`, or `error`."),
    "CountTokensRequest": obj(_ASKED, _MORE),
    "TokenCount": obj({"input_tokens": integer("An estimate that errs upwards.", minimum=0)}),
    "AnthropicError": obj({"type": constant("error"), "error": obj({
        "type": text("Anthropic's class of errors; agrees with the status.", examples=["invalid_request_error", "overloaded_error"]),
        "message": text("What is wrong, for people; names the parameter or the cause.")},
        {"details": obj({"error_code": nullable(text("For programs: our reason in snake case, or the vendor's own code."))}, {"param": text()})})},
        {"request_id": text("That of the header `request-id`.")},
        about="An error, in Anthropic's shape. In a stream that has begun it is the last event."),
}

OPERATIONS = (
    Operation("post", "/v1/messages", "createMessage", "Answer a conversation, in Anthropic's shape",
              "Whole, or with `stream` as server-sent events. Where Anthropic answers, its own bytes are passed on.",
              request="MessagesRequest", reply="Message", event="MessageStreamPart", error="AnthropicError", errors=EXECUTING, parameters=EXECUTED,
              headers=OF_EXECUTION,
              example={"model": "claude-sonnet-4-6", "max_tokens": 1024, "messages": [{"role": "user", "content": "Where can I find my last invoice?"}]}),
    Operation("post", "/v1/messages/count_tokens", "countMessageTokens", "Estimate the tokens of a conversation",
              "Nobody is called; with what the route adds to it.", request="CountTokensRequest", reply="TokenCount", error="AnthropicError",
              errors=(400, 404, 408, 413), headers=("Server-Timing",),
              example={"model": "claude-sonnet-4-6", "messages": [{"role": "user", "content": "Where can I find my last invoice?"}]}),
)
