"""
Verifying a ledger, or an export of one: what can be said of it without trusting who wrote it.

What that is, in which level, says `proxy.ledger.report`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from proxy.chain import Finding, Findings, Head, Links
from proxy.errors import Exit, SluiceError, fail
from proxy.ledger.anchors import Place, Roots, judge, shelves
from proxy.ledger.cipher import PAYLOADS_KEY, Cipher, cipher_in
from proxy.ledger.files import beside, schema_problems
from proxy.ledger.keyline import KeyLine
from proxy.ledger.opening import first_key
from proxy.ledger.payload import Payloads
from proxy.ledger.read import BROKEN, Source, cannot_open, connect, head, snapshot
from proxy.ledger.report import Report
from proxy.ledger.reviews import Reviews
from proxy.ledger.seal import kept, unseal
from proxy.ledger.verify_export import read_export, vkey_of
from proxy.ledger.walk import Progress, Walk
from proxy.ledger.workers import Cores
from proxy.note import SIGNED, Key, NoteError

__all__ = ["Report", "verify"]

_DAY: Final = 86_400_000_000
_MAGIC: Final = b"SQLite format 3\0"
_ROUNDS: Final = 10
"""How often a ledger is read on from which a proxy erases meanwhile."""

type _Kept = tuple[object, object] | None
"""The signed head as it is kept, where there is one."""


@dataclass(slots=True)
class Check:
    """One run of a verifier: what it was given, and what it found so far."""

    keys: tuple[Key, ...]
    places: tuple[Place, ...]
    latest: int
    cores: Cores
    progress: Progress
    payloads_key: Path
    findings: Findings = field(default_factory=Findings)
    roots: Roots = field(default_factory=Roots)
    reviews: Reviews = field(init=False)
    key: Key | None = None
    line: KeyLine = field(default_factory=lambda: KeyLine(None))
    sealed: bool = False
    live: bool = False
    pruned: int = 0
    payloads: Payloads | None = None
    cipher: Cipher | None = None

    def __post_init__(self) -> None:
        self.reviews = Reviews(self.findings)

    @property
    def pinned(self) -> Key | None:
        """The log's key as the verifier named it."""
        return next((key for key in self.keys if key.kind == SIGNED), None)

    def meet(self, named: Key | None) -> None:
        """The ledger says which key was its first: what is kept elsewhere of a ledger with it is read."""
        self.key = self.pinned or named
        self.line = KeyLine(named or self.pinned)
        if self.places and self.key is None:
            self.findings.add(0, "key", "the ledger does not say which key signs it: give it with --key")
        elif self.key is not None:
            self.roots = Roots(shelves(self.places, self.key.name))

    def settle(self) -> None:
        """All entries were read: the pinned key must be one of those that followed each other."""
        if self.pinned in (None, *self.line.keys):
            self.key = self.line.current
        else:
            named = self.line.keys[0]
            self.findings.add(0, "key", f"the ledger names another key than the pinned one: {named}")

    def report(self, source: str, links: Links) -> Report:
        """Everything together."""
        findings = self.findings
        if links.head.seq < 0 and not findings.count:
            findings.add(0, "genesis", "there is no entry at all")
        known = [*self.line.keys, *self.keys]
        count = links.head.seq + 1
        compared = tuple(judge(shelf, count, known, findings) for shelf in self.roots.shelves)
        return Report(
            source=source,
            entries=count,
            omitted=links.omitted,
            head=links.head.hash.hex() if count else "",
            first=links.first,
            last=links.last,
            findings=tuple(findings.kept),
            more=findings.count - len(findings.kept),
            live=self.live,
            pruned=self.pruned,
            root=self.roots.tree.root().hex() if count else "",
            vkey=None if self.key is None else str(self.key),
            sealed=self.sealed,
            pinned=self.pinned is not None,
            places=compared,
            reviews=self.reviews.said,
            encrypted=0 if self.payloads is None else self.payloads.encrypted,
            unopened=0 if self.payloads is None else self.payloads.unopened,
            payloads_key=None if self.cipher is None else self.cipher.id,
        )


def _silent(_: int, __: int) -> None:
    return None


def verify(
    path: Path,
    now: float,
    *,
    keys: Sequence[Key] = (),
    against: Sequence[Place] = (),
    cores: Cores | None = None,
    progress: Progress = _silent,
    payloads_key: Path | None = None,
) -> Report:
    """
    Verify a ledger or an exported jsonl; never writes, not even beside it.

    `now` is Unix time in seconds. `keys` are those that the verifier had before: the log's own,
    and those of witnesses. `against` are places that keep checkpoints. `cores` are how many
    processes read a large ledger (None: as many as there are); `progress` is told how far it is.
    `payloads_key` is the file of the key of its payloads (None: beside the ledger); what cannot be
    opened without it is counted. What is wrong is in the report; SluiceError (exit 2) only where
    nothing can be opened, or a newer Sluice has made it.
    """
    latest = int(now * 1_000_000) + _DAY
    file = payloads_key or path.with_name(PAYLOADS_KEY)
    check = Check(tuple(keys), tuple(against), latest, cores or Cores(), progress, file)
    try:
        with path.open("rb") as opened:
            start = opened.read(len(_MAGIC))
            if start[:1] == b"{":
                opened.seek(0)
                check.meet(vkey_of(opened))
                opened.seek(0)
                links = Links(check.findings, latest=latest)
                check.pruned = read_export(opened, links, check.roots, check.reviews, check.line)
                check.settle()
                return check.report("export", links)
    except OSError as error:
        raise cannot_open(path, error.strerror or "it cannot be read") from None
    if start != _MAGIC:
        return _nothing("no_ledger", f"'{path}' is no ledger of Sluice, and no export of one")
    journal = beside(path, "-journal")
    if journal.is_symlink() or journal.exists():
        return _nothing(
            "journal", f"'{journal}' would be played back over the entries; Sluice never leaves one"
        )
    return _ledger(path, check, Links(check.findings, latest=latest))


