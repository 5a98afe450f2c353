"""The two calls that describe the others; they need no API key, because nothing in them is secret."""

from __future__ import annotations

from .operation import Operation, Schema, anything, mapping, text

TAG = ("Description", "This description; no API key is asked for it.")

SCHEMAS: dict[str, Schema] = {"Document": mapping(anything(), "An OpenAPI document."), "Page": text("HTML.")}

OPERATIONS = (
    Operation("get", "/openapi.json", "getDescription", "This description, as OpenAPI 3.1", reply="Document", public=True),
    Operation("get", "/docs", "getDocs", "This description, as a page", reply="Page", public=True, media="text/html"),
)
