"""A gate as a child process: its ready line, and what is said where it does not come up."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.childgate import Ready, start_gate
from proxy.errors import Exit, SluiceError


def test_a_ready_line_is_read_with_fields_of_later_versions() -> None:
    line = b'{"event":"ready","proxy":"http://127.0.0.1:1","control":"/s/c","ca":"/s/ca","pid":7,"more":[]}'
    assert Ready.parse(line) == Ready("http://127.0.0.1:1", Path("/s/c"), Path("/s/ca"), 7)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"ready",
        b"[]",
        b'"ready"',
        b'{"event":"stopped"}',
        b'{"event":"ready"}',
        b'{"event":"ready","proxy":"p","control":null,"ca":"c","pid":1}',
        b'{"event":"ready","proxy":"p","control":"c","ca":"c","pid":"x"}',
        b"\xff",
    ],
)
def test_anything_else_is_no_ready_line(line: bytes) -> None:
    with pytest.raises(ValueError):
        Ready.parse(line)


def test_a_gate_with_a_broken_policy_says_what_the_gate_said(tmp_path: Path) -> None:
    policy = tmp_path / "broken.yaml"
    policy.write_text("version: 1\nrulse: []\n")
    with pytest.raises(SluiceError) as caught:
        start_gate(tmp_path / "state", [f"--policy={policy}"])
    assert caught.value.exit is Exit.WRONG
    problem = caught.value.problems[0]
    assert "broken.yaml:2:1: unknown" in problem.what
    assert problem.why and problem.fix and "sluice:" not in str(problem)


def test_a_state_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SluiceError) as caught:
        start_gate(tmp_path / "file" / "state", [])
    problem = caught.value.problems[0]
    assert problem.what and problem.why and problem.fix


def test_the_log_is_never_written_through_a_link(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (state / "gate.log").symlink_to(precious)
    with pytest.raises((SluiceError, OSError)):
        start_gate(state, [])
    assert precious.read_text() == "kept"
