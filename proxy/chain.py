"""
The hash chain: every entry names the one before it.

Pure arithmetic on values; where entries are kept is the ledger's business, what they mean is
`proxy.ledger.story`'s.

An entry is its *body*: canonical JSON, hashed as it is stored and never written anew::

    hash(i)    = SHA-256(0x00 || body(i))          the leaf hash of RFC 9162, section 2.1.1
    body(i)    names hash(i-1) as "prev"; the first one names 64 zeros
    commitment = SHA-256(tag || salt || data)      what an entry says of a thing kept beside it

What is canonical says `proxy.canon`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple

from proxy.canon import DEPTH as DEPTH
from proxy.canon import EXACT as EXACT
from proxy.canon import LIMIT as LIMIT
from proxy.canon import PROFILE as PROFILE
from proxy.canon import Forms, encode, too_long, weigh
from proxy.canon import UnfitError as UnfitError
from proxy.canon import canonical as canonical
from proxy.canon import parse as parse
from proxy.canon import parse_line as parse_line
from proxy.canon import read as read

HASH: Final = "sha-256"

ENCRYPTED_TAG: Final = b"sluice.ledger.encrypted.v1\0"
PAYLOAD_TAG: Final = b"sluice.ledger.payload.v1\0"
REQUEST_TAG: Final = b"sluice.ledger.request.v1\0"

# What the ledger itself adds to the fields of an entry, and bytes enough for all of it.
RESERVED: Final = frozenset({"seq", "time", "kind", "prev", "nonce", "request", "payload", "encrypted"})
_ENVELOPE: Final = 512
_KINDS: Final = 100
NO_ENTRY: Final = frozenset({"omitted", "exported"})
"""Kinds of lines in an export that are no entries."""

_KIND: Final = re.compile(r"[a-z][a-z_]{0,39}", re.ASCII)
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_SECONDS: Final = re.compile(r"[0-5]\d\.\d{6}Z", re.ASCII)
_HEX: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_NONCE: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_NO_FIELDS: Final[Mapping[str, object]] = {}


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
    nobody can guess; `commitments` are ``request``, ``payload`` and ``encrypted``.
    """
    seq = head.seq + 1
    whole = {
        **fields,
        **commitments,
        "kind": kind,
        "nonce": nonce,
        "prev": head.hash.hex(),
        "seq": seq,
        "time": time,
    }
    body = encode(whole)
    if len(body) > LIMIT:
        raise too_long(len(body), LIMIT)
    return Entry(seq, body, digest(body))


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
    if weigh(whole, 1) > room and (size := len(encode(whole))) > room:
        raise too_long(size, room)


def stamp(microseconds: int) -> str:
    """Unix time in microseconds as RFC 3339 in UTC, always 27 characters: text sorts as time does."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{_second(seconds)}.{rest:06d}Z"


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


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
        self._minute = ""
        self._kinds: set[str] = set()
        self._forms = Forms()
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
            return parse(body, self._forms)
        except UnfitError as error:
            self._found(at, error.code, f"the entry cannot be read: {error}")
            return _NO_FIELDS

    def _envelope(self, at: int, fields: Mapping[str, object]) -> None:
        kind, nonce = fields.get("kind"), fields.get("nonce")
        if type(kind) is not str or (kind not in self._kinds and not self._is_kind(kind)):
            self._found(at, "kind", "the entry has no kind")
        if type(nonce) is not str or not _NONCE.fullmatch(nonce):
            self._found(at, "nonce", "the entry has no nonce")
        for name in ("request", "payload", "encrypted"):
            if name in fields:
                value = fields[name]
                if type(value) is not str or not _HEX.fullmatch(value):
                    self._found(at, "commitment", f"'{name}' is no commitment")

    def _is_kind(self, kind: str) -> bool:
        """Looked at once for all entries of a kind."""
        if not _KIND.fullmatch(kind) or kind in NO_ENTRY:
            return False
        if len(self._kinds) < _KINDS:
            self._kinds.add(kind)
        return True

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
        if type(time) is not str or not self._is_time(time):
            self._found(at, "time", "the entry has no time")
            return
        if self.last is not None and time < self.last and fields.get("kind") != "clock":
            self._found(
                at, "time_backwards", f"{time} is before the time of the entry before it, {self.last}"
            )
        if self._latest is not None and time > self._latest:
            self._found(at, "time_ahead", f"{time} has not come yet, if the clock of this machine is right")
        self.first = self.first or time
        self.last = time

    def _is_time(self, time: str) -> bool:
        """As `moment`, which is asked once for all entries of a minute."""
        if time[:17] != self._minute:
            if moment(time) is None:
                return False
            self._minute = time[:17]
        return _SECONDS.fullmatch(time, 17) is not None

    def _found(self, at: int | None, code: str, what: str) -> None:
        self.findings.add(at, code, what)