def _nothing(code: str, what: str) -> Report:
    return Report("ledger", 0, 0, "", None, None, (Finding(None, code, what),))


def _ledger(path: Path, check: Check, links: Links) -> Report:
    findings = check.findings
    try:
        with snapshot(path) as (connection, source):
            check.live = source.live
            _database(path, connection, findings, whole=not check.live)
            check.meet(_named(connection, findings))
            sealed = _walk(connection, source, check, links)
            check.settle()
            _sealed(sealed, check, links)
    except (*BROKEN, TypeError, OverflowError) as error:
        findings.add(None, "sqlite", f"SQLite cannot read on: {error}")
    except SluiceError as error:
        if error.exit is not Exit.NO:
            raise
        findings.add(None, "sqlite", "; ".join(problem.why or problem.what for problem in error.problems))
    return check.report("ledger", links)


def _moment(connection: sqlite3.Connection) -> tuple[Head, _Kept]:
    """The last entry and the signed head, in one moment: a proxy that writes meanwhile moves both."""
    connection.execute("BEGIN")
    end, sealed = head(connection), _kept(connection)
    connection.execute("COMMIT")
    return end, sealed


def _walk(connection: sqlite3.Connection, source: Source, check: Check, links: Links) -> _Kept:
    """All entries, and meanwhile the pages that they lie in; the head that was signed over them."""
    found = Findings()
    with ThreadPoolExecutor(1) as apart:
        looked = apart.submit(_pages, source, found)
        try:
            return _entries(connection, source, check, links)
        finally:
            looked.result()
            for finding in found.kept:
                check.findings.add(*finding)


def _entries(connection: sqlite3.Connection, source: Source, check: Check, links: Links) -> _Kept:
    cipher = check.cipher = cipher_in(connection, check.payloads_key)
    end, sealed = _moment(connection)

    def begun() -> Walk:
        whole = check.roots, check.latest, check.progress, check.reviews, check.line
        return Walk(connection, end, links, *whole, cipher)

    if end.seq + 1 < check.cores.least:
        walk = begun()
        walk.entries()
    else:
        with check.cores.readers(source, check.payloads_key) as read_all:
            walk = begun()  # which reads already, while the processes start
            walk.spans(read_all, check.cores.run)
    if source.live:
        sealed = _go_on(connection, walk, sealed)
    walk.settle()
    check.pruned, check.payloads = walk.pruned, walk.payloads
    return sealed


def _go_on(connection: sqlite3.Connection, walk: Walk, sealed: _Kept) -> _Kept:
    """
    Read what a proxy has written meanwhile, where something is gone that it may have erased meanwhile.

    The entry that says so was written with the erasure, so it is there by now.
    """
    gone = -1
    for _ in range(_ROUNDS):
        if walk.payloads.last_gone == gone:
            break
        gone = walk.payloads.last_gone
        end, sealed = _moment(connection)
        walk.go_on(end)
    return sealed


def _pages(source: Source, findings: Findings) -> None:
    """What SQLite itself says of its pages."""
    with closing(connect(source)) as connection:
        for (problem,) in connection.execute("PRAGMA integrity_check(10)"):
            if problem != "ok":
                findings.add(None, "sqlite", f"SQLite finds its own pages wrong: {problem}")


def _database(path: Path, connection: sqlite3.Connection, findings: Findings, *, whole: bool) -> None:
    for code, what in schema_problems(connection):
        if code == "newer":
            raise fail(f"'{path}': {what}", fix="verify it with the Sluice that has made it")
        findings.add(None, code, what)
    pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    log = beside(path, "-wal")
    if whole and not (log.exists() and log.stat().st_size) and path.stat().st_size != pages * size:
        findings.add(None, "file_size", "the file is longer or shorter than its pages")


def _named(connection: sqlite3.Connection, findings: Findings) -> Key | None:
    try:
        return first_key(connection)
    except NoteError as error:
        findings.add(0, "key", f"the key that the ledger names is none: {error}")
    except (*BROKEN, SluiceError, TypeError):
        return None  # what cannot be read is found, and named, entry by entry
    return None


def _kept(connection: sqlite3.Connection) -> _Kept:
    there = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'head'"
    return kept(connection) if connection.execute(there).fetchone()[0] else None


def _sealed(row: _Kept, check: Check, links: Links) -> None:
    """The signed head must be there where a key is named, hold, and be the one of these entries."""
    findings, key = check.findings, check.key
    if key is None:
        return
    if row is None:
        findings.add(
            None, "head_missing", "the signed head is gone: without it entries can be cut off or added"
        )
        return
    try:
        sealed = unseal(*row, key)
    except NoteError as error:
        findings.add(None, "head_signature", f"the signed head does not hold: {error}")
        return
    count = links.head.seq + 1
    if sealed.tree.size != count:
        what = "entries were cut off" if sealed.tree.size > count else "entries were added without the key"
        findings.add(
            min(sealed.tree.size, count),
            "head_size",
            f"the signed head covers {sealed.tree.size} entries, and {count} are there: {what}",
        )
    elif sealed.tree.root() != check.roots.tree.root():
        findings.add(None, "head_root", "the entries are not those that the head was signed over")
    else:
        check.sealed = True
