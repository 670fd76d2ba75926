"""The embedded ledger: what is queued is written, in order, once, or refused."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import threading
from pathlib import Path

import pytest
from ledgers import DIGEST, NOW, Clock, checked, completed, decided, fill, held, kinds, said, until

from proxy.chain import UnfitError, digest
from proxy.errors import Exit, SluiceError
from proxy.ledger import Draft, Ledger, UnavailableError
from proxy.ledger.opening import request_is
from proxy.ledger.pen import Pen
from proxy.ledger.read import entries, reading, rows
from proxy.ledger.sqlite import ENTRIES, SqliteLedger


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path / "ledger.db"


async def test_a_new_ledger_begins_with_its_genesis_and_ends_with_its_stop(path: Path) -> None:
    ledger, recovered = await SqliteLedger.open(path, started={"listen": "127.0.0.1:8080"}, clock=Clock())
    promise: Ledger = ledger
    await promise.close()
    assert recovered.new
    assert recovered.clean
    genesis, started, stopped = said(path)
    assert (genesis["kind"], genesis["seq"], genesis["canon"], genesis["alg"]) == (
        "genesis",
        0,
        "jcs-restricted-1",
        "sha-256",
    )
    assert len(str(genesis["ledger"])) == 32
    assert (started["kind"], started["listen"], started["clean"]) == ("started", "127.0.0.1:8080", True)
    assert stopped["kind"] == "stopped"
    assert checked(path).ok


async def test_entries_are_written_in_the_order_they_were_queued_in(path: Path) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    tickets = [ledger.queue(decided(f"{number:032x}")) for number in range(2_000)]
    numbers = await asyncio.gather(*tickets)
    assert numbers == list(range(2, 2_002))
    assert ledger.head[0] == 2_001
    await ledger.close()
    ids = [fields["id"] for fields in said(path) if fields["kind"] == "decided"]
    assert ids == [f"{number:032x}" for number in range(2_000)]


async def test_an_entry_is_on_disk_when_its_ticket_says_so(path: Path) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    seq = await ledger.queue(decided("a"))
    with reading(path) as connection:
        ((entry, fields),) = entries(connection, after=seq - 1)
    assert (fields["id"], entry.hash) == ("a", digest(entry.body))
    assert ledger.head == (seq, entry.hash)
    await ledger.close()


async def test_a_group_is_one_commit(path: Path) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    groups = []
    write = ledger._write

    async def counted(lines: list) -> None:  # type: ignore[type-arg]
        groups.append(len(lines))
        await write(lines)

    ledger._write = counted  # type: ignore[method-assign]
    await asyncio.gather(*(ledger.queue(decided(f"{number}")) for number in range(1_100)))
    await ledger.close()
    assert groups == [512, 512, 76, 1]


async def test_an_entry_commits_to_its_request_and_its_payload(path: Path) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    seq = await ledger.queue(held("a"))
    await ledger.close()
    with reading(path) as connection:
        ((_, body, _, salt, data),) = rows(connection, seq - 1, seq)
        ((_, fields),) = entries(connection, after=seq - 1, last=seq)
    assert data == b'{"amount": 9000}'
    assert isinstance(salt, bytes)
    assert request_is(fields, salt, DIGEST)
    assert not request_is(fields, salt, b"\x08" * 32)
    assert DIGEST.hex().encode() not in bytes(body)  # type: ignore[call-overload]
    assert b"amount" not in bytes(body)  # type: ignore[call-overload]  # letters: the nonce is any hex digits


async def test_a_draft_that_cannot_be_an_entry_fails_its_caller_alone(path: Path) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    good = ledger.queue(decided("a"))
    for draft in (
        Draft("decided", {"amount": 1.5}),
        Draft("decided", {"seq": 7}),
        Draft("exported", {}),
        Draft("decided", {"why": "x" * 70_000}),
        Draft("decided", {"why": "\ud800"}),
        Draft("held", {}, payload=b"x" * (1024 * 1024 + 1)),
    ):
        with pytest.raises(UnfitError):
            ledger.queue(draft)
    assert await good == 2
    await ledger.close()
    assert kinds(path) == ["genesis", "started", "decided", "stopped"]


async def test_a_caller_that_gives_up_takes_no_entry_back(path: Path) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    ticket = ledger.queue(decided("a"))
    ticket.cancel()
    await ledger.queue(decided("b"))
    await ledger.close()
    assert [fields.get("id") for fields in said(path)] == [None, None, "a", "b", None]


async def test_after_close_nothing_is_taken(path: Path) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    tickets = [ledger.queue(decided(str(number))) for number in range(600)]
    await ledger.close()
    assert all(ticket.done() and not ticket.exception() for ticket in tickets)
    with pytest.raises(UnavailableError, match="closed"):
        ledger.queue(decided("late"))
    ledger.note(completed("late"))
    await ledger.close()
    assert kinds(path)[-1] == "stopped"


class Stuck:
    """Holds the writing thread at the door of the disk until told otherwise."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.there = threading.Event(), threading.Event()
        write = Pen._write

        def wait(pen: Pen, group: object) -> None:
            self.there.set()
            assert self.go.wait(10)
            write(pen, group)  # type: ignore[arg-type]

        monkeypatch.setattr(Pen, "_write", wait)


