"""``POST /v1/feedback``."""

from __future__ import annotations

from .operation import Operation, Schema, boolean, obj, text

TAG = ("Feedback", "What callers say of answers.")

SCHEMAS: dict[str, Schema] = {
    "FeedbackRequest": obj({
        "execution_id": text("As in `x-strata-execution-id` of the answer.", minLength=1, maxLength=128),
        "correct": boolean("Whether the answer was right. A wrong one that came from the cache or went into it leaves it on every pod.")}),
    "FeedbackResult": obj({
        "execution_id": text(), "correct": boolean(),
        "counted": boolean("False where the same had been said before."),
        "evicted": boolean("Whether an entry was taken out of the cache.")}),
}

OPERATIONS = (
    Operation("post", "/v1/feedback", "giveFeedback", "Say whether an answer was correct",
              "Only the tenant of an execution may judge it: to others it is unknown. While the cache's back end does not answer the "
              "feedback is not taken (503): send it again.",
              request="FeedbackRequest", reply="FeedbackResult", errors=(400, 404, 408, 413),
              example={"execution_id": "exec-0f3c5d7e9b1a2c4d6e8f0a1b", "correct": False}),
)
