"""
Containers of requests: what is inside, each as a request of its own.

Google's and OData's multipart/mixed, the JSON batches of Microsoft Graph, Azure, Facebook and
Asana, and Elasticsearch's ``_bulk``. A member goes to its container's address with its
container's credentials. What cannot be opened is said to be there (`sealed`): it may be anything.
"""

from __future__ import annotations

import json as stdlib_json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import quote

from proxy.action import Header, Request
from proxy.decode import json, multipart
from proxy.decode.decoded import ABOUT_BODY, Body, Decoded, Head
from proxy.decode.http import Unreadable
from proxy.decode.json import Tree

MAX_MEMBERS: Final = 1_000
MAX_NESTED: Final = 3
MAX_BULK: Final = 2_000

_BATCH: Final = re.compile(
    r"(?P<base>(?:/[^/]*)*?)/(?P<last>(?:\$|%24)?batch)(?P<below>(?:/[^/]+)*)/?", re.IGNORECASE
)
_PARAMETERS: Final = re.compile(r";[^/]*")
_BULK: Final = re.compile(r"(?P<base>(?:/[^/]*)*?)(?:/(?P<index>[^/_][^/]*))?/_bulk/?")
_LINE: Final = re.compile(rb"([A-Za-z]{3,10}) ([!-~]{1,8000})(?: HTTP/1\.[01])?")
_FIELD: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,200}):[ \t]*([^\r\n\x00]{0,8000})")
_GRAPH_API: Final = "graph.facebook.com"

# Hosts whose path ``/batch`` is a container; elsewhere it may be an endpoint of its own.
_SERVERS: Final = frozenset({"app.asana.com", "management.azure.com"})

_METHODS: Final = ("method", "httpMethod")
_URLS: Final = ("url", "relativeUrl", "relative_url", "relative_path")
_BODIES: Final = ("body", "content", "data")
_LISTS: Final = ("requests", "actions")


def decode(head: Head, body: Body) -> Decoded | None:
    """What a batch carries; None where a request is none."""
    if head.method not in ("POST", "PUT", "PATCH"):
        return None
    if head.path.endswith("/_bulk") and (found := _BULK.fullmatch(head.path)):
        return _bulk(head, body, found)
    if head.host == _GRAPH_API and (texts := _facebook(head, body)) is not None:
        return _of_texts(head, texts)
    if "batch" not in head.path.lower() and head.parameter("comp") != ("batch",):
        return None
    found = _BATCH.fullmatch(head.path)
    if head.kind == "multipart/mixed":
        return _mixed(head, body, found["base"] if found else "")
    if found is None:
        return _otherwise(head)
    if found["below"]:
        return None
    certain = found["last"].lower() != "batch" or head.host in _SERVERS
    return _json(head, body, found["base"], certain=certain)


def _otherwise(head: Head) -> Decoded | None:
    """A container for servers that pass over parameters, or take ``%2F`` for a slash."""
    found = _BATCH.fullmatch(_PARAMETERS.sub("", head.path).replace("%2F", "/"))
    certain = found and (found["last"].lower() != "batch" or head.host in _SERVERS)
    return _SEALED if found and certain and not found["below"] else None


# -- JSON ------------------------------------------------------------------------------------


def _json(head: Head, body: Body, base: str, *, certain: bool) -> Decoded | None:
    """`certain` says that the path alone tells a batch."""
    if body.is_json:
        items = _items(body.tree)
        if items is not None:
            found = _of_items(head, items, base)
            return found if certain else replace(found, reading="write")
        return _SEALED if certain else None
    return _SEALED if certain or (body.raw is None and json.is_json(head.kind)) else None


def _items(tree: Tree) -> Sequence[Tree] | None:
    """The list of requests in a batch, None where the body is no batch."""
    if isinstance(tree, dict) and tree.keys() == {"data"}:
        tree = tree["data"]
    if not isinstance(tree, dict) or len(tree) != 1:
        return None
    (key, items), *_ = tree.items()
    if key not in _LISTS or not isinstance(items, list):
        return None
    return items if all(isinstance(one, dict) and any(url in one for url in _URLS) for one in items) else None


def _of_items(head: Head, items: Sequence[Tree], base: str) -> Decoded:
    if len(items) > MAX_MEMBERS:
        return _SEALED
    members: list[Request] = []
    sealed = False
    for item in items:
        opened = _item(head, item, base)
        members += opened
        sealed = sealed or not opened
    return Decoded("batch", members=tuple(members), sealed=sealed, records=len(items))


