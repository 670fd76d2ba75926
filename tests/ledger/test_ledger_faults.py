"""What the disk, the machine and other people do to a ledger while it is written."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ledgers import NOW, Clock, checked, codes, completed, decided, held, kinds, said, until

from proxy.ledger import UnavailableError
from proxy.ledger.pen import Pen
from proxy.ledger.sqlite import SqliteLedger


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path / "ledger.db"


_WRITES = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {here!r})
from ledgers import completed, decided, held, reviewed
from proxy.ledger.sqlite import SqliteLedger

async def main():
    ledger, _ = await SqliteLedger.open(Path(sys.argv[1]))
    print("open", flush=True)
    async def caller(name):
        number = 0
        while True:
            id = f"{{name}}-{{sys.argv[2]}}-{{number}}"
            if number % 2:
                await ledger.queue(held(id))
                await ledger.queue(reviewed(id))
                seq = await ledger.queue(decided(id, "approved", hold=id, by="reviewer"))
            else:
                seq = await ledger.queue(decided(id))
            print(seq, id, flush=True)
            ledger.note(completed(id))
            number += 1
    await asyncio.gather(*(caller(name) for name in "abcd"))

asyncio.run(main())
"""


def test_a_kill_at_any_moment_loses_nothing_that_was_acknowledged(path: Path) -> None:
    chance = random.Random(7)
    acknowledged: dict[int, str] = {}
    script = _WRITES.format(here=str(Path(__file__).parent))
    deadline = time.monotonic() + 6
    rounds = 0
    while time.monotonic() < deadline:
        child = subprocess.Popen(
            [sys.executable, "-c", script, str(path), str(rounds)], stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"open\n"
        time.sleep(chance.random() * 0.15)
        child.send_signal(signal.SIGKILL)
        output, _ = child.communicate(timeout=10)
        for line in output.split(b"\n")[:-1]:
            seq, id = line.decode().split()
            acknowledged[int(seq)] = id
        rounds += 1
        assert codes(checked(path, time.time())) == set()
    entries = said(path)
    assert rounds >= 3
    assert len(acknowledged) > 20
    assert [seq for seq, id in acknowledged.items() if entries[seq].get("id") != id] == []


async def test_a_killed_run_is_told_of_by_the_next_start(path: Path) -> None:
    script = _WRITES.format(here=str(Path(__file__).parent))
    child = subprocess.Popen([sys.executable, "-c", script, str(path), "0"], stdout=subprocess.PIPE)
    assert child.stdout is not None
    for _ in range(20):
        child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=10)
    ledger, recovered = await SqliteLedger.open(path)
    await ledger.close()
    assert not recovered.clean
    assert len(recovered.cut_off) + len(recovered.unfinished) <= 8
    assert [line["clean"] for line in said(path) if line["kind"] == "started"] == [True, False]
    report = checked(path, time.time())
    assert report.ok, report.findings


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 800 KiB; only root can make one."""
    folder = tmp_path / "disk"
    folder.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=800k,mode=0700", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small disk needs the right to mount")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_a_full_disk_refuses_until_there_is_room_again(small_disk: Path) -> None:
    path = small_disk / "ledger.db"
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    acknowledged = []
    with pytest.raises(UnavailableError):
        for number in range(10_000):
            acknowledged.append(await ledger.queue(decided(f"{number:032x}", why="x" * 2_000)))
    assert len(acknowledged) > 10
    assert "full" in ledger.trouble
    with pytest.raises(UnavailableError, match="full"):
        ledger.queue(decided("x"))
    ledger.note(completed("x"))
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    await until(lambda: not ledger.trouble)
    seq = await ledger.queue(decided("again"))
    await ledger.close()
    lines = said(path)
    assert [lines[at]["id"] for at in acknowledged] == [
        f"{number:032x}" for number in range(len(acknowledged))
    ]
    assert lines[seq]["id"] == "again"
    assert next(line for line in lines if line["kind"] == "recovered")["in_doubt"] == 2
    assert checked(path).ok


@pytest.fixture
def reserved_disk(small_disk: Path) -> Path:
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    return small_disk


async def test_a_full_disk_has_room_to_say_so_and_how_what_waited_ended(reserved_disk: Path) -> None:
    path, reserve = reserved_disk / "ledger.db", reserved_disk / "ledger.db.reserve"
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    await ledger.queue(held("waits"))
    await ledger.queue(decided("left"))
    assert reserve.stat().st_blocks * 512 >= 1024 * 1024
    filler = reserved_disk / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(4_096))
    with pytest.raises(UnavailableError, match="full"):
        for number in range(1_000):
            await ledger.queue(decided(f"{number:032x}", "refused", why="x" * 2_000))
    ledger.note(completed("left"))  # at this moment nothing at all can be written

    await until(lambda: "nothing new" in ledger.trouble)
    ledger.note(decided("waits", "cut_off", hold="waits", by="fault"))
    with pytest.raises(UnavailableError, match="the disk is full"):
        ledger.queue(decided("new"))
    await until(lambda: kinds(path)[-3:] == ["recovered", "completed", "decided"])
    assert not reserve.exists()
    assert "full" in str(said(path)[-3]["why"])

    filler.unlink()
    await until(lambda: not ledger.trouble)
    await ledger.queue(decided("new"))
    assert reserve.exists()
    await ledger.close()
    report = checked(path)
    assert report.ok, report.findings


async def test_a_ledger_on_a_full_disk_closes_and_says_so(reserved_disk: Path) -> None:
    path = reserved_disk / "ledger.db"
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    filler = reserved_disk / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(4_096))
    with pytest.raises(UnavailableError, match="full"):
        for number in range(1_000):
            await ledger.queue(decided(f"{number:032x}", "refused", why="x" * 2_000))
    await until(lambda: "nothing new" in ledger.trouble)

    await ledger.close()

    assert kinds(path)[-2:] == ["recovered", "stopped"]
    assert checked(path).ok


@pytest.mark.parametrize("full", [True, False], ids=["full", "read-only"])
@pytest.mark.parametrize("crashed", [False, True], ids=["stopped", "crashed"])
async def test_a_ledger_is_read_on_a_disk_that_takes_nothing(
    reserved_disk: Path, tmp_path: Path, full: bool, crashed: bool
) -> None:
    there, path = tmp_path / "there.db", reserved_disk / "ledger.db"
    ledger, _ = await SqliteLedger.open(there, clock=Clock())
    await ledger.queue(decided("a"))
    log = there.with_name("there.db-wal").read_bytes()
    if not crashed:
        await ledger.close()
    path.write_bytes(there.read_bytes())
    if crashed:
        path.with_name("ledger.db-wal").write_bytes(log)
        await ledger.close()
    if full:
        with (reserved_disk / "filler").open("wb", buffering=0) as file, pytest.raises(OSError):
            while True:
                file.write(bytes(4_096))
    else:
        subprocess.run(["mount", "-o", "remount,ro", str(reserved_disk)], check=True)
    before = {file.name: file.read_bytes() for file in reserved_disk.iterdir()}

    assert kinds(path) == ["genesis", "started", "decided", "stopped"][: 3 if crashed else 4]

    assert all((reserved_disk / name).read_bytes() == data for name, data in before.items())


async def test_what_happened_while_the_disk_failed_is_written_once_it_does_not(path: Path) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    await ledger.queue(decided("left"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError, match="locked"):
        await ledger.queue(decided("new"))
    ledger.note(completed("left"))
    other.execute("ROLLBACK")
    other.close()

    await until(lambda: not ledger.trouble)
    await ledger.queue(decided("newer"))
    ledger.note(completed("newer"))
    await ledger.close()

    assert kinds(path)[3:] == ["recovered", "completed", "decided", "completed", "stopped"]
    assert checked(path).ok


_FILLS = """
import asyncio, resource, signal, sys
from pathlib import Path
sys.path.insert(0, {here!r})
from ledgers import Clock, decided
from proxy.ledger import UnavailableError
from proxy.ledger.sqlite import SqliteLedger

