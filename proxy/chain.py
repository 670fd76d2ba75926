"""
The hash chain: every entry names the one before it.

Pure arithmetic on values; where entries are kept is the ledger's business, what they mean is
`proxy.ledger.story`'s.

An entry is its *body*: canonical JSON, hashed as it is stored and never written anew::

    hash(i)    = SHA-256(0x00 || body(i))          the leaf hash of RFC 9162, section 2.1.1
    body(i)    names hash(i-1) as "prev"; the first one names 64 zeros
    commitment = SHA-256(tag || salt || data)      what an entry says of a thing kept beside it

Canonical is RFC 8785 over less of JSON (`PROFILE`): keys of ``[a-z0-9_.]+``, strings,
integers of at most 2^53 - 1, booleans, null, lists and objects, 16 levels, no floats. Within
that, and only within it, sorted keys and no spaces are all of RFC 8785, so everything outside
is refused by name rather than written slightly differently.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple, NoReturn

from proxy.errors import Exit, Problem, SluiceError

PROFILE: Final = "jcs-restricted-1"
HASH: Final = "sha-256"
LIMIT: Final = 65_535
"""Bytes of a body at most (what a bundle of the tlog-tiles format can carry)."""
EXACT: Final = 2**53 - 1
DEPTH: Final = 16

PAYLOAD_TAG: Final = b"sluice.ledger.payload.v1\0"
REQUEST_TAG: Final = b"sluice.ledger.request.v1\0"

# What the ledger itself adds to the fields of an entry, and bytes enough for all of it.
RESERVED: Final = frozenset({"seq", "time", "kind", "prev", "nonce", "request", "payload"})
_ENVELOPE: Final = 512
NO_ENTRY: Final = frozenset({"omitted", "exported"})
"""Kinds of lines in an export that are no entries."""

_KEYS: Final = re.compile(r"[a-z0-9_.]*", re.ASCII)
_KIND: Final = re.compile(r"[a-z][a-z_]{0,39}", re.ASCII)
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_HEX: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_NONCE: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_NO_FIELDS: Final[Mapping[str, object]] = {}


class UnfitError(SluiceError):
    """A value cannot stand in an entry; `code` is one word for machines."""

    def __init__(self, code: str, what: str) -> None:
        super().__init__(Problem(what), exit=Exit.NO)
        self.code = code


class Head(NamedTuple):
    """The last entry of a chain: its number and its hash. An empty chain ends in `NOTHING`."""

    seq: int
    hash: bytes


NOTHING: Final = Head(-1, bytes(32))


class Entry(NamedTuple):
    """One line of history: its number, the exact bytes, and their hash."""

    seq: int
    body: bytes
    hash: bytes

    @property
    def fields(self) -> dict[str, object]:
        """What the entry says; UnfitError where its bytes are not canonical."""
        return parse(self.body)


def digest(body: bytes) -> bytes:
    """The hash of an entry (32 bytes)."""
    return hashlib.sha256(b"\0" + body).digest()


def commitment(tag: bytes, salt: bytes, data: bytes) -> str:
    """What an entry says of something that is kept beside it, or nowhere (64 hex digits)."""
    return hashlib.sha256(tag + salt + data).hexdigest()


def extend(
    head: Head, kind: str, fields: Mapping[str, object], *, time: str, nonce: str, **commitments: str
) -> Entry:
    """
    The entry after `head`.

    `fields` have passed `check`; `time` is what `stamp` gives, `nonce` 32 hex digits that
    nobody can guess; `commitments` are ``request`` and ``payload``.
    """
    whole = dict(fields)
    whole.update(commitments)
    whole["kind"] = kind
    whole["nonce"] = nonce
    whole["prev"] = head.hash.hex()
    whole["seq"] = head.seq + 1
    whole["time"] = time
    body = _ENCODE(whole).encode()
    if len(body) > LIMIT:
        raise _too_long(len(body), LIMIT)
    return Entry(head.seq + 1, body, hashlib.sha256(b"\0" + body).digest())


def check(kind: str, fields: Mapping[str, object]) -> None:
    """
    Raise UnfitError unless these fields can become an entry: before anybody waits for it.

    A caller cuts long text first (`cut`); an entry that is too large is refused whole.
    """
    if not _KIND.fullmatch(kind) or kind in NO_ENTRY:
        raise UnfitError("kind", f"{kind!r} is no kind of entry")
    if not RESERVED.isdisjoint(fields):
        taken = ", ".join(sorted(RESERVED.intersection(fields)))
        raise UnfitError("profile", f"the ledger itself writes the field {taken}")
    whole = dict(fields)
    room = LIMIT - _ENVELOPE
    if _weigh(whole, 1) > room and (size := len(_ENCODE(whole).encode())) > room:
        raise _too_long(size, room)


def canonical(value: object) -> bytes:
    """The one way to write a value of the profile; UnfitError for any other value."""
    _weigh(value, 0)
    return _ENCODE(value).encode()


def parse(body: bytes) -> dict[str, object]:
    """
    What a body says; UnfitError unless these are the very bytes that `canonical` writes.

    That refuses, each by itself: keys given twice, spaces, other escapes, other forms of a
    number, other orders.
    """
    if len(body) > LIMIT:
        raise _too_long(len(body), LIMIT)
    return parse_line(body)


def parse_line(line: bytes) -> dict[str, object]:
    """As `parse`, for a line of any length that is not an entry's."""
    value = read(line)
    if canonical(value) != line:
        raise UnfitError("not_canonical", "it is not written in the canonical way")
    return value


