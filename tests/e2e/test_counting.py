"""Allowed reads as counts, as users have them: few entries, none missing, and a crash that is told."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from .clients import with_requests
from .conftest import HOST, RULES
from .product import PATIENCE, Gate, policy, sluice, until, up
from .upstream import Upstream

COUNTS = ("--record-reads", "counts")
URL = f"https://{HOST}/books/1"


def read(gate: Gate, times: int) -> None:
    """So many reads over one connection."""
    with requests.Session() as session:
        for _ in range(times):
            proxies = {"https": gate.proxy}
            assert session.get(URL, proxies=proxies, verify=gate.ca, timeout=PATIENCE).status_code == 200


@pytest.fixture
def flags(tmp_path: Path, upstream: Upstream, upstream_ca: str) -> tuple[str | Path, ...]:
    return ("--policy", policy(tmp_path, RULES), *upstream.flags, upstream_ca, *COUNTS)


@pytest.fixture
def counted(tmp_path: Path, flags: tuple[str | Path, ...]) -> Iterator[Gate]:
    """A gate that has stopped after 50 reads of one agent."""
    with up(tmp_path, *flags) as gate:
        read(gate, 50)
        assert gate.stop() == 0
        yield gate


def test_fifty_reads_are_one_decision_and_a_count_that_every_reader_knows(counted: Gate) -> None:
    assert [entry["decision"] for entry in counted.entries(kind="decided")] == ["allowed"]
    assert len(counted.entries(kind="completed")) == 1
    [entry] = counted.entries(kind="counted")
    [line] = entry["reads"]
    assert (entry["requests"], line["requests"], line["completed"]) == (49, 49, {"2xx": 49})
    assert (line["host"], line["rule"], line["failed"], line["unknown"]) == (HOST, "default", 0, 0)
    assert line["received"] > 0
    assert counted.entries(kind="started")[0]["record_reads"] == "counts"

    assert counted.sluice("ledger", "verify").status == 0
    assert "49 reads: " in counted.sluice("ledger", "show").out
    assert "49 reads beside were let through" in counted.sluice("report").out
    assert counted.sluice("report", "--json").lines[0]["counted"] == 49
    assert counted.sluice("report", "--json", "--rule", "other").lines[0]["counted"] == 0
    replayed = counted.sluice("policy", "replay", counted.ledger, "--policy", counted.home / "policy.yaml")
    assert "49 not judged again: of reads that were counted only the number is kept" in replayed.out
    for format, said in (
        ("ocsf", '"count": 49'),
        ("cef", "cnt=49"),
        ("html", f"at {HOST} by default: 49, answered 2xx 49"),
        ("csv", "counted"),
    ):
        assert said in counted.sluice("ledger", "export", "--format", format).out


def test_an_export_with_counts_verifies(counted: Gate, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert counted.sluice("ledger", "export", "-o", out).status == 0
    assert sluice("ledger", "verify", out, home=tmp_path).status == 0
    assert [json.loads(line)["kind"] for line in out.read_text().splitlines()].count("counted") == 1


def test_a_count_of_one_kind_does_not_hide_what_is_written_each(
    tmp_path: Path, flags: tuple[str | Path, ...]
) -> None:
    with up(tmp_path, *flags) as gate:
        read(gate, 3)
        for _ in range(2):
            with_requests(gate, "POST", f"https://{HOST}/free/1", b"{}")
            with_requests(gate, "POST", f"https://{HOST}/never/1", b"{}")
        assert gate.stop() == 0
        words = [entry["decision"] for entry in gate.entries(kind="decided")]
        assert words == ["allowed", *["allowed", "refused"] * 2]
        assert [entry["requests"] for entry in gate.entries(kind="counted")] == [2]


def test_after_a_crash_the_next_start_says_since_when_reads_may_be_missing(
    tmp_path: Path, flags: tuple[str | Path, ...]
) -> None:
    with up(tmp_path, *flags) as gate:
        read(gate, 5)
        until(lambda: gate.entries(kind="completed"))
        gate.stop(signal.SIGKILL)
        [first] = gate.entries(kind="started")
    with up(tmp_path, *flags) as gate:
        read(gate, 5)
        assert gate.stop() == 0
        assert "may not be counted" in gate.talk
        second = gate.entries(kind="started")[-1]
        assert (second["clean"], second["uncounted"]) == (False, first["time"])
        assert [entry["requests"] for entry in gate.entries(kind="counted")] == [5]
    with up(tmp_path, *flags) as gate:
        assert "uncounted" not in gate.entries(kind="started")[-1]
        assert gate.stop() == 0
        assert gate.sluice("ledger", "verify").status == 0


def test_strict_and_counts_exclude_each_other(tmp_path: Path) -> None:
    done = sluice("up", "--no-console", "--record", "strict", *COUNTS, home=tmp_path)
    assert (done.status, done.out) == (2, "")
    assert "--record strict and --record-reads counts exclude each other" in done.err
    assert "why: " in done.err
    assert "fix: " in done.err
