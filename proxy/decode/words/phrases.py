"""
A path, or the name of an operation, taken apart into phrases of known words.

``/v1/customers/cus_9s6XKzkNRiz8i3/paymentMethods:batchDelete`` is three phrases in a row,
*customers*, *payment methods* and *batch delete*. Versions and ids are no phrases, but it is
kept where an id stood. Nothing is remembered from one path to the next.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from proxy.decode.words.lexicon import LEXICON, PAIRED, TELLING
from proxy.decode.words.marks import (
    CALM,
    DOOR,
    FEATHER,
    GUARD,
    LETTER,
    LOSS,
    MAILING,
    MONEY,
    NOUNS,
    PLACE,
    PLAIN,
    PLEDGE,
    SOFT,
    VERBS,
)

MAX_SEGMENTS: Final = 64
MAX_WORDS: Final = 24
MAX_SEGMENT: Final = 64  # characters; what is longer is an id

_WORD: Final = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")
_VERSION: Final = re.compile(
    r"v\d+(?:\.\d+)*(?:(?:alpha|beta|rc|p)\d*)?|\d+(?:\.\d+)+|\d{4}-\d{2}(?:-\d{2})?", re.IGNORECASE
)
_PARAMETERS: Final = re.compile(r";[^/]*")
_DIGIT: Final = re.compile(r"\d")
_ESCAPES: Final = {"%3A": ":", "%2F": "/", "%24": "", "%20": "-"}
# Segments that say where an API begins, and nothing of what is asked; formats of answers.
_PREFIXES: Final = frozenset(
    {
        "api",
        "apis",
        "rest",
        "latest",
        "stable",
        "beta",
        "alpha",
        "v",
        "io",
        "com",
        "net",
        "svc",
        "k8s",
        "json",
        "xml",
    }
)
_FORMATS: Final = frozenset({"json", "xml"})
# Who an API is for, where it stands first: every path below it would be about access.
_AUDIENCES: Final = frozenset({"admin", "public"})
_TELLS: Final = VERBS & ~CALM | GUARD | MONEY | LETTER | MAILING | LOSS
_NAMING: Final = FEATHER | PLACE
_MANY_DIGITS: Final = 3
_MIXED: Final = 8
_TELLING_WORD: Final = 5
_COMPOUNDS: Final = range(6, 31)


class Phrase(NamedTuple):
    """
    One segment in words.

    `marks` are those of its words, `all` what they are together. `follows_id` says whether an
    id stands right before it; `spoken` that it stands where operations are named, as in
    ``users.delete`` or ``{id}:cancel``; `camel` that its words are run together in capitals.
    """

    words: tuple[str, ...]
    marks: tuple[int, ...]
    all: int
    follows_id: bool = False
    spoken: bool = False
    camel: bool = False


class Path(NamedTuple):
    """Phrases in order; `ends_in_id` where an id stands after the last that is surely none of its words."""

    phrases: tuple[Phrase, ...]
    ends_in_id: bool


def phrase(text: str, *, follows_id: bool = False, spoken: bool = False) -> Phrase:
    """A segment, or the name of an operation, in words (at most `MAX_WORDS`)."""
    mark = LEXICON.get(text)
    if mark is not None:
        return Phrase((text,), (mark,), mark, follows_id, spoken)
    words: list[str] = []
    for found in _WORD.findall(text)[:MAX_WORDS]:
        word = found.lower()
        if word in LEXICON:
            words.append(word)
        else:
            words += _parted(word)
    marks = _marks(words)
    together = 0
    for mark in marks:
        together |= mark
    camel = not (text.islower() or text.isupper() or "-" in text or "_" in text)
    return Phrase(tuple(words), marks, together, follows_id, spoken, camel)


def _parted(word: str) -> tuple[str, ...]:
    """A word in two where it is two known ones (``rolebindings``), or holds one that tells."""
    if len(word) not in _COMPOUNDS:
        return (word,)
    for cut in range(3, len(word) - 2):
        if word[cut:] in LEXICON and word[:cut] in LEXICON:
            return word[:cut], word[cut:]
    found = TELLING.search(word)
    if found is None:
        return (word,)
    return tuple(part for part in (word[: found.start()], found[0], word[found.end() :]) if part)


def _marks(words: list[str]) -> tuple[int, ...]:
    """The marks of words in a row: two may be one thing, and a plain one takes a soft one's risk."""
    marks = [LEXICON.get(word, 0) for word in words]
    for at in range(1, len(words)):
        pair = PAIRED.get((words[at - 1], words[at]))
        if pair is not None:
            marks[at - 1 : at + 1] = 0, pair
        elif marks[at] & SOFT and marks[at - 1] & PLAIN:
            marks[at] = marks[at] & ~(GUARD | DOOR | MONEY | LETTER | PLEDGE) | PLAIN
    return tuple(marks)


