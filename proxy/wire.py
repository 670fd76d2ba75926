"""
What a reviewer sees and does, as values: the same in the console, over the control socket,
and in `--json`.

Text in these values is what the agent wrote, secrets removed but not yet made safe for a
terminal: `proxy.render` escapes it at the last moment, in one place.

At the end: the lines of the control socket. A message is one JSON object on one line; what is
not exactly one of ours is an error, never a guess.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, Protocol, get_args, get_origin, get_type_hints

from proxy.errors import Exit, Problem, SluiceError, fail


@dataclass(frozen=True, slots=True)
class ReviewView:
    """One answer so far: who, what, when (Unix seconds), why."""

    reviewer: str
    approves: bool
    time: float
    reason: str


@dataclass(frozen=True, slots=True)
class HoldView:
    """
    A hold as people see it (`sluice holds --json` has these names).

    `opened` and `deadline` are Unix time in seconds; over the wire and in JSON they are
    RFC 3339 in UTC. `digest` is hex. `show` maps a field's name to its values as text.
    `state` is a word of `proxy.hold.State`; `cause` and `by` say how a settled one ended.
    `blast` says how far it reaches: ``recipients``, ``records``, ``amount``, ``currency``, as far
    as anything says so; `first_seen` which of host, operation, recipient and credential this
    agent has not used before. Both are as they were when the hold opened.
    `headers` and `body` are empty but in the whole view (`Desk.show`); `body_note` says what
    of the body is not shown and why.
    """

    id: str
    rule: str
    rules: tuple[str, ...]
    why: str
    agent: str
    method: str
    url: str
    operation: str
    says: str
    show: Mapping[str, tuple[str, ...]]
    digest: str
    opened: float
    deadline: float
    approvals_needed: int
    reviews: tuple[ReviewView, ...] = ()
    attempts: int = 1
    agent_waiting: bool = True
    state: str = "pending"
    cause: str = ""
    by: tuple[str, ...] = ()
    tier: str = "medium"
    reversible: bool | None = None
    unknown: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()
    blast: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    first_seen: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    body_note: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """
    The gate at a glance.

    `locked` says why no decision is taken, empty where one is (a `sluice run` that ended
    without goodbye). `policy_change` is the difference of a changed policy that waits to be
    taken and `policy_next` its digest (hex), `policy_error` the problems of one that does not
    load; all empty otherwise.
    `paused` names the agents that are paused, ``*`` for all. `witness_error` says which witnesses
    do not keep what they are sent.
    """

    proxy: str
    policy: str
    shadow: bool = False
    paused: tuple[str, ...] = ()
    locked: str = ""
    policy_change: str = ""
    policy_next: str = ""
    policy_error: str = ""
    allowed: int = 0
    held: int = 0
    refused: int = 0
    ledger_error: str = ""
    witness_error: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """
    Something happened at the desk.

    `kind` is ``opened``, ``reviewed``, ``settled`` (with `hold`) or ``status`` (with `status`).
    """

    kind: str
    hold: HoldView | None = None
    status: Status | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything on the desk at one moment: pending holds, oldest first, and the status."""

    status: Status
    holds: tuple[HoldView, ...] = field(default=())


class Verb(StrEnum):
    """What can be asked over the control socket; one call a connection, but for the last two."""

    CHANGES = "changes"
    SNAPSHOT = "snapshot"
    STATUS = "status"
    SHOW = "show"
    REVIEW = "review"
    PAUSE = "pause"
    RESUME = "resume"
    ACCEPT = "accept"
    UNLOCK = "unlock"
    ERASE = "erase"
    RUN_HELLO = "run-hello"
    RUN_GOODBYE = "run-goodbye"


