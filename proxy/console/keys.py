"""
Bytes from a terminal to keys (ECMA-48 sequences as xterm sends them).

Whatever is not certainly one key that we know is no key: unknown sequences and keys with Alt
vanish, and what is pasted is text, never commands.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field
from typing import Final

_LONGEST: Final = 4096
_SEQUENCE: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O[@-~]|[^\[O])", re.DOTALL)
_BEGUN: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|O)?")
_PASTE, _PASTED = "\x1b[200~", "\x1b[201~"
_SEQUENCES: Final = {
    "\x1b[A": "up", "\x1bOA": "up", "\x1b[B": "down", "\x1bOB": "down",
    "\x1b[5~": "page up", "\x1b[6~": "page down",
    "\x1b[H": "home", "\x1bOH": "home", "\x1b[1~": "home", "\x1b[7~": "home",
    "\x1b[F": "end", "\x1bOF": "end", "\x1b[4~": "end", "\x1b[8~": "end",
}  # fmt: skip
_CONTROLS: Final = {
    "\r": "enter", "\n": "enter", "\x7f": "backspace", "\b": "backspace", "\x03": "interrupt",
    "\x0c": "redraw", "\x15": "clear",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Key:
    """One key: a name for those without a letter, and the text that it types (may be empty)."""

    name: str
    text: str = ""


@dataclass(slots=True)
class Keys:
    """Turns input into keys, keeping what is not yet a whole one."""

    _decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )
    _rest: str = ""

    @property
    def open(self) -> bool:
        """Whether a key has begun that may be a lone escape."""
        return bool(self._rest)

    def feed(self, data: bytes) -> list[Key]:
        """The keys that are whole with these bytes."""
        self._rest += self._decoder.decode(data)
        keys = []
        while self._rest:
            key, used = _next(self._rest)
            if not used:
                break
            self._rest = self._rest[used:]
            if key is not None:
                keys.append(key)
        if len(self._rest) > _LONGEST:
            self._rest = ""
        return keys

    def settle(self) -> list[Key]:
        """Nothing has followed for a while: a lone escape is a key, half a sequence is none."""
        rest = self._rest
        if rest.startswith(_PASTE):
            return []
        self._rest = ""
        return [Key("escape")] if rest == "\x1b" else []


def typed(line: str, key: Key) -> str:
    """A line that is being typed, after one more key."""
    match key.name:
        case "backspace":
            return line[:-1]
        case "clear":
            return ""
        case _:
            return line + "".join(char for char in key.text if char.isprintable())


def _next(text: str) -> tuple[Key | None, int]:
    """The first key and how many characters it is; 0 where more have to come."""
    if text.startswith(_PASTE):
        end = text.find(_PASTED)
        if end < 0:
            return None, 0
        return Key("paste", text[len(_PASTE) : end]), end + len(_PASTED)
    if text[0] != "\x1b":
        name = _CONTROLS.get(text[0])
        if name is None and text[0].isprintable():
            return Key(text[0], text[0]), 1
        return (Key(name) if name else None), 1
    if sequence := _SEQUENCE.match(text):
        name = _SEQUENCES.get(sequence[0])
        return (Key(name) if name else None), len(sequence[0])
    begun = _BEGUN.match(text)
    used = begun.end() if begun else 1
    return None, 0 if used == len(text) else used
