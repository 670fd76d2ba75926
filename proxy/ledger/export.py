"""
Taking a ledger elsewhere: jsonl, which verifies by itself, and csv, which is for reading.

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
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from proxy.chain import Entry, canonical
from proxy.errors import Exit, fail
from proxy.ledger.read import EVERYTHING, Filter, bodies, entries, head, reading

COLUMNS: Final = (
    *("seq", "time", "kind", "agent", "method", "url", "operation", "decision", "by", "rule", "rules", "why"),
    *("hold", "reviewers", "id", "status"),
)
FORMATS: Final = ("jsonl", "csv")
# A spreadsheet takes a cell that begins with one of these for a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def export(path: Path, out: BinaryIO, format: str, wanted: Filter = EVERYTHING) -> int:
    """
    Write the entries of a ledger that a filter admits, with flat memory; returns how many.

    What is written while this runs is left for the next export. Raises SluiceError as
    `read.reading` does.
    """
    with reading(path) as connection:
        if format == "csv":
            return _write(out, _csv(connection, wanted))
        if format == "jsonl":
            return _write(out, _jsonl(connection, wanted))
    raise fail(f"'{format}' is no format for an export", fix="use jsonl or csv", exit=Exit.WRONG)


def export_to(path: Path, target: Path, format: str, wanted: Filter = EVERYTHING) -> int:
    """
    As `export`, into a file that only its owner reads.

    It has its name once it is whole; until then, and after an error, what was there is there.
    """
    part = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(
            os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600), "wb"
        ) as out:
            count = export(path, out, format, wanted)
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


def _jsonl(connection: sqlite3.Connection, wanted: Filter) -> Iterator[_Piece]:
    end = head(connection)
    said = wanted.said
    yield from _filtered(connection, wanted, end.seq) if said else _verbatim(connection, end.seq)
    last = {"count": end.seq + 1, "filters": said, "head": end.hash.hex(), "kind": "exported", "self": ""}
    last["self"] = hashlib.sha256(canonical(last)).hexdigest()
    yield canonical(last) + b"\n", 0


def _verbatim(connection: sqlite3.Connection, end: int) -> Iterator[_Piece]:
    for page in bodies(connection, end):
        yield b"".join(b"%b\n" % _bytes(body) for body in page), len(page)


def _filtered(connection: sqlite3.Connection, wanted: Filter, end: int) -> Iterator[_Piece]:
    """One line for each run that is left out, however long: it is written as it is read."""
    omitting = False
    for entry, fields in entries(connection, last=end):
        if entry.seq == 0 or wanted.admits(fields):
            yield (b'"],"kind":"omitted"}\n' if omitting else b"") + entry.body + b"\n", 1
            omitting = False
        else:
            yield (b'","' if omitting else b'{"hashes":["') + entry.hash.hex().encode(), 0
            omitting = True
    if omitting:
        yield b'"],"kind":"omitted"}\n', 0


def _bytes(body: object) -> bytes:
    if not isinstance(body, bytes):
        raise fail("an entry of the ledger is not kept as bytes", fix="sluice ledger verify", exit=Exit.NO)
    return body


def _csv(connection: sqlite3.Connection, wanted: Filter) -> Iterator[_Piece]:
    text = io.StringIO(newline="")
    row = csv.writer(text).writerow
    row((*COLUMNS, "hash"))
    for entry, fields in entries(connection, wanted, last=head(connection).seq):
        row(_cells(entry, fields))
        yield _taken(text), 1
    yield _taken(text), 0


def _cells(entry: Entry, fields: Mapping[str, object]) -> list[str]:
    return [*(_cell(fields.get(name)) for name in COLUMNS), entry.hash.hex()]


def _cell(value: object) -> str:
    """A value as text that no spreadsheet computes: an apostrophe goes before what would be a formula."""
    if value is None:
        return ""
    if isinstance(value, list):
        value = " ".join(str(item) for item in value)
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _taken(text: io.StringIO) -> bytes:
    data = text.getvalue().encode()
    text.seek(0)
    text.truncate()
    return data
