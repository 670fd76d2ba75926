"""A ledger that an earlier version wrote opens, is upgraded once, and verifies with every later one."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ledgers import NOW, Clock, checked, codes, decided, fill, kinds, said, verified

from proxy.errors import Exit, SluiceError
from proxy.ledger.cipher import PAYLOADS_KEY
from proxy.ledger.enrolled import roll_of
from proxy.ledger.files import VERSION, version_of
from proxy.ledger.read import reading
from proxy.ledger.seal import KEY
from proxy.ledger.sqlite import SqliteLedger
from proxy.note import Key
from proxy.witness.files import FilePlace

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


def test_there_is_a_ledger_of_this_version_and_none_was_ever_changed() -> None:
    assert (FIXTURES / f"version{VERSION}.json").exists(), "python tests/ledger/fixtures/make.py"
    sums = dict(line.split()[::-1] for line in (FIXTURES / "SHA256SUMS").read_text().splitlines())
    there = {file.name for file in FIXTURES.iterdir() if file.name.startswith("version")}
    assert there == set(sums)
    for name, digest in sums.items():
        assert hashlib.sha256((FIXTURES / name).read_bytes()).hexdigest() == digest


SIGNED = sorted(FIXTURES.glob("version*.json"))
"""What each version from the second on has written, and what verifying it must say."""


@dataclass
class Kept:
    """A ledger that an earlier version wrote, in a state folder of its own."""

    path: Path
    name: str
    pin: Key
    verified: dict[str, Any]

    @property
    def notes(self) -> FilePlace:
        return FilePlace(FIXTURES / f"{self.name}.notes")

    def report(self, path: Path | None = None) -> dict[str, Any]:
        keys, against = [self.pin], [self.notes]
        return verified(path or self.path, time.time(), keys=keys, against=against).as_dict()


@pytest.fixture(params=SIGNED, ids=lambda file: file.stem)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    said = json.loads(request.param.read_text())
    tmp_path.chmod(0o700)
    name, path = request.param.stem, tmp_path / "ledger.db"
    shutil.copy(FIXTURES / f"{name}.db", path)
    (tmp_path / KEY).write_text(said["keys"]["log"])
    (tmp_path / PAYLOADS_KEY).write_bytes(bytes.fromhex(said["keys"]["payloads"]))
    for file in tmp_path.iterdir():
        file.chmod(0o600)
    return Kept(path, name, Key.parse(said["pin"]), said["verified"])


def test_a_ledger_of_an_earlier_version_says_what_it_always_said(kept: Kept) -> None:
    report = kept.report()
    assert {name: report[name] for name in kept.verified} == kept.verified
    assert report["unopened"] == 0


async def test_a_ledger_of_an_earlier_version_is_gone_on_with_by_this_one(kept: Kept) -> None:
    before = said(kept.path)
    ledger, recovered = await SqliteLedger.open(kept.path, encrypt=True, against=[kept.notes])
    assert recovered.clean
    await ledger.queue(decided("a"))
    await ledger.close()
    assert said(kept.path)[: len(before)] == before
    assert kept.report()["level"] == "anchored"


@pytest.mark.parametrize("which", ["", "-archive"])
def test_what_an_earlier_version_exported_verifies(kept: Kept, which: str) -> None:
    out = FIXTURES / f"{kept.name}{which}.jsonl"
    assert verified(out, time.time(), keys=[kept.pin]).ok
    script = FIXTURES.parents[2] / "scripts" / "verify_export.py"
    subprocess.run([sys.executable, "-I", "-S", str(script), str(out)], check=True, capture_output=True)


async def test_what_an_earlier_version_pruned_verifies_and_knows_its_reviewers(kept: Kept) -> None:
    shutil.copy(FIXTURES / f"{kept.name}-pruned.db", kept.path)
    kept.path.chmod(0o600)
    report = kept.report()
    assert (report["level"], report["pruned"] > 0) == ("anchored", True)
    assert roll_of(kept.path).required
    ledger, _ = await SqliteLedger.open(kept.path, against=[kept.notes])
    await ledger.close()
    assert kept.report()["level"] == "anchored"


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
