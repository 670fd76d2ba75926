"""
Another key for a ledger: the old one signs that the new one follows, in one entry, offline.

The new key lies beside the old one until the entry is on disk, then takes its name. A crash
between the two is made good by the next start, which finds the key that the ledger names there.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable
from pathlib import Path

from proxy.chain import Entry, Head, extend, stamp
from proxy.ledger import Fields
from proxy.ledger.files import Lock
from proxy.ledger.keyline import KIND, fields_of
from proxy.ledger.opening import NEXT, Ready, prepare
from proxy.ledger.seal import WRITE, make_key, put_in_place, seal
from proxy.ledger.sqlite import SqliteLedger
from proxy.note import Key, Signer


async def rotate(path: Path, key: Path, *, clock: Callable[[], float]) -> Key:
    """
    Give a ledger another key, and forget the old one; returns the new one.

    Raises SluiceError where the ledger is in use, broken, or signed by another key than `key`.
    """
    ledger, _ = await SqliteLedger.open(path, key=key, started={"for": "rotate-key"}, clock=clock)
    await ledger.close("another key follows")  # what the run before left open is settled
    lock = Lock(path)
    try:
        now = int(clock() * 1_000_000)
        ready = prepare(path, key, now)
        following = key.with_name(key.name + NEXT)
        following.unlink(missing_ok=True)  # of an attempt whose entry was never written
        signer = Signer(ready.signer.key.name, make_key(following))
        _write(path, ready, signer, stamp(max(now, ready.time)))
        put_in_place(following, key)
    finally:
        lock.release()
    return signer.key


def _write(path: Path, ready: Ready, signer: Signer, time: str) -> None:
    """The entry that changes the key, and one that ends this run, under a head that the new key signs."""
    changed = _after(ready.head, KIND, fields_of(ready.signer, ready.head, signer.key), time)
    stopped = _after(Head(changed.seq, changed.hash), "stopped", {"why": "the key was changed"}, time)
    tree = ready.seal.tree.copy()
    tree.add(changed.hash)
    tree.add(stopped.hash)
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO entry (seq, body, hash) VALUES (?, ?, ?)", [changed, stopped])
        connection.execute(WRITE, seal(signer, tree).row)
        connection.execute("COMMIT")
    finally:
        connection.close()


def _after(head: Head, kind: str, fields: Fields, time: str) -> Entry:
    return extend(head, kind, fields, time=time, nonce=secrets.token_hex(16))
