"""Whether what is kept beside the entries is what they commit to, encrypted or not."""

from __future__ import annotations

import sqlite3
from itertools import chain
from typing import Final

from proxy.chain import ENCRYPTED_TAG, PAYLOAD_TAG, Findings, UnfitError, read
from proxy.chain import commitment as committed
from proxy.ledger import Fields
from proxy.ledger.cipher import Cipher, CipherError
from proxy.ledger.read import rows
from proxy.ledger.removal import Erased

SALT: Final = 16
"""Bytes of a salt."""


def opened(cipher: Cipher | None, seq: int, fields: Fields, data: object) -> bytes | None:
    """What lies beside an entry, for a reader who trusts the ledger; None where that cannot be had."""
    if not isinstance(data, bytes) or "encrypted" not in fields:
        return data if isinstance(data, bytes) else None
    try:
        return None if cipher is None else cipher.decrypt(seq, data)
    except CipherError:
        return None


def promises(fields: Fields) -> bool:
    """Whether an entry speaks of something that lies beside it."""
    return "payload" in fields or "request" in fields


class Payloads:
    """
    What lies beside the entries of one ledger, looked at entry by entry.

    `encrypted` counts what is, `unopened` what of it `cipher` could not open, because that is None
    or has another key: of these only the ciphertext is compared. Both are so far without fault.
    `gone` are runs (first, last) of entries that speak of what is not there; which of it was erased
    is known only once all entries are read, and told to `settle`.
    """

    def __init__(self, findings: Findings, cipher: Cipher | None) -> None:
        self.encrypted = 0
        self.unopened = 0
        self.gone: list[tuple[int, int]] = []
        self._findings = findings
        self._cipher = cipher
        self._going = False

    @property
    def last_gone(self) -> int:
        """The last entry that speaks of what is not there, -1 where none does."""
        return self.gone[-1][1] if self.gone else -1

    def check(self, seq: int, fields: Fields, salt: object, data: object) -> None:
        """Whether what is kept beside an entry is what it commits to."""
        if salt is None or (data is None and "payload" in fields):
            if promises(fields):
                self._is_gone(seq)
            return
        self._going = False
        if wrong := self._wrong(seq, fields, salt, data):
            self._findings.add(seq, *wrong)

    def settle(self, connection: sqlite3.Connection, erased: Erased) -> None:
        """What is gone must have been erased, and what was erased must be gone."""
        for first, last in self.gone:
            if not 0 < first <= last < erased.before:
                self._look_again(connection, first, last, erased)
        below = connection.execute("SELECT seq FROM payload WHERE seq > 0 AND seq < ?", (erased.before,))
        listed = (
            connection.execute("SELECT seq FROM payload WHERE seq = ?", (seq,)).fetchone()
            for seq in sorted(erased.seqs)
            if seq >= erased.before
        )
        for row in chain(below, listed):
            if row is not None:
                what = "what lies beside the entry was said to be erased, and is there"
                self._findings.add(row[0], "payload_not_erased", what)

    def _look_again(self, connection: sqlite3.Connection, first: int, last: int, erased: Erased) -> None:
        for seq, body, _, salt, data in rows(connection, first - 1, last):
            try:
                fields = read(body) if type(body) is bytes else {}
            except UnfitError:
                continue  # found where it was read first
            there = salt is not None and (data is not None or "payload" not in fields)
            if promises(fields) and not there and seq not in erased:
                self._findings.add(seq, "payload_missing", "what was kept beside the entry is gone")

    def _is_gone(self, seq: int) -> None:
        """Entries that speak of nothing lie within such a run, so that it is one run for all that expired."""
        first = self.gone.pop()[0] if self._going else seq
        self.gone.append((first, seq))
        self._going = True

    def _wrong(self, seq: int, fields: Fields, salt: object, data: object) -> tuple[str, str] | None:
        """A code, and what is wrong."""
        if fields and not promises(fields):
            return "payload_orphan", "something is kept beside an entry that does not speak of it"
        if type(salt) is not bytes or not (data is None or type(data) is bytes):
            return "payload", "what is kept beside the entry is not kept as bytes"
        if len(salt) != SALT:
            # Else a byte of the data could be taken for one of the salt: the commitment would be the same.
            return "payload", f"the salt beside the entry has {len(salt)} bytes"
        what = self._other(seq, fields, salt, data) if fields and data is not None else ""
        return ("payload", what) if what else None

    def _other(self, seq: int, fields: Fields, salt: bytes, data: bytes) -> str:
        """In what it differs from what the entry speaks of; empty where in nothing."""
        other = "what is kept beside the entry is not what the entry speaks of"
        if "encrypted" not in fields:
            return "" if fields.get("payload") == committed(PAYLOAD_TAG, salt, data) else other
        if "payload" not in fields or fields["encrypted"] != committed(ENCRYPTED_TAG, salt, data):
            return other
        if self._cipher is None or not self._cipher.fits(data):
            self.encrypted += 1
            self.unopened += 1
            return ""
        try:
            plain = self._cipher.decrypt(seq, data)
        except CipherError as error:
            return f"what is kept beside the entry cannot be decrypted: {error}"
        self.encrypted += 1
        return "" if fields["payload"] == committed(PAYLOAD_TAG, salt, plain) else other
