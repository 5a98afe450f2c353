"""The document as one readable page: HTML and style alone, everything escaped.

Invariant: pure; whatever stands in the document is text on the page, never markup.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--get:#1668a8;--post:#1a7f4b;--delete:#b3261e}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:1.5rem}
h1{margin:0}h2{margin:2.5rem 0 .5rem;border-bottom:1px solid var(--line)}h4{margin:1rem 0 .25rem}
code,pre{font:.875em/1.5 ui-monospace,monospace}
code{background:var(--soft);padding:.05em .3em;border-radius:4px}
pre{background:var(--soft);padding:.75rem;border-radius:6px;overflow:auto}pre code{background:none;padding:0}
details{border:1px solid var(--line);border-radius:6px;margin:.5rem 0;padding:0 .75rem}
summary{cursor:pointer;padding:.5rem 0}details[open]{padding-bottom:.75rem}
table{border-collapse:collapse;width:100%}
th,td{border-bottom:1px solid var(--line);padding:.3rem .75rem .3rem 0;text-align:left;vertical-align:top}
td:first-child{white-space:nowrap}
.method{color:#fff;border-radius:4px;padding:.1rem .4rem;font-weight:600;text-transform:uppercase;font-size:.8em}
.get{background:var(--get)}.post{background:var(--post)}.delete{background:var(--delete)}
.muted{opacity:.75}nav a{margin-right:1rem}
""".strip()

_CODE = re.compile(r"`([^`]+)`")


def render(document: Mapping[str, Any]) -> str:
    """The page."""
    info, components = document["info"], document["components"]
    tags = {tag["name"]: _tag(tag, document) for tag in document["tags"]}
    links = " ".join(f'<a href="#{_anchor(name)}">{escape(name)}</a>' for name in [*tags, "Headers", "Schemas"])
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>{escape(info["title"])}</title><style>{STYLE}</style></head><body>
<header><h1>{escape(info["title"])}</h1>
<p class="muted">version {escape(info["version"])} &middot; <a href="openapi.json">openapi.json</a></p></header>
{_paragraphs(info["description"])}
<nav>{links}</nav>
<main>
{"".join(tags.values())}
<section id="headers"><h2>Headers</h2>
<h4>A caller may send</h4>{_parameter_table(components["parameters"].values())}
<h4>An answer says</h4>{_header_table(components["headers"])}
<h4>API keys</h4>{_security(components["securitySchemes"])}</section>
<section id="schemas"><h2>Schemas</h2>{"".join(_schema(name, each) for name, each in components["schemas"].items())}</section>
</main></body></html>
"""


def _tag(tag: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    described = [_operation(path, method, operation, document) for path, methods in document["paths"].items()
                 for method, operation in methods.items() if tag["name"] in operation["tags"]]
    return (f'<section id="{_anchor(tag["name"])}"><h2>{escape(tag["name"])}</h2>{_paragraphs(tag["description"])}'
            f'{"".join(described)}</section>\n')


def _operation(path: str, method: str, operation: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    parts = [_paragraphs(operation.get("description", ""))]
    parameters = [_resolved(each, document) for each in operation.get("parameters", ())]
    if parameters:
        parts.append(f"<h4>Parameters</h4>{_parameter_table(parameters)}")
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"<h4>Body</h4><p><code>{escape(media)}</code>: {_type(content['schema'])}</p>")
        if "example" in content:
            parts.append(f"<pre><code>{escape(json.dumps(content['example'], indent=2))}</code></pre>")
    rows = []
    for status, answer in operation["responses"].items():
        bodies = "<br>".join(f"<code>{escape(media)}</code>: {_type(content['schema'])}" for media, content in answer["content"].items())
        rows.append((f"<code>{escape(status)}</code>", _inline(answer["description"]), bodies))
    parts.append(f"<h4>Answers</h4>{_table(('status', 'meaning', 'body'), rows)}")
    return (f'<details id="{_anchor(operation["operationId"])}"><summary><span class="method {escape(method)}">{escape(method)}</span> '
            f'<code>{escape(path)}</code> {escape(operation["summary"])}</summary>{"".join(parts)}</details>\n')


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    return (f'<details id="schema-{escape(name)}"><summary><code>{escape(name)}</code></summary>{_paragraphs(schema.get("description", ""))}'
            f"{_body(schema)}</details>\n")


def _body(schema: Mapping[str, Any]) -> str:
    """A schema's content: its properties as a table, or its type."""
    properties = schema.get("properties")
    if not properties:
        return f"<p>{_type(schema)}</p>" + "".join(_body(inner) for inner in _objects(schema))
    required = schema.get("required", ())
    rows = []
    for name, each in properties.items():
        optional = "" if name in required else ' <span class="muted">optional</span>'
        nested = "".join(_body(inner) for inner in _objects(each))
        rows.append((f"<code>{escape(name)}</code>{optional}", _type(each), f"{_inline(each.get('description', ''))}{_limits(each)}{nested}"))
    return _table(("name", "type", "meaning"), rows)