@dataclass(frozen=True, slots=True)
class Call:
    """
    One question to the gate; the fields are those of the `Desk` verb of the same name.

    `name` is what `--as` asked for, None for the person's first name.
    """

    verb: Verb
    name: str | None = None
    prefix: str = ""
    approves: bool = False
    reason: str = ""
    digest: str | None = None
    agent: str | None = None
    policy: str | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """The head of a snapshot on the wire: `count` holds follow, one a line."""

    status: Status
    count: int


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the answer is no: a SluiceError on its way to another process."""

    exit: int
    problems: tuple[Problem, ...]

    def error(self) -> SluiceError:
        """The error to raise where the answer arrives."""
        return SluiceError(*self.problems, exit=Exit(self.exit))


type Message = Call | Listing | HoldView | Status | Change | Failure
"""Everything that crosses the control socket."""


class Desk(Protocol):
    """
    What a reviewer can do, whoever carries it: in-process for the console of `up`, over the
    control socket for `review`, `holds`, `approve` and the rest.

    Every verb raises SluiceError with exit 1 where the answer is no (the hold is gone, not
    yours to decide, the desk is locked), exit 3 where no proxy is there.
    """

    def changes(self) -> AsyncIterator[Snapshot | Change]:
        """A Snapshot first, then every Change from that moment on, none missed between."""
        ...

    async def snapshot(self) -> Snapshot:
        """The desk now."""
        ...

    async def show(self, prefix: str) -> HoldView:
        """One hold, whole; `prefix` is any unique prefix of its id, settled ones for a while too."""
        ...

    async def review(
        self, prefix: str, *, approves: bool, reason: str = "", digest: str | None = None
    ) -> HoldView:
        """
        Answer a hold; returns it as it is once the answer is on disk.

        With `digest` (hex) the answer counts only for exactly that request.
        """
        ...

    async def pause(self, agent: str | None = None) -> Status:
        """Refuse everything (of one agent) until `resume`; open holds are refused too."""
        ...

    async def resume(self, agent: str | None = None) -> Status:
        """End a pause."""
        ...

    async def accept(self, policy: str | None = None) -> Status:
        """Take the changed policy; with `policy` (digest, hex) only exactly that one."""
        ...

    async def erase(self, prefix: str, reason: str) -> Status:
        """Erase what the ledger keeps beside the entries of one hold; that it was, and why, stays."""
        ...

    async def unlock(self) -> Status:
        """Take decisions again after an agent's `sluice run` ended without goodbye (console only)."""
        ...


CALL_LIMIT: Final = 64 * 1024
"""Bytes of the longest line that the gate reads from a client, line feed included."""