def _item(head: Head, item: Tree, base: str) -> list[Request]:
    """One member, in each way in which its URL may be meant; none where it cannot be opened."""
    if not isinstance(item, dict):
        return []
    method, url = _only(item, _METHODS), _only(item, _URLS)
    headers = item.get("headers", {})
    if not isinstance(method, str) or not isinstance(url, str) or not isinstance(headers, dict):
        return []
    fields = [(name, value) for name, value in headers.items() if isinstance(value, str)]
    if len(fields) != len(headers) or not _plain(url, *(text for pair in fields for text in pair)):
        return []
    content = _only(item, _BODIES, default="")
    kind = next((value for name, value in fields if name.lower() == "content-type"), None)
    sent = _content(head, content, kind)
    if sent is None:
        return []
    raw, assumed = sent
    extra = [(name.encode(), value.encode()) for name, value in fields]
    if kind is None and assumed:
        extra.append((b"content-type", assumed))
    verb = method.upper().encode("ascii", "replace")
    return [_member(head, verb, target, extra, raw) for target in _targets(head, url, base)]


def _only(item: dict[str, Tree], names: Sequence[str], default: Tree = None) -> Tree:
    found = [name for name in names if name in item]
    return item[found[0]] if len(found) == 1 else default if not found else None


def _plain(*texts: str) -> bool:
    return all(text.isascii() and text.isprintable() and len(text) <= 8_000 for text in texts)


def _content(head: Head, content: Tree, kind: str | None) -> tuple[bytes, bytes] | None:
    """A member's body, and the type that it has where none is named; None where it is sealed."""
    if content in ("", None):
        return b"", b""
    if not isinstance(content, str) or (kind and json.is_json(kind.partition(";")[0].strip().lower())):
        return stdlib_json.dumps(content).encode("ascii"), b"application/json"
    if head.host == _GRAPH_API:
        return content.encode("utf-8", "replace"), b"application/x-www-form-urlencoded"
    return None


def _targets(head: Head, url: str, base: str) -> list[bytes]:
    """Where a member goes: below the container's root, or the host's where that may be meant."""
    if not url.startswith("/"):
        target = _target(head, url, base)
        return [] if target is None else [target]
    below = f"{base}{url}".encode()
    return [below] if not base or head.host.startswith("graph.") else [below, url.encode()]


def _target(head: Head, url: str, base: str) -> bytes | None:
    """Where a URL leads that is absolute, or relative to the container; None for another host."""
    prefix = f"{head.request.scheme}://{head.host}/"
    if url.lower().startswith(prefix):
        return url[len(prefix) - 1 :].encode()
    if "://" in url or url.startswith(("//", "$")):
        return None
    return url.encode() if url.startswith("/") else f"{base}/{url}".encode()


def _member(head: Head, method: bytes, target: bytes, extra: Sequence[Header], body: bytes) -> Request:
    """A request of its own: the container's headers, those that it names replaced."""
    own = {name.lower() for name, _ in extra} | ABOUT_BODY | {b"content-type"}
    kept = [pair for pair in head.request.headers if pair[0].lower() not in own]
    return replace(head.request, method=method, target=target, headers=(*kept, *extra), body=body)


def _facebook(head: Head, body: Body) -> list[str | None] | None:
    """The texts of Facebook's parameter ``batch``, wherever it may stand; None without one."""
    found = [*(head.parameter("batch") or ())]
    pairs = body.form if body.form is not None else multipart.values(body.parts or ())
    found += [value for steps, value in pairs if steps == ("batch",)]
    if isinstance(body.tree, dict) and "batch" in body.tree:
        given = body.tree["batch"]
        found.append(given if isinstance(given, str) else stdlib_json.dumps(given))
    return found or None


def _of_texts(head: Head, texts: Sequence[str | None]) -> Decoded:
    if len(texts) != 1 or not texts[0]:
        return _SEALED
    try:
        tree = json.parse(texts[0].encode("utf-8"))
    except Unreadable:
        return _SEALED
    version = re.match(r"/v\d+\.\d+(?=/|\Z)", head.path)
    return _of_items(head, tree, version[0] if version else "") if isinstance(tree, list) else _SEALED


# -- multipart/mixed -------------------------------------------------------------------------


