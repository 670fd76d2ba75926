"""
GraphQL over HTTP: what a request asks for, and whether it is a query.

Follows the GraphQL-over-HTTP draft: POST with JSON, GET with ``query``, ``application/graphql``,
and batches as arrays. A query changes nothing; that is believed only where the path says that
GraphQL is served there, because any server ignores the keys that it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from proxy.action import ABSENT, UNKNOWN, Document, Field, Reading, Values
from proxy.decode import http, json
from proxy.decode.decoded import Body, Decoded, Head, member
from proxy.decode.graphql_document import MalformedError, Operation, parse
from proxy.decode.http import Unreadable
from proxy.decode.json import Tree

MAX_BATCH: Final = 100
MAX_BATCHED: Final = 64 * 1024
"""Characters of all documents in a batch."""

_SERVED: Final = re.compile(r"(?:/[^/]*)*/(?:graphql|gql)(?:\.json)?(?:/[^/]*)?/?", re.IGNORECASE)
_PARAMETERS: Final = re.compile(r";[^/]*")
_PERHAPS: Final = re.compile(r"/|/api/?|/query/?|/v\d+/?")
_KEYS: Final = frozenset({"query", "operationName", "variables", "extensions"})


@dataclass(frozen=True, slots=True)
class _Asked:
    """One GraphQL request: a text, the name of the operation to run, and its variables."""

    text: str
    name: str | None = None
    variables: Tree = None
    clear: bool = True  # nothing else stands beside it that could mean something


def decode(head: Head, body: Body) -> Decoded | None:
    """What a GraphQL request asks for; None where it is none."""
    served = bool(_SERVED.fullmatch(head.path))
    twisted = ";" in head.path or "%2F" in head.path
    if twisted and not served and not body.empty and _SERVED.fullmatch(_otherwise(head.path)):
        return _OPAQUE
    if body.is_json and isinstance(body.tree, list):
        return _batch(head, body.tree, served)
    if body.is_json:
        return _posted(head, body.tree, served)
    if head.kind == "application/graphql" and body.plain is not None:
        return _believed(head, _plain(head, body.plain))
    if not served:
        return None
    if head.method == "GET" and body.empty:
        return _got(head)
    return None if body.empty else _OPAQUE


def _otherwise(path: str) -> str:
    """The path for servers that pass over what follows a semicolon, or take ``%2F`` for a slash."""
    return _PARAMETERS.sub("", path).replace("%2F", "/")


def _posted(head: Head, tree: Tree, served: bool) -> Decoded | None:
    asked = _of_tree(tree)
    if asked is None:
        return _OPAQUE if served else None
    if not served and not _PERHAPS.fullmatch(head.path):
        return _elsewhere(asked)
    beside = [name for name in ("query", "operationName", "variables") if head.parameter(name) != ()]
    found = _decoded(replace(asked, clear=False) if beside else asked, served)
    return None if found is None else _believed(head, found)


def _believed(head: Head, found: Decoded) -> Decoded:
    """A read only where the path says that GraphQL is served, or that the body alone is what counts."""
    vouched = head.path == "/" or _SERVED.fullmatch(head.path)
    return found if vouched or found.reading != "read" else replace(found, reading="write")


def _of_tree(tree: Tree) -> _Asked | None:
    if not isinstance(tree, dict):
        return None
    text, name = tree.get("query"), tree.get("operationName")
    if not isinstance(text, str) or not (name is None or isinstance(name, str)):
        return None
    return _Asked(text, name, tree.get("variables"), clear=tree.keys() <= _KEYS)


def _elsewhere(asked: _Asked) -> Decoded | None:
    """Where nothing says that GraphQL is served, what would be a document is one perhaps."""
    try:
        parse(asked.text)
    except MalformedError:
        return None
    except Unreadable:
        pass
    return replace(_OPAQUE, operation="", reading=None)


def _plain(head: Head, text: bytes) -> Decoded:
    try:
        asked = _Asked(text.decode("utf-8"), clear=not head.query)
        return _told(parse(asked.text), asked)
    except (UnicodeDecodeError, MalformedError):
        raise Unreadable("the body is declared as GraphQL and is none") from None


def _got(head: Head) -> Decoded | None:
    texts, names = head.parameter("query"), head.parameter("operationName")
    if texts is None or names is None:
        return _OPAQUE
    if not texts:
        return _OPAQUE if head.query else None
    if len(texts) > 1 or len(names) > 1 or texts[0] is None or None in names:
        return _OPAQUE
    variables = head.parameter("variables")
    try:
        tree = json.parse(variables[0].encode()) if variables and variables[0] else None
    except Unreadable:
        return _OPAQUE
    return _decoded(_Asked(texts[0], names[0] if names else None, tree), served=True)


def _decoded(asked: _Asked, served: bool) -> Decoded | None:
    try:
        return _told(parse(asked.text), asked)
    except MalformedError:
        return _OPAQUE if served else None


def _told(operations: Sequence[Operation], asked: _Asked) -> Decoded:
    """What the operation that will run asks for; unknown where several might."""
    meant = [one for one in operations if asked.name in (None, "", one.name)]
    if len(meant) != 1 or not asked.clear:
        return _OPAQUE
    (one,) = meant
    name = f" {one.name}" if one.name else ""
    shown = ", ".join(one.fields[:3]) + (", …" if len(one.fields) > 3 else "")
    return Decoded(
        "graphql",
        operation=f"graphql:{one.type}{name} {{ {shown} }}",
        names=one.fields,
        reading="read" if one.type == "query" else "write",
        documents={"graphql": _document(one, asked.variables)},
    )


def _document(one: Operation, variables: Tree) -> Document:
    read_variable = json.document(variables) if isinstance(variables, dict) else http.absent

    def read(name: Field) -> Reading:
        match name:
            case ("operation",):
                return Values((one.name,)) if one.name else ABSENT
            case ("type",):
                return Values((one.type,))
            case ("field",):
                return Values(one.fields)
            case ("variable", *below):
                return read_variable(tuple(below))
            case _:
                return UNKNOWN

    return read


def _batch(head: Head, trees: Sequence[Tree], served: bool) -> Decoded | None:
    """An array of requests, each of which is judged on its own."""
    asked = [_of_tree(tree) for tree in trees]
    if not trees or not (served or (None not in asked and _PERHAPS.fullmatch(head.path))):
        return None
    size = sum(len(one.text) for one in asked if one)
    if None in asked or len(trees) > MAX_BATCH or size > MAX_BATCHED:
        return replace(_OPAQUE, sealed=True)
    members = tuple(member(head.request, tree) for tree in trees)
    return Decoded("graphql", members=members, records=len(members))


_OPAQUE: Final = Decoded(
    "graphql", operation="graphql:unknown", reading="write", documents={"graphql": http.unknown}
)
