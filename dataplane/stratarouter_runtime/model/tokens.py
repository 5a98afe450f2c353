"""How many tokens a request has, estimated without a tokenizer: nothing is downloaded, and no vendor's is the right one.

The estimate errs upwards. Text is counted by its bytes in UTF-8: ASCII letters and blanks by 3.5 to a token (English
has 4 to 4.5, German and code 3 to 3.5), every other ASCII character (digits, punctuation, controls) as one token,
since several tokenizers split numbers by digit, and all else by 2 bytes to a token: 1.5 for a Chinese, Japanese or
Korean character (newer tokenizers have 0.7, older ones 1 to 1.5), 1 for a Cyrillic or Greek letter, 2 for an emoji.
Images and other media are counted by constants, because their size in tokens differs by vendor. Base64 and random
letters can have more tokens than estimated.

Source: the token counts and the overhead of a message are those of OpenAI's cookbook ("How to count tokens with
tiktoken"); the largest image is Anthropic's (about 1,600 tokens), the small one OpenAI's ``detail: low`` (85).
Invariant: pure; raises nothing but ``RequestError``, for what is not JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from stratarouter_runtime.model.errors import RequestError
from stratarouter_runtime.model.request import EmbeddingsRequest, Request

MESSAGE = 4
"""Tokens around a message: its role and its delimiters."""
REPLY = 3
"""Tokens with which the answer is begun."""
IMAGE = 1_600
IMAGE_LOW = 85
MEDIA_BYTES = 256
"""Characters of base64 to a token for audio and files, which have at least ``IMAGE`` tokens."""

_LIGHT = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ "
_ASCII = bytes(range(128))
_SCHEMAS = ("tools", "functions", "response_format", "prediction")


def request_tokens(request: Request) -> int:
    """The estimated input of a request: messages, tools, schemas and media; or the inputs to embed."""
    if isinstance(request, EmbeddingsRequest):
        return sum(text_tokens(each) if isinstance(each, str) else _length(each) for each in request.inputs)
    body = request.body
    messages = body.get("messages")
    total = REPLY + sum(_message_tokens(each) for each in messages) if isinstance(messages, list | tuple) else REPLY
    for name in _SCHEMAS:
        if body.get(name):
            total += _json_tokens(body[name], name)
    return total


def text_tokens(text: str) -> int:
    """The estimated tokens of a text."""
    raw = text.encode("utf-8", "surrogatepass")
    rest = raw.translate(None, _LIGHT)
    light, others = len(raw) - len(rest), 0
    if not text.isascii():
        others = len(rest.translate(None, _ASCII))
    return -(-2 * light // 7) + (len(rest) - others) + -(-others // 2)


def _message_tokens(message: Any) -> int:
    if not isinstance(message, Mapping):
        return MESSAGE + _json_tokens(message, "messages")
    content = message.get("content")
    total = MESSAGE
    if isinstance(content, str):
        total += text_tokens(content)
    elif isinstance(content, list | tuple):
        total += sum(_part_tokens(each) for each in content)
    elif content is not None:
        total += _json_tokens(content, "messages")
    if len(message) > 2:
        # Names, tool calls, reasoning: whatever else there is is text to the model.
        rest = {key: value for key, value in message.items() if key not in ("role", "content") and value is not None}
        total += _json_tokens(rest, "messages") if rest else 0
    return total


def _part_tokens(part: Any) -> int:
    if isinstance(part, str):
        return text_tokens(part)
    if not isinstance(part, Mapping):
        return _json_tokens(part, "messages")
    kind, text = part.get("type"), part.get("text")
    if kind == "text" and isinstance(text, str):
        return text_tokens(text)
    if kind in ("image_url", "image", "input_image"):
        image = part.get("image_url")
        low = isinstance(image, Mapping) and image.get("detail") == "low"
        return IMAGE_LOW if low else IMAGE
    if kind in ("input_audio", "file", "video_url", "audio_url"):
        return max(IMAGE, _longest(part) // MEDIA_BYTES)
    return _json_tokens(part, "messages")


def _longest(value: Any) -> int:
    """Length of the longest text inside a part: its data."""
    inner = value.values() if isinstance(value, Mapping) else ()
    return max((len(each) if isinstance(each, str) else _longest(each) for each in inner), default=0)


def _length(tokens: Any) -> int:
    return len(tokens) if isinstance(tokens, list | tuple) else 1


def _json_tokens(value: Any, param: str) -> int:
    try:
        return text_tokens(orjson.dumps(value).decode())
    except (TypeError, ValueError, RecursionError):
        raise RequestError("InvalidRequest", f"Invalid '{param}': it cannot be written as JSON.", param=param,
                           code="invalid_value") from None
