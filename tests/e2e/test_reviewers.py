"""Who may answer: names and groups of reviewers.yaml, and the reviewers' own group."""

from __future__ import annotations

import grp
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from .clients import with_requests
from .conftest import HOST, RULES, Started
from .product import Gate, policy, up
from .upstream import Upstream

MONEY = f"""\
  - name: money-needs-finance
    why: Money is finance's business.
    match: {{host: {HOST}, path: /money/**}}
    then: hold
    hold: {{reviewers: [finance]}}
  - name: two-people
    why: One pair of eyes is not enough.
    match: {{host: {HOST}, path: /two/**}}
    then: hold
    hold: {{approvals: 2}}
"""


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream, upstream_ca: str) -> Iterator[Gate]:
    home = tmp_path_factory.mktemp("reviewers")
    config = home / ".config" / "sluice"
    config.mkdir(parents=True)
    (config / "reviewers.yaml").write_text(
        "version: 1\n"
        "reviewers:\n"
        f"  - {{name: bob, uid: {os.getuid()}, groups: []}}\n"
        f"  - {{name: ada, uid: {os.getuid()}, groups: [finance]}}\n"
        "  - {name: eve, uid: 4294967294, groups: [finance]}\n"
    )
    with up(home, f"--policy={policy(home, RULES + MONEY)}", *upstream.flags, upstream_ca) as gate:
        yield gate


def test_only_a_name_of_the_rules_group_may_answer(gate: Gate, started: Started, mark: str) -> None:
    asked = started(with_requests, gate, "POST", f"https://{HOST}/money/{mark}", b"{}")
    hold = gate.held(mark)
    refused = gate.sluice("approve", hold.id)
    assert refused.status == 1
    assert "needs a reviewer of finance" in refused.err
    stranger = gate.sluice("approve", hold.id, "--as", "eve")
    assert stranger.status == 1
    assert "has no name 'eve'" in stranger.err
    assert gate.sluice("approve", hold.id, "--as", "ada").status == 0
    assert asked.result().status == 200
    [entry] = gate.entries(kind="decided", hold=hold.id)
    assert entry["reviewers"] == ["ada"]


def test_two_names_of_one_account_are_one_person(gate: Gate, started: Started, mark: str) -> None:
    asked = started(with_requests, gate, "POST", f"https://{HOST}/two/{mark}", b"{}")
    hold = gate.held(mark)
    first = gate.sluice("approve", hold.id, "--as", "ada")
    assert first.status == 0
    assert "1 more needed" in first.err
    second = gate.sluice("approve", hold.id, "--as", "bob")
    assert second.status == 1
    assert "already approved" in second.err
    assert gate.sluice("deny", hold.id, "--as", "bob", "--reason", "enough").status == 0
    assert asked.result().status == 403


def test_the_reviewers_group_reaches_the_socket_and_nothing_else(tmp_path: Path, upstream: Upstream) -> None:
    group = grp.getgrgid(os.getgid()).gr_name
    with up(tmp_path, f"--policy={policy(tmp_path, RULES)}", "--review-group", group) as gate:
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in gate.state.iterdir()}
        assert stat.S_IMODE(gate.state.stat().st_mode) == 0o710
        assert modes.pop("control.sock") == 0o660
        assert modes.pop("ca.pem") & 0o133 == 0
        assert not any(mode & 0o077 for mode in modes.values()), modes
    unknown = gate.sluice("up", "--no-console", "--review-group", "no-such-group")
    assert unknown.status == 2
    assert "there is no group 'no-such-group'" in unknown.err
