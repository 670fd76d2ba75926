"""A large ledger is read on all cores, and what is said of it is the same."""

from __future__ import annotations

import random
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ledgers import NOW, Clock, completed, decided, fill, held, put_back, reviewed, tamper, verified

from proxy.chain import Findings
from proxy.ledger import Draft
from proxy.ledger.quiet import Quiet
from proxy.ledger.span import Span, Task, peaks_at, tree_levels
from proxy.ledger.sqlite import SqliteLedger
from proxy.ledger.story import Story
from proxy.ledger.verify import verify
from proxy.ledger.workers import Cores
from proxy.merkle import Tree


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    await fill(tmp_path / "ledger.db", 60)
    return tmp_path / "ledger.db"


TWO = Cores(2, run=16, least=0)


def test_two_processes_say_what_one_says(path: Path) -> None:
    told: list[tuple[int, int]] = []

    report = verify(path, NOW + 3600, cores=TWO, progress=lambda *done: told.append(done))

    assert report.ok and report == verify(path, NOW + 3600, cores=Cores(1))
    assert told == sorted(told) and told[-1] == (report.entries, report.entries) and len(told) > 3


def test_two_processes_find_what_one_finds(path: Path) -> None:
    connection = tamper(path)
    connection.execute("UPDATE payload SET data = x'00' WHERE seq = (SELECT max(seq) FROM payload)")
    connection.execute("DELETE FROM entry WHERE seq = 40")
    put_back(connection)

    report = verify(path, NOW + 3600, cores=TWO)

    assert report == verify(path, NOW + 3600, cores=Cores(1))
    assert report.findings[0].seq == 41 and "payload" in {finding.code for finding in report.findings}


async def _erased(path: Path, **fields: object) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock(NOW + 60))
    await ledger.queue(Draft("erased", {**fields, "by": "bob", "reason": "x"}))
    await ledger.close()


async def test_what_was_erased_in_a_run_is_told_long_after_it(path: Path) -> None:
    """Some of it one by one, some of it as all that was before: the run itself does not know."""
    (seqs,) = zip(*_query(path, "SELECT seq FROM payload WHERE seq > 50"), strict=True)
    await _erased(path, before=40)
    await _erased(path, entries=list(seqs[::2]))

    report = verify(path, NOW + 3600, cores=TWO)

    assert report.ok and report == verify(path, NOW + 3600, cores=Cores(1)), report.findings


async def test_what_is_missing_between_what_was_erased_is_found(path: Path) -> None:
    await _erased(path, before=40)
    (seqs,) = zip(*_query(path, "SELECT seq FROM payload WHERE seq > 50"), strict=True)
    await _erased(path, entries=[seqs[0], seqs[2]])
    connection = tamper(path)
    connection.execute("DELETE FROM payload WHERE seq = ?", (seqs[1],))
    connection.execute("INSERT INTO payload VALUES (3, zeroblob(16), NULL)")
    put_back(connection)

    report = verify(path, NOW + 3600, cores=TWO)

    assert report == verify(path, NOW + 3600, cores=Cores(1))
    found = {(finding.seq, finding.code) for finding in report.findings}
    assert found >= {(seqs[1], "payload_missing"), (3, "payload_not_erased")}
    assert {code for _, code in found} <= {"payload_missing", "payload_not_erased", "payload_orphan"}


