"""The ledger as its readers have it: shown, verified, exported, and caught when it was changed."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .clients import with_requests
from .conftest import HOST, RULES
from .product import PATIENCE, SLUICE, Gate, environment, policy, sluice, until, up
from .upstream import Upstream

ORDER = b'{"amount": 250, "note": "=2+3"}'


@pytest.fixture(scope="module")
def kept(home: Path, upstream: Upstream, upstream_ca: str) -> Iterator[Gate]:
    """A gate that has stopped, with a story in its ledger."""
    with up(home, "--policy", policy(home, RULES), *upstream.flags, upstream_ca) as gate:
        for number in range(3):
            with_requests(gate, "GET", f"https://{HOST}/books/{number}")
        with ThreadPoolExecutor() as agents:
            asking = [
                agents.submit(with_requests, gate, "POST", f"https://{HOST}/orders/{n}", ORDER)
                for n in (0, 1)
            ]
            gate.held("/orders/", 2)
            for hold in gate.holds():
                gate.answer(hold, hold.url.endswith("0"), "as agreed")
            assert sorted(one.result(PATIENCE).status for one in asking) == [200, 403]
        with_requests(gate, "POST", f"https://{HOST}/never/1", ORDER)
        assert gate.stop() == 0
        yield gate


@pytest.fixture(scope="module")
def exported(kept: Gate) -> Path:
    out = kept.home / "ledger.jsonl"
    done = kept.sluice("ledger", "export", "--format", "jsonl", "-o", out)
    assert (done.status, done.out) == (0, "")
    return out


def test_the_story_is_told_in_order(kept: Gate) -> None:
    story = [(entry["kind"], entry.get("decision"), entry.get("by")) for entry in kept.entries()]
    assert story[:2] == [("genesis", None, None), ("started", None, None)]
    assert story[-1] == ("stopped", None, None)
    decided = [line for line in story if line[0] == "decided"]
    assert sorted(decided) == sorted(
        [("decided", "allowed", "rule")] * 3
        + [("decided", "approved", "reviewer"), ("decided", "denied", "reviewer")]
        + [("decided", "refused", "rule")]
    )
    for hold in {entry["hold"] for entry in kept.entries(kind="held")}:
        about = [entry["kind"] for entry in kept.entries(hold=hold)]
        assert about[:3] == ["held", "reviewed", "decided"]
    [started] = kept.entries(kind="started")
    assert any(HOST in one for one in started["resolve"])
    assert started["upstream_ca"].endswith("ca.pem")


def test_every_entry_names_the_one_before_it(kept: Gate) -> None:
    """Checked here with nothing but SHA-256: the chain needs no trust in who made it."""
    lines = kept.sluice("ledger", "show", "--json").out.splitlines()
    for number, (before, line) in enumerate(itertools.pairwise(lines), 1):
        entry = json.loads(line)
        assert entry["seq"] == number
        assert entry["prev"] == hashlib.sha256(b"\0" + before.encode()).hexdigest()


def test_show_is_for_people_and_hides_no_entry(kept: Gate) -> None:
    shown = kept.sluice("ledger", "show")
    assert shown.status == 0
    assert len(shown.out.splitlines()) >= len(kept.entries())
    assert "as agreed" in shown.out


def test_a_ledger_verifies_and_says_what_that_proves(kept: Gate) -> None:
    verified = kept.sluice("ledger", "verify")
    assert verified.status == 0
    assert f"{len(kept.entries())} entries" in verified.out
    [report] = kept.sluice("ledger", "verify", "--json").lines
    assert (report["ok"], report["entries"], report["source"]) == (True, len(kept.entries()), "ledger")


def test_an_export_verifies_by_itself(kept: Gate, exported: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.jsonl"
    alone.write_bytes(exported.read_bytes())
    assert sluice("ledger", "verify", alone, home=tmp_path).status == 0
    *lines, last = exported.read_text().splitlines()
    assert lines == kept.sluice("ledger", "show", "--json").out.splitlines()
    assert json.loads(last)["count"] == len(lines)


def test_one_changed_byte_of_an_export_is_found_and_named(exported: Path, tmp_path: Path) -> None:
    lines = exported.read_bytes().splitlines(keepends=True)
    changed = tmp_path / "changed.jsonl"
    for number, line in list(enumerate(lines))[:-1:3]:
        at = len(line) // 2
        other = line[:at] + bytes([line[at] ^ 1]) + line[at + 1 :]
        changed.write_bytes(b"".join([*lines[:number], other, *lines[number + 1 :]]))
        done = sluice("ledger", "verify", changed, home=tmp_path)
        assert done.status == 1
        first = re.match(r"entry (\d+): ", done.out)
        # A change inside an entry shows where the next one names it; a broken line at once.
        assert first
        assert int(first[1]) in (number, number + 1)


@pytest.mark.parametrize("gone", [0, 3, -2, -1], ids=["first", "middle", "newest", "last-line"])
def test_a_missing_line_of_an_export_is_found(exported: Path, tmp_path: Path, gone: int) -> None:
    lines = exported.read_bytes().splitlines(keepends=True)
    del lines[gone]
    (tmp_path / "cut.jsonl").write_bytes(b"".join(lines))
    assert sluice("ledger", "verify", tmp_path / "cut.jsonl", home=tmp_path).status == 1


def test_a_filtered_export_still_closes_its_chain(kept: Gate, tmp_path: Path) -> None:
    out = tmp_path / "decided.jsonl"
    assert kept.sluice("ledger", "export", "--kind", "decided", "-o", out).status == 0
    kinds = [json.loads(line)["kind"] for line in out.read_text().splitlines()]
    assert set(kinds) == {"genesis", "decided", "omitted", "exported"}
    assert kinds.count("decided") == len(kept.entries(kind="decided"))
    assert sluice("ledger", "verify", out, home=tmp_path).status == 0


def test_a_csv_is_for_reading_and_no_spreadsheet_runs_what_an_agent_wrote(kept: Gate) -> None:
    done = kept.sluice("ledger", "export", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert len(rows) == len(kept.entries())
    assert [row["kind"] for row in rows[:2]] == ["genesis", "started"]
    assert not [cell for row in rows for cell in row.values() if cell and cell[0] in "=+@\t"]


def test_history_only_grows(kept: Gate, tmp_path: Path) -> None:
    """The file itself refuses; who forces it is found out."""
    copy = tmp_path / "ledger.db"
    copy.write_bytes(kept.ledger.read_bytes())
    ledger = sqlite3.connect(copy)
    for statement in ("UPDATE entry SET body = x'00' WHERE seq = 3", "DELETE FROM entry WHERE seq = 3"):
        with pytest.raises(sqlite3.IntegrityError):
            ledger.execute(statement)
    triggers = [name for (name,) in ledger.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'")]
    for name in triggers:
        ledger.execute(f'DROP TRIGGER "{name}"')
    ledger.execute("DELETE FROM entry WHERE seq = 3")
    ledger.commit()
    ledger.close()
    done = sluice("ledger", "verify", copy, home=tmp_path)
    assert done.status == 1
    assert "entry 3" in done.out or "entry 4" in done.out


def test_what_is_no_ledger_is_told_from_one_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("milk\n")
    assert sluice("ledger", "verify", tmp_path / "notes.txt", home=tmp_path).status == 1
    assert sluice("ledger", "verify", tmp_path / "missing.db", home=tmp_path).status == 2
    assert sluice("ledger", "show", tmp_path / "missing.db", home=tmp_path).status == 2


def test_a_reader_follows_a_gate_that_runs(gate: Gate, mark: str) -> None:
    reader = subprocess.Popen(
        [SLUICE, "ledger", "show", "--follow", "--json", "--state", gate.state],
        env=environment(gate.home),
        stdout=subprocess.PIPE,
    )
    try:
        assert reader.stdout
        assert json.loads(reader.stdout.readline())["kind"] == "genesis"
        assert with_requests(gate, "GET", f"https://{HOST}/books/{mark}").status == 200
        found = next(line for line in reader.stdout if f"/books/{mark}".encode() in line)
        assert json.loads(found)["decision"] == "allowed"
    finally:
        reader.kill()
        reader.communicate()
    assert until(lambda: gate.sluice("ledger", "verify").status == 0)


# -- policies, by the command line --------------------------------------------------------


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return policy(tmp_path, RULES)


def test_an_explanation_says_what_a_gate_would_do(rules: Path, tmp_path: Path) -> None:
    asked = ("policy", "explain", "--policy", rules, "POST", f"https://{HOST}/orders/1")
    json_body = ("-H", "content-type: application/json", "-d")
    [held] = sluice(*asked, *json_body, '{"amount": 101}', "--json", home=tmp_path).lines
    assert (held["decision"], held["rule"], held["rules"]) == (
        "hold",
        "large-orders-wait",
        ["large-orders-wait"],
    )
    assert set(held) >= {"decision", "rule", "rules", "why", "operation"}
    [broken] = sluice(*asked, *json_body, '{"amount": ', "--json", home=tmp_path).lines
    assert broken["decision"] == "unreadable"
    people = sluice(*asked, *json_body, '{"amount": 101}', home=tmp_path)
    assert (people.status, "large-orders-wait" in people.out) == (0, True)
    assert sluice("policy", "explain", "--policy", rules, home=tmp_path).status == 2


def test_explanations_of_many_come_in_their_order(rules: Path, tmp_path: Path) -> None:
    asked = [
        {"id": "a", "method": "GET", "url": f"https://{HOST}/x", "headers": []},
        {"id": "b", "method": "POST", "url": f"https://{HOST}/never/1", "headers": [], "body": "x"},
        {"id": "c", "method": "POST", "url": f"https://{HOST}/free/1", "headers": [], "body_base64": "AAE="},
    ]
    source = tmp_path / "asked.jsonl"
    source.write_text("".join(json.dumps(line) + "\n" for line in asked))
    done = sluice("policy", "explain", "--policy", rules, "--from", source, home=tmp_path)
    assert [(line["id"], line["decision"]) for line in done.lines] == [
        ("a", "allow"),
        ("b", "deny"),
        ("c", "allow"),
    ]
    assert all(set(line) == {"id", "decision", "rule", "rules", "why", "operation"} for line in done.lines)


def test_cases_pass_fail_or_are_missed(rules: Path, tmp_path: Path) -> None:
    assert sluice("policy", "test", tmp_path, home=tmp_path).status != 0  # no case at all
    cases = """\
cases:
  - name: accounts stay open
    request: POST https://api.books.example/never/1
    expect: EXPECTED
"""
    (tmp_path / "books_cases.yaml").write_text(cases.replace("EXPECTED", "deny"))
    passed = sluice("policy", "test", tmp_path, "--json", home=tmp_path)
    assert (passed.status, [line["passed"] for line in passed.lines]) == (0, [True])
    (tmp_path / "books_cases.yaml").write_text(cases.replace("EXPECTED", "allow"))
    failed = sluice("policy", "test", tmp_path, home=tmp_path)
    assert failed.status == 1
    assert "accounts stay open" in failed.out
    assert sluice("policy", "check", rules, home=tmp_path).status == 0
