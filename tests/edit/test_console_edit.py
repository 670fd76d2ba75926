"""The key `e` in the console of `sluice up`: the terminal is the editor's, and the gate goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest
from e2e.conftest import RULES
from e2e.product import PATIENCE, SLUICE, Gate, environment, policy, until
from e2e.upstream import Upstream

from .test_edit_command import BODY, KEY, Started, editor, order


class Console:
    """`sluice up` in a terminal of its own."""

    def __init__(self, home: Path, child: pexpect.spawn, gate: Gate, stale: Path) -> None:
        self.home, self.child, self.gate, self.stale = home, child, gate, stale

    def script(self, text: str) -> None:
        editor(self.home, text)


@pytest.fixture
def console(tmp_path: Path, upstream: Upstream, upstream_ca: str) -> Iterator[Console]:
    home = tmp_path / "home"
    state = home / "state"
    stale = state / "edits" / "edit-killed" / "request.txt"
    stale.parent.mkdir(0o700, parents=True)
    stale.touch(0o600)
    for folder in (home, state, state / "edits"):
        folder.chmod(0o700)
    env = environment(home) | {"TERM": "xterm", "EDITOR": editor(home, "true")}
    flags = ["--state", str(state), "--listen", "127.0.0.1:0", "--policy", str(policy(home, RULES))]
    words = ["up", *flags, *upstream.flags, upstream_ca]
    child = pexpect.spawn(SLUICE, words, env=env, timeout=PATIENCE, dimensions=(40, 120))
    try:
        child.expect(b"\x1b\\[\\?1049h")
        child.expect(rb"127\.0\.0\.1:(\d+)")
        port = int(child.match[1])
        ready = {"proxy": f"http://127.0.0.1:{port}", "ca": str(state / "ca.pem")}
        yield Console(home, child, Gate(state, home, None, ready, state / "ledger.db"), stale)  # type: ignore[arg-type]
    finally:
        if child.isalive():
            child.kill(signal.SIGTERM)
            child.expect(pexpect.EOF)
        child.close(force=True)


def test_e_opens_the_editor_and_what_is_confirmed_is_sent(
    console: Console, upstream: Upstream, mark: str, started: Started
) -> None:
    console.script('sed -i s/5000/40/ "$1"')
    asked = started(order, console.gate, mark)
    hold = console.gate.held(mark)
    console.child.expect(hold.id[:6])
    console.child.send("e")
    console.child.expect(rb'\+  "amount": 40')
    console.child.expect("yes sends")
    console.child.sendline("yes")
    console.child.expect(f"edited and approved: {hold.id[:6]}")
    assert asked.result(PATIENCE).status_code == 200
    [arrival] = upstream.got(mark)
    assert arrival.body == BODY.replace("5000", "40").encode()
    assert arrival.header("authorization") == f"Bearer {KEY}"
    assert [*(console.gate.state / "edits").rglob("*")] == []


def test_ctrl_c_at_the_question_sends_nothing_and_stops_no_gate(
    console: Console, upstream: Upstream, mark: str, started: Started
) -> None:
    console.script('sed -i s/5000/40/ "$1"')
    asked = started(order, console.gate, mark)
    hold = console.gate.held(mark)
    console.child.expect(hold.id[:6])
    console.child.send("e")
    console.child.expect("yes sends")
    console.child.send("\x03")
    console.child.expect("not edited")
    assert console.child.isalive()
    console.gate.answer(hold, True)
    assert asked.result(PATIENCE).status_code == 200
    [arrival] = upstream.got(mark)
    assert arrival.body == BODY.encode()


def test_the_gate_goes_on_while_somebody_edits(
    console: Console, upstream: Upstream, mark: str, started: Started
) -> None:
    done = console.home / "done"
    console.script(f'echo EDITING; while [ ! -e "{done}" ]; do sleep 0.02; done')
    asked = started(order, console.gate, f"{mark}-a")
    other = started(order, console.gate, f"{mark}-b")
    console.gate.held(mark, 2)
    console.child.expect("waiting")
    console.child.send("e")
    console.child.expect("EDITING")
    for hold in console.gate.holds():
        console.gate.answer(hold, True)
    assert (asked.result(PATIENCE).status_code, other.result(PATIENCE).status_code) == (200, 200)
    done.touch()
    console.child.expect("not edited")


def test_a_gate_that_is_stopped_while_somebody_edits_ends_the_editor_and_answers(
    console: Console, upstream: Upstream, mark: str, started: Started
) -> None:
    pid = console.home / "pid"
    console.script(f'echo $$ > "{pid}"; sleep 60')
    asked = started(order, console.gate, mark)
    hold = console.gate.held(mark)
    console.child.expect(hold.id[:6])
    console.child.send("e")
    until(lambda: pid.exists() and pid.read_text())
    console.child.kill(signal.SIGTERM)
    console.child.expect(pexpect.EOF)
    assert asked.result(PATIENCE).status_code == 503
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    assert [*(console.gate.state / "edits").rglob("*")] == []
    assert upstream.got(mark) == []


def test_a_gate_that_starts_removes_what_a_killed_editor_left(console: Console) -> None:
    """What lay there before the gate was started has gone; see the fixture."""
    assert not console.stale.exists()
