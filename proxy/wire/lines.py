"""
The lines of the control socket: bytes to values and back.

A message is one JSON object on one line; what is not exactly one of ours is an error, never a guess.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, get_args, get_origin, get_type_hints

from proxy.errors import Problem, SluiceError, fail
from proxy.signing.statement import Proof
from proxy.wire.calls import UNSIGNED, Call, Failure, Listing, Message, Verb
from proxy.wire.views import (
    Change,
    Enrollee,
    GrantView,
    HoldView,
    Offer,
    ReviewView,
    RollView,
    Sheet,
    Snapshot,
    Standing,
    Status,
)

CALL_LIMIT: Final = 256 * 1024
"""Bytes of the longest line that the gate reads from a client: an edited request, escaped."""

LINE_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of the longest line that a client reads: a whole hold, its body escaped at worst."""

_MESSAGES: Final[Mapping[str, type[Message]]] = {
    "call": Call,
    "listing": Listing,
    "hold": HoldView,
    "status": Status,
    "offer": Offer,
    "standing": Standing,
    "sheet": Sheet,
    "roll": RollView,
    "change": Change,
    "failure": Failure,
}
_KINDS: Final = frozenset({"opened", "reviewed", "moved", "reminder", "settled", "status"})
_NAMES: Final = {type_: name for name, type_ in _MESSAGES.items()}
_TIMES: Final = frozenset({"opened", "deadline", "time", "until"})
_TAKES: Final[Mapping[Verb, frozenset[str]]] = {
    Verb.SHOW: frozenset({"prefix"}),
    Verb.REVIEW: frozenset({"prefix", "approves", "reason", "digest"}),
    Verb.PAUSE: frozenset({"agent"}),
    Verb.RESUME: frozenset({"agent"}),
    Verb.ACCEPT: frozenset({"policy"}),
    Verb.ERASE: frozenset({"prefix", "reason"}),
    Verb.EXTEND: frozenset({"prefix", "seconds"}),
    Verb.OFFER: frozenset({"prefix", "fields"}),
    Verb.GRANT: frozenset({"prefix", "reason", "digest", "seconds", "uses", "fields", "rule"}),
    Verb.REVOKE: frozenset({"prefix"}),
    Verb.SHEET: frozenset({"prefix"}),
    Verb.PREVIEW: frozenset({"prefix", "digest", "text"}),
    Verb.EDIT: frozenset({"prefix", "digest", "text", "becomes", "reason"}),
    Verb.ENROL: frozenset({"reviewer", "uid", "groups", "key"}),
    Verb.REGROUP: frozenset({"reviewer", "groups"}),
    Verb.ROTATE_KEY: frozenset({"reviewer", "old", "key"}),
    Verb.REVOKE_KEY: frozenset({"reviewer", "key", "reason"}),
}
_PARTS: Final = (HoldView, ReviewView, Status, GrantView, Enrollee, Proof, Problem)
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


def grant_json(view: GrantView) -> dict[str, object]:
    """A grant as `sluice grants --json` prints it."""
    return _fields(view)


def taken(call: Call) -> dict[str, object]:
    """What a call asks, as JSON values: the fields that its verb has."""
    fields = _TAKES.get(call.verb, frozenset())
    return {name: value for name, value in _fields(call).items() if name in fields}


def _written(verb: Verb) -> frozenset[str]:
    """The fields of a call on the wire."""
    envelope = {"verb", "name"} if verb in UNSIGNED else {"verb", "name", "proof"}
    return _TAKES.get(verb, frozenset()) | envelope


def encode(message: Message) -> bytes:
    """One line, line feed included; ASCII, so that no text in it can act on a terminal."""
    body = _fields(message)
    if isinstance(message, Call):
        body = {name: value for name, value in body.items() if name in _written(message.verb)}
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
    if isinstance(message, Change) and message.kind not in _KINDS:
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
    _exactly(body.keys(), _written(verb))
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
    if hint in _PARTS and isinstance(value, dict):
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
