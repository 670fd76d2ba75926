"""
A request's head and body, read once for every format.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

from proxy.action import ABSENT, UNKNOWN, Document, Field, Reading, Request, Values
from proxy.decode import body as bodies
from proxy.decode import form, http, json, multipart
from proxy.decode.decoded import Body, Head
from proxy.decode.http import Pairs, Unreadable

_UTF_8: Final = frozenset({None, "utf-8", "utf8", "us-ascii"})
_OVERRIDES: Final = tuple(name.decode() for name in http.OVERRIDES)
# Google's servers take a method from ``$httpMethod``, and any header from ``$httpHeaders``.
_METHOD_PARAMETERS: Final = (("_method",), ("$httpMethod",))
_METHOD_MARKS: Final = (b"_method", b"$http")
# Some APIs take a method by this name in the query; only these words are one.
_ACTING: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})


def read_head(request: Request) -> Head:
    """The head; Unreadable where two servers could read it differently."""
    method = http.read_method(request.method)
    host = http.read_host(request.host)
    raw_path, _, raw_query = request.target.partition(b"?")
    path = http.read_path(raw_path)
    headers = http.read_headers(request.headers)
    kind, parameters = bodies.media_type(_text(headers, "content-type"))
    query = _query(raw_query)
    methods = (method, *_overrides(headers, query or [], raw_query))
    return Head(request, method, host, path, query, headers, kind, parameters, methods)


def _query(raw: bytes) -> Pairs | None:
    """A query that cannot be read makes its fields unknown: it says less, never more."""
    if not raw:
        return []
    if any(byte < 0x21 or byte > 0x7E for byte in raw) or b"#" in raw:
        raise Unreadable("the query has a raw byte that no URL may have")
    try:
        return http.read_pairs(raw)
    except Unreadable:
        return None


def _text(headers: Mapping[str, Values], name: str) -> str | None:
    """The only value of a header that may stand but once."""
    values = headers.get(name, ABSENT).items
    if not values:
        return None
    if values[0] is None:
        raise Unreadable(f"the header '{name}' is not text")
    return values[0]


def _overrides(headers: Mapping[str, Values], query: Pairs, raw_query: bytes) -> list[str | None]:
    """Methods that some servers would take instead of the one on the request line."""
    found: list[str | None] = []
    for name in _OVERRIDES:
        if name in headers:
            found += [value.upper() if value else None for value in headers[name].items]
    if not raw_query:
        return found
    given = [value.upper() if value else None for steps, value in query if steps in _METHOD_PARAMETERS]
    found += given
    unescaped = unquote_to_bytes(raw_query)
    if not given and any(mark in unescaped for mark in _METHOD_MARKS):
        found.append(None)
    plain = [value.upper() for steps, value in query if steps == ("method",) and value]
    return [*found, *(value for value in plain if value in _ACTING)]


def _method_fields(pairs: Pairs) -> list[str | None]:
    return [value.upper() if value else None for steps, value in pairs if steps == ("_method",)]


def read_body(head: Head) -> Body:
    """The body as its type declares it; Unreadable where it breaks its type, coding or limits."""
    raw = head.request.body
    if not raw or not (has_fields(head.kind) or is_text(head)):
        return Body(raw)
    codings = ", ".join(value or "" for value in head.headers.get("content-encoding", ABSENT).items)
    plain = bodies.undo(raw, codings) if codings else raw
    if len(plain) > bodies.MAX_DECODED:
        raise Unreadable(f"the body has fields, and is over {bodies.MAX_DECODED} bytes")
    charset = head.parameters.get("charset")
    if charset is not None and charset.lower() not in _UTF_8:
        return Body(raw)
    if json.is_json(head.kind):
        return Body(raw, plain, is_json=True, tree=json.parse(plain))
    if form.is_form(head.kind):
        return Body(raw, plain, form=form.parse(plain))
    if multipart.is_form_data(head.kind):
        return Body(raw, plain, parts=multipart.parse(plain, head.parameters.get("boundary")))
    return Body(raw, plain)


def has_fields(kind: str) -> bool:
    """Whether a media type declares fields that rules can name."""
    return json.is_json(kind) or form.is_form(kind) or multipart.is_form_data(kind)


def is_text(head: Head) -> bool:
    """Whether a format without fields of its own is read all the same: batches, GraphQL, XML, MIME."""
    return head.kind in _TEXTS or head.kind.endswith(("+xml", "x-ndjson"))


_TEXTS: Final = frozenset(
    {
        "multipart/mixed",
        "application/graphql",
        "application/xml",
        "text/xml",
        "message/rfc822",
    }
)


def body_methods(head: Head, body: Body) -> list[str | None]:
    """Methods that a form's ``_method`` names; None where it might name one."""
    if not (form.is_form(head.kind) or multipart.is_form_data(head.kind)) or body.empty:
        return []
    if body.parts is not None:
        return _method_fields(multipart.values(body.parts))
    if body.form is None:
        return [None]
    found = _method_fields(body.form)
    return [None] if not found and body.plain is not None and _hides_method(body.plain) else found


def _hides_method(plain: bytes) -> bool:
    return b";" in plain and b"_method" in unquote_to_bytes(plain)


def documents(head: Head, body: Body) -> dict[str, Document]:
    """What answers for ``query``, ``header``, ``body``, ``json``, ``form`` and ``multipart``."""
    unread = http.absent if body.empty else http.unknown
    return {
        "query": http.unknown if head.query is None else http.parameters(head.query),
        "header": http.header_document(head.headers),
        "body": _about(head, body),
        "json": json.document(body.tree) if body.is_json else unread,
        "form": unread if body.form is None else form.document(body.form, body.plain or b""),
        "multipart": unread if body.parts is None else multipart.document(body.parts),
    }


def _about(head: Head, body: Body) -> Document:
    def read(name: Field) -> Reading:
        match name:
            case ("size",) if body.raw is None:
                return head.headers.get("content-length") or UNKNOWN
            case ("size",):
                return Values((str(len(body.raw or b"")),))
            case ("type",):
                return Values((head.kind,)) if head.kind else ABSENT
            case _:
                return UNKNOWN

    return read
