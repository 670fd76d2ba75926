"""The bench measures what it says: a run of seconds, and its arithmetic."""

from __future__ import annotations

import importlib
import math
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))

    def named(name: str) -> ModuleType:
        return importlib.import_module(f"bench.{name}")

    return named


def test_a_run_of_seconds_writes_every_table(tmp_path: Path) -> None:
    page = tmp_path / "bench.md"
    command = [sys.executable, str(SCRIPTS / "bench.py"), "--plan", "smoke", "--out", str(page)]

    done = subprocess.run(command, capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stderr
    text = page.read_text()
    for scheme in ("HTTP", "HTTPS"):
        for side in ("no proxy", "mitmdump -q", "sluice", "sluice --record strict"):
            rows = re.findall(rf"^\| {scheme}, {re.escape(side)} \| ([\d,]+) \|", text, re.MULTILINE)
            assert len(rows) == 2 and all(int(row.replace(",", "")) > 0 for row in rows)
        assert f"| {scheme}, nobody else waiting | 3 |" in text
        assert f"| {scheme}, 20 others waiting | 3 |" in text
        assert f"| {scheme}, 32 connections at full load | 1 |" in text
        assert f"| {scheme}, 20 holds |" in text
        assert text.count(f"| {scheme}: ") == 6  # the aims
    assert "| decide: 10,000 rules over 500 hosts |" in text
    assert (
        len(re.findall(r"^\| .* \| [\d.]+ \| [\d.]+ \| (?:unreadable|hold) \|$", text, re.MULTILINE)) == 5
    )  # bombs
    entries = re.search(r"([\d,]+) entries, the chains hold", text)
    assert entries and int(entries[1].replace(",", "")) > 100
    kept = text[text.index("## The ledger\n") :]
    for who in ("1 caller", "32 callers", "256 callers", "1,000 a second"):
        rates = re.findall(rf"^\| {who} \| ([\d,]+) \|", kept, re.MULTILINE)
        assert len(rates) in (1, 2) and all(int(rate.replace(",", "")) > 0 for rate in rates)
    assert "| verify: 150,000 a second |" in kept and "| export as jsonl |" in kept


def test_half_of_the_page_is_measured_without_the_other(part) -> None:
    page = part("halves").page
    both = "# Measured\n\n## Gate\n\n1\n\n## The ledger\n\n2\n"

    assert page(both, None, "## The ledger\n\n3\n") == both.replace("2", "3")
    assert page(both, "# Measured\n\n## Gate\n\n4\n", None) == both.replace("1", "4")
    assert page("", None, "## The ledger\n\n3\n") == "## The ledger\n\n3\n"


def test_an_upstream_that_is_not_there_is_an_error_and_no_number(part) -> None:
    way = part("agent").Way(port=1, proxy=None, ca=None)

    with pytest.raises(part("agent").BrokenError, match="the load generator failed"):
        part("sides").load(way, 1, 0.0, 0.1, None)


@pytest.mark.parametrize(
    ("percent", "expected"),
    [(50, 50.0), (99, 99.0), (100, 100.0), (1, 1.0), (0, 1.0)],
)
def test_a_percentile_is_a_value_that_was_measured(part, percent: float, expected: float) -> None:
    assert part("table").percentile([float(one) for one in range(100, 0, -1)], percent) == expected


def test_a_ratio_compares_within_each_round(part) -> None:
    # The second round was slow for both: that says nothing about either.
    assert part("table").ratio([200.0, 20.0, 300.0], [100.0, 10.0, 100.0]) == 2.0


def test_a_busy_moment_does_not_decide_about_a_percentile(part) -> None:
    quiet, moment = [1.0] * 99 + [2.0], [1.0] * 50 + [80.0] * 50

    assert part("table").steady([quiet, moment, quiet], 99) == 1.0
    assert part("table").steady([moment, moment, quiet], 99) == 80.0


def test_what_was_not_measured_is_no_number(part) -> None:
    table = part("table")

    assert math.isnan(table.median([])) and table.number(table.percentile([], 99)) == "–"


@pytest.mark.parametrize(
    ("data", "end", "status"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 40, 200),
        (b"HTTP/1.1 503 No\r\nContent-Type: a\r\ncontent-length: 2\r\n\r\nnoHTTP/1.1 200", 57, 503),
    ],
)
def test_an_answer_ends_where_its_length_says(part, data: bytes, end: int, status: int) -> None:
    assert part("agent").answer(data) == (end, status)
    assert all(part("agent").answer(data[:at]) is None for at in range(end))


def test_the_policy_has_two_hundred_rules_that_load(part, tmp_path: Path) -> None:
    from proxy.policy import load_texts

    rules = part("rules")

    policy = load_texts({"bench.yaml": rules.policy("localhost")})

    assert len(policy.rules) == rules.RULES == 200
    assert len(policy.naming("localhost")) == 50


def test_a_decision_is_measured_on_what_the_bench_says(part) -> None:
    decide = part("decide")
    policy, asked = decide.rules(10, 5), decide.post(decide.body_of_2_kb())

    assert [rule.name for rule in policy.naming("h0.example.com")] == ["rule-0", "rule-5"]
    assert 1_900 < len(asked.body) < 2_100
    assert policy.judge(decide.decode(asked)).rules == ("rule-0",)


def test_a_bomb_that_breaks_its_process_is_no_number(part) -> None:
    with pytest.raises(part("agent").BrokenError, match="was too much"):
        part("decide")._apart("no such bomb")