async def test_a_full_queue_refuses_and_still_takes_what_has_happened(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = 0.0
    ledger, _ = await SqliteLedger.open(path, clock=Clock(), ticks=lambda: ticks)
    disk = Stuck(monkeypatch)
    tickets = [ledger.queue(decided(str(number))) for number in range(ENTRIES)]
    await until(disk.there.is_set)
    with pytest.raises(UnavailableError, match="4096 entries"):
        ledger.queue(decided("one more"))
    with pytest.raises(UnavailableError, match="4096 entries"):
        ledger.queue(decided("and another"))
    ledger.note(completed("0"))
    disk.go.set()
    ticks = 2.0
    await asyncio.gather(*tickets)
    assert await ledger.queue(decided("one more")) > ENTRIES
    await ledger.close()
    assert "completed" in kinds(path)
    assert [entry["entries"] for entry in said(path) if entry["kind"] == "unrecorded"] == [2]


async def test_what_was_refused_at_last_is_said_at_the_end(path: Path) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock(), ticks=lambda: 0.0)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError, match="locked"):
        await ledger.queue(decided("a"))
    for name in "bcd":
        with pytest.raises(UnavailableError, match="locked"):
            ledger.queue(decided(name))
    other.execute("ROLLBACK")
    other.close()
    await until(lambda: not ledger.trouble)
    await ledger.close()
    assert kinds(path)[-3:] == ["recovered", "unrecorded", "stopped"]
    assert (said(path)[-3]["in_doubt"], said(path)[-2]["entries"]) == (1, 3)


