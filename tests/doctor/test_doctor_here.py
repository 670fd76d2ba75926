"""The doctor's look at the machine and the state folder."""

from __future__ import annotations

import os
import socket
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxy.doctor import here, text
from proxy.doctor.check import Finding, wrong
from proxy.gate.ca import open_authority
from proxy.wire import Status

NOW = time.time()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder


def test_a_folder_of_ones_own_is_ok(state: Path) -> None:
    assert here.state_folder(state, os.geteuid()).finding is Finding.OK


def test_a_folder_that_is_not_there_yet_is_ok(tmp_path: Path) -> None:
    assert here.state_folder(tmp_path / "none", os.geteuid()).finding is Finding.OK


@pytest.mark.parametrize("mode", [0o701, 0o704, 0o720, 0o750, 0o777])
def test_a_folder_that_is_open_to_others_is_wrong_and_the_fix_is_a_command(state: Path, mode: int) -> None:
    state.chmod(mode)
    check = here.state_folder(state, os.geteuid())
    assert check.finding is Finding.WRONG
    assert check.fix == f"chmod 700 '{state}'"


def test_reviewers_of_a_group_may_pass_through(state: Path) -> None:
    state.chmod(0o710)
    assert here.state_folder(state, os.geteuid()).finding is Finding.OK


def test_a_folder_of_somebody_else_is_wrong(state: Path) -> None:
    assert here.state_folder(state, os.geteuid() + 1).finding is Finding.WRONG


def test_a_file_in_place_of_the_folder_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    assert here.state_folder(tmp_path / "state", os.geteuid()).finding is Finding.WRONG


def test_a_folder_that_others_could_exchange_is_wrong(state: Path) -> None:
    state.parent.chmod(0o777)
    check = here.state_folder(state, os.geteuid())
    assert check.finding is Finding.WRONG
    assert str(state.parent) in check.fix


def test_no_ca_yet_is_ok(state: Path) -> None:
    assert here.authority(state, NOW).finding is Finding.OK
    assert list(state.iterdir()) == []


def test_a_ca_that_matches_its_key_is_ok(state: Path) -> None:
    open_authority(state, datetime.fromtimestamp(NOW, UTC))
    assert here.authority(state, NOW).finding is Finding.OK


def test_a_ca_of_another_key_is_wrong(state: Path, tmp_path: Path) -> None:
    open_authority(state, datetime.fromtimestamp(NOW, UTC))
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    open_authority(other, datetime.fromtimestamp(NOW, UTC))
    (other / "ca.key").replace(state / "ca.key")
    check = here.authority(state, NOW)
    assert check.finding is Finding.WRONG
    assert check.why and check.fix


def test_a_key_that_others_can_read_is_wrong(state: Path) -> None:
    open_authority(state, datetime.fromtimestamp(NOW, UTC))
    (state / "ca.key").chmod(0o644)
    assert here.authority(state, NOW).finding is Finding.WRONG


@pytest.mark.parametrize(
    ("days", "finding"), [(-30, Finding.WRONG), (3630, Finding.NOTE), (3700, Finding.WRONG)]
)
def test_the_dates_of_a_ca_are_looked_at(state: Path, days: int, finding: Finding) -> None:
    open_authority(state, datetime.fromtimestamp(NOW, UTC))
    assert here.authority(state, NOW + days * 86400).finding is finding


def test_a_clock_before_the_first_release_is_wrong(state: Path) -> None:
    assert here.clock(state, 0.0).finding is Finding.WRONG


def test_a_ledger_of_the_future_makes_the_clock_doubtful(state: Path) -> None:
    (state / "ledger.db").write_text("")
    os.utime(state / "ledger.db", (NOW, NOW))
    assert here.clock(state, NOW).finding is Finding.OK
    os.utime(state / "ledger.db", (NOW + 3600, NOW + 3600))
    check = here.clock(state, NOW)
    assert check.finding is Finding.WRONG
    assert "60 minutes from now" in check.what


def test_a_port_in_use_is_wrong_and_a_free_one_is_ok() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        assert here.port("127.0.0.1", number).finding is Finding.WRONG
    assert here.port("127.0.0.1", number).finding is Finding.OK


def test_a_gate_that_decides_is_ok() -> None:
    (check,) = here.gate(Status("http://127.0.0.1:1", "p"))
    assert check.finding is Finding.OK


@pytest.mark.parametrize(
    ("status", "finding"),
    [
        (Status("p", "p", locked="a run ended"), Finding.WRONG),
        (Status("p", "p", ledger_error="disk full"), Finding.WRONG),
        (Status("p", "p", policy_error="a.yaml:1:1: unknown"), Finding.WRONG),
        (Status("p", "p", paused=("*",)), Finding.NOTE),
        (Status("p", "p", shadow=True), Finding.NOTE),
    ],
)
def test_what_keeps_a_gate_from_deciding_is_said(status: Status, finding: Finding) -> None:
    (check,) = here.gate(status)
    assert check.finding is finding


def test_on_a_terminal_a_finding_is_wrapped_between_words_and_elsewhere_it_is_one_line() -> None:
    check = wrong(
        "Node", "it ignores HTTP_PROXY, in fetch as in http and https", "its requests go around", "none"
    )
    assert text(check, 50).splitlines() == [
        "wrong  Node          it ignores HTTP_PROXY, in",
        "                     fetch as in http and https",
        "                     why: its requests go around",
        "                     fix: none",
    ]
    assert len(text(check).splitlines()) == 3
