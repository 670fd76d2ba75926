"""
From bytes to an action: what a request does, and what of it could not be read.

`decode` never raises. What two servers could read differently makes the action `unreadable`;
what is well-formed but not understood is UNKNOWN to the rules, and counts against the action.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from proxy.action import ABSENT, UNKNOWN, Action, Document, Field, Reading, Request, Values
from proxy.decode import formats, http, message, recipients
from proxy.decode.aws_routes import NO_SERVICES, Services
from proxy.decode.consequence import CONSEQUENCES, Likely, body_matters, likely
from proxy.decode.decoded import Body, Decoded, Head, told
from proxy.decode.http import Unreadable
from proxy.decode.once import Once, Scalars

__all__ = ["ALL_SEEN", "Facts", "Seen", "Unreadable", "decode"]


class Seen(Protocol):
    """What has been released before, by agent; a fold over the ledger (`proxy.ledger.seen`)."""

    def new_host(self, agent: str | None, host: str) -> bool:
        """Whether this agent has not been let through to this host before."""
        ...

    def new_operation(self, agent: str | None, host: str, operation: str) -> bool:
        """Whether this agent has not been let do this at this host before."""
        ...

    def new_recipient(self, agent: str | None, recipient: str) -> bool:
        """Whether this agent has not reached this recipient (its keyed hash) before."""
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

    def new_recipient(self, agent: str | None, recipient: str) -> bool:
        return False

    def other_credential(self, agent: str | None, host: str, credential: str) -> bool:
        return False


ALL_SEEN: Final[Seen] = _Everything()


@dataclass(frozen=True, slots=True)
class Facts:
    """
    What is known of a request beside its bytes.

    `key` is 32 secret bytes for credential hashes, `services` what AWS's models say.
    """

    seen: Seen = ALL_SEEN
    key: bytes = b""
    services: Services = NO_SERVICES


MAX_DEPTH: Final = 3
MAX_MEMBERS: Final = 1_000
MAX_NAMED: Final = 3

_KEY_HEADERS: Final = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
_KEY_PARAMETERS: Final = ("key", "api_key", "apikey", "access_token")


def decode(request: Request, facts: Facts = Facts()) -> Action:
    """
    The request understood, as far as it has been read (`request.body` may be None).

    Pure but for `facts`; never raises.
    """
    try:
        return _decode(request, facts, _Budget())
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
        unreadable=why,
    )


@dataclass(slots=True)
class _Budget:
    """How many members a request may still have, all its containers together."""

    members: int = MAX_MEMBERS


def _decode(request: Request, facts: Facts, budget: _Budget, depth: int = 0) -> Action:
    head = message.read_head(request)
    body = message.read_body(head)
    decoded = formats.decode(head, body, facts.services)
    members = _members(request, decoded, facts, budget, depth)
    methods = (*head.methods, *message.body_methods(head, body))
    operation = _operation(head, decoded, members)
    documents = message.documents(head, body)
    documents |= formats.documents(head, body, decoded)
    if members:
        documents |= {root: _of_any(members, root) for root in formats.ROOTS}
    credentials = Once(lambda: _credentials(head, facts.key))
    marks = Once(lambda: recipients.marks(body, decoded, facts.key))
    documents["first_seen"] = _first_seen(facts.seen, request, head.host, operation, credentials, marks)
    does = Once(lambda: _likely(head, body, decoded, methods, members))
    return Action(
        request=request,
        complete=request.body is not None,
        method=head.method,
        host=head.host,
        path=head.path,
        operation=operation,
        documents=documents,
        scalars=Scalars(
            {
                "host": Values((head.host,)),
                "method": Values(methods),
                "path": Values((head.path,)),
            },
            {
                "port": lambda: Values((str(request.port),)),
                "scheme": lambda: Values((request.scheme,)),
                "agent": lambda: UNKNOWN if request.agent is None else Values((request.agent,)),
                "operation": lambda: UNKNOWN if request.body is None else Values((operation,)),
                "consequence": lambda: _consequence(head, body, does()),
                "consequence_why": lambda: Values((does().why,)),
                "gravest": lambda: Values(does().words[:1]),
                "credential": lambda: Values(credentials()),
            },
        ),
        members=members,
    )


def _consequence(head: Head, body: Body, does: Likely) -> Reading:
    return Values(does.words) if does.certain and not body_matters(head, body) else UNKNOWN


def _likely(
    head: Head,
    body: Body,
    decoded: tuple[Decoded, ...],
    methods: tuple[str | None, ...],
    members: tuple[Action, ...],
) -> Likely:
    """What the action would do; a container does what its members do, and more where it may be none."""
    if not members:
        return likely(head, body, decoded, methods)
    plain = len(methods) == 1 and told(decoded) != "write" and "upgrade" not in head.headers
    does = {word for member in members for word in _words(member)} | (set() if plain else {"write"})
    return Likely(tuple(sorted(does, key=CONSEQUENCES.index, reverse=True)), "a batch of requests")


def _words(action: Action) -> tuple[str, ...]:
    reading = action.scalars.get("consequence", UNKNOWN)
    return tuple(filter(None, reading.items)) if isinstance(reading, Values) else (action.consequence,)


def _of_any(members: tuple[Action, ...], root: str) -> Document:
    """Reads a field of every member of a container."""

    def read(name: Field) -> Reading:
        found: list[str | None] = []
        for member in members:
            reading = member.read((root, *name))
            if not isinstance(reading, Values):
                return UNKNOWN
            found += reading.items
        return Values(tuple(found))

    return read


def _operation(head: Head, decoded: tuple[Decoded, ...], members: tuple[Action, ...]) -> str:
    named = next((one.operation for one in decoded if one.operation), "")
    if not members:
        return named or http.operation(head.method, head.path)
    inside = list(dict.fromkeys(member.operation for member in members))
    more = f" and {len(inside) - MAX_NAMED} more" if len(inside) > MAX_NAMED else ""
    return f"batch: {', '.join(inside[:MAX_NAMED])}{more}"


def _members(
    request: Request, decoded: tuple[Decoded, ...], facts: Facts, budget: _Budget, depth: int
) -> tuple[Action, ...]:
    """What a container carries; what cannot be opened stands for anything."""
    if not decoded:
        return ()
    sealed = any(one.sealed for one in decoded)
    inside = [member for one in decoded for member in one.members]
    if inside and (depth >= MAX_DEPTH or len(inside) > budget.members):
        inside, sealed = [], True
    budget.members -= len(inside)
    members = [_decode(member, facts, budget, depth + 1) for member in inside]
    return (*members, _anything(request)) if sealed else tuple(members)


def _anything(request: Request) -> Action:
    """A request of which only the sender and the address are known."""
    host = http.read_host(request.host)
    known: dict[str, Reading] = {
        "host": Values((host,)),
        "port": Values((str(request.port),)),
        "scheme": Values((request.scheme,)),
        "agent": UNKNOWN if request.agent is None else Values((request.agent,)),
    }
    return Action(
        request=request,
        complete=True,
        method="",
        host=host,
        path="",
        operation="a request that cannot be opened",
        scalars=known,
    )


def _credentials(head: Head, key: bytes) -> tuple[str, ...]:
    """Keyed hashes of what the request says it may act with (16 hex digits each)."""
    given = [value for name in _KEY_HEADERS for value in head.headers.get(name, ABSENT).items]
    given += [
        value for steps, value in head.query or [] if len(steps) == 1 and steps[0].lower() in _KEY_PARAMETERS
    ]
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
    seen: Seen,
    request: Request,
    host: str,
    operation: str,
    credentials: Callable[[], tuple[str, ...]],
    marks: Callable[[], Reading],
) -> Document:
    """Reads ``first_seen.A``; the marks themselves are for whoever writes down what was released."""
    agent = request.agent

    def read(name: Field) -> Reading:
        match name:
            case ("host",):
                return _truth(seen.new_host(agent, host))
            case ("operation",) if request.body is not None:
                return _truth(seen.new_operation(agent, host, operation))
            case ("credential",):
                return _truth(any(seen.other_credential(agent, host, one) for one in credentials()))
            case ("recipient",):
                new = recipients.any_new(marks(), lambda mark: seen.new_recipient(agent, mark))
                return UNKNOWN if new is None else _truth(new)
            case ("recipient", "marks"):
                return marks()
            case _:
                return UNKNOWN

    return read


def _truth(holds: bool) -> Values:
    return Values(("true" if holds else "false",))
