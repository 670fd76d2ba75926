"""A large ledger is read on all cores, and what is said of it is the same."""

from __future__ import annotations

import os
import random
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ledgers import NOW, Clock, completed, decided, fill, held, put_back, reviewed, tamper, verified
from test_ledger_verify import append

from proxy.chain import Findings
from proxy.ledger import Draft
from proxy.ledger.cipher import PAYLOADS_KEY
from proxy.ledger.quiet import Quiet
from proxy.ledger.read import Source
from proxy.ledger.span import Span, Task, peaks_at, tree_levels
from proxy.ledger.sqlite import SqliteLedger
from proxy.ledger.story import Story
from proxy.ledger.verify import verify
from proxy.ledger.workers import Cores
from proxy.ledger.workers import _processes as reading_processes
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


async def _written(path: Path, drafts: Iterable[Draft]) -> None:
    path.parent.chmod(0o700)
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    for draft in drafts:
        ledger.note(draft)
    await ledger.close()


def _quiet(count: int) -> Iterator[Draft]:
    for number in range(count):
        yield from (decided(f"quiet-{number}"), completed(f"quiet-{number}"))


GRANT = Draft("granted", {"grant": "g", "hold": "h", "uses": 1})


@pytest.mark.parametrize(("given", "found"), [([], [42]), ([GRANT], []), ([GRANT, GRANT], [])])
async def test_what_left_under_no_grant_is_found_behind_what_is_quiet(
    tmp_path: Path, given: list[Draft], found: list[int]
) -> None:
    drafts = [decided("x", "approved", by="grant", grant="g"), completed("x")]
    await _written(tmp_path / "ledger.db", [*given, *_quiet(20), *drafts, *_quiet(20)])
    report = verified(tmp_path / "ledger.db", NOW + 3600)
    assert [(one.seq, one.code) for one in report.findings] == [(seq, "not_granted") for seq in found]


async def test_what_runs_already_is_not_let_through_again_within_one_run(tmp_path: Path) -> None:
    twice = [decided("x"), completed("x")]
    await _written(tmp_path / "ledger.db", [decided("x"), *_quiet(20), *twice, *_quiet(20)])
    report = verified(tmp_path / "ledger.db", NOW + 3600)
    assert [(one.seq, one.code) for one in report.findings] == [(43, "decided_twice")]


async def test_what_is_more_than_can_be_followed_is_found_within_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("walk", "story"):
        monkeypatch.setattr(f"proxy.ledger.{module}.CAP", 4)
    at_once = [str(number) for number in range(4)]
    drafts = [*map(decided, at_once), *_quiet(20), *map(completed, at_once)]
    await _written(tmp_path / "ledger.db", drafts)
    report = verified(tmp_path / "ledger.db", NOW + 3600)
    assert [one.code for one in report.findings] == ["too_many"]


@pytest.mark.parametrize("before", range(8))
async def test_time_that_goes_back_is_found_wherever_a_run_begins(tmp_path: Path, before: int) -> None:
    path = tmp_path / "ledger.db"
    await _written(path, list(_quiet(20))[: -before or None])
    connection = tamper(path)
    append("decided", time="2026-01-01T00:00:00.000000Z", id="x", decision="allowed", by="rule")(connection)
    append("completed", time="2026-01-01T00:00:00.000000Z", id="x")(connection)
    put_back(connection)
    assert "time_backwards" in {finding.code for finding in verified(path, NOW + 3600).findings}


def test_what_is_typed_at_the_terminal_ends_no_process_but_this_one(path: Path) -> None:
    """Who reads runs has no terminal of its own: else each of them would say how it was interrupted."""
    with reading_processes(Source(path, "mode=ro"), path.with_name(PAYLOADS_KEY), 2) as processes:
        groups = {os.getpgid(process.pid) for process in processes}
        assert len(groups) == 2 and os.getpgrp() not in groups


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


@pytest.mark.parametrize(
    "says", ["", "read task; printf null", "read task; printf '{'", "read task; echo null"]
)
def test_what_a_process_that_has_ended_did_not_tell_is_read_here(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{says}\n")
    python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))
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
