"""
From bytes to an action: what a request does, and what of it could not be read.

`decode` never raises. What two servers could read differently makes the action `unreadable`;
what is well-formed but not understood is UNKNOWN to the rules, and counts against the action.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import unquote_to_bytes

from proxy.action import ABSENT, UNKNOWN, Action, Document, Field, Reading, Request, Values
from proxy.decode import body as bodies
from proxy.decode import form, http, json
from proxy.decode.http import Unreadable

__all__ = ["ALL_SEEN", "Facts", "Seen", "Unreadable", "decode"]


class Seen(Protocol):
    """What has been released before, by agent; a fold over the ledger (`proxy.ledger.seen`)."""

    def new_host(self, agent: str | None, host: str) -> bool:
        """Whether this agent has not been let through to this host before."""
        ...

    def new_operation(self, agent: str | None, host: str, operation: str) -> bool:
        """Whether this agent has not been let do this at this host before."""
        ...

    def other_credential(self, agent: str | None, host: str, credential: str) -> bool:
        """Whether this is another credential (its keyed hash) than this agent's first one at this host."""
        ...


class _Everything:
    """Without a ledger nothing is first seen (`policy explain`, cases)."""

    def new_host(self, agent: str | None, host: str) -> bool:
        return False

    def new_operation(self, agent: str | None, host: str, operation: str) -> bool:
        return False

    def other_credential(self, agent: str | None, host: str, credential: str) -> bool:
        return False


ALL_SEEN: Final[Seen] = _Everything()


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a request beside its bytes; `key` is 32 secret bytes for credential hashes."""

    seen: Seen = ALL_SEEN
    key: bytes = b""


_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_KEY_HEADERS: Final = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
_KEY_PARAMETERS: Final = ("key", "api_key", "apikey", "access_token")


def decode(request: Request, facts: Facts = Facts()) -> Action:
    """
    The request understood, as far as it has been read (`request.body` may be None).

    Pure but for `facts`; never raises.
    """
    try:
        return _decode(request, facts)
    except Unreadable as reason:
        return _unreadable(request, str(reason))
    except Exception as bug:  # a bug in a decoder refuses: nothing else may come of it
        return _unreadable(request, f"the request could not be decoded ({type(bug).__name__})")


def _unreadable(request: Request, why: str) -> Action:
    return Action(
        request=request,
        complete=request.body is not None,
        method=request.method.decode("latin-1"),
        host=request.host,
        path=request.target.partition(b"?")[0].decode("latin-1"),
        operation="unreadable",
        consequence="write",
        unreadable=why,
    )


def _decode(request: Request, facts: Facts) -> Action:
    method = http.read_method(request.method)
    host = http.read_host(request.host)
    raw_path, _, raw_query = request.target.partition(b"?")
    path = http.read_path(raw_path)
    headers = http.read_headers(request.headers)
    query, query_pairs = _read_query(raw_query)
    documents: dict[str, Document] = {"query": query, "header": http.header_document(headers)}
    methods = [method, *_overrides(headers, query_pairs, raw_query)]
    methods += _read_body(request, headers, documents)
    operation = http.operation(method, path)
    scalars: dict[str, Reading] = {
        "host": Values((host,)),
        "port": Values((str(request.port),)),
        "scheme": Values((request.scheme,)),
        "method": Values(tuple(methods)),
        "path": Values((path,)),
        "agent": UNKNOWN if request.agent is None else Values((request.agent,)),
        "operation": Values((operation,)),
    }
    consequence = _consequence(method, methods, headers, request)
    scalars["consequence"] = Values((consequence,))
    credentials = _credentials(headers, query_pairs, facts.key)
    scalars["credential"] = Values(credentials)
    documents["first_seen"] = _first_seen(facts.seen, request.agent, host, operation, credentials)
    return Action(
        request=request,
        complete=request.body is not None,
        method=method,
        host=host,
        path=path,
        operation=operation,
        consequence=consequence,
        documents=documents,
        scalars=scalars,
    )


def _read_query(raw: bytes) -> tuple[Document, http.Pairs]:
    """A query that cannot be read makes its fields unknown: it says less, never more."""
    if not raw:
        return http.absent, []
    if any(byte < 0x21 or byte > 0x7E for byte in raw) or b"#" in raw:
        raise Unreadable("the query has a raw byte that no URL may have")
    try:
        pairs = http.read_pairs(raw)
    except Unreadable:
        return http.unknown, []
    return http.parameters(pairs), pairs


def _overrides(headers: Mapping[str, Values], query: http.Pairs, raw_query: bytes) -> list[str | None]:
    """Methods that some servers would take instead of the one on the request line."""
    found: list[str | None] = []
    for name in http.OVERRIDES:
        for value in headers.get(name.decode(), ABSENT).items:
            found.append(value.upper() if value else None)
    given = [value for steps, value in query if steps == ("_method",)]
    found += [value.upper() if value else None for value in given]
    if not given and b"_method" in unquote_to_bytes(raw_query):
        found.append(None)
    return found


def _read_body(
    request: Request, headers: Mapping[str, Values], documents: dict[str, Document]
) -> list[str | None]:
    """Fill in what the body says; returns methods that a form's ``_method`` names."""
    kind, charset = bodies.media_type(_first(headers, "content-type"))
    raw = request.body
    documents["body"] = _body_document(raw, headers, kind)
    if raw == b"":
        documents["json"] = documents["form"] = documents["multipart"] = http.absent
        return []
    documents["json"] = documents["form"] = http.unknown
    if raw is None:
        return [None] if form.is_form(kind) else []
    if not (json.is_json(kind) or form.is_form(kind)):
        return []
    plain = bodies.undo(raw, _first(headers, "content-encoding") or "")
    if charset not in (None, "utf-8", "utf8", "us-ascii"):
        return [None] if form.is_form(kind) else []
    if json.is_json(kind):
        documents["json"] = json.document(json.parse(plain))
        return []
    documents["form"], pairs = form.document(plain)
    if not pairs and b"_method" in plain:
        return [None]
    return [value.upper() if value else None for steps, value in pairs if steps == ("_method",)]


