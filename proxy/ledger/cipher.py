"""
Payloads encrypted at rest: ChaCha20-Poly1305 (RFC 8439), under one key for all ledgers of a gate.

    01 | key id (8 bytes) | nonce (12 random bytes) | ciphertext and tag

The associated data are all that is before the nonce, the ledger's name and the number of the
entry: a row opens beside its own entry only. Which of them are encrypted says the entry, which
commits to these bytes as well (`chain.ENCRYPTED_TAG`), so whoever has no key can still see that
none was changed.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from proxy.errors import SluiceError, fail
from proxy.ledger.files import sync_folder
from proxy.ledger.read import entries
from proxy.ledger.seal import origin

PAYLOADS_KEY: Final = "payloads.key"
"""The file of the key: 32 bytes, 0600, beside the log's own."""
_BYTES: Final = 32
_VERSION: Final = b"\x01"
_ID: Final = 8
_NONCE: Final = 12
_TAG: Final = 16
_KEY_TAG: Final = b"sluice.ledger.payloads-key.v1\0"


class CipherError(ValueError):
    """These bytes are not what the key has encrypted beside this entry."""


class Cipher:
    """The key of 32 bytes, for the payloads of the ledger with this name."""

    __slots__ = ("_aead", "_begin", "_ledger")

    def __init__(self, key: bytes, ledger: str) -> None:
        self._aead = ChaCha20Poly1305(key)
        self._begin = _VERSION + hashlib.sha256(_KEY_TAG + key).digest()[:_ID]
        self._ledger = ledger.encode()

    @property
    def id(self) -> str:
        """What the key is called, in hex; nothing of the key can be told from it."""
        return self._begin[1:].hex()

    def encrypt(self, seq: int, plain: bytes) -> bytes:
        """The bytes to be kept beside entry `seq`; each call draws a nonce."""
        nonce = os.urandom(_NONCE)
        return self._begin + nonce + self._aead.encrypt(nonce, plain, self._beside(seq))

    def fits(self, data: bytes) -> bool:
        """Whether it was encrypted with this key, as far as it says itself."""
        return data.startswith(self._begin)

    def decrypt(self, seq: int, data: bytes) -> bytes:
        """What was kept beside entry `seq`; CipherError where that is another, cut or changed."""
        at = len(self._begin)
        if not self.fits(data) or len(data) < at + _NONCE + _TAG:
            raise CipherError("it is cut, or was encrypted with another key")
        try:
            return self._aead.decrypt(data[at : at + _NONCE], data[at + _NONCE :], self._beside(seq))
        except InvalidTag:
            raise CipherError("it does not open with the key that it names") from None

    def _beside(self, seq: int) -> bytes:
        return self._begin + seq.to_bytes(8, signed=True) + self._ledger


def key_of(ledger: Path, state: Path) -> Path:
    """The file of the key for a reader: beside the ledger where one lies, else in the state folder."""
    beside = ledger.with_name(PAYLOADS_KEY)
    return beside if beside.exists() else state / PAYLOADS_KEY


def cipher_in(connection: sqlite3.Connection, file: Path) -> Cipher | None:
    """What opens the payloads of a ledger for a reader; None where the key cannot be had."""
    try:
        return _named(connection, _read(file))
    except SluiceError:
        return None  # a reader says what it could not open, and reads on


def make_cipher(connection: sqlite3.Connection, file: Path) -> Cipher:
    """
    What encrypts the payloads of a ledger, with a key that is made where there is none.

    SluiceError where the file cannot be read or made, is no key, or is not ours alone.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(file, flags, 0o600), "wb") as made:
            made.write(os.urandom(_BYTES))
            made.flush()
            os.fsync(made.fileno())
        sync_folder(file.parent)  # before anything that only this key opens
    except FileExistsError:
        pass
    except OSError as error:
        raise fail(f"the key of the payloads '{file}' cannot be made: {error.strerror}") from None
    return _named(connection, _read(file))


def _named(connection: sqlite3.Connection, key: bytes) -> Cipher:
    fields = next((fields for _, fields in entries(connection, last=0)), {})
    return Cipher(key, origin(str(fields.get("ledger"))))


def _read(file: Path) -> bytes:
    lost = "put the right one back; without it payloads that it has encrypted stay closed for good"
    try:
        found, key = _found(file)
    except OSError as error:
        what = f"the key of the payloads '{file}' cannot be read: {error.strerror}"
        raise fail(what, "payloads are to be encrypted with it", lost) from None
    if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o077 or found.st_uid != os.geteuid():
        raise fail(
            f"the key of the payloads '{file}' is open to others, or not ours",
            "whoever has it reads what was asked",
            f"chmod 600 '{file}'",
        )
    if len(key) != _BYTES:
        raise fail(f"'{file}' is no key of {_BYTES} bytes", "it was cut or exchanged", lost)
    return key


def _found(file: Path) -> tuple[os.stat_result, bytes]:
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.fstat(descriptor), os.read(descriptor, _BYTES + 1)
    finally:
        os.close(descriptor)
