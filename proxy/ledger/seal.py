"""
The signed head of a ledger: how far it goes, and one hash over all of it.

It is written in the transaction of the entries that it covers, so no entry is ever without it:
an entry added or cut by somebody without the key does not agree with it.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from proxy.errors import fail
from proxy.ledger.files import sync_folder
from proxy.merkle import Tree
from proxy.note import Checkpoint, Key, NoteError, Signer, open_note

KEY: Final = "ledger.key"
"""The file of the log's private key: PKCS#8 in PEM, 0600, not encrypted."""
WRITE: Final = (
    "INSERT INTO head (id, note, frontier) VALUES (0, ?, ?) "
    "ON CONFLICT (id) DO UPDATE SET note = excluded.note, frontier = excluded.frontier"
)
_KEY_LIMIT: Final = 4_096


class Seal(NamedTuple):
    """A head that is signed: the note, and the tree that it is over, which nobody changes any more."""

    note: bytes
    tree: Tree

    @property
    def row(self) -> tuple[bytes, bytes]:
        """As the table `head` keeps it."""
        return self.note, self.tree.encode()


def origin(ledger: str) -> str:
    """What a ledger is called in its checkpoints; `ledger` is the id in its genesis."""
    return f"sluice/{ledger}"


def seal(signer: Signer, tree: Tree) -> Seal:
    """Sign the head of a ledger."""
    return Seal(signer.sign(Checkpoint(signer.key.name, tree.size, tree.root()).text), tree)


def unseal(note: object, frontier: object, key: Key) -> Seal:
    """
    The head as it is kept, once it is shown to be one that this key has signed.

    The frontier needs no trust: it hashes to the root in the note, or it is refused. NoteError.
    """
    if type(note) is not bytes or type(frontier) is not bytes:
        raise NoteError("the signed head is not kept as bytes")
    checkpoint = Checkpoint.parse(open_note(note, [key]).text)
    if checkpoint.origin != key.name:
        raise NoteError(f"the signed head is the one of another ledger, {checkpoint.origin[:100]!r}")
    try:
        tree = Tree.decode(checkpoint.size, frontier)
    except ValueError as error:
        raise NoteError(f"the frontier beside the signed head is none: {error}") from None
    if tree.root() != checkpoint.root:
        raise NoteError("the frontier beside the signed head does not have its root")
    return Seal(note, tree)


def kept(connection: sqlite3.Connection) -> tuple[object, object] | None:
    """The note and the frontier as they are kept, unchecked; None where there is no signed head."""
    row = connection.execute("SELECT note, frontier FROM head WHERE id = 0").fetchone()
    return None if row is None else (row[0], row[1])


def make_key(path: Path) -> Ed25519PrivateKey:
    """The log's key, made where there is none yet. SluiceError where the file is not ours alone."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        return read_key(path)
    private = Ed25519PrivateKey.generate()
    with os.fdopen(descriptor, "wb") as file:
        file.write(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        file.flush()
        os.fsync(file.fileno())
    return private


def put_in_place(new: Path, path: Path) -> None:
    """Let a key have the name of the one that it follows, which is gone then."""
    new.replace(path)
    sync_folder(path.parent)


def read_key(path: Path) -> Ed25519PrivateKey:
    """The log's key; SluiceError where it is not there, not a key, or not ours alone."""
    lost = "find it and put it back; if it is lost: sluice ledger accept-loss"
    try:
        found = path.lstat()
        data = path.read_bytes() if stat.S_ISREG(found.st_mode) and found.st_size <= _KEY_LIMIT else b""
    except OSError as error:
        raise fail(
            f"the key of the ledger '{path}' cannot be read: {error.strerror}",
            "every entry is covered by its signature",
            lost,
        ) from None
    if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o077 or found.st_uid != os.geteuid():
        raise fail(
            f"the key of the ledger '{path}' is open to others",
            "it must be ours alone",
            f"chmod 600 '{path}'",
        )
    try:
        private = load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise fail(f"'{path}' is no key in PKCS#8", "it was cut or exchanged", lost) from None
    if not isinstance(private, Ed25519PrivateKey):
        raise fail(f"'{path}' is no Ed25519 key", "it was exchanged", lost)
    return private