def _mixed(head: Head, body: Body, base: str) -> Decoded:
    if body.plain is None:
        return _SEALED
    members: list[Request] = []
    try:
        for part in _parts(body.plain, head.parameters.get("boundary"), 1):
            if len(members) >= MAX_MEMBERS:
                return _SEALED
            opened = _http(head, part.content, base)
            if opened is None:
                return _SEALED
            members.append(opened)
    except Unreadable:
        return _SEALED
    return Decoded("batch", members=tuple(members), records=len(members))


def _parts(content: bytes, boundary: str | None, depth: int) -> Iterator[multipart.Part]:
    """Every part that is a request; change sets are containers of their own."""
    for part in multipart.split(content, boundary, line_feeds=True):
        if part.kind == "multipart/mixed" and depth < MAX_NESTED:
            inner = re.search(r'boundary="?([^";]+)"?\Z', part.headers["content-type"], re.IGNORECASE)
            yield from _parts(part.content, inner[1] if inner else None, depth + 1)
        elif part.kind == "application/http":
            yield part
        else:
            raise Unreadable("a part of the batch is no request")


def _http(head: Head, raw: bytes, base: str) -> Request | None:
    """An HTTP request in a part (application/http, RFC 9112 section 10.2); None where it is sealed."""
    end = b"\r\n" if b"\r\n" in raw else b"\n"
    top, _, content = raw.partition(end + end)
    first, *lines = top.strip(end).split(end)
    found = _LINE.fullmatch(first)
    fields = [_FIELD.fullmatch(line) for line in lines]
    if found is None or not all(fields):
        return None
    extra = [(one[1].lower(), one[2]) for one in fields if one]
    given = dict(extra)
    if len(given) != len(extra) or given.get(b"host", head.host.encode()).lower() != head.host.encode():
        return None
    if b"transfer-encoding" in given or b"content-encoding" in given:
        return None
    content = content.strip(b"\r\n") if not content.strip(b"\r\n") else content
    if given.get(b"content-length", b"%d" % len(content)) not in _lengths(content):
        return None
    extra = [pair for pair in extra if pair[0] not in (b"host", b"content-length")]
    target = _target(head, found[2].decode("ascii"), base)
    return None if target is None else _member(head, found[1].upper(), target, extra, content)


def _lengths(content: bytes) -> tuple[bytes, ...]:
    """Lengths that may be declared: clients differ in whether the line ends after a body belong to it."""
    bare = content.rstrip(b"\r\n")
    return tuple(b"%d" % length for length in range(len(bare), len(content) + 1))


# -- Elasticsearch's bulk --------------------------------------------------------------------


_ACTS: Final = {
    "index": (b"PUT", "_doc"),
    "create": (b"PUT", "_create"),
    "update": (b"POST", "_update"),
    "delete": (b"DELETE", "_doc"),
}


def _bulk(head: Head, body: Body, found: re.Match[str]) -> Decoded:
    """One member for each kind of act on each index: a thousand documents are a thousand of the same."""
    if body.plain is None or not head.kind.endswith("x-ndjson"):
        return _SEALED
    members: dict[tuple[str, str], Request] = {}
    lines = iter(body.plain.split(b"\n", MAX_BULK + 1))
    count = 0
    for line in lines:
        if not line.strip():
            continue
        act = _act(line)
        if act is None or count >= MAX_BULK:
            return _SEALED
        count += 1
        word, index, id = act
        if word != "delete":
            next(lines, None)
        index = index or found["index"] or ""
        if (word, index) not in members:
            method, kind = _ACTS[word]
            target = f"{found['base']}/{quote(index, safe='')}/{kind}/{quote(id, safe='')}"
            members[word, index] = _member(head, method, target.rstrip("/").encode(), (), b"")
    return Decoded("batch", members=tuple(members.values()), sealed=not members, records=count)


def _act(line: bytes) -> tuple[str, str, str] | None:
    try:
        tree = json.parse(line)
    except Unreadable:
        return None
    if not isinstance(tree, dict) or len(tree) != 1:
        return None
    (word, meta), *_ = tree.items()
    if word not in _ACTS or not isinstance(meta, dict):
        return None
    index, id = meta.get("_index", ""), meta.get("_id", "")
    return (word, index, id) if isinstance(index, str) and isinstance(id, str) else None


_SEALED: Final = Decoded("batch", sealed=True)
