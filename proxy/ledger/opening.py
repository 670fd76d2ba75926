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

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from proxy import __version__
from proxy.chain import (
    HASH,
    NOTHING,
    PROFILE,
    REQUEST_TAG,
    Findings,
    Head,
    Links,
    check,
    extend,
    stamp,
)
from proxy.chain import commitment as committed
from proxy.chain import moment as moment_of
from proxy.errors import Exit, SluiceError, fail
from proxy.ledger import Draft, Fields
from proxy.ledger.cipher import PAYLOADS_KEY, Cipher, cipher_in, make_cipher
from proxy.ledger.files import inspect, make, version_of
from proxy.ledger.keyline import KIND, KeyLine
from proxy.ledger.payload import Payloads
from proxy.ledger.read import EVERYTHING, Filter, entries, hashes, head, latest, reading, rows
from proxy.ledger.removal import Erased, pruned_in
from proxy.ledger.seal import Seal, kept, make_key, origin, put_in_place, read_key, seal, unseal
from proxy.ledger.story import Story
from proxy.ledger.upgrade import upgrade
from proxy.merkle import Tree
from proxy.note import Key, NoteError, Signer

CHECKED: Final = 10_000
"""How many of the newest entries a start verifies; `sluice ledger verify` does all."""
NEXT: Final = ".next"
"""What the file of a key is called, after that of the key it follows, until its entry is on disk."""
ROOTED: Final = 100_000
"""Up to how many entries a start computes the signed root anew."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """
    What a start found, and what it wrote down about it.

    `cut_off` names the holds that were open, `unfinished` the requests that had been let
    through and have no outcome. `clean` is False where the run before did not stop in order:
    entries that were queued then may be lost. `uncounted` is since when reads that it only counted
    may be missing from the counts, empty where none can be. `new` says that the ledger was made just now.
    """

    cut_off: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()
    clean: bool = True
    new: bool = False
    uncounted: str = ""


@dataclass(frozen=True, slots=True)
class Ready:
    """
    A ledger that may be written: where it ends, when that was, and what has to be settled first.

    `cipher` is what its payloads are to be encrypted with; None where they are not.
    """

    signer: Signer
    seal: Seal
    head: Head
    time: int
    settlement: tuple[Draft, ...]
    recovered: Recovered
    cipher: Cipher | None = None


def prepare(path: Path, key: Path, now: int, *, encrypt: bool = False) -> Ready:
    """
    Check a ledger, or make it; `now` is in microseconds. The caller holds its lock.

    `key` is the file of the key that signs its head; with `encrypt` the one beside it, of the
    payloads, is made or must be usable. Raises SluiceError where it is not, or the ledger is not where
    it should be, is from a newer version, broken, or signed by another key.
    """
    inspect(path)
    new = not path.exists()
    if new:
        make_ledger(path, make_key(key), now)
    try:
        with reading(path) as connection:
            old = version_of(connection) == 1
            clean = new or latest(connection, "stopped") == head(connection).seq
        if old:
            upgrade(path, make_key(key), now)
        with reading(path) as connection:
            file = key.with_name(PAYLOADS_KEY)
            cipher = make_cipher(connection, file) if encrypt else cipher_in(connection, file)
            time = _check_end(connection, path, cipher)
            signer = _signer(connection, path, key)
            sealed = _check_seal(connection, path, signer)
            story = _unsettled(connection)
            lost = "" if clean else _uncounted(connection)
            recovered = Recovered(tuple(story.holds), tuple(story.running), clean, new, lost)
            settlement, end = tuple(story.settlement()), head(connection)
            return Ready(signer, sealed, end, time, settlement, recovered, cipher if encrypt else None)
    except sqlite3.Error as error:
        raise fail(
            f"the ledger '{path}' cannot be read: {error}", fix=f"sluice ledger verify '{path}'"
        ) from None


def make_ledger(path: Path, private: Ed25519PrivateKey, now: int, more: Fields | None = None) -> Key:
    """
    A new ledger; returns the key that its head is signed with.

    The first entry says which ledger this is, how its entries are hashed, and who signs its head.
    """
    ledger = secrets.token_hex(16)
    signer = Signer(origin(ledger), private)
    fields = {
        "alg": HASH,
        "canon": PROFILE,
        "ledger": ledger,
        "product": f"sluice {__version__}",
        "v": 1,
        "vkey": str(signer.key),
        **(more or {}),
    }
    check("genesis", fields)
    genesis = extend(NOTHING, "genesis", fields, time=stamp(now), nonce=secrets.token_hex(16))
    tree = Tree()
    tree.add(genesis.hash)
    make(path, genesis, seal(signer, tree).row)
    return signer.key


def first_key(connection: sqlite3.Connection) -> Key | None:
    """The key that a ledger names as its first: in its genesis, or where it was upgraded. NoteError."""
    vkey = first_fields(connection).get("vkey") or _upgraded(connection).get("vkey")
    return Key.parse(vkey) if type(vkey) is str else None


def key_line(connection: sqlite3.Connection) -> KeyLine:
    """The keys that have signed a ledger's head; NoteError where one does not follow from another."""
    line = KeyLine(first_key(connection))
    for entry, fields in entries(connection, Filter(kinds=frozenset({KIND}))):
        line.take(entry.seq, fields)
    return line


