"""
Reading a ledger: entry by entry, with flat memory, and never writing to it.

Entries do not change, so a reader takes them a page at a time and holds no transaction that
would keep the writer's log from being emptied.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxy.chain import NOTHING, Entry, Head, UnfitError, read
from proxy.errors import Exit, SluiceError, fail
from proxy.ledger.files import beside, exit_of, schema_problems, settle_for_reading, try_share

_PAGE: Final = 2_000
_PAGE_WITH_PAYLOADS: Final = 100
BROKEN: Final = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What SQLite raises over a harmed file; it also quotes such a file, whatever its bytes."""
_FIRST: Final = -(2**63)
_SELECT: Final = "SELECT seq, body, hash FROM entry NOT INDEXED WHERE"


@dataclass(frozen=True, slots=True)
class Filter:
    """
    Which entries to read: all conditions that are given hold; None is no condition.

    `since` is included, `until` is not; both are RFC 3339 in UTC, or the beginning of it. `hold` is
    the beginning of an id. `held` leaves out what is about no hold.
    """

    kinds: frozenset[str] | None = None
    agent: str | None = None
    host: str | None = None
    decision: str | None = None
    hold: str | None = None
    reviewer: str | None = None
    rule: str | None = None
    since: str | None = None
    until: str | None = None
    held: bool = False

    @property
    def said(self) -> dict[str, object]:
        """The conditions as an export names them; empty where everything is read."""
        given: dict[str, object] = {
            name: value
            for name in ("agent", "host", "decision", "hold", "reviewer", "rule", "since", "until")
            if (value := getattr(self, name)) is not None
        }
        if self.kinds is not None:
            given["kinds"] = sorted(self.kinds)
        if self.held:
            given["held"] = True
        return given

    def admits(self, fields: Mapping[str, object]) -> bool:
        """Whether an entry meets every condition."""
        if self.kinds is not None and fields.get("kind") not in self.kinds:
            return False
        if self.held and not fields.get("hold"):
            return False
        if self.hold is not None and not (fields.get("hold") and str(fields["hold"]).startswith(self.hold)):
            return False
        for name in ("agent", "host", "decision"):
            wanted = getattr(self, name)
            if wanted is not None and fields.get(name) != wanted:
                return False
        for name, many in (("reviewer", "reviewers"), ("rule", "rules")):
            wanted = getattr(self, name)
            if wanted is not None and wanted != fields.get(name) and not _has(fields.get(many), wanted):
                return False
        time = str(fields.get("time", ""))
        return (self.since is None or time >= self.since) and (self.until is None or time < self.until)


EVERYTHING: Final = Filter()


def _has(values: object, wanted: str) -> bool:
    return isinstance(values, list) and wanted in values


def cannot_open(path: Path, why: str) -> SluiceError:
    """The answer where there is nothing to read (exit 2)."""
    return fail(
        f"the ledger '{path}' cannot be opened", why, "name a ledger that sluice up has made", exit=Exit.WRONG
    )


def no_ledger(path: Path, why: str) -> SluiceError:
    """The answer where something else is there than a ledger that can be read (exit 1)."""
    return fail(f"'{path}' is broken, or is no ledger", why, f"sluice ledger verify '{path}'", exit=Exit.NO)


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """
    A connection that only reads, also beside a proxy that writes; checked to be a ledger.

    Raises SluiceError: exit 2 where nothing can be opened, 1 where it is no ledger.
    """
    _present(path)
    with ExitStack() as stack:
        connection = _beside_a_writer(path, stack)
        try:
            if problems := schema_problems(connection):
                what = "; ".join(words for _, words in problems)
                raise fail(f"'{path}' cannot be read: {what}", exit=exit_of(problems))
            yield connection
        except BROKEN as error:
            raise no_ledger(path, str(error)) from None


def _beside_a_writer(path: Path, stack: ExitStack) -> sqlite3.Connection:
    """
    A connection that does not keep a gate from writing, until `stack` closes it.

    For that SQLite makes files beside the ledger. Where the disk takes none, because it is
    read-only or full, the ledger is read as `snapshot` does.
    """
    try:
        connection = _connect(path, "mode=ro")
    except SluiceError:
        connection, _ = stack.enter_context(snapshot(path))
        return connection
    stack.callback(connection.close)
    return connection


