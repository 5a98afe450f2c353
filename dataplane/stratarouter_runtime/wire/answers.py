"""What a vendor's answer can be besides an answer: the error that the codecs raise for it."""

from __future__ import annotations

from dataclasses import dataclass

from stratarouter_runtime.model.errors import Failure


@dataclass(frozen=True, slots=True)
class VendorError:
    """A vendor's own words about a failure; empty where it said nothing. ``code`` is text also where it was a number.

    ``wait`` is how many seconds the body asks to be left alone, where a dialect says that in the body.
    """

    message: str = ""
    type: str = ""
    param: str | None = None
    code: str = ""
    wait: float | None = None


class AnswerError(Exception):
    """An upstream answer is not what was asked for.

    ``failure`` is set where the answer itself is broken (``BadResponse``, ``Truncated``); it is None where the vendor
    reports an error inside a successful reply, which is then in ``vendor``.
    """

    def __init__(self, failure: Failure | None, message: str, vendor: VendorError | None = None) -> None:
        super().__init__(message)
        self.failure = failure
        self.message = message
        self.vendor = vendor or VendorError()


def bad_answer(message: str) -> AnswerError:
    """The answer has not the shape it must have."""
    return AnswerError(Failure.BAD_RESPONSE, message)


def reported(vendor: VendorError) -> AnswerError:
    """The vendor reports an error inside a successful reply."""
    return AnswerError(None, vendor.message or "the vendor reported an error", vendor)
