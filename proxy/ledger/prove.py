"""
Proofs that leave the ledger: an entry is in it, one checkpoint goes on from another.

A proof of an entry is a C2SP tlog-proof (c2sp.org/tlog-proof@v1) whose extra data are the bytes
of the entry; one of a continuation is the body of an add-checkpoint request (c2sp.org/tlog-witness).
Both end with a signed checkpoint, and both verify offline, by these functions or any others.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxy.chain import UnfitError, digest, parse
from proxy.errors import Exit, fail
from proxy.ledger.opening import named_key
from proxy.ledger.read import hashes, reading
from proxy.ledger.removal import pruned_in
from proxy.ledger.seal import Seal, kept, unseal
from proxy.merkle import PROOF, SIZE, Range, Tree, consistency, inclusion, is_extended, is_included, roots
from proxy.note import SIGNED, Checkpoint, Key, NoteError, decode64, encode64, open_note, text_of

_FIRST: Final = "c2sp.org/tlog-proof@v1"
LIMIT: Final = 256 * 1024
"""Bytes of a proof at most."""


def checkpoint(path: Path) -> bytes:
    """The signed head of a ledger, as a note."""
    with _sealed(path) as (_, sealed):
        return sealed.note


def prove(path: Path, seq: int) -> bytes:
    """The proof that entry `seq` is in the ledger, as it is now."""
    with _sealed(path) as (connection, sealed):
        size = sealed.tree.size
        row = connection.execute("SELECT body FROM entry NOT INDEXED WHERE seq = ?", (seq,)).fetchone()
        if row is None or seq >= size:
            raise fail(f"there is no entry {seq} in '{path}'", fix="sluice ledger show", exit=Exit.NO)
        lines = [_FIRST, f"extra {encode64(row[0])}", f"index {seq}"]
        lines += map(encode64, _hashed(connection, inclusion(seq, size), size))
        return "\n".join(lines).encode() + b"\n\n" + sealed.note


def prove_since(path: Path, note: bytes) -> bytes:
    """The proof that the ledger as it is now goes on from an earlier checkpoint."""
    with _sealed(path) as (connection, sealed):
        old, size = _read(note), sealed.tree.size
        if not 0 < old.size <= size:
            raise fail(
                f"the checkpoint is of {old.size} entries, and the ledger has {size}",
                "entries were cut off, or it is not this ledger's",
                f"sluice ledger verify '{path}' --against FILE",
                exit=Exit.NO,
            )
        lines = [f"old {old.size}"]
        lines += map(encode64, _hashed(connection, consistency(old.size, size), size))
        return "\n".join(lines).encode() + b"\n\n" + sealed.note


@contextmanager
def _sealed(path: Path) -> Iterator[tuple[sqlite3.Connection, Seal]]:
    with reading(path) as connection:
        try:
            key = named_key(connection)
            if key is None:
                raise fail(
                    f"the head of '{path}' is not signed",
                    "an earlier version has made it",
                    "start a gate with it once: sluice up upgrades it",
                    exit=Exit.NO,
                )
            yield connection, unseal(*(kept(connection) or (None, None)), key)
        except NoteError as error:
            raise fail(str(error), fix=f"sluice ledger verify '{path}'", exit=Exit.NO) from None


def _hashed(connection: sqlite3.Connection, ranges: Sequence[Range], size: int) -> list[bytes]:
    """The hashes that a proof is made of; of what was pruned the frontier is enough."""
    pruned = pruned_in(connection)
    before = Tree() if pruned is None else pruned.tree
    try:
        return roots(ranges, hashes(connection, size - 1, before.size - 1), before)
    except ValueError as error:
        raise fail(
            f"this cannot be proven any more: {error}",
            "entries were pruned",
            "prove what comes after them; their archive verifies by itself",
            exit=Exit.NO,
        ) from None


@dataclass(frozen=True, slots=True)
class Proven:
    """
    What a proof shows.

    `seq` and `entry` (its exact bytes) for an entry, `since` (a number of entries) for a
    continuation. `size` and `root` are those of the checkpoint at its end. `signed` says that
    a key which the verifier named has signed it, `time` when a witness did (Unix seconds).
    """

    origin: str
    size: int
    root: bytes
    signed: bool
    seq: int | None = None
    entry: bytes | None = None
    since: int | None = None
    time: int | None = None

    def as_dict(self) -> dict[str, object]:
        """The object that `ledger verify-proof --json` prints."""
        return {
            "ok": True,
            "origin": self.origin,
            "seq": self.seq,
            "since": self.since,
            "size": self.size,
            "root": self.root.hex(),
            "signed": self.signed,
            "time": self.time,
            "entry": None if self.entry is None else parse(self.entry),
        }


def verify_proof(data: bytes, keys: Sequence[Key] = (), since: bytes | None = None) -> Proven:
    """
    Verify a proof; `since` is the earlier checkpoint that a continuation is of.

    Raises NoteError where it does not hold. Without a key of the log nobody vouches for the
    root: `signed` is False then.
    """
    if len(data) > LIMIT:
        raise NoteError(f"a proof of more than {LIMIT} bytes")
    head, gap, note = data.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise NoteError("this is no proof of a ledger") from None
    if not gap:
        raise NoteError("the proof has no checkpoint at its end")
    found, signed, time = _trusted(note, keys)
    if lines[0] == _FIRST:
        seq, entry = _entry(lines, found)
        return Proven(found.origin, found.size, found.root, signed, seq=seq, entry=entry, time=time)
    size = _continuation(lines, found, since)
    return Proven(found.origin, found.size, found.root, signed, since=size, time=time)


def _trusted(note: bytes, keys: Sequence[Key]) -> tuple[Checkpoint, bool, int | None]:
    if not any(key.kind == SIGNED for key in keys):
        return _read(note), False, None
    opened = open_note(note, keys)
    found = Checkpoint.parse(opened.text)
    if not any(one.key.kind == SIGNED and one.key.name == found.origin for one in opened.signatures):
        raise NoteError("the log's own key has not signed the checkpoint")
    return found, True, opened.time


def _read(note: bytes) -> Checkpoint:
    return Checkpoint.parse(text_of(note))


def _entry(lines: list[str], found: Checkpoint) -> tuple[int, bytes]:
    if len(lines) < 3 or not lines[1].startswith("extra "):
        raise NoteError("the proof does not hold the entry that it is of")
    seq, entry = _number(lines[2], "index "), decode64(lines[1].removeprefix("extra "))
    if not is_included(digest(entry), seq, found.size, _hashes(lines[3:]), found.root):
        raise NoteError(f"the proof does not hold: this entry is not number {seq} of that ledger")
    try:
        said = parse(entry).get("seq")
    except UnfitError as error:
        raise NoteError(f"the entry cannot be read: {error}") from None
    if said != seq:
        raise NoteError(f"the entry says that it is number {said}, and stands as number {seq}")
    return seq, entry


def _continuation(lines: list[str], found: Checkpoint, since: bytes | None) -> int:
    size = _number(lines[0], "old ")
    if since is None:
        raise NoteError("which checkpoint does it go on from? name its file with --since")
    old = _read(since)
    if (old.origin, old.size) != (found.origin, size):
        raise NoteError(f"the proof is about another checkpoint, one of {size} entries of {found.origin}")
    if not is_extended(size, found.size, _hashes(lines[1:]), old.root, found.root):
        raise NoteError(f"the proof does not hold: the {found.size} entries do not go on from those {size}")
    return size


def _number(line: str, prefix: str) -> int:
    digits = line.removeprefix(prefix)
    if not line.startswith(prefix) or not digits.isdigit() or len(digits) > 18 or str(int(digits)) != digits:
        raise NoteError(f"this is no proof of a ledger: it has no line '{prefix}N'")
    return int(digits)


def _hashes(lines: list[str]) -> list[bytes]:
    if len(lines) > PROOF:
        raise NoteError("a proof that is too long to be one")
    found = [decode64(line) for line in lines]
    if any(len(one) != SIZE for one in found):
        raise NoteError("a proof with something in it that is no hash")
    return found


def tree_of(path: Path, size: int) -> Tree:
    """The tree over the first entries of a ledger."""
    with reading(path) as connection:
        pruned = pruned_in(connection)
        tree = Tree() if pruned is None else pruned.tree
        for one in hashes(connection, size - 1, tree.size - 1):
            tree.add(one)
        return tree
