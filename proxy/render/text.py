"""
Agent text made safe to look at.

A terminal obeys what it is sent, and a reader believes what it looks like. So every character
that could act, hide, reorder or stand for another is shown as its code instead (``\\x1b``,
``\\u202e``), and what remains is put into `rich.text.Text`, whose content is never markup.

Escaped are: control characters (C0, DEL, C1), format characters (bidi controls, zero width,
tags), surrogates, private and unassigned code points, line and paragraph separators, every
blank but the space, right-to-left letters (a terminal that reorders them moves what stands
beside them), marks that strike through or enclose, more than three marks on one letter or a
mark on none, and characters that have no width or lend one to their neighbour (fillers,
variation selectors, jamo vowels, flags, skin tones).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from rich.text import Text

ESCAPED: Final = "reverse"
"""The style of an escape, so that it cannot be taken for letters that the agent wrote."""

_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Me"})
_RIGHT_TO_LEFT: Final = frozenset({"R", "AL", "AN"})
_MARKS: Final = frozenset({"Mn", "Mc"})
_MOST_MARKS: Final = 3
_OVERLAY: Final = 1
_NAMED: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
# Letters, marks and symbols by their category, but blank, without a width, or joined to the next.
_JOINED: Final = (
    (0x034F, 0x034F), (0x115F, 0x11FF), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2800, 0x2800),
    (0x3164, 0x3164), (0xD7B0, 0xD7FF), (0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0x16FE4, 0x16FE4),
    (0x1F1E6, 0x1F1FF), (0x1F3FB, 0x1F3FF), (0xE0100, 0xE01EF),
)  # fmt: skip


def visible(text: str) -> str:
    """The text on one line, with nothing in it that a terminal or a reader could be fooled by."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(piece for piece, _ in _pieces(text))


def safe(text: str, style: str = "") -> Text:
    """As `visible`, for rich; escapes stand out."""
    if text.isascii() and text.isprintable():
        return Text(text, style)
    shown = Text(style=style)
    for piece, escaped in _pieces(text):
        shown.append(piece, ESCAPED if escaped else None)
    return shown


def lines(text: str) -> list[str]:
    """The lines of a text (LF or CR LF), none made safe yet; other breaks stay, to be shown escaped."""
    return [line.removesuffix("\r") for line in text.split("\n")]


def ascii_host(host: str) -> str:
    """A host as the name system knows it: labels beyond ASCII as A-labels (RFC 5890)."""
    return ".".join(_a_label(label) for label in host.split("."))


def is_punycode(host: str) -> bool:
    """Whether a host has labels that a browser would show as other letters."""
    return any(label.lower().startswith("xn--") for label in ascii_host(host).split("."))


def url_parts(url: str) -> tuple[str, str, str]:
    """Scheme (with ``://``), authority in ASCII, and the rest of a URL; never raises."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return "", "", url
    end = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    return scheme + mark, ascii_host(rest[:end]), rest[end:]


def url_text(url: str, style: str = "") -> Text:
    """A URL, its host as A-labels, and said so before it where those stand for other letters."""
    scheme, authority, rest = url_parts(url)
    mark = Text("[punycode host] ", "bold yellow") if is_punycode(authority) else Text()
    return Text.assemble(mark, safe(scheme + authority + rest, style))


def _a_label(label: str) -> str:
    if label.isascii():
        return label
    return "xn--" + label.lower().encode("punycode").decode("ascii")


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """The text in runs of characters shown as they are, and single escapes."""
    start, marks = 0, _MOST_MARKS
    for at, char in enumerate(text):
        kind = _kind(char)
        if kind == "letter":
            marks = 0
        elif kind == "mark" and marks < _MOST_MARKS:
            marks += 1
        else:
            if start < at:
                yield text[start:at], False
            yield _escape(char), True
            start, marks = at + 1, _MOST_MARKS
    if start < len(text):
        yield text[start:], False


@lru_cache(4096)
def _kind(char: str) -> str:
    """``letter`` (shown), ``mark`` (shown on a letter) or ``hidden`` (escaped)."""
    category = unicodedata.category(char)
    if category in _HIDDEN or (category == "Zs" and char != " "):
        return "hidden"
    if unicodedata.bidirectional(char) in _RIGHT_TO_LEFT or unicodedata.combining(char) == _OVERLAY:
        return "hidden"
    if any(first <= ord(char) <= last for first, last in _JOINED):
        return "hidden"
    return "mark" if category in _MARKS else "letter"


def _escape(char: str) -> str:
    if char in _NAMED:
        return _NAMED[char]
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
