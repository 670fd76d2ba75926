"""
JSON spread over lines for a person, and put back as it was written.

Token by token, never parsed and written anew: numbers, escapes, names that stand twice and their
order stay. Only blanks between tokens are ours to give, and only where they follow one rule
throughout, so that what nobody touches comes back byte for byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final

from proxy.redact import MARK

_TOKEN: Final = re.compile(
    r'"(?:[^"\\]++|\\[\s\S])*+"|‹secret [0-9]{1,9}›|[{}\[\],:]|[ \t\r\n]++|[^ \t\r\n"{}\[\],:‹]++|[\s\S]'
)
_STYLES: Final = ((",", ":"), (", ", ": "))
"""How a JSON text on one line is written: what stands for a comma, and for a colon."""

DEPTH: Final = 100
"""Levels up to which JSON is spread: each line begins with two blanks for each."""

type Style = tuple[str, str]


def tokens(text: str) -> Iterator[str]:
    """The text in pieces: strings, words, brackets, blanks. A mark of a secret is one word."""
    return (found[0] for found in _TOKEN.finditer(text))


def style_of(text: str) -> Style | None:
    """How a JSON text is written on its one line; None where it is not JSON, or is not on one."""
    if "\n" in text or text[:1] not in ("{", "[") or problem(text) is not None:
        return None
    words = _words(text)
    if _depth(words) > DEPTH:
        return None
    return next((style for style in _STYLES if _joined(words, style) == text), None)


def spread(text: str) -> str:
    """JSON over as many lines as it has values, two blanks for each level."""
    shown: list[str] = []
    depth = 0
    before = ""
    for word in _words(text):
        if word in ("}", "]"):
            depth -= 1
        if before and before != ":" and _breaks(before, word):
            shown.append("\n" + "  " * depth)
        shown.append(": " if word == ":" else word)
        if word in ("{", "["):
            depth += 1
        before = word
    return "".join(shown)


def _breaks(before: str, word: str) -> bool:
    """Whether a line ends between two tokens."""
    if word in ("}", "]"):
        return before not in ("{", "[")
    return before in ("{", "[", ",")


def gathered(text: str, style: Style) -> str:
    """JSON on one line, written in this style."""
    return _joined(_words(text), style)


def problem(text: str) -> tuple[int, str] | None:
    """Where a text is no JSON (its line, from 1) and why; None where it is. Marks count as values."""
    try:
        json.loads(MARK.sub("0", text))
    except json.JSONDecodeError as error:
        return error.lineno, error.msg
    except (RecursionError, ValueError):
        return 1, "too deep, or a number too long"
    return None


def _words(text: str) -> list[str]:
    return [token for token in tokens(text) if not token.isspace()]


def _depth(words: Sequence[str]) -> int:
    return max(accumulate((word in ("{", "[")) - (word in ("}", "]")) for word in words), default=0)


def _joined(words: Sequence[str], style: Style) -> str:
    comma, colon = style
    return "".join({",": comma, ":": colon}.get(word, word) for word in words)
