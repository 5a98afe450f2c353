"""What Gemini's answer rests on, as OpenAI's annotations.

Sources: Gemini API reference, ``GroundingMetadata`` and ``CitationMetadata``: positions are in bytes of UTF-8; OpenAI's are in
characters. What has no place among annotations is kept as ``extra_content.google.grounding_metadata``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .reading import inner, items, objects, text

_SOURCES = ("web", "retrievedContext", "maps")


def annotations_of(candidate: Mapping[str, Any], said: str) -> dict[str, Any]:
    """``annotations`` and ``extra_content`` of a message whose whole text is ``said``; empty where it rests on nothing named."""
    grounding = inner(candidate.get("groundingMetadata"))
    citations = inner(candidate.get("citationMetadata"))
    if not grounding and not citations:
        return {}
    raw = said.encode("utf-8", "replace")
    found = [*_grounded(grounding, raw), *_cited(citations, raw)]
    made: dict[str, Any] = {"annotations": found} if found else {}
    if grounding:
        made["extra_content"] = {"google": {"grounding_metadata": grounding}}
    return made


def _grounded(grounding: Mapping[str, Any], raw: bytes) -> Iterator[dict[str, Any]]:
    chunks = [_source(chunk) for chunk in items(grounding.get("groundingChunks"))]
    supports = list(objects(grounding.get("groundingSupports")))
    for support in supports:
        segment = inner(support.get("segment"))
        for number in items(support.get("groundingChunkIndices")):
            source = chunks[number] if type(number) is int and 0 <= number < len(chunks) else None
            if source is not None:
                yield _annotation(source, segment, raw)
    if not supports:
        yield from (_annotation(source, {}, raw) for source in chunks if source is not None)


def _cited(citations: Mapping[str, Any], raw: bytes) -> Iterator[dict[str, Any]]:
    # The Gemini API and Vertex AI name the list differently.
    for each in objects(citations.get("citationSources") or citations.get("citations")):
        if text(each.get("uri")):
            yield _annotation(each, each, raw)


def _source(chunk: Any) -> Mapping[str, Any] | None:
    return next((inner(inner(chunk).get(kind)) for kind in _SOURCES if text(inner(inner(chunk).get(kind)).get("uri"))), None)


def _annotation(source: Mapping[str, Any], segment: Mapping[str, Any], raw: bytes) -> dict[str, Any]:
    return {"type": "url_citation", "url_citation": {
        "start_index": _characters(segment.get("startIndex"), raw), "end_index": _characters(segment.get("endIndex"), raw),
        "url": text(source.get("uri")), "title": text(source.get("title"))}}


def _characters(position: Any, raw: bytes) -> int:
    return len(raw[:position].decode("utf-8", "ignore")) if type(position) is int and position > 0 else 0
