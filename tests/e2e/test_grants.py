"""Against fatigue: the like of what was approved, alike holds together, what is critical, more time."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .clients import with_requests
from .conftest import HOST, RULES, Started
from .product import PATIENCE, SLUICE, Gate, environment, policy, until, up
from .upstream import Upstream

MORE = f"""\
  - name: contracts-are-signed
    why: A contract binds.
    match: {{host: {HOST}, method: POST, path: /contracts/**}}
    then: hold
    risk: {{tier: critical}}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def gate(home: Path, upstream: Upstream, upstream_ca: str) -> Iterator[Gate]:
    with up(home, "--policy", policy(home, RULES + MORE), *upstream.flags, upstream_ca) as running:
        yield running
        assert running.stop() == 0
        assert running.sluice("ledger", "verify").status == 0


def url(mark: str) -> str:
    return f"https://{HOST}/orders/{mark}"


def body(amount: int, note: str = "") -> bytes:
    return json.dumps({"amount": amount, "note": note}).encode()


def test_the_like_goes_unasked_as_often_as_was_said_and_is_listed_and_revoked(
    gate: Gate, upstream: Upstream, mark: str, started: Started
) -> None:
    waiting = started(with_requests, gate, "POST", url(mark), body(250))
    hold = gate.held(mark)
    done = gate.sluice("approve", hold.id[:8], "--like", "--uses", "2", "--for", "1h")
    assert done.status == 0 and "json.amount: {above: 0}" in done.err and "left open" in done.err
    assert waiting.result(PATIENCE).status == 200
    (listed,) = gate.sluice("grants", "--json").lines
    assert (listed["hold"], listed["left"], listed["uses"]) == (hold.id, 2, 2)
    assert with_requests(gate, "POST", url(mark), body(120, "another")).status == 200
    assert "1 of 2 uses" in gate.sluice("grants").out
    (used,) = [entry for entry in gate.entries(kind="decided") if entry.get("grant") == listed["id"]]
    assert (used["by"], used["decision"], "hold" in used) == ("grant", "approved", False)
    assert gate.sluice("revoke", listed["id"][:6]).status == 0
    waiting = started(with_requests, gate, "POST", url(mark), body(120, "a third"))
    gate.answer(gate.held(mark), False)
    assert waiting.result(PATIENCE).status == 403
    assert len(upstream.got(f"orders/{mark}")) == 2
    assert gate.sluice("grants").out == "no grant stands\n"
    assert gate.sluice("revoke", listed["id"]).status == 1


def test_a_grant_survives_a_restart_and_its_uses_too(
    tmp_path: Path, upstream: Upstream, upstream_ca: str, mark: str, started: Started
) -> None:
    where = ("--policy", policy(tmp_path, RULES), *upstream.flags, upstream_ca)
    with up(tmp_path, *where) as first:
        waiting = started(with_requests, first, "POST", url(mark), body(250))
        assert first.sluice("approve", first.held(mark).id, "--like", "--uses", "2").status == 0
        assert waiting.result(PATIENCE).status == 200
        assert with_requests(first, "POST", url(mark), body(200)).status == 200
        assert first.stop() == 0
    with up(tmp_path, *where) as second:
        assert "1 of 2 uses" in second.sluice("grants").out
        assert with_requests(second, "POST", url(mark), body(199)).status == 200
        assert second.sluice("grants").out == "no grant stands\n"


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("--uses", "0"), 1),
        (("--uses", "1001"), 1),
        (("--for", "25h"), 1),
        (("--for", "soon"), 2),
        (("--field", "json.nothing at all"), 1),
    ],
)
def test_a_grant_beyond_what_may_be_granted_approves_nothing(
    gate: Gate, mark: str, started: Started, words: tuple[str, ...], status: int
) -> None:
    waiting = started(with_requests, gate, "POST", url(mark), body(250))
    hold = gate.held(mark)
    assert gate.sluice("approve", hold.id, "--like", *words).status == status
    assert not waiting.done()
    gate.answer(hold, False)
    assert waiting.result(PATIENCE).status == 403


def test_several_are_answered_at_once_with_what_differs(gate: Gate, mark: str, started: Started) -> None:
    waiting = [started(with_requests, gate, "POST", url(f"{mark}-{n}"), body(200 + n)) for n in range(3)]
    holds = until(lambda: [view for view in gate.holds() if mark in view.url][2:] and gate.holds())
    ids = [view.id for view in holds if mark in view.url]
    done = gate.sluice("approve", *ids, "--json")
    assert done.status == 0 and {line["id"] for line in done.lines} == set(ids)
    assert "json.amount  200" in done.err and "json.amount  202" in done.err
    assert [one.result(PATIENCE).status for one in waiting] == [200] * 3
    assert gate.sluice("deny", *ids).status == 1


def at_a_terminal(gate: Gate, typed: str, *words: str) -> tuple[int, str]:
    """A command at a terminal, and what is typed there."""
    ours, theirs = pty.openpty()
    try:
        command = subprocess.Popen(
            [SLUICE, *words], env=environment(gate.home) | {"SLUICE_STATE": str(gate.state)},
            stdin=theirs, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        os.write(ours, f"{typed}\n".encode())
        _, said = command.communicate(timeout=PATIENCE)
        return command.returncode, said
    finally:
        os.close(ours)
        os.close(theirs)


def test_at_a_terminal_what_is_critical_is_typed(gate: Gate, mark: str, started: Started) -> None:
    waiting = started(with_requests, gate, "POST", f"https://{HOST}/contracts/{mark}", b"{}")
    hold = gate.held(mark)
    status, said = at_a_terminal(gate, "yes", "approve", hold.id)
    assert status == 1 and "not approved" in said and not waiting.done()
    assert gate.sluice("approve", hold.id, "--like").status == 1
    status, said = at_a_terminal(gate, mark, "approve", hold.id)
    assert status == 0, said
    assert waiting.result(PATIENCE).status == 200


def test_more_time_is_given(gate: Gate, mark: str, started: Started) -> None:
    waiting = started(with_requests, gate, "POST", url(mark), body(250))
    hold = gate.held(mark)
    assert gate.sluice("extend", hold.id, "10m").status == 0
    assert gate.whole(hold.id).deadline == pytest.approx(hold.deadline + 600)
    gate.answer(hold, False)
    assert waiting.result(PATIENCE).status == 403
    assert gate.sluice("extend", hold.id, "10m").status == 1
