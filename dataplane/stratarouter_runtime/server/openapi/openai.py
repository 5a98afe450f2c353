"""OpenAI's API as this door speaks it.

What we check or use is described; further fields of OpenAI's reference, and fields nobody has heard of, go to the vendor
and come back from it as they are. Source: https://platform.openai.com/docs/api-reference
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

TAG = ("OpenAI", "OpenAI's API: use any of its SDKs with this server as base URL. `model` is a model or a route of the configuration.")

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")

_MESSAGE = obj({"role": text("Who speaks.", examples=list(_ROLES))}, {
    "content": either(text(), array(mapping(anything(), "A part: `text`, `image_url`, `input_audio`, `file`, ...")), {"type": "null"}),
    "name": text(), "tool_calls": array(mapping(anything())), "tool_call_id": text(), "refusal": nullable(text())})

_TOKENS = obj({"prompt_tokens": integer(minimum=0), "total_tokens": integer(minimum=0)}, {
    "completion_tokens": integer(minimum=0),
    "prompt_tokens_details": nullable(mapping(anything())), "completion_tokens_details": nullable(mapping(anything()))},
    about="The vendor's own figures.")

_SAMPLING: dict[str, Schema] = {
    "temperature": nullable(number("Above `cache.maxTemperature` the answer is not cached.", minimum=0)),
    "top_p": nullable(number(minimum=0)),
    "max_tokens": nullable(integer(minimum=1)), "max_completion_tokens": nullable(integer(minimum=1)),
    "n": nullable(integer("Above 1 the answer is not cached.", minimum=1)),
    "stop": either(text(), array(text()), {"type": "null"}),
    "seed": nullable(integer()), "user": nullable(text("Not part of the cache's key.")),
}

SCHEMAS: dict[str, Schema] = {
    "ChatCompletionRequest": obj({"model": text("A model or route of the configuration; `auto` leaves the choice to the pod."),
                                  "messages": array(ref("ChatMessage"))}, {
        **_SAMPLING,
        "stream": nullable(boolean("Answer as server-sent events.")),
        "stream_options": nullable(obj({}, {"include_usage": nullable(boolean())})),
        "tools": nullable(array(mapping(anything()))), "tool_choice": either(text(), mapping(anything()), {"type": "null"}),
        "response_format": nullable(mapping(anything())), "metadata": nullable(mapping(text())), "store": nullable(boolean())}),
    "ChatMessage": _MESSAGE,
    "ChatCompletion": obj({"id": text(), "object": constant("chat.completion"), "created": integer("Unix seconds."),
                           "model": text("What the vendor reported."), "choices": array(ref("ChatChoice"))},
                          {"usage": nullable(ref("Tokens")), "system_fingerprint": nullable(text()), "service_tier": nullable(text())}),
    "ChatChoice": obj({"index": integer(), "message": ref("ChatMessage"),
                       "finish_reason": nullable(text(examples=["stop", "length", "tool_calls", "content_filter"]))},
                      {"logprobs": nullable(mapping(anything()))}),
    "ChatCompletionChunk": obj({"id": text(), "object": constant("chat.completion.chunk"), "created": integer("Unix seconds."),
                                "model": text(), "choices": array(obj({"index": integer(), "delta": mapping(anything())},
                                                                      {"finish_reason": nullable(text()), "logprobs": anything()}))},
                               {"usage": nullable(ref("Tokens"))},
                               about="The JSON of each event's `data:` line; after the last one comes `[DONE]`, after an error it does not."),
    "ResponseRequest": obj({"model": text("A model or route of the configuration; `auto` leaves the choice to the pod."),
                            "input": either(text(), array(mapping(anything())), about="A question, or the items of the whole conversation.")}, {
        "instructions": nullable(text()), "stream": nullable(boolean("Answer as server-sent events.")),
        "max_output_tokens": nullable(integer(minimum=1)), "temperature": nullable(number(minimum=0)), "top_p": nullable(number(minimum=0)),
        "tools": nullable(array(mapping(anything()), "Functions; tools of the vendor's own only where it serves this API.")),
        "tool_choice": either(text(), mapping(anything()), {"type": "null"}), "text": nullable(mapping(anything())),
        "reasoning": nullable(mapping(anything())), "include": nullable(array(text())), "metadata": nullable(mapping(text())),
        "store": nullable(boolean("Stored only at the vendor, and only where this is `true`."))}),
    "Response": obj({"id": text(), "object": constant("response"), "created_at": integer("Unix seconds."), "model": text("What the vendor reported."),
                     "status": word("completed", "incomplete", "failed", "in_progress"), "output": array(mapping(anything(), "An item."))},
                    {"error": nullable(mapping(anything())), "incomplete_details": nullable(mapping(anything())),
                     "usage": nullable(mapping(anything()))}),
    "ResponseChunk": obj({"type": text(examples=["response.output_text.delta"])}, {"sequence_number": integer(minimum=0)},
                               about="The JSON of each event's `data:` line; its `type` is the event's name too."),
    "Tokens": _TOKENS,
    "EmbeddingsRequest": obj({"model": text("An embedding model of the configuration, or a route."),
                              "input": either(text(), array(either(text(), integer(), array(integer()))),
                                              about="A text, texts, or tokens.")}, {
        "dimensions": nullable(integer(minimum=1)), "encoding_format": nullable(word("float", "base64")), "user": nullable(text())}),
    "Embeddings": obj({"object": constant("list"), "model": text(), "data": array(obj({
        "object": constant("embedding"), "index": integer(),
        "embedding": either(array(number()), text("Base64 of little-endian float32."))}))}, {"usage": nullable(ref("Tokens"))}),
    "Model": obj({"id": text("A route's or a model's name."), "object": constant("model"), "created": integer(), "owned_by": text()}),
    "ModelList": obj({"object": constant("list"), "data": array(ref("Model"))}),
}

OPERATIONS = (
    Operation("post", "/v1/chat/completions", "createChatCompletion", "Answer a conversation",
              "Whole, or with `stream` as server-sent events.",
              request="ChatCompletionRequest", reply="ChatCompletion", event="ChatCompletionChunk", errors=EXECUTING,
              parameters=EXECUTED, headers=OF_EXECUTION,
              example={"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Where can I find my last invoice?"}]}),
    Operation("post", "/v1/responses", "createResponse", "Answer a conversation, in the Responses API",
              "Stateless: nothing is kept, so that `previous_response_id`, `conversation` and `background` are refused.",
              request="ResponseRequest", reply="Response", event="ResponseChunk", errors=EXECUTING, parameters=EXECUTED,
              headers=OF_EXECUTION, example={"model": "gpt-4o-mini", "input": "Where can I find my last invoice?"}),
    Operation("post", "/v1/embeddings", "createEmbeddings", "Embed texts", request="EmbeddingsRequest", reply="Embeddings",
              errors=EXECUTING, parameters=EXECUTED, headers=OF_EXECUTION,
              example={"model": "text-embedding-3-small", "input": ["How do I pay?", "Where is my invoice?"]}),
    Operation("get", "/v1/models", "listModels", "What may be asked for",
              "The routes, and the models that are reachable through the default route.", reply="ModelList"),
    Operation("get", "/v1/models/{id}", "getModel", "One model or route", reply="Model", errors=(404,),
              path_parameters={"id": "Its name; it may contain slashes."}),
)
