"""
Executable GraphQL documents, parsed (GraphQL specification, September 2025, sections 2 and 5.5).

A parser of its own and not a library's: those at hand build every node of a tree of which four
facts are needed, and read strings character by character (a 1 MB string takes 0.3 s). This one
reads in one pass what an operation asks for at its top, and how large its fragments make it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from proxy.decode.http import Unreadable

MAX_SOURCE: Final = 256 * 1024
MAX_TOKENS: Final = 10_000
MAX_DEPTH: Final = 60
MAX_EXPANDED: Final = 100_000
"""Selections once every fragment stands where it is spread."""

_NAME: Final = r"[_A-Za-z][_0-9A-Za-z]*+"
_TOKEN: Final = re.compile(
    r"(?:[\ufeff\t\n\r ,]|#[^\n\r]*+)*+"
    rf"(?:(?P<name>{_NAME})"
    r"|(?P<mark>\.\.\.|[!$&()|:=@\[\]{}])"
    r"|(?P<number>-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?(?![_A-Za-z0-9.]))"
    r'|(?P<block>"""(?:[^"\\\x00]|\\(?:""")?|"(?!""))*+""")'
    r'|(?P<string>"(?!"")(?:[^"\\\n\r\x00]|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}|u\{[0-9A-Fa-f]{1,6}\}))*+"|"")'
    r"|(?P<end>\Z))"
)
_TYPES: Final = ("query", "mutation", "subscription")


class MalformedError(Exception):
    """The text is no executable GraphQL document; servers answer it with an error."""


@dataclass(frozen=True, slots=True)
class Operation:
    """
    One operation of a document.

    `fields` are the real names (never the aliases) of what is asked for at its top, fragments
    included, in order and once each.
    """

    type: str
    name: str | None
    fields: tuple[str, ...]


@dataclass(slots=True)
class _Definition:
    """What a definition holds: its top selections, and every spread anywhere in it."""

    top: list[tuple[bool, str]]  # (is a spread, name)
    spreads: list[str]
    selections: int = 0


def parse(text: str) -> tuple[Operation, ...]:
    """
    The operations of a document, in their order.

    MalformedError for what is none; Unreadable for one over the limits above.
    """
    if len(text) > MAX_SOURCE:
        raise Unreadable(f"the GraphQL document is over {MAX_SOURCE} characters")
    reader = _Reader(text)
    operations: list[tuple[str, str | None, _Definition]] = []
    fragments: dict[str, _Definition] = {}
    while reader.kind != "end":
        reader.definition(operations, fragments)
    if not operations:
        raise MalformedError("no operation")
    names = [name for _, name, _ in operations]
    if len(set(names)) != len(names) or (None in names and len(names) > 1):
        raise MalformedError("two operations of the same name")
    sizes = _sizes(fragments)
    found = []
    for kind, name, definition in operations:
        if definition.selections + sum(_size(sizes, one) for one in definition.spreads) > MAX_EXPANDED:
            raise Unreadable(f"the GraphQL operation asks for more than {MAX_EXPANDED} fields")
        found.append(Operation(kind, name, _top(definition, fragments)))
    return tuple(found)


def _size(sizes: Mapping[str, int], name: str) -> int:
    if name not in sizes:
        raise MalformedError(f"no fragment {name[:100]}")
    return sizes[name]


def _sizes(fragments: Mapping[str, _Definition]) -> Mapping[str, int]:
    """How many selections each fragment stands for; each is counted once, whoever spreads it."""
    sizes: dict[str, int] = {}
    open_: set[str] = set()
    for name in fragments:
        waiting = [name]
        while waiting:
            current = waiting[-1]
            if current in sizes:
                waiting.pop()
                continue
            definition = fragments.get(current)
            if definition is None:
                raise MalformedError("a fragment that is not there")
            below = [one for one in dict.fromkeys(definition.spreads) if one not in sizes]
            if below:
                open_.add(current)
                if any(one in open_ for one in below):
                    raise MalformedError("fragments that spread one another")
                waiting += below
                continue
            open_.discard(current)
            total = definition.selections + sum(sizes[one] for one in definition.spreads)
            sizes[current] = min(total, MAX_EXPANDED + 1)
            waiting.pop()
    return sizes


def _top(definition: _Definition, fragments: Mapping[str, _Definition]) -> tuple[str, ...]:
    fields: dict[str, None] = {}
    seen: set[str] = set()
    waiting = [definition]
    while waiting:
        for spreads, name in waiting.pop().top:
            if not spreads:
                fields[name] = None
            elif name not in seen:
                seen.add(name)
                waiting.append(fragments[name])
    return tuple(fields)