def _query(path: Path, query: str) -> list[tuple[int]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def test_two_processes_read_a_ledger_that_a_crash_has_left(path: Path, tmp_path: Path) -> None:
    log = path.with_name("ledger.db-wal")
    connection = tamper(path)  # its log of writes is there until it is closed
    connection.execute("UPDATE entry SET hash = zeroblob(32) WHERE seq = 50")
    crashed = tmp_path / "crashed"
    crashed.mkdir(mode=0o700)
    for file in (path, log):
        (crashed / file.name).write_bytes(file.read_bytes())
        (crashed / file.name).chmod(0o600)
    connection.close()

    report = verify(crashed / path.name, NOW + 3600, cores=TWO)

    assert report == verify(crashed / path.name, NOW + 3600, cores=Cores(1))
    assert {finding.code for finding in report.findings} >= {"hash", "schema"}


def test_what_a_process_that_has_ended_did_not_tell_is_read_here(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/true")
    assert verify(path, NOW + 3600, cores=TWO) == verify(path, NOW + 3600, cores=Cores(1))


async def test_a_run_ends_anywhere_in_the_story_of_a_request(tmp_path: Path) -> None:
    """Requests that overlap, holds, restarts: runs of 8 cut through all of it."""
    tmp_path.chmod(0o700)
    path, chance = tmp_path / "ledger.db", random.Random(3)
    for run in range(3):
        ledger, _ = await SqliteLedger.open(path, clock=Clock(NOW + 60 * run))
        waiting: list[Draft] = []
        for number in range(60):
            id = f"{run}-{number}"
            if number % 7 == 0:
                ledger.note(held(id))
                ledger.note(reviewed(id))
                ledger.note(decided(id, "approved", hold=id, by="reviewer"))
            elif number % 5 == 0:
                ledger.note(decided(id, "refused"))
                continue
            else:
                ledger.note(decided(id))
            waiting.append(completed(id))
            if chance.random() < 0.4:
                chance.shuffle(waiting)
                while waiting and chance.random() < 0.8:
                    ledger.note(waiting.pop())
        await ledger.close()

    report = verified(path, NOW + 3600)

    assert report.ok, report.findings


words = st.sampled_from(["allowed", "watched", "approved", "refused", "pending", "denied"])
ids = st.sampled_from("abc")
told = st.one_of(
    st.builds(lambda id, word: {"kind": "decided", "id": id, "decision": word, "by": "rule"}, ids, words),
    st.builds(lambda id: {"kind": "decided", "id": id, "decision": "allowed", "by": "nobody"}, ids),
    st.builds(
        lambda id: {"kind": "decided", "id": id, "hold": id, "decision": "approved", "by": "reviewer"}, ids
    ),
    st.builds(lambda id: {"kind": "held", "id": id, "hold": id}, ids),
    st.builds(lambda id: {"kind": "reviewed", "hold": id}, ids),
    st.builds(lambda id, kind: {"kind": kind, "id": id}, ids, st.sampled_from(["completed", "failed"])),
    st.just({"kind": "completed"}),
    st.just({"kind": "started"}),
    st.just({"kind": "recovered", "in_doubt": 1}),
)


ALLOWED = {"kind": "decided", "id": "a", "decision": "allowed", "by": "rule"}


@settings(max_examples=500)
@example([], [ALLOWED, ALLOWED, {"kind": "completed", "id": "a"}])
@example([], [ALLOWED, {"kind": "started"}, {"kind": "completed", "id": "a"}])
@given(st.lists(told, max_size=4), st.lists(told, max_size=12))
def test_what_is_quiet_changes_no_story(
    before: list[dict[str, object]], run: list[dict[str, object]]
) -> None:
    whole, part, quiet = Story(Findings()), Story(Findings()), Quiet()
    for seq, fields in enumerate(before):
        whole.take(seq, fields)
        part.take(seq, fields)
    for seq, fields in enumerate(run, len(before)):
        quiet.take(seq, fields)
    if not quiet.end() or not quiet.ids.isdisjoint(part.running):
        return  # then the run is read entry by entry

    for seq, fields in enumerate(run, len(before)):
        whole.take(seq, fields)
        if seq in quiet.loose:
            part.take(seq, fields)

    assert part.findings.kept == whole.findings.kept
    assert (part.holds, part.running, part.doubt) == (whole.holds, whole.running, whole.doubt)


@given(st.integers(0, 40), st.integers(0, 5), st.integers(0, 32))
def test_a_tree_grows_by_another_as_by_its_leaves(start: int, level: int, count: int) -> None:
    start, count = start << level, min(count, 1 << level)
    tree, part, one_by_one = Tree(), Tree(), Tree()
    for at in range(start + count):
        leaf = at.to_bytes(32)
        one_by_one.add(leaf)
        (tree if at < start else part).add(leaf)

    tree.join(part)

    assert (tree.size, tree.peaks) == (one_by_one.size, one_by_one.peaks)


@given(st.integers(1, 70), st.data())
def test_the_trees_over_the_beginnings_of_a_run_are_those_that_grow_by_a_leaf(
    count: int, data: st.DataObject
) -> None:
    size = data.draw(st.integers(1, count))
    leaves = [at.to_bytes(32) for at in range(count)]
    tree = Tree()
    for leaf in leaves[:size]:
        tree.add(leaf)

    assert list(peaks_at(tree_levels(leaves), size)) == [peak.hex() for peak in tree.peaks]


def test_a_tree_is_joined_only_where_its_subtrees_begin() -> None:
    tree, part = Tree(1, [bytes(32)]), Tree(2, [bytes(32)])
    with pytest.raises(ValueError, match="no subtree of 2"):
        tree.join(part)


def test_a_task_and_a_span_are_lines() -> None:
    task = Task(0, 8, (1, 4), 99)
    span = Span(
        0, 8, "ab", "cd", "b", "e", False, ((8, ("ef",), "t"),), (3,), frozenset({"x"}), gone=((2, 5),)
    )
    assert Task.decode(task.encode()) == task
    assert Span.decode(span.encode()) == span
    assert Span.decode(b"null\n") is None
