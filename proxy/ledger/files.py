"""
The files of a ledger: where they must be, who may touch them, and what makes them a ledger.

    ledger.db         the database (0600), `-wal` and `-shm` beside it while it is open
    ledger.db.lock    the one writer holds an exclusive flock on it, a verifier a shared one
    ledger.db.new     a ledger that is being made; it gets its name once it is whole
    ledger.key        the key that signs its head, in the state folder (`proxy.ledger.seal`)
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import stat
from pathlib import Path
from typing import Final

from proxy.errors import Exit, Problem, SluiceError, fail

VERSION: Final = 2
APPLICATION: Final = 0x534C5543
PAGE: Final = 8_192
"""Bytes of a page of a new ledger: payloads of 1 KB leave an eighth of it empty, of 4 KiB a quarter."""
_FIRST: Final = (
    """CREATE TABLE entry (
  seq INTEGER PRIMARY KEY CHECK (seq >= 0),
  body BLOB NOT NULL CHECK (length(body) BETWEEN 2 AND 65535),
  hash BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT""",
    """CREATE TABLE payload (
  seq INTEGER PRIMARY KEY CHECK (seq >= 0),
  salt BLOB NOT NULL CHECK (length(salt) = 16),
  data BLOB
) STRICT""",
    """CREATE TRIGGER entry_at_the_end BEFORE INSERT ON entry
WHEN NEW.seq <> (SELECT coalesce(max(seq), -1) + 1 FROM entry)
BEGIN SELECT raise(ABORT, 'an entry is added at the end'); END""",
    """CREATE TRIGGER entry_unchanged BEFORE UPDATE ON entry
BEGIN SELECT raise(ABORT, 'an entry never changes'); END""",
    """CREATE TRIGGER entry_kept BEFORE DELETE ON entry
BEGIN SELECT raise(ABORT, 'an entry is never removed'); END""",
    """CREATE TRIGGER payload_at_the_end BEFORE INSERT ON payload
WHEN NEW.seq <= (SELECT coalesce(max(seq), -1) FROM payload)
BEGIN SELECT raise(ABORT, 'a payload is added at the end'); END""",
    """CREATE TRIGGER payload_unchanged BEFORE UPDATE ON payload
BEGIN SELECT raise(ABORT, 'a payload never changes'); END""",
    """CREATE TRIGGER payload_kept BEFORE DELETE ON payload
BEGIN SELECT raise(ABORT, 'a payload is never removed'); END""",
)
HEAD: Final = """CREATE TABLE head (
  id INTEGER PRIMARY KEY CHECK (id = 0),
  note BLOB NOT NULL,
  frontier BLOB NOT NULL
) STRICT"""
SCHEMAS: Final = {1: _FIRST, 2: (*_FIRST, HEAD)}
"""
The whole schema of each version, letter for letter; a verifier compares. The triggers guard
against mistakes of ours, not against somebody who can write the file.
"""
TABLES: Final = SCHEMAS[VERSION]

type Identity = tuple[int, int]


class ReplacedError(OSError):
    """The file that is being written is no longer the one at its path: what is written is lost."""


def beside(path: Path, suffix: str) -> Path:
    """A file next to the ledger: its name and a suffix."""
    return path.with_name(path.name + suffix)


def inspect(path: Path) -> None:
    """Raise SluiceError unless this is a place where a ledger may be, or may be made."""
    problems = [*_folder(path.parent), *_file(path)]
    if problems:
        raise SluiceError(*problems)


def _folder(folder: Path) -> list[Problem]:
    try:
        found = folder.stat()
    except OSError as error:
        fix = f"make it: mkdir -p -m 700 '{folder}'"
        return [Problem(f"the ledger's folder '{folder}' cannot be opened: {error.strerror}", fix=fix)]
    if not stat.S_ISDIR(found.st_mode):
        return [Problem(f"'{folder}' is no folder", fix="name another file with --ledger")]
    why = "whoever can write the folder can put another ledger in place of yours"
    if found.st_uid not in (os.geteuid(), 0):
        return [
            Problem(
                f"the ledger's folder '{folder}' belongs to someone else", why, "use a folder of your own"
            )
        ]
    if found.st_mode & 0o022:
        return [Problem(f"others can write the ledger's folder '{folder}'", why, f"chmod go-w '{folder}'")]
    return []


def _file(path: Path) -> list[Problem]:
    journal = beside(path, "-journal")
    if journal.is_symlink() or journal.exists():
        why = "opening the ledger would play it back over the entries, and Sluice never leaves one"
        return [
            Problem(
                f"a rollback journal lies beside the ledger: '{journal}'", why, "find out who put it there"
            )
        ]
    for name in (path, beside(path, "-wal"), beside(path, "-shm")):
        if problem := _regular(name):
            return [problem]
    if beside(path, "-wal").exists() and not path.exists():
        why = "a log of writes is left, so a ledger was here"
        return [
            Problem(f"'{path}' is gone", why, "put it back, or move the -wal file away to start a new ledger")
        ]
    return []


def _regular(path: Path) -> Problem | None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    except OSError as error:
        return Problem(f"'{path}' cannot be opened: {error.strerror}")
    if not stat.S_ISREG(found.st_mode):
        why = "a link can be pointed elsewhere between two writes"
        return Problem(f"'{path}' is not a plain file", why, "name the file itself with --ledger")
    if found.st_nlink != 1:
        why = "it can be written through its other name"
        return Problem(f"'{path}' has {found.st_nlink} names", why, "remove the other hard links")
    if found.st_uid != os.geteuid() and os.geteuid() != 0:
        return Problem(f"'{path}' belongs to someone else", fix="use a ledger of your own: --ledger FILE")
    if found.st_mode & 0o077:
        why = "the ledger says what was asked for, and history must not be another's to write"
        return Problem(
            f"'{path}' is open to others (mode {stat.S_IMODE(found.st_mode):o})", why, f"chmod 600 '{path}'"
        )
    return None


class Lock:
    """The right to write a ledger; held until `release`, or until the process is gone."""

    def __init__(self, path: Path) -> None:
        self._fd = _open_lock(beside(path, ".lock"), os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(self._fd, 20, 0).decode("ascii", "replace").strip()
            os.close(self._fd)
            raise fail(
                f"another process has the ledger '{path}' open"
                + (f" (pid {owner})" if owner.isdigit() else ""),
                "two writers would tear its chain in two",
                "stop the other sluice, or wait for its ledger verify, or name another file with --ledger",
            ) from None
        self._say(b"%d\n" % os.getpid())

    def release(self) -> None:
        """Let another writer in."""
        if self._fd >= 0:
            self._say(b"")
            os.close(self._fd)
            self._fd = -1

    def _say(self, who: bytes) -> None:
        """Who has it, for people: the lock holds all the same where the disk is full or read-only."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, who, 0)


def try_share(path: Path) -> int | None:
    """A shared lock as a descriptor to close, None while a writer is at work; -1 without a lock file."""
    try:
        fd = _open_lock(beside(path, ".lock"), os.O_RDONLY)
    except SluiceError:
        return -1
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd


def _open_lock(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise fail(
            f"the ledger's lock '{path}' cannot be opened: {error.strerror}",
            "only who holds the lock may write the ledger",
            "let its folder be written, or name another ledger: --ledger FILE",
        ) from None


def identity(path: Path) -> Identity:
    """Which file is at a path now; ReplacedError where it is gone or has another name too."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        raise ReplacedError(f"'{path}' is gone") from None
    if found.st_nlink != 1:
        raise ReplacedError(f"'{path}' has {found.st_nlink} names")
    return found.st_dev, found.st_ino


def make(path: Path, genesis: tuple[int, bytes, bytes], head: tuple[bytes, bytes]) -> None:
    """
    Make a ledger that holds its genesis and its signed head, whole or not at all.

    Only the holder of the lock calls this. What an earlier attempt left is removed.
    """
    new = beside(path, ".new")
    for suffix in ("", "-journal", "-wal", "-shm"):
        beside(new, suffix).unlink(missing_ok=True)
    os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(new, isolation_level=None)
    try:
        connection.execute(f"PRAGMA page_size={PAGE}")  # first: what is written has its pages
        connection.execute(f"PRAGMA application_id={APPLICATION}")
        connection.execute("PRAGMA encoding='UTF-8'")
        connection.execute("BEGIN IMMEDIATE")
        for statement in TABLES:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version={VERSION}")
        connection.execute("INSERT INTO entry (seq, body, hash) VALUES (?, ?, ?)", genesis)
        connection.execute("INSERT INTO head (id, note, frontier) VALUES (0, ?, ?)", head)
        connection.execute("COMMIT")
        if connection.execute("PRAGMA journal_mode=WAL").fetchone() != ("wal",):
            raise fail(f"'{path}' lies where SQLite cannot keep a write-ahead log", fix="use a local disk")
    finally:
        connection.close()
    _sync(new, os.O_RDWR)
    new.rename(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk."""
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    fd = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def schema_problems(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """Codes and words for all in which a database differs from a ledger of a version that we know."""
    problems = []
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION:
        return [("no_ledger", "this database is no ledger of Sluice")]
    if version > VERSION:
        return [("newer", f"this ledger has version {version}, and this Sluice knows {VERSION}")]
    tables = SCHEMAS.get(version, TABLES)
    if version not in SCHEMAS:
        problems.append(("version", f"this ledger says that its version is {version}"))
    if connection.execute("PRAGMA encoding").fetchone()[0] != "UTF-8":
        problems.append(("encoding", "the text encoding of the database is not UTF-8"))
    found = {row[0] for row in connection.execute("SELECT sql FROM sqlite_schema") if isinstance(row[0], str)}
    count = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    for odd in sorted(found.symmetric_difference(tables)):
        there = "has something that does not belong there" if odd in found else "lacks"
        problems.append(("schema", f"the database {there}: {' '.join(odd.split())[:80]}"))
    if count != len(tables) and not problems:
        problems.append(("schema", "the database has an index or table that does not belong there"))
    return problems


def version_of(connection: sqlite3.Connection) -> int:
    """The version that a ledger says it has."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def settle_for_reading(connection: sqlite3.Connection) -> None:
    """Settings under which a hostile database can lie, but not act (see SQLite, "Security")."""
    connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)
    connection.setconfig(sqlite3.SQLITE_DBCONFIG_TRUSTED_SCHEMA, False)
    connection.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_TRIGGER, False)
    connection.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_VIEW, False)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 4 * 1024 * 1024)
    for pragma in ("query_only=ON", "cell_size_check=ON", "trusted_schema=OFF", "mmap_size=0"):
        connection.execute(f"PRAGMA {pragma}")


def exit_of(problems: list[tuple[str, str]]) -> Exit:
    """A newer ledger is input that cannot be opened; anything else is no ledger, or a broken one."""
    return Exit.WRONG if any(code == "newer" for code, _ in problems) else Exit.NO