class _Reader:
    """A position in the tokens of a document; `kind` and `text` are of the token that is next."""

    __slots__ = ("_at", "_count", "_source", "kind", "text")

    def __init__(self, source: str) -> None:
        self._source = source
        self._at = self._count = 0
        self.kind = self.text = ""
        self._next()

    def _next(self) -> str:
        """Step over the token that is next; returns its text."""
        before = self.text
        found = _TOKEN.match(self._source, self._at)
        if found is None or found.lastgroup is None:
            raise MalformedError(f"no token at character {self._at}")
        self._count += 1
        if self._count > MAX_TOKENS:
            raise Unreadable(f"the GraphQL document has more than {MAX_TOKENS} tokens")
        self._at, self.kind, self.text = found.end(), found.lastgroup, found[found.lastgroup]
        return before

    def _is(self, mark: str) -> bool:
        return self.kind == "mark" and self.text == mark

    def _take(self, mark: str) -> bool:
        if self._is(mark):
            self._next()
            return True
        return False

    def _need(self, mark: str) -> None:
        if not self._take(mark):
            raise MalformedError(f"no {mark} at character {self._at}")

    def _name(self) -> str:
        if self.kind != "name":
            raise MalformedError(f"no name at character {self._at}")
        return self._next()

    def definition(
        self, operations: list[tuple[str, str | None, _Definition]], fragments: dict[str, _Definition]
    ) -> None:
        """One operation or fragment."""
        found = _Definition([], [])
        if self._is("{"):
            operations.append(("query", None, found))
        else:
            if self.kind in ("string", "block"):
                self._next()  # a description
            word = self._name()
            if word in _TYPES:
                operations.append((word, self._name() if self.kind == "name" else None, found))
                if self._take("("):
                    self._variables()
            elif word == "fragment":
                name = self._name()
                if name == "on" or name in fragments or self._name() != "on":
                    raise MalformedError("a malformed fragment")
                self._name()
                fragments[name] = found
            else:
                raise MalformedError("a definition that cannot be executed")
            self._directives(1)
        self._selections(found, found.top, 1)

    def _variables(self) -> None:
        while True:
            if self.kind in ("string", "block"):
                self._next()
            self._need("$")
            self._name()
            self._need(":")
            self._type(1)
            if self._take("="):
                self._value(1)
            self._directives(1)
            if self._take(")"):
                return

    def _type(self, depth: int) -> None:
        _check(depth)
        if self._take("["):
            self._type(depth + 1)
            self._need("]")
        else:
            self._name()
        self._take("!")

    def _directives(self, depth: int) -> None:
        while self._take("@"):
            self._name()
            self._arguments(depth)

    def _arguments(self, depth: int) -> None:
        if self._take("("):
            while True:
                self._name()
                self._need(":")
                self._value(depth + 1)
                if self._take(")"):
                    return

    def _value(self, depth: int) -> None:
        _check(depth)
        if self._take("$"):
            self._name()
        elif self._take("["):
            while not self._take("]"):
                self._value(depth + 1)
        elif self._take("{"):
            while not self._take("}"):
                self._name()
                self._need(":")
                self._value(depth + 1)
        elif self.kind in ("name", "number", "string", "block"):
            self._next()
        else:
            raise MalformedError(f"no value at character {self._at}")

    def _selections(self, found: _Definition, into: list[tuple[bool, str]] | None, depth: int) -> None:
        """A selection set; `into` takes what is selected where that stands at the top."""
        _check(depth)
        self._need("{")
        while True:
            found.selections += 1
            if self._take("..."):
                self._spread(found, into, depth)
            else:
                self._field(found, into, depth)
            if self._take("}"):
                return

    def _field(self, found: _Definition, into: list[tuple[bool, str]] | None, depth: int) -> None:
        name = self._name()
        if self._take(":"):
            name = self._name()
        self._arguments(depth)
        self._directives(depth)
        if into is not None:
            into.append((False, name))
        if self._is("{"):
            self._selections(found, None, depth + 1)

    def _spread(self, found: _Definition, into: list[tuple[bool, str]] | None, depth: int) -> None:
        if self.kind == "name" and self.text != "on":
            name = self._next()
            found.spreads.append(name)
            if into is not None:
                into.append((True, name))
            self._directives(depth)
            return
        if self.kind == "name":
            self._next()
            self._name()
        self._directives(depth)
        self._selections(found, into, depth + 1)


def _check(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise Unreadable(f"the GraphQL document is more than {MAX_DEPTH} levels deep")
