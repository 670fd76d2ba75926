"""A ledger that an earlier version wrote opens, is upgraded once, and verifies with every later one."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from ledgers import NOW, Clock, checked, codes, decided, fill, kinds, said, verified

from proxy.errors import Exit, SluiceError
from proxy.ledger.files import version_of
from proxy.ledger.read import reading
from proxy.ledger.sqlite import SqliteLedger
from proxy.note import Key

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    path = tmp_path / "ledger.db"
    shutil.copy(FIXTURES / "version1.db", path)
    path.chmod(0o600)
    return path


def test_a_ledger_of_version_1_is_read_and_verified_as_it_is(old: Path) -> None:
    report = checked(old)
    assert (report.ok, report.level, report.entries, report.vkey) == (True, "chain", 17, None)
    assert verified(FIXTURES / "version1.jsonl", NOW + 3600).ok
    assert len(kinds(old)) == 17


async def test_a_ledger_of_version_1_is_upgraded_once_and_says_so(old: Path) -> None:
    before = said(old)
    ledger, recovered = await SqliteLedger.open(old, clock=Clock(NOW + 60))
    assert recovered.clean
    await ledger.queue(decided("a"))
    await ledger.close()
    after = said(old)
    assert after[: len(before)] == before
    upgraded = after[len(before)]
    assert (upgraded["kind"], upgraded["from"], upgraded["to"]) == ("upgraded", 1, 2)
    assert upgraded["vkey"] == ledger.vkey
    with reading(old) as connection:
        assert version_of(connection) == 2
    report = verified(old, NOW + 3600, keys=[Key.parse(ledger.vkey)])
    assert (report.findings, report.level) == ((), "signed")
    await fill(old, 2, clock=Clock(NOW + 120))
    assert kinds(old).count("upgraded") == 1
    assert checked(old).ok


async def test_what_a_crash_of_version_1_left_is_settled_after_the_upgrade(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    path = tmp_path / "ledger.db"
    for suffix in ("", "-wal"):
        shutil.copy(FIXTURES / f"version1-crashed.db{suffix}", f"{path}{suffix}")
        Path(f"{path}{suffix}").chmod(0o600)
    ledger, recovered = await SqliteLedger.open(path, clock=Clock(NOW + 60))
    await ledger.close()
    assert recovered.cut_off == ("waits",)
    assert recovered.unfinished == ("running",)
    assert checked(path).ok


async def test_a_broken_ledger_of_version_1_is_not_upgraded(old: Path) -> None:
    connection = sqlite3.connect(old, isolation_level=None)
    (sql,) = connection.execute("SELECT sql FROM sqlite_schema WHERE name='entry_unchanged'").fetchone()
    connection.execute("DROP TRIGGER entry_unchanged")
    connection.execute(
        "UPDATE entry SET body = CAST(replace(CAST(body AS TEXT), 'alice', 'malic') AS BLOB) WHERE seq = 2"
    )
    connection.execute(sql)
    connection.close()
    before = old.read_bytes()
    with pytest.raises(SluiceError, match="entry 2") as caught:
        await SqliteLedger.open(old, clock=Clock(NOW + 60))
    assert caught.value.exit is Exit.NO
    assert old.read_bytes() == before


async def test_a_signed_ledger_cannot_be_passed_off_as_an_older_one(old: Path) -> None:
    ledger, _ = await SqliteLedger.open(old, clock=Clock(NOW + 60))
    await ledger.close()
    connection = sqlite3.connect(old, isolation_level=None)
    connection.execute("DROP TABLE head")
    connection.execute("PRAGMA user_version=1")
    connection.close()
    assert codes(checked(old)) == {"head_missing"}
