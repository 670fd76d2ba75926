"""
Verifying a ledger, or an export of one: what can be said of it without trusting who wrote it.

The level reached here is ``chain``: every entry is unchanged since the next one was chained to
it. Whoever can write the file can still cut off its newest entries, or write all of it anew;
only a head that was kept elsewhere shows that.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from proxy.chain import LIMIT, Finding, Findings, Links, UnfitError, canonical, parse_line
from proxy.errors import Exit, SluiceError, fail
from proxy.ledger.files import beside, schema_problems
from proxy.ledger.opening import check_payload
from proxy.ledger.read import BROKEN, cannot_open, rows, snapshot
from proxy.ledger.story import Story

LEVEL: Final = "chain"
PROVES: Final = (
    "every entry is as it was when the next one was chained to it; none between them was added or removed"
)
LIMITS: Final = (
    "whoever can write this file can cut off its newest entries or write all of it anew, unseen; "
    "compare the head with one that was kept elsewhere"
)
_DAY: Final = 86_400_000_000
_MAGIC: Final = b"SQLite format 3\0"
_LINE: Final = LIMIT + 1
_OMITTED: Final = b'{"hashes":["'
_OMITTED_END: Final = b'"],"kind":"omitted"}\n'
_HASHES: Final = re.compile(rb'(?:[0-9a-f]{64}",")+')
_HASH: Final = re.compile(rb"[0-9a-f]{64}")
_EXPORTED: Final = frozenset({"count", "filters", "head", "kind", "self"})


@dataclass(frozen=True, slots=True)
class Report:
    """
    What verifying found.

    `source` is ``ledger`` or ``export``. `entries` counts all that the chain covers, `omitted`
    those of which only the hash is there. `more` counts the findings beyond those listed.
    `live` says that a proxy was writing meanwhile: what it wrote since is not covered.
    """

    source: str
    entries: int
    omitted: int
    head: str
    first: str | None
    last: str | None
    findings: tuple[Finding, ...]
    more: int = 0
    live: bool = False

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def exit(self) -> Exit:
        """0 where nothing was found, else 1."""
        return Exit.YES if self.ok else Exit.NO

    def as_dict(self) -> dict[str, object]:
        """The object that `ledger verify --json` prints."""
        return {
            "ok": self.ok,
            "level": LEVEL if self.ok else None,
            "source": self.source,
            "entries": self.entries,
            "omitted": self.omitted,
            "head": self.head,
            "first": self.first,
            "last": self.last,
            "live": self.live,
            "findings": [{"seq": seq, "code": code, "what": what} for seq, code, what in self.findings],
            "more": self.more,
            "proves": PROVES if self.ok else None,
            "limits": self.limits,
        }

    @property
    def limits(self) -> str:
        """What this does not prove, in plain words."""
        if self.omitted:
            return f"{LIMITS}; {self.omitted} entries are left out, and nothing is said of what is in them"
        return LIMITS


def verify(path: Path, now: float) -> Report:
    """
    Verify a ledger or an exported jsonl; never writes, not even beside it.

    `now` is Unix time in seconds. What is wrong is in the report; SluiceError (exit 2) only
    where nothing can be opened, or a newer Sluice has made it.
    """
    latest = int(now * 1_000_000) + _DAY
    try:
        with path.open("rb") as file:
            start = file.read(len(_MAGIC))
            if start[:1] == b"{":
                file.seek(0)
                return _export(file, latest)
    except OSError as error:
        raise cannot_open(path, error.strerror or "it cannot be read") from None
    if start != _MAGIC:
        return _nothing("no_ledger", f"'{path}' is no ledger of Sluice, and no export of one")
    journal = beside(path, "-journal")
    if journal.is_symlink() or journal.exists():
        return _nothing(
            "journal", f"'{journal}' would be played back over the entries; Sluice never leaves one"
        )
    return _ledger(path, latest)


def _nothing(code: str, what: str) -> Report:
    return Report("ledger", 0, 0, "", None, None, (Finding(None, code, what),))


def _report(source: str, links: Links, findings: Findings, *, live: bool = False) -> Report:
    if links.head.seq < 0 and not findings.count:
        findings.add(0, "genesis", "there is no entry at all")
    more = findings.count - len(findings.kept)
    head = links.head.hash.hex() if links.head.seq >= 0 else ""
    kept = tuple(findings.kept)
    return Report(
        source, links.head.seq + 1, links.omitted, head, links.first, links.last, kept, more=more, live=live
    )


# -- a ledger ----------------------------------------------------------------------


def _ledger(path: Path, latest: int) -> Report:
    findings = Findings()
    links = Links(findings, latest=latest)
    live = False
    try:
        with snapshot(path) as (connection, live):
            _database(path, connection, findings, whole=not live)
            _entries(connection, links, findings)
    except (*BROKEN, TypeError, OverflowError) as error:
        findings.add(None, "sqlite", f"SQLite cannot read on: {error}")
    except SluiceError as error:
        if error.exit is not Exit.NO:
            raise
        findings.add(None, "sqlite", "; ".join(problem.why or problem.what for problem in error.problems))
    return _report("ledger", links, findings, live=live)


def _database(path: Path, connection: sqlite3.Connection, findings: Findings, *, whole: bool) -> None:
    for code, what in schema_problems(connection):
        if code == "newer":
            raise fail(f"'{path}': {what}", fix="verify it with the Sluice that has made it")
        findings.add(None, code, what)
    for (problem,) in connection.execute("PRAGMA integrity_check(10)"):
        if problem != "ok":
            findings.add(None, "sqlite", f"SQLite finds its own pages wrong: {problem}")
    pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    log = beside(path, "-wal")
    if whole and not (log.exists() and log.stat().st_size) and path.stat().st_size != pages * size:
        findings.add(None, "file_size", "the file is longer or shorter than its pages")


def _entries(connection: sqlite3.Connection, links: Links, findings: Findings) -> None:
    story = Story(findings)
    for seq, body, kept, salt, data in rows(connection):
        fields = links.entry(body, seq=seq, stored=kept)
        check_payload(findings, seq, fields, salt, data)
        story.take(seq, fields)
    orphans = (
        "SELECT p.seq FROM payload p LEFT JOIN entry e ON e.seq = p.seq WHERE e.seq IS NULL AND p.seq <= ?"
    )
    for (seq,) in connection.execute(orphans, (links.head.seq,)):
        findings.add(seq, "payload_orphan", "something is kept beside an entry that is not there")


# -- an export ---------------------------------------------------------------------


class _Run(NamedTuple):
    """A run of entries left out of an export."""

    length: int
    last: bytes


def _export(file: BinaryIO, latest: int) -> Report:
    findings = Findings()
    links = Links(findings, latest=latest)
    story = Story(findings)
    end: Mapping[str, object] | None = None
    while (piece := _next(file, links, findings)) is not None:
        if end is not None:
            findings.add(None, "after_end", "there are lines after the one that says where the export ends")
            break
        if isinstance(piece, _Run):
            story.partial = True
            links.skip(*piece)
        elif (end := _as_end(piece)) is not None:
            _check_end(end, piece, links, findings)
        else:
            story.take(links.head.seq + 1, links.entry(piece))
    if end is None:
        findings.add(
            None, "cut", "the line that says where the export ends is missing: lines may have been cut off"
        )
    return _report("export", links, findings)


def _next(file: BinaryIO, links: Links, findings: Findings) -> bytes | _Run | None:
    """The next line without its line feed, or the next run left out; None at the end."""
    line = file.readline(_LINE)
    if not line:
        return None
    if line.startswith(_OMITTED):
        return _run(line, file, links, findings)
    if not line.endswith(b"\n"):
        at = links.head.seq + 1
        if len(line) < _LINE:
            findings.add(at, "cut", "the last line has no end: some of it was cut off")
        else:
            findings.add(at, "too_long", f"a line of more than {LIMIT} bytes is no entry")
            _skip_line(file)
    return line.removesuffix(b"\n")


def _run(line: bytes, file: BinaryIO, links: Links, findings: Findings) -> _Run | bytes:
    """
    A run left out, whatever its length, with flat memory.

    It is canonical if it is hash after hash in exactly this form, so no parser is needed.
    """
    rest, count = line[len(_OMITTED) :], 0
    while True:
        if not rest.endswith(b"\n"):
            rest += file.readline(_LINE)
        hashes = _HASHES.match(rest)
        if hashes is None:
            break
        count += hashes.end() // 67
        rest = rest[hashes.end() :]
    if rest[64:] == _OMITTED_END and _HASH.match(rest):
        return _Run(count + 1, bytes.fromhex(rest[:64].decode()))
    findings.add(
        links.head.seq + 1 + count, "omitted", "the list of what is left out is not as it was written"
    )
    if not rest.endswith(b"\n"):
        _skip_line(file)
    return _Run(count + 1, bytes(32))


def _skip_line(file: BinaryIO) -> None:
    while (more := file.readline(_LINE)) and not more.endswith(b"\n"):
        pass


def _as_end(line: bytes) -> Mapping[str, object] | None:
    if b'"kind":"exported"' not in line:
        return None
    try:
        fields = parse_line(line)
    except UnfitError:
        return None
    return fields if fields.get("kind") == "exported" else None


def _check_end(end: Mapping[str, object], line: bytes, links: Links, findings: Findings) -> None:
    if end.keys() != _EXPORTED:
        findings.add(None, "exported", "the last line does not have the fields that it should have")
        return
    if end["self"] != hashlib.sha256(canonical({**end, "self": ""})).hexdigest():
        findings.add(None, "exported", "the last line was changed: it does not have the hash that it names")
    if end["count"] != links.head.seq + 1:
        findings.add(
            None,
            "count",
            f"the last line speaks of {end['count']} entries, and {links.head.seq + 1} are there",
        )
    if end["head"] != links.head.hash.hex():
        findings.add(None, "head", "the last entry is not the one that the last line names")
    if links.omitted and not end["filters"]:
        findings.add(None, "filters", "entries are left out, and the last line names no filter")
