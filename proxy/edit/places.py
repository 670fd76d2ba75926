"""
Where the marks of secrets stand: a secret stays in the place that the agent gave it.

A place is a header's name, a parameter's name, the path in JSON, or, where a text has no form
that is known, all that stands before the mark. Whoever edits cannot make the gate write a secret
where it did not stand: into another field, another part of the path, or twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from hashlib import sha256
from urllib.parse import unquote_plus

from proxy.edit.layout import problem, tokens
from proxy.redact import MARK

type Place = tuple[str | int, ...]


class Kind(Enum):
    """The form that a body's places are named by."""

    FORM = "form"
    JSON = "json"
    TEXT = "text"


def kind_of(media_type: str, text: str) -> Kind:
    """The form of a body; JSON only where it is that without a fault."""
    if media_type.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded":
        return Kind.FORM
    if text.lstrip()[:1] in ("{", "[") and problem(text) is None:
        return Kind.JSON
    return Kind.TEXT


def in_target(target: str) -> Iterator[tuple[int, Place]]:
    """Each mark of a request target: its number and its place."""
    path, mark, query = target.partition("?")
    yield from _after(path, ("path",))
    if mark:
        yield from _in_parameters(query, "query")


def in_header(name: str, value: str) -> Iterator[tuple[int, Place]]:
    """Each mark of a header's value."""
    for found in MARK.finditer(value):
        yield int(found[1]), ("header", name.lower())


def in_body(kind: Kind, text: str) -> Iterator[tuple[int, Place]]:
    """Each mark of a body."""
    match kind:
        case Kind.FORM:
            yield from _in_parameters(text, "form")
        case Kind.JSON:
            yield from _in_json(text)
        case Kind.TEXT:
            yield from _after(text, ("body",))


def _after(text: str, root: Place) -> Iterator[tuple[int, Place]]:
    """Marks in text of no known form: the place is (the hash of) all that stands before it."""
    before, at = sha256(), 0
    for found in MARK.finditer(text):
        before.update(text[at : found.start()].encode("utf-8", "surrogatepass") + b"\0")
        at = found.end()
        yield int(found[1]), (*root, before.hexdigest())


def _in_parameters(text: str, root: str) -> Iterator[tuple[int, Place]]:
    seen: dict[str, int] = {}
    for pair in text.replace(";", "&").replace("#", "&").split("&"):
        name, equals, value = pair.partition("=")
        plain = unquote_plus(name)
        seen[plain] = seen.get(plain, 0) + 1
        for found in MARK.finditer(name):
            yield int(found[1]), (root, "name", found.start())
        for found in MARK.finditer(value if equals else ""):
            yield int(found[1]), (root, plain, seen[plain])


def _in_json(text: str) -> Iterator[tuple[int, Place]]:
    """Marks in JSON: the place is the path of names and positions; `text` is JSON without a fault."""
    path: list[str | int] = []
    names: list[bool] = []  # for each level: whether a name comes next
    for piece in tokens(text):
        match piece:
            case "{" | "[":
                path.append("" if piece == "{" else 0)
                names.append(piece == "{")
            case "}" | "]":
                path.pop()
                names.pop()
            case ",":
                at = path[-1]
                names[-1] = isinstance(at, str)
                path[-1] = at + 1 if isinstance(at, int) else ""
            case ":":
                names[-1] = False
            case _ if not piece.isspace():
                root = "name" if names and names[-1] else "json"
                for found in MARK.finditer(piece):
                    yield int(found[1]), (root, *path)
                if names and names[-1]:
                    path[-1] = piece