def _present(path: Path) -> None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise cannot_open(path, error.strerror or "it cannot be read") from None


@dataclass(frozen=True, slots=True)
class Source:
    """Where and how SQLite opens a ledger for reading; `live` says that a proxy writes meanwhile."""

    path: Path
    how: str
    live: bool = False


def connect(source: Source) -> sqlite3.Connection:
    """A connection for reading, which whoever asks closes; SluiceError as `reading` raises it."""
    return _connect(source.path, source.how)


def _connect(path: Path, how: str) -> sqlite3.Connection:
    uri = f"{path.resolve().as_uri()}?{how}"
    try:
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5, check_same_thread=False)
    except sqlite3.Error as error:
        raise cannot_open(path, str(error)) from None
    try:
        settle_for_reading(connection)
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        raise cannot_open(path, str(error)) from None
    except BROKEN as error:
        connection.close()
        raise no_ledger(path, str(error)) from None
    return connection


@contextmanager
def snapshot(path: Path) -> Iterator[tuple[sqlite3.Connection, Source]]:
    """
    A connection for verifying, and how others can have one to the very same.

    Nothing is written, not even beside the ledger: without a writer it is read as a file that
    cannot change, or from a private copy where a crash has left a log of writes to play. That
    log, and the lock of a writer, lie beside the file itself and not beside a link to it.
    """
    _present(path)
    path = path.resolve()
    with ExitStack() as stack:
        lock = try_share(path)
        if lock is None:
            source, how = Source(path, "mode=ro", live=True), "mode=ro"
        else:
            if lock >= 0:
                stack.callback(os.close, lock)
            still = _still(path, stack)
            # The log of writes beside a copy is played by the first who opens it.
            source, how = (
                (Source(path, "immutable=1"), "immutable=1")
                if still is path
                else (Source(still, "mode=ro"), "mode=rw")
            )
        connection = _connect(source.path, how)
        stack.callback(connection.close)
        yield connection, source


def _still(path: Path, stack: ExitStack) -> Path:
    wal = beside(path, "-wal")
    if not wal.exists() or wal.stat().st_size == 0:
        return path
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-verify-")))
    copy = folder / "ledger.db"
    shutil.copyfile(path, copy)
    shutil.copyfile(wal, beside(copy, "-wal"))
    return copy


def _silent(_: int) -> None:
    return None


def head(connection: sqlite3.Connection) -> Head:
    """The last entry on disk."""
    row = connection.execute("SELECT seq, hash FROM entry NOT INDEXED ORDER BY seq DESC LIMIT 1").fetchone()
    return NOTHING if row is None else Head(*row)


type Row = tuple[int, object, object, object, object]


def rows(connection: sqlite3.Connection, after: int | None = None, last: int | None = None) -> Iterator[Row]:
    """Number, body, hash, salt and payload of every entry in order, as they are kept, unchecked."""
    at, end = _FIRST if after is None else after + 1, head(connection).seq if last is None else last
    while at <= end:
        page = connection.execute(
            "SELECT e.seq, e.body, e.hash, p.salt, p.data FROM entry e NOT INDEXED "
            "LEFT JOIN payload p ON p.seq = e.seq WHERE e.seq >= ? AND e.seq <= ? ORDER BY e.seq LIMIT ?",
            (at, end, _PAGE_WITH_PAYLOADS),
        ).fetchall()
        if not page:
            return
        yield from page
        at = page[-1][0] + 1


def bodies(connection: sqlite3.Connection, last: int) -> Iterator[list[object]]:
    """The bytes of every entry up to `last` in order, as they are kept, in lists of some."""
    at = 0
    query = "SELECT seq, body FROM entry NOT INDEXED WHERE seq >= ? AND seq <= ? ORDER BY seq LIMIT ?"
    while page := connection.execute(query, (at, last, _PAGE)).fetchall():
        yield [row[1] for row in page]
        at = page[-1][0] + 1


