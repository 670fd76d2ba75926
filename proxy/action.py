"""
What an agent asked for: the exact bytes (`Request`), and the request understood (`Action`).

Both are frozen. A `Request` is what may leave and what a reviewer decides about, named by
its digest; an `Action` is what rules are judged on.

A field of an action is *read* as one of three things, and the difference matters, because
what cannot be read must never help a request:

``Values(items)``   what is there; an item of ``None`` is a value that cannot be read
``ABSENT``          its container was read and lacks it (``Values(())``)
``UNKNOWN``         nobody can say: the body was not read, is opaque, or is of another format
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

type Header = tuple[bytes, bytes]
type Field = tuple[str, ...]
"""A field's name in steps: ``form.amount`` is ``("form", "amount")``."""


class Values(NamedTuple):
    """Every value found under a name, in order; an item of None could not be read."""

    items: tuple[str | None, ...]


class Unknown:
    """The type of `UNKNOWN`; there is one of it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "UNKNOWN"


ABSENT: Final = Values(())
UNKNOWN: Final = Unknown()

type Reading = Values | Unknown


@dataclass(frozen=True, slots=True)
class Request:
    """
    The bytes that an agent sent, and the address that they would go to.

    `host` and `port` are the address that will be dialled, `target` is the request target in
    origin form (path and query, as on the wire), `body` is None while it has not been read.
    `agent` is ``uid:NAME``, or None where nobody can say.
    """

    agent: str | None
    method: bytes
    scheme: str
    host: str
    port: int
    target: bytes
    headers: tuple[Header, ...]
    body: bytes | None = None
    version: str = "HTTP/1.1"

    @property
    def url(self) -> str:
        """The URL for people: secrets are still in it (see `proxy.redact`)."""
        default = {"http": 80, "https": 443}.get(self.scheme)
        host = f"[{self.host}]" if ":" in self.host else self.host
        authority = host if self.port == default else f"{host}:{self.port}"
        return f"{self.scheme}://{authority}{self.target.decode('ascii', 'backslashreplace')}"

    def header(self, name: bytes) -> list[bytes]:
        """All values of one header, in order; `name` in lower case."""
        return [value for key, value in self.headers if key.lower() == name]

    def with_body(self, body: bytes) -> Request:
        """The same request, its body read."""
        return replace(self, body=body)


# Headers that differ from one attempt to the next, that the gate itself writes, or that are for the
# gate alone and never sent: no part of what was reviewed. A closed list; anything else that changes
# is another request.
_PASSING: Final = frozenset(
    b"connection te expect content-length user-agent date x-amz-date traceparent tracestate "
    b"x-request-id idempotency-key x-sluice-confidence".split()
)
_PASSING_PREFIXES: Final = (b"proxy-", b"x-stainless-", b"amz-sdk-")
_DIGEST_TAG: Final = b"sluice.request.v1\0"


def passing(name: bytes) -> bool:
    """Whether a header (`name` in lower case) is left out of the digest, so that nobody reviews it."""
    return name in _PASSING or name.startswith(_PASSING_PREFIXES)


def digest(request: Request) -> bytes:
    """
    SHA-256 over everything of a request that a decision is about (32 bytes).

    Each part is written with its length before it, so that no two requests share bytes.
    The signature of AWS4-HMAC is left out (it changes with the date), its scope is not.
    """
    parts = [
        (request.agent or "").encode(),
        request.method,
        request.scheme.encode(),
        request.host.encode(),
        b"%d" % request.port,
        request.target,
    ]
    for key, value in request.headers:
        name = key.lower()
        if passing(name):
            continue
        parts += (name, _unsigned(value) if name == b"authorization" else value)
    parts.append(request.body or b"")
    hashed = hashlib.sha256(_DIGEST_TAG)
    hashed.update(b"%d\0" % len(parts))
    for part in parts:
        hashed.update(b"%d\0" % len(part))
        hashed.update(part)
    return hashed.digest()


def _unsigned(value: bytes) -> bytes:
    if not value.startswith(b"AWS4-HMAC-"):
        return value
    return b",".join(part for part in value.split(b",") if not part.strip().startswith(b"Signature="))


type Document = Callable[[Field], Reading]
"""Reads the steps below a root: ``("amount",)`` of ``form``."""


@dataclass(frozen=True, slots=True)
class Action:
    """
    A request understood.

    `unreadable` says why two servers could read these bytes differently, or why a body breaks
    the type it declares; such a request never leaves. `complete` is False while the body has
    not been read. `host`, `path` and `method` are normalised once, here and nowhere else.
    `documents` answers for every root of a field that has steps below it (``json``, ``form``,
    ``query``, ``header`` …), `scalars` for those without (``host``, ``consequence`` …); either may
    be worked out when it is first asked for.
    `members` are the requests that a batch carries: it is judged by the worst of them and itself.
    """

    request: Request
    complete: bool
    method: str
    host: str
    path: str
    operation: str
    unreadable: str | None = None
    documents: Mapping[str, Document] = field(default_factory=dict)
    scalars: Mapping[str, Reading] = field(default_factory=dict)
    members: tuple[Action, ...] = ()

    def bare(self) -> Action:
        """The same without what was parsed of its body, which may take thirty times as much memory."""
        return replace(self, documents={}, scalars=dict(self.scalars), members=())

    @property
    def consequence(self) -> str:
        """The gravest that it would do as far as it was read, for people; rules read the field."""
        found = self.scalars.get("gravest", UNKNOWN)
        return (found.items[0] if isinstance(found, Values) and found.items else None) or "write"

    def read(self, name: Field) -> Reading:
        """What stands under a field's name; a root that nobody decoded is UNKNOWN."""
        if len(name) == 1:
            return self.scalars.get(name[0], UNKNOWN)
        document = self.documents.get(name[0])
        return UNKNOWN if document is None else document(name[1:])