async def test_a_disk_that_does_not_answer_refuses_after_100_ms(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = 0.0
    ledger, _ = await SqliteLedger.open(path, clock=Clock(), ticks=lambda: ticks)
    disk = Stuck(monkeypatch)
    at_disk = ledger.queue(decided("at the disk"))
    await until(disk.there.is_set)
    ticks = 5.0
    waiting = ledger.queue(
        decided("first to wait")
    )  # what is at the disk is slow, nobody waits behind it yet
    ticks = 5.1
    more = ledger.queue(decided("second"))
    ticks = 5.2
    with pytest.raises(UnavailableError, match="100 ms"):
        ledger.queue(decided("third"))
    disk.go.set()
    assert await asyncio.gather(at_disk, waiting, more) == [2, 3, 4]
    assert await ledger.queue(decided("later")) == 6  # 5 says that one was refused
    await ledger.close()


async def test_an_event_loop_that_is_late_is_no_slow_disk(path: Path) -> None:
    ticks = 0.0
    ledger, _ = await SqliteLedger.open(path, clock=Clock(), ticks=lambda: ticks)
    first = ledger.queue(decided("a"))
    ticks = 60.0
    second = ledger.queue(decided("b"))
    assert await asyncio.gather(first, second) == [2, 3]
    await ledger.close()


async def test_time_does_not_go_backwards_with_a_clock_that_is_put_right(path: Path) -> None:
    clock = Clock()
    ledger, _ = await SqliteLedger.open(path, clock=clock)
    await ledger.queue(decided("a"))
    clock.now -= 59
    await ledger.queue(decided("b"))
    await ledger.close()
    assert checked(path).ok and "clock" not in kinds(path)
    times = [str(entry["time"]) for entry in said(path)]
    assert times == sorted(times)


async def test_a_clock_that_was_set_back_in_a_run_is_written_down_and_followed(path: Path) -> None:
    """Else every later entry would stay at a time that was wrong, and no signed answer would fit it."""
    clock = Clock()
    ledger, _ = await SqliteLedger.open(path, clock=clock)
    await ledger.queue(decided("a"))
    clock.now -= 40 * 86_400
    await asyncio.gather(*(ledger.queue(decided(f"b{number}")) for number in range(3)))
    clock.now += 1
    await ledger.queue(decided("c"))
    await ledger.close()
    assert checked(path).ok
    assert kinds(path).count("clock") == 1
    (back,) = [entry for entry in said(path) if entry["kind"] == "clock"]
    last = said(path)[-1]
    assert str(back["before"]) > str(last["time"]) > str(back["time"])


async def test_a_clock_that_was_set_back_between_two_runs_is_written_down(path: Path) -> None:
    await fill(path, 1, clock=Clock(NOW + 600))
    await fill(path, 1, clock=Clock(NOW))
    assert "clock" in kinds(path)
    assert checked(path).ok
    assert said(path)[-1]["time"] < said(path)[0]["time"]  # type: ignore[operator]


async def test_what_the_run_before_left_open_is_settled_by_the_next_start(path: Path) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    approved = decided("answered", "approved", hold="answered", by="reviewer")
    drafts = [
        held("waits"),
        held("answered"),
        approved,
        decided("running"),
        decided("over"),
        completed("over"),
    ]
    for draft in (*drafts, held("soon"), decided("soon", "pending", hold="soon")):
        await ledger.queue(draft)
    await stop_hard(ledger)
    ledger, recovered = await SqliteLedger.open(path, clock=Clock(NOW + 60))
    await ledger.close()
    assert recovered.cut_off == ("waits", "soon")
    assert recovered.unfinished == ("answered", "running")
    assert not recovered.clean
    assert not recovered.new
    new = said(path)[10:]
    assert [(line["kind"], line.get("hold") or line.get("id")) for line in new] == [
        ("decided", "waits"), ("decided", "soon"), ("unknown", "answered"), ("unknown", "running"),
        ("started", None), ("stopped", None)]  # fmt: skip
    assert (new[0]["decision"], new[0]["by"], new[0]["agent"]) == ("cut_off", "fault", "uid:alice")
    assert new[4]["clean"] is False
    assert checked(path).ok
    ledger, recovered = await SqliteLedger.open(path, clock=Clock(NOW + 120))
    await ledger.close()
    assert (recovered.cut_off, recovered.unfinished, recovered.clean) == ((), (), True)


async def stop_hard(ledger: SqliteLedger) -> None:
    """As if the process had ended: no `stopped`, but the lock is free."""
    assert ledger._writer is not None
    ledger._writer.cancel()
    await asyncio.wait([ledger._writer])
    await ledger._disconnect()
    ledger._lock.release()


async def test_a_second_writer_is_refused_and_told_who_has_it(path: Path) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    with pytest.raises(SluiceError, match=f"pid {os.getpid()}") as caught:
        await SqliteLedger.open(path, clock=Clock())
    assert caught.value.problems[0].fix
    await ledger.queue(decided("a"))
    await ledger.close()
    again, _ = await SqliteLedger.open(path, clock=Clock(NOW + 60))
    await again.close()


async def test_the_ledger_is_its_owners_alone(path: Path) -> None:
    old = os.umask(0)
    try:
        ledger, _ = await SqliteLedger.open(path, clock=Clock())
    finally:
        os.umask(old)
    await ledger.queue(decided("a"))
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    await ledger.close()


def _folder_open(path: Path) -> None:
    path.parent.chmod(0o770)


def _file_open(path: Path) -> None:
    path.chmod(0o644)


def _symlink(path: Path) -> None:
    path.rename(path.with_name("elsewhere.db"))
    path.symlink_to("elsewhere.db")


def _hard_link(path: Path) -> None:
    path.with_name("twin.db").hardlink_to(path)


def _folder_in_place(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _journal(path: Path) -> None:
    path.with_name("ledger.db-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7")


def _only_a_log(path: Path) -> None:
    path.unlink()
    path.with_name("ledger.db-wal").touch(0o600)


def _lock_is_a_link(path: Path) -> None:
    path.with_name("ledger.db.lock").unlink(missing_ok=True)
    path.with_name("ledger.db.lock").symlink_to("/dev/null")


def _text(path: Path) -> None:
    path.write_text("hello " * 500)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _sql(*statements: str):  # type: ignore[no-untyped-def]
    def change(path: Path) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        for statement in statements:
            connection.execute(statement)
        connection.close()

    return change


@pytest.mark.parametrize(
    ("harm", "what"),
    [
        (_folder_open, "others can write"),
        (_file_open, "open to others"),
        (_symlink, "not a plain file"),
        (_hard_link, "2 names"),
        (_folder_in_place, "not a plain file"),
        (_journal, "rollback journal"),
        (_only_a_log, "is gone"),
        (_lock_is_a_link, "lock"),
        (_text, "no ledger"),
        (_empty, "no ledger"),
        (_half, "broken"),
        (_sql("PRAGMA user_version=3"), "version 3"),
        (_sql("PRAGMA application_id=1"), "no ledger"),
        (_sql("DROP TRIGGER entry_kept"), "lacks"),
        (_sql("CREATE TABLE more (x)"), "does not belong"),
        (_sql("DROP TRIGGER entry_kept", "DELETE FROM entry WHERE seq = 20",
              "CREATE TRIGGER entry_kept BEFORE DELETE ON entry\n"
              "BEGIN SELECT raise(ABORT, 'an entry is never removed'); END"), "broken: entry 21"),
        (_sql("DROP TRIGGER payload_kept", "DELETE FROM payload WHERE seq = 2",
              "CREATE TRIGGER payload_kept BEFORE DELETE ON payload\n"
              "BEGIN SELECT raise(ABORT, 'a payload is never removed'); END"), "broken: entry 2"),
    ],
    ids=lambda part: getattr(part, "__name__", str(part)[:20]),
)  # fmt: skip
async def test_a_ledger_that_may_not_be_trusted_is_refused_with_a_reason(path: Path, harm, what: str) -> None:  # type: ignore[no-untyped-def]
    await fill(path, 12)
    harm(path)
    with pytest.raises(SluiceError) as caught:
        await SqliteLedger.open(path, clock=Clock(NOW + 60))
    assert what in str(caught.value)
    assert caught.value.exit in (Exit.NO, Exit.WRONG)


async def test_history_cannot_be_changed_by_mistake(path: Path) -> None:
    await fill(path, 3)
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in (
        "UPDATE entry SET body = x'00'",
        "DELETE FROM entry WHERE seq = 1",
        "INSERT OR REPLACE INTO entry VALUES (1, x'7b7d', zeroblob(32))",
        "INSERT INTO entry VALUES (500, x'7b7d', zeroblob(32))",
        "UPDATE payload SET data = x'00'",
        "DELETE FROM payload",
        "INSERT OR REPLACE INTO payload VALUES (2, zeroblob(16), x'00')",
    ):
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(statement)
    connection.close()
    assert checked(path).ok


async def test_a_ledger_that_was_half_made_is_made_again(path: Path) -> None:
    path.with_name("ledger.db.new").write_bytes(b"half")
    path.with_name("ledger.db.new-journal").write_bytes(b"half")
    await fill(path, 1)
    assert checked(path).ok
    assert not path.with_name("ledger.db.new").exists()


async def test_the_log_of_writes_is_copied_once_nobody_waits(path: Path) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    size = path.stat().st_size
    for number in range(40):  # each takes a page at least, and a commit some more
        await ledger.queue(decided(f"{number:032x}", why="x" * 4_000))

    await until(lambda: path.stat().st_size > size + 40 * 4_000)

    await ledger.queue(decided("after"))
    await ledger.close()
    assert checked(path).ok
