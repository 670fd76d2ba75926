"""
The strict subset of YAML that policies are written in, read with a place for every part.

What two YAML readers could take for different things is a mistake here: anchors, aliases,
merge keys, tags, tabs, directives, several documents, duplicate keys. Scalars keep their
source text and whether they were quoted (`plain` is True where they were not), because
YAML 1.2's core schema, not the library's 1.1, says what a plain one means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from proxy.errors import Problem

MAX_BYTES: Final = 1024 * 1024
MAX_LEVELS: Final = 32
_MAX_REPEATED: Final = 20

# libyaml's parser where it is there: the same events, thirty times faster.
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# Line ends of YAML 1.1 only, a byte order mark inside, and what makes text read in another
# order than it is loaded in.
_TREACHEROUS: Final = re.compile("[\x85\u2028\u2029\ufeff\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value as it is written, without its quotes; `at` is ``file:line:column``."""

    text: str
    plain: bool
    at: str


@dataclass(frozen=True, slots=True)
class Listing:
    """A sequence."""

    items: tuple[Node, ...]
    at: str


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping, in the order of the file, its keys different from one another."""

    entries: tuple[tuple[Scalar, Node], ...]
    at: str


@dataclass(frozen=True, slots=True)
class Broken:
    """Something that has already been complained about."""

    at: str


type Node = Scalar | Listing | Table | Broken


class Mistakes:
    """Every mistake found so far, so that all of them can be told at once."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def add(self, at: str, what: str, why: str = "", fix: str = "") -> None:
        """Complain, and go on."""
        self.problems.append(Problem(what, why, fix, at))

    def in_order(self) -> list[Problem]:
        """By file, line and column."""
        return sorted(self.problems, key=lambda problem: place(problem.where))


def place(where: str) -> tuple[str, int, int]:
    """Where something stands, for sorting."""
    name, line, column = [*where.rsplit(":", 2), "0", "0"][:3]
    return (name, int(line), int(column)) if line.isdigit() and column.isdigit() else (where, 0, 0)


def read(name: str, raw: bytes | str, mistakes: Mistakes) -> Node | None:
    """The one document of a file, or None where there is none to go on with."""
    text = _text(name, raw, mistakes)
    if text is None:
        return None
    _check_characters(name, text, mistakes)
    try:
        return _Builder(name, text, mistakes).document()
    except yaml.MarkedYAMLError as error:
        mistakes.add(
            _mark(name, error.problem_mark or error.context_mark),
            f"this is not YAML: {error.problem or error.context}",
            fix="check quotes, colons and indentation around here",
        )
    except yaml.reader.ReaderError as error:
        mistakes.add(_offset(name, text, error.position), "a character that YAML does not allow")
    return None


def _text(name: str, raw: bytes | str, mistakes: Mistakes) -> str | None:
    if len(raw) > MAX_BYTES:
        mistakes.add(f"{name}:1:1", f"the file is over {MAX_BYTES} bytes", fix="split it into several files")
        return None
    if isinstance(raw, str):
        return raw
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8")
        mistakes.add(_offset(name, before, len(before)), "the file is not UTF-8", fix="save it as UTF-8")
        return None


def _check_characters(name: str, text: str, mistakes: Mistakes) -> None:
    for number, line in enumerate(text.split("\n"), 1):
        if "\t" in line:
            mistakes.add(
                f"{name}:{number}:{line.index(chr(9)) + 1}",
                "a tab",
                "a tab looks like any number of spaces",
                r'indent with spaces; inside a value write "\t"',
            )
        if found := _TREACHEROUS.search(line):
            mistakes.add(
                f"{name}:{number}:{found.start() + 1}",
                f"the invisible character U+{ord(found[0]):04X}",
                "people would read something else than what is loaded",
                f'leave it out; inside a value write "\\u{ord(found[0]):04x}"',
            )
        if len(mistakes.problems) > _MAX_REPEATED:
            return


def _offset(name: str, text: str, position: int) -> str:
    before = text[:position]
    return f"{name}:{before.count(chr(10)) + 1}:{position - before.rfind(chr(10))}"


def _mark(name: str, mark: Any) -> str:
    return f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else f"{name}:1:1"


class _TooDeepError(Exception):
    pass


class _Builder:
    """Builds nodes from the library's events: nothing is resolved, constructed or aliased."""

    def __init__(self, name: str, text: str, mistakes: Mistakes) -> None:
        self._name = name
        self._mistakes = mistakes
        self._events: Iterator[Any] = iter(yaml.parse(text, Loader=_LOADER))

    def document(self) -> Node | None:
        next(self._events)
        start = next(self._events)
        if isinstance(start, yaml.StreamEndEvent):
            self._complain(start, "the file is empty", "", "begin with: version: 1")
            return None
        if start.version or start.tags:
            self._complain(start, "a directive (%)", "a policy is plain YAML", "leave the line out")
        try:
            node = self._node(next(self._events), 1)
        except _TooDeepError:
            return None
        next(self._events)
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            self._complain(
                after, "a second document", "one file holds one document", "put it into a file of its own"
            )
        return node

    def _complain(self, event: Any, what: str, why: str, fix: str) -> None:
        self._mistakes.add(_mark(self._name, event.start_mark), what, why, fix)

    def _node(self, event: Any, level: int) -> Node:
        at = _mark(self._name, event.start_mark)
        if level > MAX_LEVELS:
            self._complain(event, f"more than {MAX_LEVELS} levels", "", "write it flatter")
            raise _TooDeepError
        if isinstance(event, yaml.AliasEvent):
            self._complain(
                event, f"an alias (*{event.anchor})", "what stands here must be read here", "write it out"
            )
            return Broken(at)
        if event.anchor is not None:
            self._complain(
                event, f"an anchor (&{event.anchor})", "what stands here must be read here", "leave it out"
            )
        if event.tag is not None:
            self._complain(
                event,
                f"a tag ({event.tag})",
                "a policy holds only text, numbers, lists and tables",
                "leave it out",
            )
        if isinstance(event, yaml.ScalarEvent):
            return Scalar(event.value, not event.style, at)
        if isinstance(event, yaml.SequenceStartEvent):
            return Listing(tuple(self._items(level)), at)
        return Table(tuple(self._entries(level)), at)

    def _items(self, level: int) -> Iterator[Node]:
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            yield self._node(event, level + 1)

    def _entries(self, level: int) -> Iterator[tuple[Scalar, Node]]:
        seen: dict[str, str] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, level + 1)
            value = self._node(next(self._events), level + 1)
            if not isinstance(key, Scalar):
                self._complain(event, "a key that is no text", "", "a key is one word")
            elif key.plain and key.text == "<<":
                self._complain(
                    event, "a merge key (<<)", "what stands here must be read here", "write it out"
                )
            elif key.text in seen:
                first = seen[key.text].rpartition(":")[0].rpartition(":")[2]
                self._complain(
                    event,
                    f"'{key.text}' a second time",
                    f"it stands in line {first} already",
                    "keep one of the two",
                )
            else:
                seen[key.text] = key.at
                yield key, value
