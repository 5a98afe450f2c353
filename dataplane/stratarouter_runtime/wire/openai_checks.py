"""Checks on what a client sends, refused in OpenAI's own words.

Only types and what every vendor agrees on are checked here; values that a vendor may extend (roles, upper bounds, new
parameters) are left to the vendor, whose refusal reaches the client too. ``null`` counts as absent, as it does there.
Source of the wording: replies of the OpenAI API (``Invalid type for 'temperature': expected a decimal, but got a
string instead.`` and so on).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from stratarouter_runtime.model.errors import RequestError

from . import nesting

UNPARSABLE = (
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library "
    "correctly. The API expects a JSON payload, but what was sent was not valid JSON.)")

MAX_MODEL = 256
"""Characters of a model's name: no configured one is longer, and errors and traces quote it."""

Check = Callable[[Any, str], None]


def parse_object(raw: bytes) -> dict[str, Any]:
    """A request's body as an object, else the refusal."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise refusal(UNPARSABLE, code="invalid_json") from None
    if nesting.too_deep(body, raw):
        raise refusal("The JSON body of your request is nested too deeply.", code="invalid_json")
    if not isinstance(body, dict):
        raise refusal(f"Invalid type for the request's body: expected an object, but got {kind_of(body)} instead.",
                      code="invalid_type")
    return body


def refusal(message: str, *, param: str | None = None, code: str = "invalid_value") -> RequestError:
    """A 400 in OpenAI's shape."""
    return RequestError("InvalidRequest", message, param=param, code=code)


def missing(param: str) -> RequestError:
    """A required parameter is absent."""
    return refusal(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def wrong_type(param: str, expected: str, value: Any) -> RequestError:
    """A parameter has another type."""
    return refusal(f"Invalid type for '{param}': expected {expected}, but got {kind_of(value)} instead.",
                   param=param, code="invalid_type")


def kind_of(value: Any) -> str:
    """A JSON type in OpenAI's words."""
    return _KINDS.get(type(value), "an unsupported value")


_KINDS: Mapping[type, str] = {str: "a string", bool: "a boolean", int: "an integer", float: "a decimal",
                              list: "an array", dict: "an object", type(None): "null"}


def string(value: Any, param: str) -> None:
    """Text."""
    if type(value) is not str:
        raise wrong_type(param, "a string", value)


def boolean(value: Any, param: str) -> None:
    """True or false."""
    if type(value) is not bool:
        raise wrong_type(param, "a boolean", value)


def integer(value: Any, param: str) -> None:
    """A whole number."""
    if type(value) is not int:
        raise wrong_type(param, "an integer", value)


def positive(value: Any, param: str) -> None:
    """A whole number from 1."""
    integer(value, param)
    if value < 1:
        raise refusal(f"Invalid '{param}': integer below minimum value. Expected a value >= 1, but got {value} instead.",
                      param=param, code="integer_below_min_value")


def decimal(value: Any, param: str) -> None:
    """A number."""
    if type(value) not in (int, float):
        raise wrong_type(param, "a decimal", value)


def not_negative(value: Any, param: str) -> None:
    """A number from 0."""
    decimal(value, param)
    if value < 0:
        raise refusal(f"Invalid '{param}': decimal below minimum value. Expected a value >= 0, but got {value} instead.",
                      param=param, code="decimal_below_min_value")


def mapping(value: Any, param: str) -> None:
    """An object."""
    if type(value) is not dict:
        raise wrong_type(param, "an object", value)


def objects(value: Any, param: str) -> None:
    """An array of objects."""
    if type(value) is not list:
        raise wrong_type(param, "an array of objects", value)
    for index, item in enumerate(value):
        mapping(item, f"{param}[{index}]")


def strings(value: Any, param: str) -> None:
    """An array of texts."""
    if type(value) is not list:
        raise wrong_type(param, "an array of strings", value)
    for index, item in enumerate(value):
        string(item, f"{param}[{index}]")


def string_or_object(value: Any, param: str) -> None:
    """Text or an object."""
    if type(value) not in (str, dict):
        raise wrong_type(param, "one of a string or an object", value)


def string_or_strings(value: Any, param: str) -> None:
    """Text or an array of texts."""
    if type(value) is list:
        for index, item in enumerate(value):
            string(item, f"{param}[{index}]")
    elif type(value) is not str:
        raise wrong_type(param, "one of a string or an array of strings", value)


def check_model(body: Mapping[str, Any]) -> None:
    """The parameter every request needs."""
    model = body.get("model")
    if model is None:
        raise refusal("you must provide a model parameter", param="model", code="missing_required_parameter")
    string(model, "model")
    if not model:
        raise refusal("you must provide a model parameter", param="model")
    if len(model) > MAX_MODEL:
        raise RequestError("ModelNotFound", f"The model '{model[:MAX_MODEL]}...' does not exist or you do not have access to it.",
                           status=404, param="model")


def check_fields(body: Mapping[str, Any], checks: Mapping[str, Check]) -> None:
    """Check the parameters that are present."""
    for name, value in body.items():
        if value is not None:
            check = checks.get(name)
            if check is not None:
                check(value, name)
