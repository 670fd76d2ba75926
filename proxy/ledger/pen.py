"""
The one connection that writes.

It lives in the thread of aiosqlite and is used there alone. SQLite before 3.51.3 can lose a
commit when two connections write or checkpoint at one moment, so there is never a second.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from proxy.chain import ENCRYPTED_TAG, NOTHING, PAYLOAD_TAG, REQUEST_TAG, Head, commitment, extend
from proxy.ledger import Draft
from proxy.ledger.cipher import Cipher
from proxy.ledger.files import PAGE, Identity, ReplacedError, beside, identity
from proxy.ledger.removal import REMOVALS, carry_out
from proxy.ledger.seal import WRITE, Seal, kept, seal, unseal
from proxy.merkle import Tree
from proxy.note import Signer

_ENTRY = "INSERT INTO entry (seq, body, hash) VALUES (?, ?, ?)"
_PAYLOAD = "INSERT INTO payload (seq, salt, data) VALUES (?, ?, ?)"
_LAST = "SELECT seq, hash FROM entry ORDER BY seq DESC LIMIT 1"

TIDY: Final = 100
"""Pages in the log of writes from which on it is worth copying them, once nobody waits."""
MOST: Final = 4_000
"""Pages in the log of writes at most: then a commit copies them, and whoever waits for it waits."""
_TOUCHED: Final = 6
"""Pages that a commit writes beside those that its entries fill."""


class Line(NamedTuple):
    """A draft and the time it was queued at, as the entry will say it."""

    draft: Draft
    time: str


@dataclass(slots=True)
class Group:
    """
    Entries that are written in one transaction.

    Once that has succeeded, `head` is the last of them and `seal` signs it, and about `log` pages
    lie in the log of writes. `at_disk` is true from the moment the writing thread takes the group
    until the disk has answered, whatever the event loop does.

    A group without lines asks for the log of writes to be copied into the database.
    """

    lines: Sequence[Line]
    head: Head = NOTHING
    at_disk: bool = False
    seal: Seal | None = None
    log: int = 0


class Pen(sqlite3.Connection):
    """
    A connection whose `executemany` writes one group of entries: all of them or none.

    aiosqlite runs statements in its thread one by one, and each costs two hops between
    threads; a group is six statements. `executemany` is the door through which one call
    carries all six.
    """

    def __init__(
        self, path: Path, expected: Head, signer: Signer, cipher: Cipher | None, *args: Any, **options: Any
    ) -> None:
        before = identity(path)
        super().__init__(*args, **options)
        self.path = path
        self.signer = signer
        self._cipher = cipher
        self._wal = beside(path, "-wal")
        self._to_empty = False
        self._log = 0
        try:
            self._settle()
            self.head = self._last()
            self._files: tuple[Identity, Identity] = (before, identity(self._wal))
            self._look()
            self._continue(expected)
            self.seal = self._sealed()
        except BaseException:
            self.close()
            raise

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        """
        Write groups; when this returns they survive a power cut. `sql` is not used.

        An error says nothing about whether they were written: close this connection and read
        the head anew.
        """
        for group in parameters:
            group.at_disk = True
            try:
                if group.lines:
                    self._write(group)
                else:
                    self._tidy()
                group.log = self._log
            finally:
                group.at_disk = False
        return self.cursor()

    def _settle(self) -> None:
        self.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)
        for pragma in (
            "trusted_schema=OFF",
            "cell_size_check=ON",
            "secure_delete=ON",
            f"wal_autocheckpoint={MOST}",
        ):
            self.execute(f"PRAGMA {pragma}")
        self.execute("PRAGMA synchronous=FULL")
        full = self.execute("PRAGMA synchronous").fetchone()[0]
        mode = self.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal" or full != 2:
            raise sqlite3.OperationalError(f"the database is in mode {mode}/{full}, not wal/2")

    def _last(self) -> Head:
        row = self.execute(_LAST).fetchone()
        return NOTHING if row is None else Head(*row)

    def _continue(self, expected: Head) -> None:
        """What was acknowledged must be there; there may be more, of which nobody was told."""
        row = self.execute("SELECT hash FROM entry WHERE seq = ?", (expected.seq,)).fetchone()
        if row != (expected.hash,):
            raise ReplacedError(f"'{self.path}' does not hold entry {expected.seq} any more")

    def _sealed(self) -> Seal:
        """The signed head of what is there, whose frontier the next group goes on from."""
        note, frontier = kept(self) or (None, None)
        sealed = unseal(note, frontier, self.signer.key)
        if sealed.tree.size != self.head.seq + 1:
            raise ReplacedError(f"the signed head of '{self.path}' is not the one of its last entry")
        return sealed

    def _look(self) -> None:
        """A file that was moved away or unlinked takes commits without a word, and loses them."""
        if (identity(self.path), identity(self._wal)) != self._files:
            raise ReplacedError(f"'{self.path}' was replaced while it was written")

    def _write(self, group: Group) -> None:
        self.execute("BEGIN IMMEDIATE")
        if self._last() != self.head:
            raise ReplacedError(f"somebody else has written to '{self.path}'")
        head, entries, payloads = _compose(self.head, group.lines, self._cipher)
        super().executemany(_ENTRY, entries)
        if payloads:
            super().executemany(_PAYLOAD, payloads)
        for draft, _ in group.lines:
            if draft.kind in REMOVALS:
                carry_out(self, draft.kind, draft.fields)
                self._to_empty = True
        sealed = seal(self.signer, _grown(self.seal.tree, entries))
        self.execute(WRITE, sealed.row)
        self.execute("COMMIT")
        self._look()
        self.head = group.head = head
        self.seal = group.seal = sealed
        self._log = (self._log + _pages(entries, payloads)) % MOST
        if self._to_empty:
            self._empty_log()

    def _tidy(self) -> None:
        """Copy the log of writes into the database, as far as readers let it."""
        self.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        self._log = 0

    def _empty_log(self) -> None:
        """What was removed is still in the log of writes: empty it, now or once no reader is in the way."""
        self.execute("PRAGMA busy_timeout=0")
        try:
            busy = self.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        finally:
            self.execute("PRAGMA busy_timeout=1000")
        self._to_empty = bool(busy)


def _pages(entries: list[tuple[int, bytes, bytes]], payloads: list[tuple[int, bytes, bytes | None]]) -> int:
    """About how many pages these rows take in the log of writes."""
    size = sum(len(body) for _, body, _ in entries) + sum(len(data or b"") for _, _, data in payloads)
    return _TOUCHED + size // PAGE


def _grown(tree: Tree, entries: Iterable[tuple[int, bytes, bytes]]) -> Tree:
    grown = tree.copy()
    for _, _, hashed in entries:
        grown.add(hashed)
    return grown


type Rows = tuple[Head, list[tuple[int, bytes, bytes]], list[tuple[int, bytes, bytes | None]]]


def _compose(head: Head, lines: Sequence[Line], cipher: Cipher | None) -> Rows:
    """The rows of a group, chained from `head`; nonces and salts are drawn in one go."""
    random = os.urandom(32 * len(lines))
    entries: list[tuple[int, bytes, bytes]] = []
    payloads: list[tuple[int, bytes, bytes | None]] = []
    for at, (draft, time) in enumerate(lines):
        nonce, drawn = random[32 * at : 32 * at + 16], random[32 * at + 16 : 32 * at + 32]
        payload, salt, commitments = draft.payload, draft.salt or drawn, {}
        if draft.digest is not None:
            commitments["request"] = commitment(REQUEST_TAG, salt, draft.digest)
        if payload is not None:
            commitments["payload"] = commitment(PAYLOAD_TAG, salt, payload)
            if cipher is not None:
                payload = cipher.encrypt(head.seq + 1, payload)
                commitments["encrypted"] = commitment(ENCRYPTED_TAG, salt, payload)
        entry = extend(head, draft.kind, draft.fields, time=time, nonce=nonce.hex(), **commitments)
        if commitments:
            payloads.append((entry.seq, salt, payload))
        entries.append(entry)
        head = Head(entry.seq, entry.hash)
    return head, entries, payloads
