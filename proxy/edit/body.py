"""
A body as text that can be edited, and back: content coding, character set, line ends, JSON's layout.

What is not certainly text of a known coding and character set is not edited; the reason is said.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Final

from proxy.action import Request
from proxy.decode import Unreadable
from proxy.decode.body import CODED, code, media_type, undo
from proxy.edit.layout import Style, gathered, problem, spread, style_of
from proxy.errors import Exit, fail
from proxy.redact import MARK, WINDOW

LIMIT: Final = WINDOW
"""Bytes of the longest body that is edited, content codings undone: all of it must be seen."""

_CHARSETS: Final = {"utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "ascii", "iso-8859-1": "latin-1"}
_BIDI: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
_HIDDEN: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_BINARY: Final = ("application/grpc", "application/x-protobuf", "application/protobuf", "application/jose")
_DIGESTS: Final = frozenset(b"content-md5 digest content-digest repr-digest x-goog-hash".split())
_DIGEST_PREFIXES: Final = (b"x-amz-checksum-",)


@dataclass(frozen=True, slots=True)
class Body:
    """
    A body as text, and how it is written.

    `coding` is its content coding or empty, `crlf` says that its lines end in CR LF (shown as
    LF), `style` is how JSON stands on its one line, None for all else.
    """

    text: str
    coding: str = ""
    charset: str = "utf-8"
    crlf: bool = False
    style: Style | None = None

    def shown(self, masked: str) -> str:
        """The text, its secrets masked, as it is laid out for a person."""
        if self.style is not None:
            return spread(masked)
        return masked.replace("\r\n", "\n") if self.crlf else masked

    def masked(self, shown: str) -> str:
        """The reverse of `shown`; SluiceError where JSON has ceased to be that."""
        if self.style is None or not shown.strip():
            return shown.replace("\n", "\r\n") if self.crlf else shown
        check_json(shown)
        return gathered(shown, self.style)

    def written(self, text: str) -> bytes:
        """A text as the bytes of a body like this one; SluiceError where its charset lacks a character."""
        try:
            plain = text.encode(self.charset)
        except UnicodeEncodeError:
            raise fail(
                f"the body is declared as {self.charset}, which lacks a character that you wrote",
                fix="write it in another way",
                exit=Exit.NO,
            ) from None
        if len(plain) > LIMIT:
            raise fail(f"the body is over {LIMIT} bytes", "all of it must be seen", exit=Exit.NO)
        return code(plain, self.coding) if self.coding else plain


def check_json(text: str) -> None:
    """Raise SluiceError where a text is no JSON; marks count as values."""
    wrong = problem(text)
    if wrong is not None:
        line, why = wrong
        what = f"the body is no longer JSON: {why} (line {line} of the body)"
        raise fail(what, fix="correct it", exit=Exit.NO)


def open_body(request: Request) -> Body | str:
    """The body as text, or why it cannot be edited."""
    body = request.body or b""
    if any(_is_digest(name) for name, _ in request.headers) and body:
        return "a header holds its digest, which upstream would compare"
    codings = _named(request, b"content-encoding").lower()
    coding = "" if codings == "identity" else codings
    if coding and coding not in CODED:
        return f"it is coded as {coding[:40]}, which cannot be put back"
    try:
        kind, parameters = media_type(_named(request, b"content-type"))
        plain = undo(body, coding, LIMIT) if body else b""
    except Unreadable as why:
        return str(why)
    if kind.startswith(_BINARY):
        return f"{kind} is no text"
    charset = _CHARSETS.get(parameters.get("charset", "utf-8").lower())
    if charset is None:
        return "its character set is none that is written here"
    return _text(plain, coding, charset)


def charset_of(request: Request) -> str:
    """The character set that a request declares, as it is written there."""
    try:
        return media_type(_named(request, b"content-type"))[1].get("charset", "").lower()
    except Unreadable:
        return "malformed"


def _text(plain: bytes, coding: str, charset: str) -> Body | str:
    if len(plain) > LIMIT:
        return f"it is over {LIMIT} bytes, and all of it must be seen"
    try:
        text = plain.decode(charset)
    except UnicodeDecodeError:
        return f"it is no text in {charset}"
    crlf = "\r" in text
    if crlf and not text.count("\r") == text.count("\n") == text.count("\r\n"):
        return "its lines end in different ways"
    bare = text.replace("\r\n", "\n")
    if (found := unwritable(bare)) is not None:
        return f"it holds {found}, which an editor or a terminal may obey"
    if MARK.search(text):
        return "it holds text that looks like a mark for a secret"
    style = style_of(text)
    if style is not None and len(spread(text)) > LIMIT:
        style = None
    return Body(text, coding, charset, crlf, style)


def unwritable(text: str) -> str | None:
    """A character that acts on a terminal or reorders text, by its code; None where there is none."""
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return None
    for char in text:
        if char in _BIDI or (unicodedata.category(char) in _HIDDEN and char not in "\n\t"):
            return f"U+{ord(char):04X}"
    return None


def _is_digest(name: bytes) -> bool:
    low = name.lower()
    return low in _DIGESTS or low.startswith(_DIGEST_PREFIXES)


def _named(request: Request, name: bytes) -> str:
    return b", ".join(request.header(name)).decode("latin-1").strip()
