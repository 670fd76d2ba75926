"""
A ledger of an older version becomes one of this version: once, in one transaction, and written down.

Version 1 had no signed head. Its entries stay as they are, byte for byte; the entry `upgraded`
says from where on they are covered, and by which key.
"""

from __future__ import annotations

import logging
import secrets
import sqlite3
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from proxy import __version__
from proxy.chain import Entry, Findings, Links, extend, moment, stamp
from proxy.errors import Exit, fail
from proxy.ledger.files import HEAD, VERSION
from proxy.ledger.read import entries, reading
from proxy.ledger.seal import origin, seal
from proxy.merkle import Tree
from proxy.note import Signer

log = logging.getLogger("sluice")


def upgrade(path: Path, private: Ed25519PrivateKey, now: int) -> None:
    """
    Upgrade a ledger of version 1; `now` is in microseconds. The caller holds its lock.

    All of its chain is verified first: a signature over what was changed would hide that.
    Raises SluiceError where it is broken.
    """
    findings = Findings()
    links, tree, ledger = Links(findings), Tree(), ""
    with reading(path) as connection:
        for entry, fields in entries(connection):
            links.entry(entry.body, seq=entry.seq, stored=entry.hash)
            tree.add(entry.hash)
            ledger = ledger or str(fields.get("ledger", ""))
    if findings.count:
        first = findings.kept[0]
        raise fail(
            f"the ledger '{path}' is broken, and is not upgraded: entry {first.seq}: {first.what}",
            "a signature over what was changed would hide that",
            f"sluice ledger verify '{path}'; to go on: sluice ledger accept-loss",
            exit=Exit.NO,
        )
    signer = Signer(origin(ledger), private)
    time = stamp(max(now, moment(links.last) or 0))
    fields = {"from": 1, "to": VERSION, "product": f"sluice {__version__}", "vkey": str(signer.key)}
    upgraded = extend(links.head, "upgraded", fields, time=time, nonce=secrets.token_hex(16))
    tree.add(upgraded.hash)
    _write(path, upgraded, seal(signer, tree).row)
    log.warning("the ledger was upgraded to version %d; its head is signed from here on", VERSION)


def _write(path: Path, upgraded: Entry, head: tuple[bytes, bytes]) -> None:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(HEAD)
        connection.execute(f"PRAGMA user_version={VERSION}")
        connection.execute("INSERT INTO entry (seq, body, hash) VALUES (?, ?, ?)", upgraded)
        connection.execute("INSERT INTO head (id, note, frontier) VALUES (0, ?, ?)", head)
        connection.execute("COMMIT")
    finally:
        connection.close()
