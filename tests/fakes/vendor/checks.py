"""What the fake refuses: the checks the vendor makes on a request, with its wording.

Written apart from the product's own checks on purpose: two readings of the same documentation.
"""

from __future__ import annotations

import json
from typing import Any

from .errors import ApiError, Flavour, unknown_model

ROLES = ("system", "assistant", "user", "function", "tool", "developer")
UNPARSABLE = (
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library "
    "correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON. If you have trouble "
    "figuring out how to fix this, please contact us through our help center at help.openai.com.)")


def parse(raw: bytes) -> dict[str, Any]:
    """The body of a POST; refuses what is not a JSON object."""
    try:
        body = json.loads(raw)
    except ValueError:
        raise ApiError(400, UNPARSABLE) from None
    if not isinstance(body, dict):
        raise ApiError(400, UNPARSABLE)
    return body


def check_model(body: dict[str, Any], models: dict[str, str] | None, flavour: Flavour) -> str:
    """The name the vendor reports for the model asked for; ``models`` None serves any."""
    model = body.get("model")
    if model is None:
        raise ApiError(400, "you must provide a model parameter")
    if not isinstance(model, str):
        raise _wrong_type("model", "a string", model)
    if models is not None and model not in models:
        raise unknown_model(model, flavour)
    return model if models is None else models[model]


def check_chat(body: dict[str, Any]) -> None:
    """The parts of a chat request whose refusals callers meet in practice."""
    messages = body.get("messages")
    if messages is None:
        raise ApiError(400, "Missing required parameter: 'messages'.", param="messages",
                       code="missing_required_parameter")
    if not isinstance(messages, list):
        raise _wrong_type("messages", "an array of objects", messages)
    if not messages:
        raise ApiError(400, "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an "
                       "empty array instead.", param="messages", code="empty_array")
    for index, message in enumerate(messages):
        _check_message(f"messages[{index}]", message)
    temperature = body.get("temperature")
    if isinstance(temperature, int | float) and temperature > 2:
        raise ApiError(400, f"Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got "
                       f"{temperature} instead.", param="temperature", code="decimal_above_max_value")
    if body.get("stream_options") is not None and not body.get("stream"):
        raise ApiError(400, "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
                       param="stream_options")


def check_embeddings(body: dict[str, Any]) -> list[Any]:
    """The inputs, always as a list."""
    given = body.get("input")
    if given is None:
        raise ApiError(400, "Missing required parameter: 'input'.", param="input", code="missing_required_parameter")
    items = given if isinstance(given, list) and not _is_tokens(given) else [given]
    if not items or any(not isinstance(item, str) and not _is_tokens(item) for item in items):
        raise ApiError(400, "'$.input' is invalid. Please check the API reference: "
                       "https://platform.openai.com/docs/api-reference.")
    if body.get("encoding_format", "float") not in ("float", "base64"):
        raise ApiError(400, f"Invalid value: '{body['encoding_format']}'. Supported values are: 'float' and 'base64'.",
                       param="encoding_format", code="invalid_value")
    return items


def _check_message(where: str, message: Any) -> None:
    if not isinstance(message, dict):
        raise _wrong_type(where, "an object", message)
    role = message.get("role")
    if role is None:
        raise ApiError(400, f"Missing required parameter: '{where}.role'.", param=f"{where}.role",
                       code="missing_required_parameter")
    if role not in ROLES:
        supported = ", ".join(f"'{name}'" for name in ROLES[:-1]) + f", and '{ROLES[-1]}'"
        raise ApiError(400, f"Invalid value: '{role}'. Supported values are: {supported}.", param=f"{where}.role",
                       code="invalid_value")
    content = message.get("content")
    if content is not None and not isinstance(content, str | list):
        raise _wrong_type(f"{where}.content", "one of a string or array of objects", content)


def _wrong_type(param: str, expected: str, value: Any) -> ApiError:
    names = {str: "a string", bool: "a boolean", int: "an integer", float: "a decimal", list: "an array",
             dict: "an object", type(None): "null"}
    return ApiError(400, f"Invalid type for '{param}': expected {expected}, but got {names[type(value)]} instead.",
                    param=param, code="invalid_type")


def _is_tokens(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(token) is int for token in value)
