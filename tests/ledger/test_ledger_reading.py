"""Reading a ledger and taking it elsewhere, beside a proxy that writes."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from ledgers import NOW, Clock, completed, decided, fill, kinds, put_back, tamper

from proxy.errors import Exit, SluiceError
from proxy.ledger.export import COLUMNS, export, export_to
from proxy.ledger.read import Filter, entries, follow, head, latest, reading, snapshot
from proxy.ledger.sqlite import SqliteLedger


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    await fill(tmp_path / "ledger.db", 12)
    return tmp_path / "ledger.db"


@pytest.mark.parametrize(
    "wanted",
    [
        Filter(kinds=frozenset({"held", "reviewed"})),
        Filter(kinds=frozenset({"nothing"})),
        Filter(kinds=frozenset()),
        Filter(agent="uid:alice", decision="approved"),
        Filter(hold=f"{3:032x}"),
        Filter(since="2026", until="2026-07-25T17:20:00.010"),
        Filter(),
    ],
    ids=lambda wanted: str(wanted.said),
)
def test_a_filter_gives_what_looking_at_every_entry_gives(path: Path, wanted: Filter) -> None:
    with reading(path) as connection:
        by_hand = [entry.seq for entry, fields in entries(connection) if wanted.admits(fields)]
        assert [entry.seq for entry, _ in entries(connection, wanted)] == by_hand


def test_a_hold_is_named_by_the_beginning_of_its_id(path: Path) -> None:
    with reading(path) as connection:
        (id,) = {fields["hold"] for _, fields in entries(connection, Filter(hold=f"{3:032x}"))}
        assert {
            str(fields.get("hold", ""))[:30] for _, fields in entries(connection, Filter(hold="0" * 30))
        } == {"0" * 30}
        assert id == f"{3:032x}"
        assert not list(entries(connection, Filter(hold=f"{id}0")))


async def test_a_kind_that_an_agent_wrote_into_its_text_is_no_kind(path: Path) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock(NOW + 60))
    seq = await ledger.queue(decided("a", url='x","kind":"stopped","y":"'))
    ledger.note(completed("a"))
    with reading(path) as connection:
        assert latest(connection, "stopped") < seq
        assert seq not in [
            entry.seq for entry, _ in entries(connection, Filter(kinds=frozenset({"stopped"})))
        ]
    await ledger.close()


async def test_a_follower_gets_each_entry_once_as_it_comes(path: Path) -> None:
    before = len(kinds(path))
    ledger, _ = await SqliteLedger.open(path, clock=Clock(NOW + 60))
    rounds = iter([False, True])
    with reading(path) as connection:
        got = [entry.seq for entry, _ in follow(connection, lambda: next(rounds), after=before - 4)]
        assert got == [before - 3, before - 2, before - 1, before]  # the last is the new `started`
        await ledger.queue(decided("a"))
        rounds = iter([True, False])
        assert [entry.seq for entry, _ in follow(connection, lambda: next(rounds), after=before)] == [
            before + 1
        ]
    await ledger.close()


def test_a_reader_cannot_write(path: Path) -> None:
    with reading(path) as connection:
        for statement in (
            "DELETE FROM entry",
            "CREATE TABLE x (y)",
            "PRAGMA writable_schema=ON; DELETE FROM entry",
        ):
            with pytest.raises((sqlite3.OperationalError, sqlite3.ProgrammingError)):
                connection.execute(statement)


def test_what_is_no_ledger_is_not_read(path: Path) -> None:
    with pytest.raises(SluiceError) as caught, reading(path.with_name("none.db")):
        pass
    assert caught.value.exit is Exit.WRONG
    path.write_bytes(b"nothing " * 1000)
    with pytest.raises(SluiceError) as caught, reading(path):
        pass
    assert caught.value.exit is Exit.NO


async def test_a_broken_entry_is_named_and_not_skipped(path: Path) -> None:
    connection = tamper(path)
    connection.execute("UPDATE entry SET body = x'7b7d7d' WHERE seq = 5")
    put_back(connection)
    with pytest.raises(SluiceError, match="entry 5"):
        kinds(path)


def test_csv_is_for_reading_and_computes_nothing(path: Path) -> None:
    out = io.BytesIO()
    count = export(path, out, "csv")
    rows = list(csv.DictReader(io.StringIO(out.getvalue().decode())))
    assert count == len(rows) == len(kinds(path))
    assert set(rows[0]) == {*COLUMNS, "hash"}
    assert [row["seq"] for row in rows] == [str(number) for number in range(count)]


async def test_a_link_leads_to_all_that_belongs_to_the_ledger(path: Path, tmp_path: Path) -> None:
    """Else whoever hands over a link could hide what a crash has left in the log of writes."""
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    ledger, _ = await SqliteLedger.open(path, clock=Clock(NOW + 60))
    await ledger.queue(decided("a"))

    def verified() -> dict[str, object]:
        command = [sys.executable, "-m", "proxy", "ledger", "verify", str(link), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        return dict(json.loads(done.stdout))

    said = await asyncio.to_thread(verified)
    assert (said["entries"], said["live"], said["findings"]) == (ledger.head[0] + 1, True, [])
    with reading(link) as connection:
        assert head(connection) == ledger.head
    (tmp_path / "crashed").mkdir()
    for suffix in ("", "-wal"):
        copy = tmp_path / "crashed" / f"ledger.db{suffix}"
        copy.write_bytes(Path(f"{path}{suffix}").read_bytes())
    link.unlink()
    link.symlink_to(tmp_path / "crashed" / "ledger.db")
    said = await asyncio.to_thread(verified)
    assert (said["entries"], said["live"], said["findings"]) == (ledger.head[0] + 1, False, [])
    with snapshot(link) as (connection, _):
        assert head(connection) == ledger.head
    await ledger.close()


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", '=HYPERLINK("http://x")', "\r=1", "\n=1"])
async def test_a_cell_that_would_be_a_formula_is_text(tmp_path: Path, text: str) -> None:
    tmp_path.chmod(0o700)
    ledger, _ = await SqliteLedger.open(tmp_path / "ledger.db", clock=Clock())
    await ledger.queue(decided("a", url=text, rules=[text, "b"]))
    await ledger.close()
    out = io.BytesIO()
    export(tmp_path / "ledger.db", out, "csv", Filter(kinds=frozenset({"decided"})))
    (row,) = csv.DictReader(io.StringIO(out.getvalue().decode(), newline=""))
    assert row["url"] == f"'{text}"
    assert row["rules"] == f"'{text} b"


def test_an_export_has_its_name_once_it_is_whole(path: Path) -> None:
    out = path.with_name("out.jsonl")
    out.write_text("what was there")
    with pytest.raises(SluiceError):
        export_to(path.with_name("none.db"), out, "jsonl")
    with pytest.raises(SluiceError):
        export_to(path, out, "xml")
    assert out.read_text() == "what was there"
    assert [file.name for file in path.parent.glob(".out*")] == []
    assert export_to(path, out, "jsonl") == len(kinds(path))
    assert out.stat().st_mode & 0o777 == 0o600
    with pytest.raises(SluiceError, match="cannot be written"):
        export_to(path, path.with_name("nowhere") / "out.jsonl", "jsonl")