def read(line: bytes) -> dict[str, object]:
    """
    What a line says, in half the time of `parse`: for showing, never for verifying.

    UnfitError where it is no JSON object, or has a number that is no integer.
    """
    try:
        value = _DECODE(line.decode())
    except UnicodeDecodeError:
        raise UnfitError("not_utf8", "it is not UTF-8") from None
    except (ValueError, RecursionError):
        raise UnfitError("not_json", "it is not JSON") from None
    if type(value) is not dict:
        raise UnfitError("not_json", "it is not a JSON object")
    return value


def _weigh(value: object, depth: int) -> int:
    """Bytes that the value takes at most (one character is at most six); UnfitError outside the profile."""
    if type(value) is str:
        return _weigh_text(value)
    if type(value) is int:
        if -EXACT <= value <= EXACT:
            return 18
        raise UnfitError("profile", "an integer beyond 2^53 - 1 is not exact everywhere")
    if value is None or type(value) is bool:
        return 6
    if depth >= DEPTH:
        raise UnfitError("profile", f"more than {DEPTH} levels")
    if type(value) is dict:
        return _weigh_object(value, depth + 1)
    if type(value) is list:
        return 2 + sum(_weigh(item, depth + 1) + 1 for item in value)
    name = type(value).__name__
    raise UnfitError("profile", f"a {name} cannot be written: only str, int, bool, None, list and dict can")


def _weigh_text(text: str) -> int:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UnfitError("profile", "text with half a surrogate pair cannot be written") from None
    return 6 * len(text) + 2


def _weigh_object(value: dict[str, object], depth: int) -> int:
    weight = 2
    try:
        names = "".join(value)
    except TypeError:
        raise UnfitError("profile", "a key that is not text cannot be written") from None
    if "" in value or not _KEYS.fullmatch(names):
        odd = next(name for name in value if not name or not _KEYS.fullmatch(name))
        raise UnfitError("profile", f"{odd[:40]!r} is no name for a field: a-z, 0-9, _ and . are")
    for item in value.values():
        if type(item) is str and item.isascii():
            weight += 6 * len(item) + 4
        else:
            weight += _weigh(item, depth) + 2
    return weight + len(names) + 2 * len(value)


def _too_long(size: int, limit: int) -> UnfitError:
    return UnfitError("too_long", f"an entry of {size} bytes: at most {limit} can be written")


def _float(_: str) -> NoReturn:
    raise UnfitError("profile", "a number that is not a plain integer")


# Built once: json.dumps with options builds an encoder for every call.
_ENCODE: Final = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False
).encode
_DECODE: Final = json.JSONDecoder(parse_float=_float, parse_constant=_float).decode


