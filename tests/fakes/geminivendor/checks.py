"""What Google checks of a request: JSON that fits its protocol buffers, contents, and that calls and results are paired.

Sources: the fields of the ``google-genai`` SDK's types, and the API's own refusals. Names are taken in camel and in snake case, as
protocol buffers' JSON does.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any

from .errors import ApiError, invalid

JsonObject = dict[str, Any]

REQUEST = {"contents", "systemInstruction", "tools", "toolConfig", "safetySettings", "generationConfig", "cachedContent", "model",
           "labels", "serviceTier", "store"}
CONFIG = {"temperature", "topP", "topK", "candidateCount", "maxOutputTokens", "stopSequences", "responseLogprobs", "logprobs",
          "presencePenalty", "frequencyPenalty", "seed", "responseMimeType", "responseSchema", "responseJsonSchema",
          "responseModalities", "mediaResolution", "speechConfig", "thinkingConfig", "imageConfig"}
THINKING = {"includeThoughts", "thinkingBudget", "thinkingLevel"}
PART = {"text", "thought", "thoughtSignature", "inlineData", "fileData", "functionCall", "functionResponse", "executableCode",
        "codeExecutionResult", "videoMetadata", "mediaResolution"}
DATA = {"text", "inlineData", "fileData", "functionCall", "functionResponse", "executableCode", "codeExecutionResult"}
TOOL = {"functionDeclarations", "googleSearch", "codeExecution", "urlContext"}
DECLARATION = {"name", "description", "parameters", "parametersJsonSchema", "response", "responseJsonSchema", "behavior"}
MODES = {"MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"}
LEVELS = {"MINIMAL", "LOW", "MEDIUM", "HIGH"}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")


def parse(raw: bytes) -> JsonObject:
    """The body, or the API's refusal."""
    try:
        body = json.loads(raw)
    except ValueError:
        raise invalid("Invalid JSON payload received. Unexpected token.") from None
    if not isinstance(body, dict):
        raise invalid("Invalid JSON payload received. Root element must be a message.")
    return {_camel(name): _camels(value) for name, value in body.items()}


_FREE = {"args", "response", "parametersJsonSchema", "responseJsonSchema", "parameters", "responseSchema"}
"""What is a struct or a schema: its names are the caller's."""


def _camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), name)


def _camels(value: Any) -> Any:
    if isinstance(value, list):
        return [_camels(each) for each in value]
    if isinstance(value, dict):
        return {_camel(name): part if _camel(name) in _FREE else _camels(part) for name, part in value.items()}
    return value


def check_generate(body: JsonObject, model: str) -> None:
    """A request to generate content."""
    _known(body, REQUEST, "")
    config = body.get("generationConfig", {})
    _known(config, CONFIG, "generation_config")
    _check_config(config, model)
    contents = body.get("contents")
    if not contents:
        raise ApiError(400, "* GenerateContentRequest.contents: contents is not specified\n")
    for index, content in enumerate(contents):
        _check_content(content, f"contents[{index}]")
    if "systemInstruction" in body:
        _check_content(body["systemInstruction"], "system_instruction")
    _check_pairs(contents)
    _check_signatures(contents, model)
    _check_tools(body)


def check_embed(body: JsonObject, fields: set[str]) -> None:
    """One text to embed."""
    _known(body, fields, "")
    _check_content(body.get("content", {}), "content")
    if body.get("outputDimensionality", 1) < 1:
        raise invalid("Invalid value at 'output_dimensionality'", "output_dimensionality")


def _check_config(config: Mapping[str, Any], model: str) -> None:
    for name, kinds in (("temperature", (int, float)), ("topP", (int, float)), ("maxOutputTokens", int), ("seed", int),
                        ("candidateCount", int), ("logprobs", int)):
        value = config.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, kinds)):
            raise invalid(f"Invalid value at 'generation_config.{name}' (TYPE), {json.dumps(value)}", f"generation_config.{name}")
    if not -2**31 <= config.get("seed", 0) < 2**31:
        raise invalid("Invalid value at 'generation_config.seed' (TYPE_INT32)", "generation_config.seed")
    if not 0 <= config.get("temperature", 0) <= 2:
        raise ApiError(400, "* GenerateContentRequest.generation_config.temperature: temperature must be in the range [0.0, 2.0].\n")
    if len(config.get("stopSequences", [])) > 5:
        raise ApiError(400, "* GenerateContentRequest.generation_config.stop_sequences: at most 5 stop sequences are allowed.\n")
    if "responseJsonSchema" in config and config.get("responseMimeType") != "application/json":
        raise ApiError(400, "response_json_schema is only supported with application/json.")
    thinking = config.get("thinkingConfig", {})
    _known(thinking, THINKING, "generation_config.thinking_config")
    if "thinkingLevel" in thinking and not re.search(r"gemini-[3-9]", model):
        raise ApiError(400, "Thinking level is not supported for this model.")
    if thinking.get("thinkingLevel", "LOW") not in LEVELS:
        raise invalid("Invalid value at 'generation_config.thinking_config.thinking_level'")
    if "thinkingLevel" in thinking and "thinkingBudget" in thinking:
        raise ApiError(400, "You can only set only one of thinking budget and thinking level.")


