"""Images, sound, video and files of a message as Gemini's parts.

Sources: Gemini API reference, ``Part``, ``Blob`` and ``FileData``; guide "File input methods" (public and signed HTTPS URLs,
``gs://`` and uploaded files as ``fileData``). Pure: nothing is fetched.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

_DATA = re.compile(r"data:([^;,]*)((?:;[^;,]*)*),", re.IGNORECASE)
_ADDRESS = re.compile(r"(?:https?|gs)://[^\s]+", re.IGNORECASE)
_OWN_FILE = re.compile(r"https://generativelanguage\.googleapis\.com/|https://(?:www\.)?youtu(?:\.be|be\.com)/", re.IGNORECASE)
"""What Gemini knows the type of itself: its uploaded files and videos of YouTube."""

_TYPES: Mapping[str, str] = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif", "heic": "image/heic",
    "heif": "image/heif", "bmp": "image/bmp", "avif": "image/avif", "pdf": "application/pdf", "txt": "text/plain", "md": "text/markdown",
    "csv": "text/csv", "html": "text/html", "xml": "text/xml", "json": "application/json", "mp4": "video/mp4", "mov": "video/mov",
    "mpeg": "video/mpeg", "mpg": "video/mpg", "webm": "video/webm", "avi": "video/avi", "wav": "audio/wav", "mp3": "audio/mp3",
    "aac": "audio/aac", "aiff": "audio/aiff", "ogg": "audio/ogg", "flac": "audio/flac", "m4a": "audio/m4a"}

AUDIO: Mapping[str, str] = {name: kind for name, kind in _TYPES.items() if kind.startswith("audio/")}
"""By OpenAI's ``format``."""


def of_url(url: str, fallback: str) -> dict[str, Any] | None:
    """A ``data:`` URL as inline bytes, an address as one that Gemini reads itself; None for anything else.

    ``fallback`` is the type to say where an address does not tell by its ending.
    """
    inline = _DATA.match(url)
    if inline is not None:
        return _inline(url[inline.end():], inline[1] or fallback, encoded="base64" in inline[2].lower())
    if _ADDRESS.fullmatch(url) is None:
        return None
    if _OWN_FILE.match(url) is not None:
        return {"fileData": {"fileUri": url}}
    return {"fileData": {"mimeType": type_of(url) or fallback, "fileUri": url}}


def of_base64(data: str, kind: str) -> dict[str, Any]:
    """Bytes that are base64 already."""
    return {"inlineData": {"mimeType": kind, "data": data}}


def type_of(name: str) -> str | None:
    """The media type by the ending of a file's name or an address, None where it has none that is known."""
    path = re.split(r"[?#]", name, maxsplit=1)[0]
    return _TYPES.get(path.rsplit(".", 1)[-1].lower()) if "." in path else None


def _inline(data: str, kind: str, *, encoded: bool) -> dict[str, Any] | None:
    if not encoded:
        return of_base64(base64.b64encode(unquote_to_bytes(data)).decode(), kind)
    if "%" in data:
        try:
            data = unquote_to_bytes(data).decode("ascii")
        except (UnicodeDecodeError, binascii.Error):
            return None
    return of_base64(data, kind)
