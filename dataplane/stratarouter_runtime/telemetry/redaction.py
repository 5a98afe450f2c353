"""Keys out of log lines, as the last thing before a line is written.

Rooms do not log keys; this catches what slips through: a vendor's error that quotes the key, a URL with a password,
an exception that shows a header. It works on the encoded line, so that no field is forgotten.

Invariant: a replacement never reaches across a quote or backslash, so the line stays the JSON that it was.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

REDACTED = b"[redacted]"

_VALUE = rb"[^\s\"'\\,;&<>()\[\]{}]"


@dataclass(frozen=True, slots=True)
class _Rule:
    """A pattern that is tried only on lines that have one of the lower-case hints: most lines have none."""

    hints: tuple[bytes, ...]
    pattern: re.Pattern[bytes]
    replacement: bytes


_RULES = (
    # Authorization: Bearer ..., and the same words in prose
    _Rule((b"bearer ", b"basic "), re.compile(rb"(?i)\b(bearer|basic) +[A-Za-z0-9._~+/=-]{8,}"), rb"\1 " + REDACTED),
    # api_key=..., "x-api-key": "...", password: ..., and the key of a Gemini URL
    _Rule((b"api_key", b"api-key", b"apikey", b"api key", b"authorization", b"access_token", b"access-token", b"refresh_token",
           b"refresh-token", b"auth_token", b"auth-token", b"id_token", b"client_secret", b"client-secret", b"clientsecret",
           b"secret_key", b"secret-key", b"private_key", b"private-key", b"password", b"passwd", b"?key=", b"&key=", b"?token=",
           b"&token=", b"?sig", b"&sig"), re.compile(
        rb"(?i)((?:api[-_ ]?key|authorization|(?:access|refresh|auth|id)[-_]?token|client[-_]?secret|(?:secret|private)[-_]?key"
        rb"|password|passwd|[?&](?:key|token|sig|signature))(?:\\?[\"'])?\s*[:=]\s*(?:\\?[\"'])?)(?:(?:bearer|basic) +)?"
        + _VALUE + rb"{3,}"), rb"\1" + REDACTED),
    # redis://user:password@host
    _Rule((b"://",), re.compile(rb"(://)[^\s/:@\"'\\]*:[^\s/@\"'\\]+(?=@)"), rb"\1" + REDACTED),
    # keys that say what they are: OpenAI, Anthropic, Groq, xAI, Hugging Face, GitHub, GitLab, Slack, Google, AWS; JSON Web Tokens
    _Rule((b"sk-", b"sk_", b"pk-", b"pk_", b"rk_", b"gsk_", b"xai-", b"hf_", b"ghp_", b"gho_", b"ghs_", b"glpat-", b"xox"), re.compile(
        rb"\b(?:sk|pk|rk|gsk|xai|hf|ghp|gho|ghs|glpat|xox[abprs])[-_][A-Za-z0-9_-]{8,}"), REDACTED),
    _Rule((b"aiza", b"ya29", b"akia", b"asia"), re.compile(
        rb"\b(?:AIza[A-Za-z0-9_-]{20,}|ya29\.[A-Za-z0-9_-]{10,}|(?:AKIA|ASIA)[A-Z0-9]{12,})"), REDACTED),
    _Rule((b"eyj",), re.compile(rb"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"), REDACTED),
)


def redact(line: bytes) -> bytes:
    """The line without what looks like a key, token or password."""
    lowered = line.lower()
    for rule in _RULES:
        if any(hint in lowered for hint in rule.hints):
            line = rule.pattern.sub(rule.replacement, line)
    return line