def hashes(connection: sqlite3.Connection, last: int, after: int = -1) -> Iterator[bytes]:
    """The hashes of the entries in order, as they are kept."""
    at = after + 1
    query = "SELECT seq, hash FROM entry NOT INDEXED WHERE seq >= ? AND seq <= ? ORDER BY seq LIMIT ?"
    while page := connection.execute(query, (at, last, _PAGE)).fetchall():
        for _, hashed in page:
            yield hashed if type(hashed) is bytes else b""
        at = page[-1][0] + 1


def entries(
    connection: sqlite3.Connection,
    wanted: Filter = EVERYTHING,
    *,
    after: int = -1,
    last: int | None = None,
    passed: Callable[[int], None] = _silent,
) -> Iterator[tuple[Entry, dict[str, object]]]:
    """
    The entries that a filter admits, oldest first, each with its fields.

    `passed` is told now and then how many of the ledger's entries lie behind, admitted or not.
    Unverified: an entry whose bytes cannot be read raises SluiceError (exit 1).
    """
    end = head(connection).seq if last is None else last
    at = after + 1
    query, values = _query(wanted)
    while at <= end:
        page = connection.execute(query, (at, end, *values, _PAGE)).fetchall()
        for row in page:
            entry = Entry(*row)
            fields = _fields(entry)
            if wanted.admits(fields):
                yield entry, fields
        at = page[-1][0] + 1 if len(page) == _PAGE else end + 1
        passed(at)


def _query(wanted: Filter) -> tuple[str, list[bytes]]:
    """
    Canonical bytes hold `"kind":"decided"` wherever the kind is decided, and a quote inside
    text is escaped: looking for the bytes drops nothing, and spares reading most entries.
    """
    kinds = sorted(wanted.kinds or ())
    where = " OR ".join("instr(body, ?)" for _ in kinds)
    narrowed = f"AND ({where}) " if kinds else ""
    if wanted.held:
        narrowed += 'AND instr(body, \'"hold":"\') '
    # What is put into the statement is our own text: as many "instr(body, ?)" as there are kinds.
    query = f"{_SELECT} seq >= ? AND seq <= ? {narrowed}ORDER BY seq LIMIT ?"
    return query, [f'"kind":"{kind}"'.encode() for kind in kinds]


def naming(connection: sqlite3.Connection, field: str) -> Iterator[tuple[Entry, dict[str, object]]]:
    """The entries that have a field of this name, oldest first: those without are not even read."""
    at, query = -1, f"{_SELECT} seq > ? AND instr(body, ?) ORDER BY seq LIMIT ?"
    while page := connection.execute(query, (at, f'"{field}":'.encode(), _PAGE)).fetchall():
        for row in page:
            fields = _fields(Entry(*row))
            if field in fields:
                yield Entry(*row), fields
        at = page[-1][0]


def latest(connection: sqlite3.Connection, kind: str) -> int:
    """The number of the last entry of a kind, -1 where there is none."""
    before = head(connection).seq + 1
    query = f"{_SELECT} seq < ? AND instr(body, ?) ORDER BY seq DESC LIMIT 1"
    while row := connection.execute(query, (before, f'"kind":"{kind}"'.encode())).fetchone():
        if _fields(Entry(*row)).get("kind") == kind:
            return int(row[0])
        before = row[0]
    return -1


def follow(
    connection: sqlite3.Connection, wait: Callable[[], bool], wanted: Filter = EVERYTHING, *, after: int = -1
) -> Iterator[tuple[Entry, dict[str, object]]]:
    """
    The entries that are there, then each new one as it comes.

    `wait` is called whenever there is no more; it comes back after a moment, with False to stop.
    """
    while True:
        last = head(connection).seq
        yield from entries(connection, wanted, after=after, last=last)
        after = max(after, last)
        if not wait():
            return


def _fields(entry: Entry) -> dict[str, object]:
    try:
        return read(entry.body)
    except (UnfitError, AttributeError, TypeError) as error:
        raise fail(
            f"entry {entry.seq} of the ledger is broken: {error}", fix="sluice ledger verify", exit=Exit.NO
        ) from None
