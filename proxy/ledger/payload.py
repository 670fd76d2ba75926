"""Whether what is kept beside the entries is what they commit to, encrypted or not."""

from __future__ import annotations

from typing import Final

from proxy.chain import ENCRYPTED_TAG, PAYLOAD_TAG, Findings
from proxy.chain import commitment as committed
from proxy.ledger import Fields
from proxy.ledger.cipher import Cipher, CipherError
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


class Payloads:
    """
    What lies beside the entries of one ledger, looked at entry by entry.

    `encrypted` counts what is, `unopened` what of it `cipher` could not open, because that is None
    or has another key: of these only the ciphertext is compared. Both are so far without fault.
    """

    def __init__(self, findings: Findings, erased: Erased, cipher: Cipher | None) -> None:
        self.encrypted = 0
        self.unopened = 0
        self._findings = findings
        self._erased = erased
        self._cipher = cipher

    def check(self, seq: int, fields: Fields, salt: object, data: object) -> None:
        """Whether what is kept beside an entry is what it commits to, or was erased and says so."""
        if wrong := self._wrong(seq, fields, salt, data):
            self._findings.add(seq, *wrong)

    def _wrong(self, seq: int, fields: Fields, salt: object, data: object) -> tuple[str, str] | None:
        """A code, and what is wrong."""
        promised, erased = "payload" in fields or "request" in fields, seq in self._erased
        gone = "payload_missing", "what was kept beside the entry is gone"
        if salt is None:
            return gone if promised and not erased else None
        if not promised and fields:
            return "payload_orphan", "something is kept beside an entry that does not speak of it"
        if erased:
            return "payload_not_erased", "what lies beside the entry was said to be erased, and is there"
        if not isinstance(salt, bytes) or not isinstance(data, bytes | None):
            return "payload", "what is kept beside the entry is not kept as bytes"
        if len(salt) != SALT:
            # Else a byte of the data could be taken for one of the salt: the commitment would be the same.
            return "payload", f"the salt beside the entry has {len(salt)} bytes"
        if data is None:
            return gone if "payload" in fields else None
        what = self._other(seq, fields, salt, data) if fields else ""
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
