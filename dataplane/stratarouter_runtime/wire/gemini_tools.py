"""Canonical tools and the choice among them as Gemini's.

Source: Gemini API reference, ``Tool``, ``FunctionDeclaration`` (``parametersJsonSchema`` takes JSON schema as it is) and
``FunctionCallingConfig``. Invariant: what has no place is named as left out; nothing is raised.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .reading import inner, items, objects, text
from .support import Unsupported

_OLD = re.compile(r"gemini-(1|2\.0|pro|exp)|gemma")
_MODES: Mapping[str, str] = {"auto": "AUTO", "none": "NONE", "required": "ANY"}


def tools_of(body: Mapping[str, Any], left_out: list[Unsupported]) -> list[dict[str, Any]]:
    """``tools`` of the request: the functions, and the search where it is asked for."""
    declared = []
    for index, tool in enumerate(items(body.get("tools"))):
        function = inner(tool).get("function")
        if inner(tool).get("type", "function") != "function" or not isinstance(function, Mapping):
            left_out.append(Unsupported(f"tools[{index}]", "Gemini takes only functions as tools"))
        else:
            declared.append(_declaration(function))
            if inner(tool).get("cache_control") is not None:
                left_out.append(Unsupported(f"tools[{index}].cache_control", "Gemini caches by itself", hint=True))
    found: list[dict[str, Any]] = [{"functionDeclarations": declared}] if declared else []
    search = body.get("web_search_options")
    if search is not None:
        left_out += [Unsupported(f"web_search_options.{name}", "Gemini's search has no such option", hint=True)
                     for name, value in inner(search).items() if value is not None]
        found.append({"googleSearch": {}})
    return found


def choice_of(body: Mapping[str, Any], model: str, left_out: list[Unsupported]) -> dict[str, Any] | None:
    """``functionCallingConfig`` of the request; None where the vendor's default is what was asked."""
    given = body.get("tool_choice")
    if given is None:
        return _strict(body, model)
    if isinstance(given, str):
        mode = _MODES.get(given)
        if mode is not None:
            return _strict(body, model) or {"mode": mode} if mode == "AUTO" else {"mode": mode}
    elif isinstance(given, Mapping):
        found = _narrowed(given)
        if found is not None:
            return found
    left_out.append(Unsupported("tool_choice", "Gemini knows no such choice"))
    return None


def _declaration(function: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"name": text(function.get("name"))}
    if text(function.get("description")):
        made["description"] = function["description"]
    if isinstance(function.get("parameters"), Mapping):
        made["parametersJsonSchema"] = function["parameters"]
    return made


def _strict(body: Mapping[str, Any], model: str) -> dict[str, Any] | None:
    """``strict`` functions: their calls must fit their schema, which is a mode of its own, from Gemini 2.5 on."""
    strict = not _OLD.search(model) and any(inner(tool.get("function")).get("strict") is True for tool in objects(body.get("tools")))
    return {"mode": "VALIDATED"} if strict else None


def _narrowed(given: Mapping[str, Any]) -> dict[str, Any] | None:
    """One function, or some of them."""
    if given.get("type") == "function":
        name = text(inner(given.get("function")).get("name"))
        return {"mode": "ANY", "allowedFunctionNames": [name]} if name else None
    if given.get("type") == "allowed_tools":
        allowed = inner(given.get("allowed_tools"))
        names = [text(inner(tool.get("function")).get("name")) for tool in objects(allowed.get("tools"))]
        if names and all(names):
            # Names may only be given together with a mode that keeps to schemas.
            return {"mode": "ANY" if allowed.get("mode") == "required" else "VALIDATED", "allowedFunctionNames": names}
    return None
