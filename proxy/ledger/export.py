"""
Taking a ledger elsewhere: jsonl, which verifies by itself; csv and html for reading; ocsf and cef for a SIEM.

A jsonl line is the stored bytes of one entry, so that ``SHA-256(0x00 || line)`` is its hash and
the next line's ``prev``. What a filter leaves out stands there as hashes, so that the chain
still closes; the genesis is never left out.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from proxy.chain import Entry, Head, canonical
from proxy.errors import Exit, fail
from proxy.ledger import page
from proxy.ledger.keyline import KIND
from proxy.ledger.read import EVERYTHING, Filter, bodies, entries, head, reading
from proxy.ledger.removal import pruned_in
from proxy.ledger.siem import cef, ocsf, text

COLUMNS: Final = (
    *("seq", "time", "kind", "agent", "method", "url", "operation", "decision", "by", "rule", "rules", "why"),
    *("hold", "reviewers", "id", "status"),
)
FORMATS: Final = ("jsonl", "csv", "ocsf", "cef", "html")
# A spreadsheet takes a cell that begins with one of these for a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


type Progress = Callable[[int, int], None]
"""Told how many entries lie behind, and how many the ledger has."""


def _silent(_: int, __: int) -> None:
    return None


def _none(_: int) -> None:
    return None


type _Found = Iterator[tuple[Entry, dict[str, object]]]
type _Passed = Callable[[int], None]


def export(
    path: Path, out: BinaryIO, format: str, wanted: Filter = EVERYTHING, progress: Progress = _silent
) -> int:
    """
    Write the entries of a ledger that a filter admits, with flat memory; returns how many.

    What is written while this runs is left for the next export. Raises SluiceError as
    `read.reading` does.
    """
    with reading(path) as connection:
        end = head(connection)

        def passed(count: int) -> None:
            progress(count, end.seq + 1)

        match format:
            case "jsonl":
                pieces = _jsonl(connection, wanted, end, passed)
            case "csv":
                pieces = _csv(entries(connection, wanted, last=end.seq, passed=passed))
            case "ocsf" | "cef":
                found = entries(connection, wanted, last=end.seq, passed=passed)
                pieces = _events(found, _ledger_id(connection), ocsf if format == "ocsf" else cef)
            case "html":
                found = entries(connection, last=end.seq, passed=passed)
                pieces = _page(found, wanted, page.begin(wanted.said, _ledger_id(connection)), end)
            case _:
                raise fail(
                    f"'{format}' is no format for an export",
                    fix=f"one of {', '.join(FORMATS)} is",
                    exit=Exit.WRONG,
                )
        return _write(out, pieces)


def archive(path: Path, target: Path, before: int) -> bytes:
    """
    Write the entries below a number as a jsonl that verifies by itself; its SHA-256.

    A file that is there already is not replaced. Raises SluiceError.
    """
    with reading(path) as connection:
        row = connection.execute("SELECT hash FROM entry WHERE seq = ?", (before - 1,)).fetchone()
        if row is None:
            raise fail(f"there is no entry {before - 1}", fix="sluice ledger show", exit=Exit.NO)
        if target.exists():
            raise fail(f"'{target}' is there already", fix="name another file with --archive")
        pieces = _jsonl(connection, EVERYTHING, Head(before - 1, row[0]), before=before)
        _whole(target, lambda out: _write(out, pieces))
    with target.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def export_to(
    path: Path, target: Path, format: str, wanted: Filter = EVERYTHING, progress: Progress = _silent
) -> int:
    """
    As `export`, into a file that only its owner reads.

    It has its name once it is whole; until then, and after an error, what was there is there.
    """
    return _whole(target, lambda out: export(path, out, format, wanted, progress))


def _whole(target: Path, write: Callable[[BinaryIO], int]) -> int:
    part = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(
            os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600), "wb"
        ) as out:
            count = write(out)
            out.flush()
            os.fsync(out.fileno())
        part.replace(target)
    except OSError as error:
        raise fail(
            f"'{target}' cannot be written: {error.strerror}", fix="name another file with -o"
        ) from None
    finally:
        with suppress(FileNotFoundError):
            part.unlink()
    return count


type _Piece = tuple[bytes, int]
"""Bytes to write, and how many entries are whole with them."""


def _write(out: BinaryIO, pieces: Iterator[_Piece]) -> int:
    count = 0
    for data, whole in pieces:
        out.write(data)
        count += whole
    return count


def _ledger_id(connection: sqlite3.Connection) -> str:
    return text(next((fields.get("ledger") for _, fields in entries(connection, last=0)), ""))


def _events(
    found: _Found, ledger: str, event: Callable[[Entry, Mapping[str, object], str], bytes]
) -> Iterator[_Piece]:
    for entry, fields in found:
        yield event(entry, fields, ledger), 1


def _page(found: _Found, wanted: Filter, begin: bytes, end: Head) -> Iterator[_Piece]:
    yield begin, 0
    asked, count = page.Asked(), 0
    for entry, fields in found:
        admitted = wanted.admits(fields)
        told = asked.told(fields, admitted=admitted)
        if admitted:
            yield page.row(entry, told), 1
            count += 1
    yield page.end(count, end), 0


def _jsonl(
    connection: sqlite3.Connection, wanted: Filter, end: Head, passed: _Passed = _none, *, before: int = 0
) -> Iterator[_Piece]:
    gone, said = _pruned_line(connection), wanted.said
    if said:
        yield from _filtered(entries(connection, last=end.seq, passed=passed), wanted, gone)
    else:
        yield from _verbatim(connection, end.seq, gone, passed)
    if before:
        said = {"before": before}
    line = {"count": end.seq + 1, "filters": said, "head": end.hash.hex(), "kind": "exported", "self": ""}
    line["self"] = hashlib.sha256(canonical(line)).hexdigest()
    yield canonical(line) + b"\n", 0


def _pruned_line(connection: sqlite3.Connection) -> bytes:
    """What stands after the genesis where entries were pruned: how many, and the tree over them."""
    pruned = pruned_in(connection)
    return b"" if pruned is None else canonical({**pruned.fields, "kind": "omitted"}) + b"\n"


def _verbatim(connection: sqlite3.Connection, end: int, gone: bytes, passed: _Passed) -> Iterator[_Piece]:
    count = 0
    for some in bodies(connection, end):
        first, *rest = (b"%b\n" % _bytes(body) for body in some)
        yield b"".join([first, gone, *rest]), len(some)
        gone = b""
        count += len(some)
        passed(count)
    passed(end + 1)


def _filtered(found: _Found, wanted: Filter, gone: bytes) -> Iterator[_Piece]:
    """One line for each run that is left out, however long: it is written as it is read."""
    omitting = False
    for entry, fields in found:
        if entry.seq == 0 or fields.get("kind") == KIND or wanted.admits(fields):
            yield (b'"],"kind":"omitted"}\n' if omitting else b"") + entry.body + b"\n", 1
            omitting = False
            if entry.seq == 0:
                yield gone, 0
        else:
            yield (b'","' if omitting else b'{"hashes":["') + entry.hash.hex().encode(), 0
            omitting = True
    if omitting:
        yield b'"],"kind":"omitted"}\n', 0


def _bytes(body: object) -> bytes:
    if not isinstance(body, bytes):
        raise fail("an entry of the ledger is not kept as bytes", fix="sluice ledger verify", exit=Exit.NO)
    return body


def _csv(found: _Found) -> Iterator[_Piece]:
    sheet = io.StringIO(newline="")
    row = csv.writer(sheet).writerow
    row((*COLUMNS, "hash"))
    for entry, fields in found:
        row(_cells(entry, fields))
        yield _taken(sheet), 1
    yield _taken(sheet), 0


def _cells(entry: Entry, fields: Mapping[str, object]) -> list[str]:
    return [*(_cell(fields.get(name)) for name in COLUMNS), entry.hash.hex()]


def _cell(value: object) -> str:
    """A value as text that no spreadsheet computes: an apostrophe goes before what would be a formula."""
    if value is None:
        return ""
    if isinstance(value, list):
        value = " ".join(str(item) for item in value)
    said = str(value)
    return f"'{said}" if said.startswith(_FORMULA) else said


def _taken(sheet: io.StringIO) -> bytes:
    data = sheet.getvalue().encode()
    sheet.seek(0)
    sheet.truncate()
    return data
