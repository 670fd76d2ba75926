"""A ledger that has lost something does not go on by itself; a person may begin one that says so."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest
from ledgers import NOW, Clock, decided, fill, said, verified

from proxy.errors import Exit, SluiceError
from proxy.ledger.anchors import Place
from proxy.ledger.seal import KEY
from proxy.ledger.sqlite import SqliteLedger
from proxy.ledger.succession import accept_loss
from proxy.note import Key
from proxy.witness.files import FileWitness


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path / "ledger.db"


@pytest.fixture
def witness(tmp_path: Path) -> FileWitness:
    return FileWitness(tmp_path / "notes")


async def run(path: Path, witness: FileWitness, at: float, count: int = 5) -> SqliteLedger:
    ledger, _ = await SqliteLedger.open(path, against=_places(witness), clock=Clock(at))
    for number in range(count):
        await ledger.queue(decided(f"{at}-{number}"))
        witness.send([ledger.seal])
    await ledger.close()
    witness.send([ledger.seal])
    return ledger


def _places(witness: FileWitness) -> list[Place]:
    return [witness.place]


async def refused(path: Path, witness: FileWitness, fix: str = "accept-loss") -> SluiceError:
    before = path.read_bytes() if path.exists() else b""
    with pytest.raises(SluiceError) as caught:
        await SqliteLedger.open(path, against=_places(witness), clock=Clock(NOW + 999))
    assert fix in caught.value.problems[0].fix
    assert caught.value.exit in (Exit.NO, Exit.WRONG)
    assert (path.read_bytes() if path.exists() else b"") == before
    return caught.value


async def test_a_ledger_that_its_witness_agrees_with_goes_on(path: Path, witness: FileWitness) -> None:
    await run(path, witness, NOW)
    await run(path, witness, NOW + 60)
    report = verified(path, NOW + 3600, against=_places(witness))
    assert (report.level, report.anchor.size if report.anchor else 0) == ("anchored", report.entries)


async def test_an_older_copy_is_not_gone_on_with(path: Path, witness: FileWitness) -> None:
    await run(path, witness, NOW)
    shutil.copy(path, path.with_name("backup"))
    await run(path, witness, NOW + 60)
    shutil.copy(path.with_name("backup"), path)
    error = await refused(path, witness)
    assert "has seen 20 entries, and 8 are there" in str(error)


async def test_a_log_of_writes_that_was_lost_is_noticed(path: Path, witness: FileWitness) -> None:
    """A crash leaves the newest entries in the log; without it SQLite opens as if they never were."""
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    await ledger.queue(decided("a"))
    witness.send([ledger.seal])
    crashed = path.with_name("crashed")
    shutil.copy(path, crashed)
    await ledger.close()
    shutil.copy(crashed, path)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    await refused(path, witness)


async def test_a_ledger_that_is_gone_is_not_begun_anew_unasked(path: Path, witness: FileWitness) -> None:
    await run(path, witness, NOW)
    path.unlink()
    error = await refused(path, witness)
    assert "has seen another ledger of this key" in str(error)
    await fill(path.with_name("other.db"), 1)
    with pytest.raises(SluiceError, match="another ledger of this key"):
        await SqliteLedger.open(path.with_name("other.db"), against=_places(witness), clock=Clock(NOW + 60))


async def test_a_witness_that_several_gates_share_stops_none_of_them(
    path: Path, witness: FileWitness, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    await run(other / "ledger.db", witness, NOW)
    await run(path, witness, NOW)
    await run(other / "ledger.db", witness, NOW + 60)
    report = verified(path, NOW + 3600, against=_places(witness))
    assert report.level == "anchored"
    assert len(report.places[0].others) == 1


async def test_a_loss_that_was_accepted_begins_a_ledger_that_names_the_old_one(
    path: Path, witness: FileWitness
) -> None:
    old = await run(path, witness, NOW)
    shutil.copy(path, path.with_name("backup"))
    await run(path, witness, NOW + 60)
    shutil.copy(path.with_name("backup"), path)
    left = path.read_bytes()
    now = int((NOW + 120) * 1_000_000)
    away, key = accept_loss(path, path.with_name(KEY), _places(witness), "the disk broke", now)
    assert away is not None
    assert (away.read_bytes(), stat.S_IMODE(away.stat().st_mode)) == (left, 0o400)
    ledger = await run(path, witness, NOW + 180)
    genesis = said(path)[0]
    before = Key.parse(old.vkey)
    previous = genesis["previous"]
    assert isinstance(previous, dict)
    assert (previous["origin"], previous["size"], previous["reason"]) == (before.name, 8, "the disk broke")
    assert previous["seen"][0]["size"] == 20
    assert genesis["lineage"] == [before.name]
    assert str(key) == ledger.vkey != old.vkey
    assert Key.parse(ledger.vkey).public == before.public
    report = verified(path, NOW + 3600, keys=[key], against=_places(witness))
    assert (report.level, report.places[0].others) == ("anchored", ((before.name, 20),))


async def test_a_ledger_that_is_gone_or_broken_or_without_its_key_can_be_succeeded(
    path: Path, witness: FileWitness
) -> None:
    key = path.with_name(KEY)
    for at, harm in enumerate((path.unlink, lambda: os.truncate(path, 5_000), key.unlink), 1):
        await run(path, witness, NOW + at)
        harm()
        await refused(path, witness, "sluice ledger")
        accept_loss(path, key, _places(witness), "", int((NOW + 100 * at) * 1_000_000))
        await run(path, witness, NOW + 100 * at + 1)
        previous = said(path)[0]["previous"]
        assert isinstance(previous, dict)
        assert previous["seen"]


async def test_a_ledger_that_is_being_written_is_not_put_away(path: Path, witness: FileWitness) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    with pytest.raises(SluiceError, match="open"):
        accept_loss(path, path.with_name(KEY), [], "", int(NOW * 1_000_000))
    await ledger.close()
