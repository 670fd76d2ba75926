"""
What has to be true of a ledger before a proxy writes to it, and what the last run left behind.

Everything here reads, but for the making of a new ledger.
"""

from __future__ import annotations

import secrets
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxy import __version__
from proxy.chain import HASH, NOTHING, PAYLOAD_TAG, PROFILE, REQUEST_TAG, Findings, Head, Links, extend, stamp
from proxy.chain import commitment as committed
from proxy.chain import moment as moment_of
from proxy.errors import Exit, fail
from proxy.ledger import Draft, Fields
from proxy.ledger.files import inspect, make
from proxy.ledger.read import EVERYTHING, entries, head, latest, reading, rows
from proxy.ledger.story import Story

CHECKED: Final = 10_000
"""How many of the newest entries a start verifies; `sluice ledger verify` does all."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """
    What a start found, and what it wrote down about it.

    `cut_off` names the holds that were open, `unfinished` the requests that had been let
    through and have no outcome. `clean` is False where the run before did not stop in order:
    entries that were queued then may be lost. `new` says that the ledger was made just now.
    """

    cut_off: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()
    clean: bool = True
    new: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """A ledger that may be written: where it ends, when that was, and what has to be settled first."""

    head: Head
    time: int
    settlement: tuple[Draft, ...]
    recovered: Recovered


def prepare(path: Path, now: int) -> Ready:
    """
    Check a ledger, or make it; `now` is in microseconds. The caller holds its lock.

    Raises SluiceError where it is not where it should be, is from a newer version, or broken.
    """
    inspect(path)
    new = not path.exists()
    if new:
        make(path, genesis(now))
    try:
        with reading(path) as connection:
            time = _check_end(connection, path)
            clean = new or latest(connection, "stopped") == head(connection).seq
            story = _unsettled(connection)
            recovered = Recovered(tuple(story.holds), tuple(story.running), clean, new)
            return Ready(head(connection), time, tuple(story.settlement()), recovered)
    except sqlite3.Error as error:
        raise fail(
            f"the ledger '{path}' cannot be read: {error}", fix=f"sluice ledger verify '{path}'"
        ) from None


def genesis(now: int) -> tuple[int, bytes, bytes]:
    """The first entry: which ledger this is, and how its entries are written and hashed."""
    fields = {
        "alg": HASH,
        "canon": PROFILE,
        "ledger": secrets.token_hex(16),
        "product": f"sluice {__version__}",
        "v": 1,
    }
    return extend(NOTHING, "genesis", fields, time=stamp(now), nonce=secrets.token_hex(16))


def _check_end(connection: sqlite3.Connection, path: Path) -> int:
    """Verify the newest entries; returns the time of the last one in microseconds."""
    findings, end = Findings(), head(connection)
    links = Links(findings)
    after = end.seq - CHECKED if end.seq > CHECKED else None
    if after is not None:
        _stand_on(connection, after, links)
    for seq, body, kept, salt, data in rows(connection, after, end.seq):
        fields = links.entry(body, seq=seq, stored=kept)
        check_payload(findings, seq, fields, salt, data)
    if end.seq < 0:
        findings.add(0, "genesis", "there is no entry at all")
    if findings.count:
        first = findings.kept[0]
        raise fail(
            f"the chain of the ledger '{path}' is broken: entry {first.seq}: {first.what}",
            "history was changed, or the disk has lost some of it; going on would hide that",
            f"sluice ledger verify '{path}'; to start a new ledger, move this one away and keep it",
            exit=Exit.NO,
        )
    return moment_of(links.last) or 0


def _stand_on(connection: sqlite3.Connection, seq: int, links: Links) -> None:
    row = connection.execute("SELECT body, hash FROM entry NOT INDEXED WHERE seq = ?", (seq,)).fetchone()
    if row is not None and isinstance(row[1], bytes):
        links.head = Head(seq, row[1])


def _unsettled(connection: sqlite3.Connection) -> Story:
    """The story since the last start: every start settles all that was before it."""
    story = Story(Findings())
    for entry, fields in entries(connection, EVERYTHING, after=latest(connection, "started")):
        story.take(entry.seq, fields)
    return story


def check_payload(findings: Findings, seq: int, fields: Fields, salt: object, data: object) -> None:
    """Whether what is kept beside an entry is what the entry commits to."""
    promised = "payload" in fields or "request" in fields
    if salt is None:
        if promised:
            findings.add(seq, "payload_missing", "what was kept beside the entry is gone")
        return
    if not promised and fields:
        findings.add(seq, "payload_orphan", "something is kept beside an entry that does not speak of it")
    elif not isinstance(salt, bytes) or not isinstance(data, bytes | None):
        findings.add(seq, "payload", "what is kept beside the entry is not kept as bytes")
    elif data is None:
        if "payload" in fields:
            findings.add(seq, "payload_missing", "what was kept beside the entry is gone")
    elif fields and fields.get("payload") != committed(PAYLOAD_TAG, salt, data):
        findings.add(seq, "payload", "what is kept beside the entry is not what the entry speaks of")


def request_is(fields: Fields, salt: bytes, digest: bytes) -> bool:
    """Whether an entry is about the request with this digest; `salt` is the one kept beside it."""
    return fields.get("request") == committed(REQUEST_TAG, salt, digest)