def _check_content(content: Any, where: str) -> None:
    _known(content, {"role", "parts"}, where)
    if content.get("role") not in (None, "user", "model"):
        raise ApiError(400, "Please use a valid role: user, model.")
    if not content.get("parts"):
        raise ApiError(400, f"* GenerateContentRequest.{where}.parts: contents.parts must not be empty.\n")
    for index, part in enumerate(content["parts"]):
        place = f"{where}.parts[{index}]"
        _known(part, PART, place)
        data = DATA & part.keys()
        if len(data) != 1:
            raise ApiError(400, f"* GenerateContentRequest.{place}.data: required oneof field 'data' must have one initialized field\n")
        for name in ("inlineData", "fileData"):
            if name in part:
                _known(part[name], {"mimeType", "data", "fileUri", "displayName"}, f"{place}.{name}")
        if "inlineData" in part and not part["inlineData"].get("mimeType"):
            raise ApiError(400, "Unable to process input image. Please retry or report.")
        for encoded in (part.get("thoughtSignature"), part.get("inlineData", {}).get("data")):
            _check_base64(encoded, place)
        for name, fields in (("functionCall", {"id", "name", "args"}), ("functionResponse", {"id", "name", "response", "parts"})):
            if name in part:
                _known(part[name], fields, f"{place}.{name}")
                if not part[name].get("name"):
                    raise ApiError(400, f"* GenerateContentRequest.{place}.{name}.name: Name cannot be empty.\n")
                for inner in ("args", "response"):
                    if inner in part[name] and not isinstance(part[name][inner], dict):
                        raise invalid(f"Invalid value at '{place}.{name}.{inner}' (type.googleapis.com/google.protobuf.Struct)")


def _check_base64(value: Any, where: str) -> None:
    if value is None:
        return
    try:
        base64.b64decode(value.replace("-", "+").replace("_", "/") + "=" * (-len(value) % 4), validate=True)
    except (binascii.Error, AttributeError):
        raise invalid(f"Invalid value at '{where}' (TYPE_BYTES), Base64 decoding failed", where) from None


def _check_pairs(contents: list[JsonObject]) -> None:
    """Each turn with calls is answered at once, call by call."""
    for place, content in enumerate(contents):
        calls = [part["functionCall"] for part in content["parts"] if "functionCall" in part]
        after = contents[place + 1] if place + 1 < len(contents) else None
        results = [part["functionResponse"] for part in (after or {"parts": []})["parts"] if "functionResponse" in part]
        if calls and (content.get("role") != "model" or after is None or len(results) != len(calls)):
            raise ApiError(400, "Please ensure that the number of function response parts is equal to the number of function call parts "
                                "of the function call turn.")
        if any("functionResponse" in part for part in content["parts"]) and (
                place == 0 or not any("functionCall" in part for part in contents[place - 1]["parts"])):
            raise ApiError(400, "Please ensure that function response turn comes immediately after a function call turn.")
        for call, result in zip(calls, results, strict=False):
            if call["name"] != result["name"] or call.get("id") != result.get("id"):
                raise ApiError(400, "Function response does not match the function call.")


def _check_signatures(contents: list[JsonObject], model: str) -> None:
    """Gemini 3 wants the first call of each step of the current turn signed."""
    if not re.search(r"gemini-[3-9]", model):
        return
    asked = [place for place, content in enumerate(contents)
             if content.get("role") == "user" and not any("functionResponse" in part for part in content["parts"])]
    for place in range(asked[-1] if asked else 0, len(contents)):
        calls = [part for part in contents[place]["parts"] if "functionCall" in part]
        if calls and not calls[0].get("thoughtSignature"):
            raise ApiError(400, "Function call is missing a thought_signature in functionCall parts. This is required for tools to work "
                                "correctly, and missing thought_signature may lead to degraded model performance.")


def _check_tools(body: JsonObject) -> None:
    names = []
    for index, tool in enumerate(body.get("tools", [])):
        _known(tool, TOOL, f"tools[{index}]")
        for number, function in enumerate(tool.get("functionDeclarations", [])):
            place = f"tools[{index}].function_declarations[{number}]"
            _known(function, DECLARATION, place)
            if not _NAME.fullmatch(str(function.get("name", ""))):
                raise ApiError(400, f"* GenerateContentRequest.{place}.name: Invalid function name. Must start with a letter or an "
                                    "underscore.\n")
            if "parameters" in function and "parametersJsonSchema" in function:
                raise ApiError(400, "parameters and parameters_json_schema are mutually exclusive.")
            names.append(function["name"])
    config = body.get("toolConfig", {})
    _known(config, {"functionCallingConfig"}, "tool_config")
    calling = config.get("functionCallingConfig", {})
    _known(calling, {"mode", "allowedFunctionNames"}, "tool_config.function_calling_config")
    if calling.get("mode", "AUTO") not in MODES:
        raise invalid(f"Invalid value at 'tool_config.function_calling_config.mode' (TYPE_ENUM), {json.dumps(calling['mode'])}")
    if calling.get("allowedFunctionNames"):
        if calling.get("mode") not in ("ANY", "VALIDATED"):
            raise ApiError(400, "Function calling config: allowed_function_names is only supported in ANY or VALIDATED mode.")
        unknown = [name for name in calling["allowedFunctionNames"] if name not in names]
        if unknown:
            raise ApiError(400, f"Function calling config: allowed_function_names contains {unknown[0]}, which is not declared.")


def _known(given: Any, fields: set[str], where: str) -> None:
    if not isinstance(given, dict):
        raise invalid(f"Invalid value at '{where}' (MESSAGE)", where)
    for name in given:
        if _camel(name) not in fields:
            at = f" at '{where}'" if where else ""
            raise invalid(f'Invalid JSON payload received. Unknown name "{name}"{at}: Cannot find field.', where)
