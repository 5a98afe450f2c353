"""OpenAI's error bodies, both ways: ours to the client, the vendor's to its fields.

Sources: OpenAI API reference (error object); vLLM ``ErrorResponse``; FastAPI's ``detail``, which many
OpenAI-compatible servers send for what their framework refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from stratarouter_runtime.model.errors import StrataError

from . import sse
from .answers import VendorError

MAX_MESSAGE = 2000
"""Characters of a message that are kept, whoever wrote it."""


def error_object(error: StrataError) -> dict[str, Any]:
    """An error of ours in OpenAI's shape; what it quotes of a caller or a vendor is bounded, and text that can be written."""
    return {"error": {"message": _told(error.message), "type": _told(error.type), "param": _told(error.param), "code": _told(error.code)}}


def error_body(error: StrataError) -> bytes:
    """The body of an error reply."""
    return orjson.dumps(error_object(error))


def error_frame(error: StrataError) -> bytes:
    """The in-band event that ends a stream which had begun: clients raise on it, and no ``[DONE]`` follows."""
    return sse.frame(error_body(error))


def parse_error(raw: bytes) -> VendorError:
    """The vendor's words in the body of an error reply; empty where it is not JSON (a proxy's HTML says nothing)."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return VendorError()
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, dict):
        return VendorError()
    return error_in(body) or _loose(body)


def error_in(body: Mapping[str, Any]) -> VendorError | None:
    """The error that a reply or an event consists of, None where it is none."""
    error = body.get("error")
    if not error:
        return _fields(body) if body.get("object") == "error" else None
    if isinstance(error, Mapping):
        return _fields(error)
    return VendorError(message=_cut(error if isinstance(error, str) else _dumped(error)))


def _fields(error: Mapping[str, Any]) -> VendorError:
    param, code = error.get("param"), error.get("code")
    return VendorError(
        message=_text(error.get("message")), type=_text(error.get("type")),
        param=param if isinstance(param, str) and param else None,
        code=str(code) if isinstance(code, str | int) and not isinstance(code, bool) else "")


def _loose(body: Mapping[str, Any]) -> VendorError:
    """Bodies of no agreed shape: a message at the top, or FastAPI's detail."""
    detail = body.get("detail")
    if isinstance(detail, list):
        parts = [part for part in detail if isinstance(part, Mapping)]
        detail = "; ".join(f"{_place(part.get('loc'))}{_text(part.get('msg'))}" for part in parts)
    message = detail if isinstance(detail, str) else body.get("message")
    code = body.get("code")
    return VendorError(message=_text(message), type=_text(body.get("type")),
                       code=str(code) if isinstance(code, str | int) and not isinstance(code, bool) else "")


def _place(loc: Any) -> str:
    return ".".join(str(part) for part in loc if part != "body") + ": " if isinstance(loc, list) and loc else ""


def _dumped(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # nested too deeply
        return ""


def _told(text: str | None) -> str | None:
    """Cut, and without the lone surrogates that stand for the bytes of a header that is no UTF-8."""
    return None if text is None else _cut(text).encode("utf-8", "replace").decode()


def _text(value: Any) -> str:
    return _cut(value) if isinstance(value, str) else ""


def _cut(text: str) -> str:
    return text if len(text) <= MAX_MESSAGE else text[:MAX_MESSAGE] + "..."
