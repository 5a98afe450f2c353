"""``POST /v1/execute``: a routing decision in, an explained execution out."""

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

TAG = ("Execution", "Routing decisions executed and explained.")

_COST = nullable(text("US dollars, a decimal; `0` for a cache hit; null where unknown.", pattern=r"^\d+(\.\d+)?$"))

_RESULT: dict[str, Schema] = {
    "execution_id": text(), "request_id": text(), "route": text(),
    "response": text("The answer's text; empty for tool calls."),
    "cache_hit": boolean(), "provider": text("Who answered, be it earlier."), "model": text("What the vendor reported."),
    "finish_reason": nullable(text()), "usage": nullable(ref("Usage")), "cost_usd": _COST,
    "attempts": array(ref("Attempt")), "timings_ms": mapping(number(minimum=0), "Milliseconds of each part of the way."),
    "warnings": array(ref("Loss"), "What was left out of the request, because the vendor that answered has no place for it."),
    "plan": nullable(ref("Plan")),
}
_COMPLETION = ref("ChatCompletion")
_DECISION = obj(
    {"route_id": nullable(text("Null: no route matched, which means the default route.")), "confidence": nullable(number()),
     "scores": mapping(number(), "The router's own; `semantic` is the cosine where the pod routed by itself.")},
    {"reason": text("Why no route matched, where the router told.")}, about="The caller's, or the pod's own for the model `auto`.")


def _event(name: str, data: Schema) -> Schema:
    return obj({"event": constant(name), "data": data})


SCHEMAS: dict[str, Schema] = {
    "ExecuteRequest": obj({}, {
        "decision": nullable(either(text("A route's name."), ref("RoutingDecision"),
                                    about="Where to go. Without one the request goes where its model says; without a model the pod routes "
                                          "by itself where its routes have utterances, else to the default route.")),
        "query": nullable(text("The question; or `messages`, or the messages of `request`, or the decision's or the context's own query.")),
        "messages": nullable(array(ref("ChatMessage"))),
        "request": nullable(mapping(anything(), "Further parameters of a chat request: `model`, `temperature`, `tools`, ...")),
        "context": nullable(mapping(anything(), "Values for the placeholders of the route's system prompt, and metadata.")),
        "stream": nullable(boolean("Answer as server-sent events."))}),
    "RoutingDecision": obj({}, {
        "route_id": nullable(text("Null: no route matched, which means the default route.")),
        "confidence": nullable(number(minimum=0, maximum=1)), "scores": nullable(mapping(number())), "query": nullable(text()),
        "embedding": nullable(array(number(), "The query's vector: the cache then need not embed it.")),
        "metadata": nullable(mapping(anything())),
        "name": nullable(text("As `route_id`, in StrataRouter's RouteChoice.")), "score": nullable(number()), "threshold": nullable(number())},
        about="As StrataRouter's router returns it."),
    "ExecutionResult": obj({**_RESULT, "completion": _COMPLETION}),
    "Explanation": obj({
        "allowed": boolean("Whether the request would be executed."),
        "decision": nullable(_DECISION),
        "plan": nullable(ref("Plan")),
        "refusal": nullable(obj({"status": integer(), "type": text(), "code": text(), "param": nullable(text()), "message": text()})),
        "verdicts": array(ref("Verdict"), "Every rule that was applied, also those that hold."),
        "candidates": array(obj({"route": text(), "pool": text(), "provider": text(), "model": text(), "region": text(),
                                 "in": boolean(), "reasons": array(text())}), "Each candidate, in or out, and why.")},
        about="What would be done and why; nobody was called."),
    "Plan": obj({
        "route": text(), "family": word("chat", "embeddings"), "tenant": text(), "confidence": nullable(number()),
        "decision": nullable(_DECISION),
        "candidates": array(ref("Candidate"), "In the order to try; the first is the primary."),
        "left_out": array(obj({"candidate": ref("Candidate"), "reason": text()})),
        "dropped": array(obj({"candidate": ref("Candidate"), "parameters": array(ref("Loss"))}),
                         "What is left out of the request for vendors that have no place for it."),
        "policy": array(ref("Verdict"), "The rules that were violated."), "metadata": mapping(text()),
        "timeout_seconds": number(), "max_attempts": integer(minimum=1), "retry_delay_ms": integer(minimum=0),
        "max_tokens": nullable(integer()),
        "cache": nullable(obj({"scope": text(), "ttl_seconds": number(), "threshold": nullable(number())}))}),
    "Loss": obj({"param": text("The parameter.", examples=["logit_bias"]), "reason": text()}),
    "Candidate": obj({"pool": text(), "provider": text(), "model": text(), "region": text()}),
    "Verdict": obj({"rule": text("As the policy names it.", examples=["allowedRegions"]), "value": anything("What was found; null: unknown."),
                    "limit": anything("What the rule says."), "allowed": boolean(),
                    "effect": word("held", "refused", "leftOut", "rerouted", "reported"), "candidate": nullable(ref("Candidate")),
                    "route": text()}),
    "Attempt": obj({"number": integer(minimum=1), "candidate": text("`pool/provider/model`"), "duration_ms": number(minimum=0),
                    "outcome": text("`Success`, or the reason of the failure."), "status": nullable(integer()), "message": text()}),
    "Usage": obj({"input_tokens": integer(minimum=0), "output_tokens": integer(minimum=0), "total_tokens": integer(minimum=0),
                  "estimated": boolean("Whether the vendor did not tell.")}),
    "ExecuteEvent": either(ref("PlanEvent"), ref("DeltaEvent"), ref("CompletedEvent"), ref("ErrorEvent"),
                           about="`event` is the event's `event:` line, `data` the JSON of its `data:` line. The first is `plan`, the last "
                                 "`completed` or `error`."),
    "PlanEvent": _event("plan", ref("Plan")),
    "DeltaEvent": _event("delta", either(obj({"text": text("A piece of the answer.")}),
                                         obj({"delta": mapping(anything(), "A piece that is more than text, as in a chat completion's chunk.")}))),
    "CompletedEvent": _event("completed", obj(_RESULT, {"completion": _COMPLETION})),
    "ErrorEvent": _event("error", ref("Error")),
}

OPERATIONS = (
    Operation("post", "/v1/execute", "execute", "Execute a routing decision or a question",
              "JSON, or with `stream` server-sent events. With `?dryRun=true` the reply is an `Explanation` and nobody is called.",
              request="ExecuteRequest", reply="ExecutionResult", event="ExecuteEvent", errors=EXECUTING,
              parameters=("dryRun", *EXECUTED), headers=OF_EXECUTION, other="Explanation",
              example={"decision": {"route_id": "billing", "confidence": 0.93}, "query": "Where is my invoice?",
                       "context": {"user_id": "u-17"}}),
)