def stamp(microseconds: int) -> str:
    """Unix time in microseconds as RFC 3339 in UTC, always 27 characters: text sorts as time does."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat()[:19]}.{rest:06d}Z"


def moment(time: object) -> int | None:
    """A `stamp` back in microseconds, None for anything else."""
    if type(time) is not str or not _TIME.fullmatch(time):
        return None
    try:
        whole = datetime.fromisoformat(time[:19] + "+00:00")
    except ValueError:
        return None
    return int(whole.timestamp()) * 1_000_000 + int(time[20:26])


def cut(text: str, limit: int) -> str:
    """
    The text, made storable: at most `limit` bytes of UTF-8 and then what is missing.

    Halves of surrogate pairs become escapes. The marker comes on top of `limit`.
    """
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= limit:
        return data.decode()
    kept = data[:limit].decode("utf-8", "ignore")
    return f"{kept}… [cut: {len(data) - len(kept.encode())} bytes more]"


class Finding(NamedTuple):
    """One thing that is wrong: at which entry (None: with the whole), one word, and a sentence."""

    seq: int | None
    code: str
    what: str


class Findings:
    """What was found so far: the first `cap` are kept, the others counted."""

    def __init__(self, cap: int = 100) -> None:
        self.cap = cap
        self.count = 0
        self.kept: list[Finding] = []

    def add(self, seq: int | None, code: str, what: str) -> None:
        """Keep one more, or count it."""
        self.count += 1
        if len(self.kept) < self.cap:
            self.kept.append(Finding(seq, code, what))


class Links:
    """
    Verifies a chain entry by entry, as a fold that never stops at what it finds.

    After a break it goes on from what is there, so that one wrong entry is one finding or
    two, not one for each entry that follows. `latest` is the latest time that can be true
    (microseconds): an entry after it was written by a clock that was wrong, or by a forger.
    """

    def __init__(self, findings: Findings, *, latest: int | None = None) -> None:
        self.findings = findings
        self.head = NOTHING
        self.omitted = 0
        self.first: str | None = None
        self.last: str | None = None
        self._latest = None if latest is None else stamp(latest)

    def entry(self, body: object, *, seq: int | None = None, stored: object = None) -> Mapping[str, object]:
        """
        Take the next body; returns its fields, empty where they cannot be read.

        `seq` and `stored` are what the place it was kept in says of its number and its hash.
        """
        if type(body) is not bytes:
            self._found(
                self.head.seq + 1 if seq is None else seq, "not_bytes", "the entry is not kept as bytes"
            )
            body = str(body).encode("utf-8", "replace")
        fields = self._read(body, self.head.seq + 1 if seq is None else seq)
        hashed = digest(body)
        at = fields.get("seq", self.head.seq + 1 if seq is None else seq)
        at = at if type(at) is int else self.head.seq + 1
        if stored is not None and stored != hashed:
            self._found(at, "hash", "the entry's bytes do not have the hash that is kept with them")
        if seq is not None and seq != at:
            self._found(at, "row", f"the entry says that it is number {at}, and is kept as number {seq}")
        if fields:
            self._envelope(at, fields)
            self._place(at, fields)
            self._time(at, fields)
        elif at != self.head.seq + 1:
            self._gap(at)
        self.head = Head(at, hashed)
        return fields

    def skip(self, count: int, last: bytes) -> None:
        """Take a run of `count` entries of which only the hashes are there; `last` is the last one."""
        if self.head.seq < 0:
            self._found(0, "genesis", "the genesis is left out")
        self.omitted += count
        self.head = Head(self.head.seq + count, last)

    def _read(self, body: bytes, at: int) -> Mapping[str, object]:
        try:
            return parse(body)
        except UnfitError as error:
            self._found(at, error.code, f"the entry cannot be read: {error}")
            return _NO_FIELDS

    def _envelope(self, at: int, fields: Mapping[str, object]) -> None:
        kind, nonce = fields.get("kind"), fields.get("nonce")
        if type(kind) is not str or not _KIND.fullmatch(kind) or kind in NO_ENTRY:
            self._found(at, "kind", "the entry has no kind")
        if type(nonce) is not str or not _NONCE.fullmatch(nonce):
            self._found(at, "nonce", "the entry has no nonce")
        for name in ("request", "payload"):
            value = fields.get(name, "0" * 64)
            if type(value) is not str or not _HEX.fullmatch(value):
                self._found(at, "commitment", f"'{name}' is no commitment")

    def _place(self, at: int, fields: Mapping[str, object]) -> None:
        if at != self.head.seq + 1 or type(fields.get("seq")) is not int:
            self._gap(at)
        if fields.get("prev") != self.head.hash.hex():
            self._found(at, "prev", "the entry does not follow the one before it: their hashes do not meet")
        genesis = fields.get("kind") == "genesis"
        if at == 0 and not genesis:
            self._found(at, "genesis", "entry 0 is not the genesis")
        elif genesis and self.head.seq >= 0:
            self._found(at, "genesis", "there is a second genesis")

    def _gap(self, at: int) -> None:
        self._found(at, "seq", f"entry {self.head.seq + 1} should stand where entry {at} does")

    def _time(self, at: int, fields: Mapping[str, object]) -> None:
        time = fields.get("time")
        if moment(time) is None:
            self._found(at, "time", "the entry has no time")
            return
        assert type(time) is str
        if self.last is not None and time < self.last and fields.get("kind") != "clock":
            self._found(
                at, "time_backwards", f"{time} is before the time of the entry before it, {self.last}"
            )
        if self._latest is not None and time > self._latest:
            self._found(at, "time_ahead", f"{time} has not come yet, if the clock of this machine is right")
        self.first = self.first or time
        self.last = time

    def _found(self, at: int | None, code: str, what: str) -> None:
        self.findings.add(at, code, what)
