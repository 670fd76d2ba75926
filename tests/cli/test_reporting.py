"""`sluice report`: how people have decided, from a ledger."""

import asyncio
import shutil
from pathlib import Path

import pytest
from commands import sluice
from recording import post, record

from proxy.cli.parser import build
from proxy.ledger import Draft, read
from proxy.ledger.sqlite import SqliteLedger
from proxy.render import report_lines
from proxy.report import Report

POLICY = """
version: 1
default: {read: allow, write: hold}
rules:
  - name: refunds-wait
    why: A refund moves money.
    match: {host: api.example.com, method: POST, path: /v1/refunds}
    then: hold
    show: [form.amount, form.currency]
"""
URL = "https://api.example.com/v1/refunds"


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    requests = [post(URL, f"amount={amount}&currency=eur") for amount in (10, 20, 30)]
    reads = [post("https://api.example.com/v1/balance", method="GET")] * 3
    return record(tmp_path / "ledger.db", POLICY, [*reads, *requests])


def test_it_says_who_decided_how_fast_and_what(ledger: Path) -> None:
    done = sluice("report", ledger, at=ledger.parent)
    assert done.status == 0, done.err
    assert done.out.startswith("3 holds, ")
    assert "3 of 3 decisions took less than 2 s" in done.out
    for name in ("refunds-wait", "uid:ann", "bob"):
        (row, *_) = [line for line in done.out.splitlines() if line.startswith(name)]
        assert row.split()[1] == "3"
        assert "100 %" in row
    assert "only ever approved" in done.out
    assert "  refunds-wait                2 of 3\n" in done.out  # the grant


def test_every_line_fits_into_80_columns(ledger: Path) -> None:
    lines = sluice("report", ledger, at=ledger.parent).out.splitlines()
    assert max(map(len, lines)) <= 80


def test_json_is_one_object_a_line(ledger: Path) -> None:
    everything, rule, agent, reviewer = sluice("report", ledger, "--json", at=ledger.parent).lines
    assert [one["of"] for one in (everything, rule, agent, reviewer)] == ["all", "rule", "agent", "reviewer"]
    assert (everything["holds"], everything["approved"], everything["under_2_seconds"]) == (3, 3, 3)
    assert (rule["name"], rule["only_approved"], rule["grant"]) == (
        "refunds-wait",
        True,
        {"spared": 2, "denied": 0},
    )
    assert 0 <= reviewer["median_seconds"] < 2


def test_it_counts_only_what_it_is_asked_for(ledger: Path) -> None:
    for flags, holds in (
        (["--agent", "uid:ann"], 3),
        (["--agent", "uid:eve"], 0),
        (["--reviewer", "bob"], 3),
        (["--rule", "default"], 0),
        (["--since", "1d"], 3),
        (["--until", "2020-01-01"], 0),
    ):
        (first, *_) = sluice("report", ledger, "--json", *flags, at=ledger.parent).lines
        assert first["holds"] == holds, flags
    assert "no hold has ended" in sluice("report", ledger, "--rule", "x", at=ledger.parent).out


def test_what_is_about_no_hold_is_passed_over(ledger: Path) -> None:
    with read.reading(ledger) as connection:
        found = list(read.entries(connection, read.Filter(held=True)))
    assert {fields["kind"] for _, fields in found} == {"held", "reviewed", "decided"}
    assert len(found) == 9
    assert read.Filter(held=True).admits({"kind": "decided", "show": {"hold": "x"}}) is False
    assert read.Filter(held=True).said == {"held": True}


def test_it_reads_the_ledger_of_the_state_folder(ledger: Path) -> None:
    assert sluice("report", "--state", ledger.parent, at=ledger.parent).out.startswith("3 holds")


def test_it_says_where_a_pruned_ledger_begins(ledger: Path) -> None:
    shown = sluice("ledger", "show", ledger, "--kind", "held", "--json", at=ledger.parent).lines
    cut = shown[0]["seq"] + 1
    archive = ["--archive", ledger.with_name("archive.jsonl")]
    pruned = sluice("ledger", "prune", ledger, "--before", str(cut), *archive, at=ledger.parent)
    assert pruned.status == 0, pruned.err
    done = sluice("report", ledger, at=ledger.parent)
    assert (done.status, f"entries before {cut} were pruned" in done.err) == (0, True)
    assert done.out.startswith("2 holds")


async def test_it_reads_what_a_gate_left_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "killed").mkdir()
    ledger, _ = await SqliteLedger.open(tmp_path / "ledger.db")
    await ledger.queue(Draft("held", {"hold": "a" * 26, "rule": "r", "rules": ["r"], "agent": "uid:ann"}))
    for file in tmp_path.glob("ledger.db*"):
        shutil.copy(file, tmp_path / "killed")
    await ledger.close()
    done = await asyncio.to_thread(sluice, "report", tmp_path / "killed" / "ledger.db", at=tmp_path)
    assert (done.status, done.out) == (0, "no hold has ended; 1 wait\n")


def test_without_a_ledger_it_says_so(tmp_path: Path) -> None:
    done = sluice("report", tmp_path / "none.db", at=tmp_path)
    assert (done.status, done.out) == (2, "")
    (tmp_path / "text.db").write_text("no ledger")
    assert sluice("report", tmp_path / "text.db", at=tmp_path).status == 1


def test_a_name_from_the_ledger_cannot_act_on_the_terminal() -> None:
    report = Report()
    time = "2026-01-01T00:00:00.000000Z"
    report.take({"kind": "held", "hold": "a", "time": time, "rule": "\x1b[2J" + "x" * 100, "agent": "\u202e"})
    report.take({"kind": "decided", "hold": "a", "time": time, "decision": "approved"})
    lines = [line.plain for line in report_lines(report)]
    assert all(line.isprintable() and len(line) <= 80 for line in lines)
    assert any("\\x1b[2J" in line for line in lines)


def test_a_time_that_is_none_is_wrong_usage(tmp_path: Path) -> None:
    assert sluice("report", "--since", "yesterday", at=tmp_path).status == 2
    assert build().parse_args(["report", "--since", "7d"]).since.endswith("Z")
