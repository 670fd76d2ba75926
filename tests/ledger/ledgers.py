"""Ledgers for the tests: real ones, on disk, with an honest story in them."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from proxy.ledger import Draft
from proxy.ledger.read import entries, reading
from proxy.ledger.sqlite import SqliteLedger
from proxy.ledger.verify import Report, verify
from proxy.ledger.workers import Cores

NOW = 1_785_000_000.0
DIGEST = b"\x07" * 32


class Clock:
    """Unix time that goes on by a millisecond each time somebody looks."""

    def __init__(self, start: float = NOW) -> None:
        self.now = start

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


def decided(id: str, decision: str = "allowed", **fields: object) -> Draft:
    common = {"agent": "uid:alice", "host": "api.stripe.com", "method": "POST", "rule": "r", "rules": ["r"]}
    by = fields.pop("by", "rule")
    return Draft("decided", {**common, "id": id, "decision": decision, "by": by, **fields}, DIGEST)


def held(hold: str) -> Draft:
    fields = {"id": hold, "hold": hold, "agent": "uid:alice", "url": "https://api.stripe.com/v1/refunds"}
    return Draft("held", fields, DIGEST, b'{"amount": 9000}')


def reviewed(hold: str) -> Draft:
    return Draft("reviewed", {"hold": hold, "reviewer": "bob", "approves": True})


def completed(id: str) -> Draft:
    return Draft("completed", {"id": id, "status": 200})


def story(count: int) -> Iterator[Draft]:
    """Drafts without end, in honest order: allowed requests, and every third one held."""
    for number in range(count):
        id = f"{number:032x}"
        if number % 3:
            yield decided(id, url="https://api.stripe.com/v1/charges")
        else:
            yield from (held(id), reviewed(id), decided(id, "approved", hold=id, by="reviewer"))
        yield completed(id)


async def fill(path: Path, count: int = 12, *, clock: Clock | None = None) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=clock or Clock())
    await asyncio.gather(*(ledger.queue(draft) for draft in story(count)))
    await ledger.close()


def kinds(path: Path) -> list[str]:
    with reading(path) as connection:
        return [str(fields["kind"]) for _, fields in entries(connection)]


def said(path: Path) -> list[dict[str, object]]:
    with reading(path) as connection:
        return [fields for _, fields in entries(connection)]


def codes(report: Report) -> set[str]:
    return {finding.code for finding in report.findings}


def checked(path: Path, now: float = NOW + 3600) -> Report:
    return verified(path, now)


def verified(path: Path, now: float, **given: Any) -> Report:
    """Verified entry by entry, and once more by runs of 8, as a large ledger is: both say the same."""
    report = verify(path, now, cores=Cores(1), **given)
    assert verify(path, now, cores=Cores(1, run=8, least=0), **given) == report
    return report


def tamper(path: Path) -> sqlite3.Connection:
    """A connection of somebody who can write the file, and whom no trigger stops."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA ignore_check_constraints=ON")
    for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type='trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    return connection


def put_back(connection: sqlite3.Connection) -> None:
    """Restore the triggers, so that only what was done between is there to be found."""
    from proxy.ledger.files import TABLES

    there = {row[0] for row in connection.execute("SELECT sql FROM sqlite_schema")}
    for statement in TABLES:
        if "TRIGGER" in statement and statement not in there:
            with suppress(sqlite3.OperationalError):  # there is no such table any more
                connection.execute(statement)
    connection.close()


async def until(condition: object, seconds: float = 10.0) -> None:
    """Wait for something to be true, with a deadline."""
    assert callable(condition)
    deadline = asyncio.get_running_loop().time() + seconds
    for _ in itertools.count():
        if condition():
            return
        if asyncio.get_running_loop().time() > deadline:
            pytest.fail(f"still not so after {seconds} s")
        await asyncio.sleep(0.005)