async def main():
    ledger, _ = await SqliteLedger.open(Path(sys.argv[1]), clock=Clock())
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
    written = 0
    try:
        while True:
            await ledger.queue(decided(f"{{written:032x}}", why="x" * 2_000))
            written += 1
    except UnavailableError:
        pass
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    while ledger.trouble:
        await asyncio.sleep(0.02)
    await ledger.queue(decided("again"))
    await ledger.close()
    print(written)

asyncio.run(main())
"""


def test_a_file_that_may_not_grow_refuses_until_it_may(path: Path) -> None:
    script = _FILLS.format(here=str(Path(__file__).parent))
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=60, check=True
    )
    ids = [line["id"] for line in said(path) if line["kind"] == "decided"]
    assert ids[: int(done.stdout)] == [f"{number:032x}" for number in range(int(done.stdout))]
    assert ids[-1] == "again"
    assert "recovered" in kinds(path)
    assert checked(path).ok


def _unlink_log(path: Path) -> None:
    path.with_name("ledger.db-wal").unlink()


def _rename_db(path: Path) -> None:
    path.rename(path.with_name("elsewhere.db"))


def _replace_db(path: Path) -> None:
    copy = path.with_name("copy.db")
    copy.write_bytes(path.read_bytes())
    copy.rename(path)


def _second_name(path: Path) -> None:
    path.with_name("twin.db").hardlink_to(path)


@pytest.mark.parametrize("harm", [_unlink_log, _rename_db, _replace_db, _second_name])
async def test_a_file_that_was_moved_away_acknowledges_nothing_more(path: Path, harm) -> None:  # type: ignore[no-untyped-def]
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    await ledger.queue(decided("a"))
    harm(path)
    with pytest.raises(UnavailableError):
        await ledger.queue(decided("b"))
    await until(lambda: "until a restart" in ledger.trouble)
    with pytest.raises(UnavailableError, match="until a restart"):
        ledger.queue(decided("c"))
    await ledger.close()


async def test_somebody_elses_commit_stops_the_ledger(path: Path) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    await ledger.queue(decided("a"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("INSERT INTO entry VALUES (3, x'7b7d', zeroblob(32))")
    other.close()
    with pytest.raises(UnavailableError, match="somebody else"):
        await ledger.queue(decided("b"))
    await ledger.close()
    assert not checked(path).ok


async def test_a_lock_that_another_holds_refuses_and_passes(path: Path) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError, match="locked"):
        await ledger.queue(decided("a"))
    other.execute("ROLLBACK")
    other.close()
    await until(lambda: not ledger.trouble)
    await ledger.queue(decided("b"))
    await ledger.close()
    assert checked(path).ok


@pytest.mark.parametrize("persists", [True, False], ids=["but it was written", "and it was not written"])
async def test_an_error_says_nothing_about_what_was_written(
    path: Path, persists: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    write, failing = Pen._write, [True]

    def fail(pen: Pen, group) -> None:  # type: ignore[no-untyped-def]
        if persists or not failing:
            write(pen, group)
        if failing:
            failing.pop()
            raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(Pen, "_write", fail)
    tickets = [ledger.queue(decided(name)) for name in "abc"]
    for ticket in tickets:
        with pytest.raises(UnavailableError, match="I/O"):
            await ticket
    await until(lambda: not ledger.trouble)
    seq = await ledger.queue(decided("d"))
    ledger.note(completed("a"))
    await ledger.close()
    ids = [line["id"] for line in said(path) if line["kind"] == "decided"]
    assert ids == (["a", "b", "c", "d"] if persists else ["d"])  # never written twice
    assert said(path)[seq]["id"] == "d"
    assert next(line for line in said(path) if line["kind"] == "recovered")["in_doubt"] == 3
    report = checked(path, NOW + 3600)
    assert report.ok, report.findings


async def test_a_bug_in_the_writer_refuses(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock())

    def bug(pen: Pen, group: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(Pen, "_write", bug)
    with pytest.raises(UnavailableError):
        await ledger.queue(decided("a"))
    await until(lambda: bool(ledger.trouble))
    with pytest.raises(UnavailableError):
        ledger.queue(decided("b"))
    await asyncio.wait_for(ledger.close(), 5)