LINE_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of the longest line that a client reads: a whole hold, its body escaped at worst."""

_MESSAGES: Final[Mapping[str, type[Message]]] = {
    "call": Call,
    "listing": Listing,
    "hold": HoldView,
    "status": Status,
    "change": Change,
    "failure": Failure,
}
_NAMES: Final = {type_: name for name, type_ in _MESSAGES.items()}
_TIMES: Final = frozenset({"opened", "deadline", "time"})
_TAKES: Final[Mapping[Verb, frozenset[str]]] = {
    Verb.SHOW: frozenset({"prefix"}),
    Verb.REVIEW: frozenset({"prefix", "approves", "reason", "digest"}),
    Verb.PAUSE: frozenset({"agent"}),
    Verb.RESUME: frozenset({"agent"}),
    Verb.ACCEPT: frozenset({"policy"}),
    Verb.ERASE: frozenset({"prefix", "reason"}),
}
_LISTED: Final = (
    "id", "rule", "rules", "why", "agent", "method", "url", "operation", "show", "digest", "opened",
    "deadline", "approvals_needed", "reviews", "attempts", "agent_waiting",
)  # fmt: skip


def hold_json(view: HoldView) -> dict[str, object]:
    """A hold as `sluice holds --json` prints it: the names of the contract, no more."""
    return {name: value for name, value in whole_json(view).items() if name in _LISTED}


def whole_json(view: HoldView) -> dict[str, object]:
    """A hold as `sluice show --json` prints it: everything there is to see."""
    return _fields(view)


def encode(message: Message) -> bytes:
    """One line, line feed included; ASCII, so that no text in it can act on a terminal."""
    body = _fields(message)
    if isinstance(message, Call):
        taken = {"verb", "name"} | _TAKES.get(message.verb, frozenset())
        body = {name: value for name, value in body.items() if name in taken}
    return json.dumps({"message": _NAMES[type(message)], **body}).encode() + b"\n"


def decode(line: bytes) -> Message:
    """
    The message that a line holds.

    Raises SluiceError for a line that is no JSON object, an unknown message, a field that is
    missing, unknown, twice there or of another type.
    """
    try:
        body = json.loads(line, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _malformed(f"no JSON that we write: {error}") from None
    if not isinstance(body, dict):
        raise _malformed("not a JSON object")
    name = body.pop("message", None)
    type_ = _MESSAGES.get(name) if isinstance(name, str) else None
    if type_ is None:
        raise _malformed(f"unknown message {name!r:.40}")
    message: Message = _built_call(body) if type_ is Call else _built(type_, body)
    if isinstance(message, Change) and message.kind not in ("opened", "reviewed", "settled", "status"):
        raise _malformed(f"unknown change {message.kind!r:.40}")
    return message


def snapshot_lines(snapshot: Snapshot) -> Iterator[bytes]:
    """A snapshot line by line, so that a thousand holds are never one string in memory."""
    yield encode(Listing(snapshot.status, len(snapshot.holds)))
    yield from map(encode, snapshot.holds)


def rfc3339(time: float) -> str:
    """Unix seconds as RFC 3339 in UTC, to the microsecond; times out of its years are an error."""
    try:
        moment = _EPOCH + timedelta(microseconds=round(time * 1_000_000))
    except (OverflowError, ValueError):
        raise _malformed(f"no moment in time: {time}") from None
    return f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}".rjust(27, "0")


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)


def _seconds(text: object, where: str) -> float:
    if not isinstance(text, str) or not _RFC3339.fullmatch(text):
        raise _malformed(f"{where} is no time")
    try:
        return (datetime.fromisoformat(text) - _EPOCH) / timedelta(seconds=1)
    except ValueError:
        raise _malformed(f"{where} is no time") from None


def _fields(value: Any) -> dict[str, object]:
    read = {spec.name: getattr(value, spec.name) for spec in fields(value)}
    return {name: rfc3339(item) if name in _TIMES else _plain(item) for name, item in read.items()}


def _plain(value: object) -> object:
    match value:
        case None | bool() | int() | str():
            return value
        case tuple():
            return [_plain(item) for item in value]
        case Mapping():
            return {key: _plain(item) for key, item in value.items()}
        case _:
            return _fields(value)


def _built_call(body: dict[str, object]) -> Call:
    verb = _cast(Verb, body.get("verb"), "verb")
    taken = {"verb", "name"} | _TAKES.get(verb, frozenset())
    _exactly(body.keys(), taken)
    hints = _hints(Call)
    return Call(**{name: _cast(hints[name], value, name) for name, value in body.items()})


def _built(type_: type, body: dict[str, object]) -> Any:
    hints = _hints(type_)
    _exactly(body.keys(), hints.keys())
    times = {name: _seconds(body[name], name) for name in hints.keys() & _TIMES}
    rest = {name: _cast(hint, body[name], name) for name, hint in hints.items() if name not in times}
    return type_(**times, **rest)


def _cast(hint: Any, value: Any, where: str) -> Any:
    origin, parts = get_origin(hint), get_args(hint)
    if origin is UnionType:
        return None if value is None else _cast(next(p for p in parts if p is not NoneType), value, where)
    if origin is tuple:
        return _cast_items(parts, value, where)
    if origin is Mapping and isinstance(value, dict):
        return {key: _cast(parts[1], item, where) for key, item in value.items()}
    if hint in (str, int, bool) and type(value) is hint:
        return value
    if hint is Verb and isinstance(value, str) and value in Verb:
        return Verb(value)
    if hint in (HoldView, ReviewView, Status, Problem) and isinstance(value, dict):
        return _built(hint, value)
    raise _malformed(f"{where} is of another type")


def _cast_items(parts: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _malformed(f"{where} is no list")
    if parts[-1] is Ellipsis:
        return tuple(_cast(parts[0], item, where) for item in value)
    if len(value) != len(parts):
        raise _malformed(f"{where} has {len(value)} items instead of {len(parts)}")
    return tuple(_cast(part, item, where) for part, item in zip(parts, value, strict=True))


@cache
def _hints(type_: type) -> dict[str, Any]:
    return get_type_hints(type_)


def _exactly(have: Any, want: Any) -> None:
    if odd := sorted(set(have) ^ set(want)):
        raise _malformed(f"field {odd[0]!r:.40} is {'missing' if odd[0] in want else 'unknown'}")


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def _malformed(what: str) -> SluiceError:
    return fail(
        f"a message on the control socket is not understood: {what}",
        "the two ends may be of different versions",
        "use the sluice that runs the gate",
    )