def _objects(schema: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """The objects that are described within a schema, rather than under a name of their own."""
    if schema.get("properties"):
        yield schema
    for inner in (schema.get("items"), schema.get("additionalProperties"), *schema.get("oneOf", ()), *schema.get("anyOf", ())):
        if isinstance(inner, Mapping):
            yield from _objects(inner)


def _type(schema: Mapping[str, Any]) -> str:  # noqa: PLR0911 (a table of cases)
    """A schema's type in words, with links."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f'<a href="#schema-{escape(name)}">{escape(name)}</a>'
    for some in ("oneOf", "anyOf"):
        if some in schema:
            return " or ".join(_type(each) for each in schema[some])
    if "const" in schema:
        return f"<code>{escape(json.dumps(schema['const']))}</code>"
    if "enum" in schema:
        return ", ".join(f"<code>{escape(json.dumps(each))}</code>" for each in schema["enum"])
    kind = schema.get("type", "any value")
    if "items" in schema:
        return f"array of {_type(schema['items'])}" + (" or null" if "null" in kind else "")
    if isinstance(schema.get("additionalProperties"), Mapping):
        return f"object of {_type(schema['additionalProperties'])}" + (" or null" if "null" in kind else "")
    return escape(" or ".join(kind) if isinstance(kind, list) else kind)


def _limits(schema: Mapping[str, Any]) -> str:
    words = {"minimum": "at least", "maximum": "at most", "minLength": "at least, in characters,", "maxLength": "at most, in characters,"}
    told = [f"{word} {escape(str(schema[name]))}" for name, word in words.items() if name in schema]
    told += [f"for example {escape(json.dumps(each))}" for each in schema.get("examples", ())[:1]]
    return f' <span class="muted">({", ".join(told)})</span>' if told else ""


def _parameter_table(parameters: Iterable[Mapping[str, Any]]) -> str:
    return _table(("name", "in", "type", "meaning"), [
        (f"<code>{escape(each['name'])}</code>", escape(each["in"]), _type(each["schema"]), _inline(each["description"])) for each in parameters])


def _header_table(headers: Mapping[str, Mapping[str, Any]]) -> str:
    return _table(("name", "meaning", "example"), [
        (f"<code>{escape(name)}</code>", _inline(each["description"]), f"<code>{escape(str(each['example']))}</code>")
        for name, each in headers.items()])


def _security(schemes: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for scheme in schemes.values():
        header = scheme.get("name") or f"Authorization: {scheme.get('scheme', '').capitalize()}"
        rows.append((f"<code>{escape(header)}</code>", _inline(scheme["description"])))
    return _table(("header", "meaning"), rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table of cells that are HTML already."""
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{''.join(f'<th>{escape(each)}</th>' for each in head)}</tr></thead><tbody>{body}</tbody></table>"


def _resolved(value: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in value:
        return value
    found: Any = document
    for step in value["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    resolved: Mapping[str, Any] = found
    return resolved


def _paragraphs(words: str) -> str:
    return "".join(f"<p>{_inline(each)}</p>" for each in words.split("\n\n") if each)


def _inline(words: str) -> str:
    """Text; what stands between backticks is code."""
    return _CODE.sub(r"<code>\1</code>", escape(words))


def _anchor(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
