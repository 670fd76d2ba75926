"""
The seam between the formats and what is made of them.

Every format has a decoder: a function from a request's head and body to what this format says
of it, or None where the request is not in that format. Each answers for itself alone; how the
answers come together is `proxy.decode`'s business.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from proxy.action import ABSENT, Document, Request, Values
from proxy.decode.http import Pairs
from proxy.decode.json import Tree
from proxy.decode.multipart import Part

ABOUT_BODY: Final = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})

type Told = Literal["read", "write"]


@dataclass(frozen=True, slots=True)
class Head:
    """
    A request's head, normalised: what every decoder starts from.

    `query` is None where it cannot be read. `kind` is the media type in lower case, empty for
    none; `parameters` are its, names in lower case. `methods` are the request's method and
    those that override it, None for one that cannot be read.
    """

    request: Request
    method: str
    host: str
    path: str
    query: Pairs | None
    headers: Mapping[str, Values]
    kind: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    methods: tuple[str | None, ...] = ()

    def first(self, name: str) -> str | None:
        """The first value of a header (lower-case name), None where it is absent or no text."""
        values = self.headers.get(name, ABSENT).items
        return values[0] if values else None

    def parameter(self, name: str) -> tuple[str | None, ...] | None:
        """Every value of a query parameter; None where the query cannot be read."""
        if not self.query:
            return None if self.query is None else ()
        return tuple(value for steps, value in self.query if steps == (name,))

    @property
    def segments(self) -> tuple[str, ...]:
        """The path's segments; the root has one, which is empty."""
        return tuple(self.path.split("/")[1:])


@dataclass(frozen=True, slots=True)
class Body:
    """
    A body, read as its type declares it.

    `raw` is None while it has not been read; `plain` is `raw` without its codings, None where
    nobody needs it or it is not in UTF-8. At most one of `tree`, `form` and `parts` is there:
    `is_json` tells a JSON null from no JSON.
    """

    raw: bytes | None
    plain: bytes | None = None
    is_json: bool = False
    tree: Tree = None
    form: Pairs | None = None
    parts: tuple[Part, ...] | None = None

    @property
    def empty(self) -> bool:
        """Whether it is known that there is nothing."""
        return self.raw == b""


@dataclass(frozen=True, slots=True)
class Decoded:
    """
    What one format says of a request.

    `operation` is what the format calls the action (``graphql:mutation deleteRef``), empty
    where it names none. `names` are the words in which it says so (``deleteRef``,
    ``TerminateInstances``), for whoever reads verbs and nouns.

    `reading` is what the format itself tells: ``read`` where it promises that nothing changes
    (a GraphQL query, ``tools/list``, ``ec2:DescribeInstances``, a dry run) and something other
    than the body vouches that the server takes it in this format; ``write`` where something
    may change or it cannot be told; None where the format tells nothing (mail, gRPC).

    `documents` answers for the roots of fields that this format fills. `members` are the
    requests that a container carries, each to be decoded on its own; `sealed` says that it
    carries more than that, which cannot be opened. `records` is how many things a request acts
    on, where the format tells.
    """

    format: str
    operation: str = ""
    names: tuple[str, ...] = ()
    reading: Told | None = None
    documents: Mapping[str, Document] = field(default_factory=dict)
    members: tuple[Request, ...] = ()
    sealed: bool = False
    records: int | None = None


def told(decoded: tuple[Decoded, ...]) -> Told | None:
    """What all formats tell together: a read only where none says otherwise."""
    readings = [one.reading for one in decoded if one.reading is not None]
    if not readings:
        return None
    return "read" if all(one == "read" for one in readings) else "write"


def member(request: Request, tree: Tree) -> Request:
    """A member of a batch in JSON as a request of its own: the same, with this alone for its body."""
    headers = tuple(pair for pair in request.headers if pair[0].lower() not in ABOUT_BODY)
    return replace(request, headers=headers, body=json.dumps(tree, ensure_ascii=True).encode("ascii"))
