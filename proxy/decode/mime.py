"""
Mail messages (RFC 5322, MIME): recipients, sender, subject, texts and the names of files.

Headers are read whole; what lies below them only where it is small and flat, for a hostile
message can make a parser of nested parts slow.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from email.errors import HeaderParseError, MessageError
from email.header import decode_header, make_header
from email.message import Message as Parsed
from email.parser import BytesHeaderParser, BytesParser
from typing import Final

MAX_HEADERS: Final = 64 * 1024
MAX_READ: Final = 256 * 1024
MAX_PARTS: Final = 20
MAX_TEXT: Final = 100_000
MAX_ENCODED: Final = 4_096

_PIECE: Final = re.compile(r'(?:"(?:[^"\\]|\\.)*+(?:"|\Z)|[^,;"])++', re.DOTALL)
_NAMED: Final = re.compile(r'(?:"(?:[^"\\]|\\.)*+"|[^"<>])*+<([^<>\s"@]+@[^<>\s"@]+)>\s*', re.DOTALL)
_BARE: Final = re.compile(r'[^<>\s"@,;:()\\]+@[^<>\s"@,;:()\\]+')


@dataclass(frozen=True, slots=True)
class Message:
    """A message; None in a tuple is a value that cannot be read, None for one nobody looked for."""

    to: tuple[str | None, ...]
    sender: tuple[str | None, ...]
    subject: str | None
    texts: tuple[str | None, ...] | None
    files: tuple[str | None, ...] | None


def addresses(text: str) -> tuple[str | None, ...]:
    """The bare addresses in a list of them; None for one that cannot be read."""
    if len(text) > MAX_TEXT:
        return (None,)
    pieces = [piece for found in _PIECE.finditer(text) if (piece := found[0].strip())]
    return tuple(_address(piece) for piece in pieces)


def _address(piece: str) -> str | None:
    if found := _NAMED.fullmatch(piece):
        return found[1]
    return piece if _BARE.fullmatch(piece) else None


def from_base64(text: str) -> bytes | None:
    """What base64 in either alphabet stands for, with or without its padding; None for what is none."""
    compact = "".join(text.split()).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def read(raw: bytes) -> Message | None:
    """A message, as far as it is read; None where its headers are too long, or no message's."""
    head = re.split(rb"\r?\n\r?\n", raw[: MAX_HEADERS + 1], maxsplit=1)[0]
    if len(head) > MAX_HEADERS:
        return None
    try:
        parsed = BytesHeaderParser().parsebytes(head)
        to = tuple(text for name in ("to", "cc", "bcc") for text in _texts(parsed, name))
        subjects = _texts(parsed, "subject")
        sender = _texts(parsed, "from")
        texts, files = _below(raw)
    except (MessageError, ValueError, LookupError):
        return None
    if parsed.defects:
        return None
    return Message(to, sender, subjects[0] if len(subjects) == 1 else None, texts, files)


def _texts(parsed: Parsed[str, str], name: str) -> tuple[str | None, ...]:
    return tuple(_decoded(str(value)) for value in parsed.get_all(name, []))


def _decoded(value: str) -> str | None:
    """A header with its encoded words undone (RFC 2047)."""
    flat = re.sub(r"\r?\n[ \t]+", " ", value)
    if "=?" not in flat:
        return flat
    if len(flat) > MAX_ENCODED:
        return None
    try:
        return str(make_header(decode_header(flat)))
    except (HeaderParseError, UnicodeError, LookupError, ValueError):
        return None


type _Seen = tuple[str | None, ...] | None


def _below(raw: bytes) -> tuple[_Seen, _Seen]:
    if len(raw) > MAX_READ or raw.lower().count(b"content-type:") > MAX_PARTS:
        return None, None
    texts: list[str | None] = []
    files: list[str | None] = []
    for part in BytesParser().parsebytes(raw).walk():
        if part.is_multipart():
            continue
        name = part.get_filename()
        if name is not None:
            files.append(_decoded(name))
        elif part.get_content_maintype() == "text":
            texts.append(_text(part))
    return tuple(texts), tuple(files)


def _text(part: Parsed[str, str]) -> str | None:
    content = part.get_payload(decode=True)
    if not isinstance(content, bytes):
        return None
    try:
        return content.decode(part.get_content_charset("utf-8"))
    except (UnicodeDecodeError, LookupError):
        return None
