"""An agent that reads how the gate works, and does as it is told there."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.demo.authority import Authority

from .conftest import HOST, RULES
from .product import PATIENCE, Gate, policy, up
from .upstream import Upstream

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

HASTY = RULES.replace("/soon/**", "/later/**").replace("{timeout: 1s}", "{timeout: 60s, wait: 1s}")
ABOUT = "http://sluice.invalid/"


@pytest.fixture(scope="module")
def gate(home: Path, authority: Authority, upstream_ca: str) -> Iterator[Gate]:
    with (
        Upstream(authority, [HOST]) as upstream,
        up(home, "--policy", policy(home, HASTY), upstream_ca, *upstream.flags) as running,
    ):
        yield running
        assert running.stop() == 0


def curl(gate: Gate, *words: str) -> tuple[int, dict[str, str], str]:
    """Status, headers and body of an answer, as an agent's shell sees it."""
    done = subprocess.run(
        ["curl", "-sS", "-D", "/dev/stderr", "--proxy", gate.proxy, "--cacert", gate.ca, *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    head = done.stderr.strip().rpartition("\n\n")[2].splitlines()  # after that of the CONNECT
    pairs = (line.partition(": ") for line in head[1:])
    return int(head[0].split()[1]), {name.lower(): value for name, _, value in pairs}, done.stdout


@pytest.mark.parametrize(
    "words",
    [
        (ABOUT,),
        ("https://sluice.invalid/",),
        ("--http2", "https://sluice.invalid/"),
        ("-k", "https://sluice.invalid:8443/"),
    ],
    ids=["plain", "tls", "h2", "port"],
)
def test_it_is_told_the_same_on_every_way(gate: Gate, words: tuple[str, ...]) -> None:
    status, headers, body = curl(gate, *words)
    assert (status, headers["content-type"]) == (200, "application/json")
    assert HOST in json.loads(body)["hosts"]["names"]
    status, headers, text = curl(gate, "-H", "Accept: text/markdown", *words)
    assert headers["content-type"] == "text/markdown; charset=utf-8"
    assert text.startswith("# Sluice")


def test_reading_it_leaves_no_trace(gate: Gate) -> None:
    before = len(gate.entries())
    for words in ((ABOUT,), ("-X", "DELETE", ABOUT), (ABOUT + "holds/abc",)):
        curl(gate, *words)
    assert len(gate.entries()) == before


def test_an_agent_that_was_deferred_comes_back_for_its_approval(gate: Gate) -> None:
    asked = ("-d", "a=1", f"https://{HOST}/later/1")
    status, headers, body = curl(gate, *asked)
    assert (status, headers["sluice-decision"], headers["retry-after"]) == (503, "pending", "5")
    problem: Any = json.loads(body)
    where = problem["status_url"]
    assert where == f"{ABOUT}holds/{problem['hold']}"
    assert json.loads(curl(gate, where)[2])["state"] == "pending"
    assert gate.sluice("approve", problem["hold"]).status == 0
    found = json.loads(curl(gate, where)[2])
    assert (found["state"], found["retry_after"], "again now" in found["detail"]) == ("approved", 0, True)
    assert curl(gate, *asked)[0] == 200
    assert json.loads(curl(gate, where)[2])["decision"] == "approved"


def test_an_agent_that_was_denied_reads_why_at_the_status_url_too(gate: Gate) -> None:
    _, headers, _ = curl(gate, "-H", "Prefer: respond-async", "-d", "a=2", f"https://{HOST}/later/2")
    hold = headers["sluice-hold"]
    assert gate.sluice("deny", hold, "--reason", "ask legal first").status == 0
    said = json.loads(curl(gate, f"{ABOUT}holds/{hold}")[2])
    assert (said["decision"], said["detail"]) == ("denied", "ask legal first")