def _body_document(raw: bytes | None, headers: Mapping[str, Values], kind: str) -> Document:
    told: Reading = headers.get("content-length") or UNKNOWN
    size = told if raw is None else Values((str(len(raw)),))
    readings: dict[Field, Reading] = {
        ("size",): size,
        ("type",): Values((kind,)) if kind else ABSENT,
    }
    return lambda name: readings.get(name, UNKNOWN)


def _first(headers: Mapping[str, Values], name: str) -> str | None:
    """The only value of a header that may stand but once."""
    values = headers.get(name, ABSENT).items
    if not values:
        return None
    if values[0] is None:
        raise Unreadable(f"the header '{name}' is not text")
    return values[0]


def _consequence(
    method: str, methods: list[str | None], headers: Mapping[str, Values], request: Request
) -> str:
    """Read is exactly GET, HEAD or OPTIONS that carry nothing which could make them more."""
    bodiless = request.body == b""
    upgrades = "upgrade" in headers or ":protocol" in headers
    return "read" if method in _READS and len(methods) == 1 and bodiless and not upgrades else "write"


def _credentials(headers: Mapping[str, Values], query: http.Pairs, key: bytes) -> tuple[str, ...]:
    """Keyed hashes of what the request says it may act with (16 hex digits each)."""
    given = [value for name in _KEY_HEADERS for value in headers.get(name, ABSENT).items]
    given += [value for steps, value in query if len(steps) == 1 and steps[0].lower() in _KEY_PARAMETERS]
    return tuple(fingerprint(value or "", key) for value in given)


def fingerprint(credential: str, key: bytes) -> str:
    """A keyed hash of a credential: equal for equal ones, and nothing else can be told from it."""
    named = _credential_name(credential)
    return hashlib.blake2b(named.encode("utf-8", "surrogatepass"), key=key, digest_size=8).hexdigest()


def _credential_name(credential: str) -> str:
    """What of an AWS signature stays the same from one request to the next: the key's id."""
    if not credential.startswith("AWS4-HMAC-"):
        return credential
    scope = credential.partition("Credential=")[2].partition(",")[0]
    return scope.partition("/")[0]


def _first_seen(
    seen: Seen, agent: str | None, host: str, operation: str, credentials: tuple[str, ...]
) -> Document:
    def text(first: bool) -> Values:
        return Values(("true" if first else "false",))

    def read(name: Field) -> Reading:
        match name:
            case ("host",):
                return text(seen.new_host(agent, host))
            case ("operation",):
                return text(seen.new_operation(agent, host, operation))
            case ("credential",):
                return text(any(seen.other_credential(agent, host, one) for one in credentials))
            case _:
                return UNKNOWN

    return read