def is_id(segment: str) -> bool:
    """Whether a segment surely names one thing rather than a kind of things: many digits, an address."""
    if segment.isalpha():
        return len(segment) > MAX_SEGMENT
    if len(segment) > MAX_SEGMENT or "@" in segment[1:]:
        return True
    return len(_DIGIT.findall(segment)) >= _MANY_DIGITS


def path_phrases(path: str) -> Path | None:
    """A normalised path in phrases; None where it has more than `MAX_SEGMENTS` segments."""
    if "%" in path:
        for escape, char in _ESCAPES.items():
            path = path.replace(escape, char)
    segments = path.split("/") if ";" not in path else _PARAMETERS.sub("", path).split("/")
    if len(segments) > MAX_SEGMENTS:
        return None
    reading = _Reading()
    for segment in segments:
        mark = LEXICON.get(segment)
        if mark is not None:
            reading.word(segment, mark)
        elif ":" in segment:
            parts = segment.replace(".", ":").split(":")[:MAX_WORDS]
            if not parts[0]:
                reading.id()
            for part in parts:
                reading.part(part, spoken=True)
        elif "." in segment and not _VERSION.fullmatch(segment):
            parts = segment.split(".")[:MAX_WORDS]
            for part in parts:
                reading.part(part, spoken=parts[-1] not in _FORMATS)
        elif segment:
            reading.part(segment, spoken=False)
    return Path(tuple(reading.found), reading.follows_id and not reading.guessed)


class _Reading:
    """A path while it is read, part by part."""

    __slots__ = ("follows_id", "found", "guessed", "named")

    def __init__(self) -> None:
        self.found: list[Phrase] = []
        self.follows_id = False
        self.named = False  # what comes next is a name that somebody chose
        self.guessed = False  # the last id was taken for one by its place alone

    def id(self, *, guessed: bool = False) -> None:
        """An id, or a name that somebody chose."""
        self.follows_id, self.guessed = True, guessed
        self.named = self.named and bool(self.found and self.found[-1].all & FEATHER)

    def word(self, text: str, mark: int) -> None:
        """The next segment: one known word."""
        if self.named and not mark & (VERBS | GUARD):
            self.id()
        elif self.found or text not in _AUDIENCES:
            self.named = bool(mark & _NAMING) and _names(text, mark)
            self.found.append(Phrase((text,), (mark,), mark, self.follows_id))
            self.follows_id = self.guessed = False

    def part(self, text: str, *, spoken: bool) -> None:
        """The next segment, or the next part of one."""
        if not text or text in _PREFIXES or (not text.isalpha() and _VERSION.fullmatch(text)):
            return
        if text.isdigit() and not self.found:  # a version without its letter
            return
        if text.isdigit() or is_id(text):
            self.id()
            return
        one = phrase(text, follows_id=self.follows_id, spoken=spoken)
        unnamed = not one.words or _is_code(text, one)
        if unnamed or (self.named and not one.all & (VERBS | GUARD)):
            self.id()
        elif self.found and not self.follows_id and _is_name(self.found[-1], one):
            self.id(guessed=True)
        else:
            self.named = len(one.words) == 1 and _names(one.words[0], one.all)
            self.found.append(one)
            self.follows_id = self.guessed = False


def _is_code(text: str, one: Phrase) -> bool:
    """Whether a segment with a digit or two is an id: none of its words is known, or none that is long."""
    if text.isalpha() or not _DIGIT.search(text):
        return False
    if not one.all:
        return True
    return (
        len(text) >= _MIXED
        and not text.islower()
        and not any(
            mark and len(word) >= _TELLING_WORD for word, mark in zip(one.words, one.marks, strict=True)
        )
    )


def _names(word: str, mark: int) -> bool:
    return bool(mark & FEATHER or (mark & PLACE and word.endswith("s")))


def _is_verb(mark: int) -> bool:
    return bool(mark & VERBS) and not mark & NOUNS


def _is_name(before: Phrase, one: Phrase) -> bool:
    """Whether what stands right after a kind in the plural, or after a verb, is a name."""
    if not (before.words[-1].endswith("s") or _is_verb(before.marks[0]) or _is_verb(before.marks[-1])):
        return False
    if not one.all:
        return True
    return len(one.words) > 1 and not (
        one.camel or one.spoken or one.words[-1].endswith("s") or one.all & _TELLS
    )