def named_key(connection: sqlite3.Connection) -> Key | None:
    """The key that signs a ledger's head now, as the ledger says."""
    return key_line(connection).current


def first_fields(connection: sqlite3.Connection) -> Fields:
    """What the genesis says, unverified."""
    return next((fields for _, fields in entries(connection, last=0)), {})


def _upgraded(connection: sqlite3.Connection) -> Fields:
    at = latest(connection, "upgraded")
    return _entry(connection, at) if at > 0 else {}


def _entry(connection: sqlite3.Connection, at: int) -> Fields:
    return next((fields for _, fields in entries(connection, after=at - 1, last=at)), {})


def _uncounted(connection: sqlite3.Connection) -> str:
    """Until when the run before has written its counts, or when it began; empty where it kept none."""
    at = latest(connection, "started")
    started = _entry(connection, at) if at > 0 else {}
    if started.get("record_reads") != "counts":
        return ""
    until = started.get("time")
    for _, fields in entries(connection, Filter(kinds=frozenset({"counted"})), after=at):
        until = fields.get("until")
    return until if type(until) is str else ""


def _signer(connection: sqlite3.Connection, path: Path, file: Path) -> Signer:
    try:
        named = named_key(connection)
    except NoteError:
        named = None
    if named is None:
        raise _broken(path, "it does not say who signs its head")
    _finish(named, file)
    signer = Signer(named.name, read_key(file))
    if signer.key != named:
        raise fail(
            f"the ledger '{path}' is signed by another key than '{file}'",
            f"it names {named}",
            "put that key back; if it is lost: sluice ledger accept-loss",
            exit=Exit.NO,
        )
    return signer


def _finish(named: Key, file: Path) -> None:
    """Where a change of the key was cut short after its entry was written: the key it names is there."""
    following = file.with_name(file.name + NEXT)
    if following.exists() and read_key(following).public_key().public_bytes_raw() == named.public:
        put_in_place(following, file)


def _check_seal(connection: sqlite3.Connection, path: Path, signer: Signer) -> Seal:
    """The signed head is there, ours, and the one of the last entry."""
    end = head(connection)
    try:
        sealed = unseal(*(kept(connection) or (None, None)), signer.key)
    except NoteError as error:
        raise _broken(path, str(error)) from None
    if sealed.tree.size != end.seq + 1:
        raise _broken(path, f"its signed head covers {sealed.tree.size} entries, and {end.seq + 1} are there")
    if end.seq < ROOTED:
        pruned = pruned_in(connection)
        tree = Tree() if pruned is None else pruned.tree
        for one in hashes(connection, end.seq, tree.size - 1):
            tree.add(one)
        if tree.root() != sealed.tree.root():
            raise _broken(path, "its entries are not those that its head was signed over")
    return sealed


def _broken(path: Path, what: str) -> SluiceError:
    return fail(
        f"the ledger '{path}' is broken: {what}",
        "history was changed, or the disk has lost some of it; going on would hide that",
        f"sluice ledger verify '{path}'; to go on: sluice ledger accept-loss",
        exit=Exit.NO,
    )


def _check_end(connection: sqlite3.Connection, path: Path, cipher: Cipher | None) -> int:
    """Verify the newest entries; returns the time of the last one in microseconds."""
    findings, end = Findings(), head(connection)
    links = Links(findings)
    after = end.seq - CHECKED if end.seq > CHECKED else None
    pruned, erased = pruned_in(connection), Erased()
    if pruned is not None and (after is None or after < pruned.before):
        links.head, after = pruned.head, pruned.before - 1
    elif after is not None:
        _stand_on(connection, after, links)
    payloads = Payloads(findings, cipher)
    for seq, body, stored, salt, data in rows(connection, after, end.seq):
        fields = links.entry(body, seq=seq, stored=stored)
        payloads.check(seq, fields, salt, data)
        if fields.get("kind") == "erased":
            erased.take(seq, fields)
    payloads.settle(connection, erased)
    if end.seq < 0:
        findings.add(0, "genesis", "there is no entry at all")
    if findings.count:
        first = findings.kept[0]
        raise _broken(path, f"entry {first.seq}: {first.what}")
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


def request_is(fields: Fields, salt: bytes, digest: bytes) -> bool:
    """Whether an entry is about the request with this digest; `salt` is the one kept beside it."""
    return fields.get("request") == committed(REQUEST_TAG, salt, digest)
