"""`sluice demo`: the whole main job, decided by itself and by a person at a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pexpect
import pyte
import pytest

SLUICE = [sys.executable, "-P", "-m", "proxy"]
SOON = 40


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / "tmp"
    folder.mkdir()
    return {**os.environ, "TMPDIR": str(folder), "XDG_CONFIG_HOME": str(tmp_path), "TERM": "xterm"}


def states(environment: dict[str, str]) -> list[Path]:
    return list(Path(environment["TMPDIR"]).glob("sluice-demo-*"))


def table(said: str) -> dict[str, tuple[str, str]]:
    """What arrived: by wish, the decision and how often."""
    lines = said.partition("What really arrived at the APIs")[2].splitlines()[1:5]
    return {line[2:28].strip(): (line[29:40].strip(), line[41:].strip()) for line in lines}


def test_what_arrives_is_exactly_what_was_approved(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [*SLUICE, "demo", "--yes"], env=environment, capture_output=True, text=True, timeout=SOON
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert table(done.stdout) == {
        "three reads": ("allowed", "3 times"),
        "a refund of 4,200.00 USD": ("approved", "once"),
        "a mail to 500 people": ("denied", "never"),
        "a bucket deleted": ("expired", "never"),
    }
    assert "mail: denied (403): 500 people is a campaign" in done.stdout
    assert "delete: expired (403)" in done.stdout
    assert "its chain holds" in done.stdout
    assert states(environment) == []


def test_without_a_terminal_it_decides_by_itself_and_killed_it_leaves_nothing_running(
    environment: dict[str, str],
) -> None:
    process = subprocess.Popen(
        [*SLUICE, "demo"], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("There is no terminal here")
    while "agent" not in (line := process.stdout.readline()) or "read the balance" not in line:
        assert line, "it ended early"
    process.kill()
    process.wait()
    (state,) = states(environment)
    deadline = time.monotonic() + SOON
    while running_on(state):
        assert time.monotonic() < deadline, running_on(state)
        time.sleep(0.05)


def running_on(state: Path) -> list[str]:
    """The command lines that name this state folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
    return [line for line in found if str(state) in line]


class Person:
    """Somebody at a terminal of 100 columns: reads the screen, presses keys, reads what is left."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.terminal = pexpect.spawn(
            SLUICE[0], [*SLUICE[1:], "demo"], env=environment, dimensions=(40, 100), timeout=20
        )
        self.screen = pyte.Screen(100, 40)
        self.stream = pyte.ByteStream(self.screen)
        self.typed = b""

    def sees(self, words: str, within: float = 20.0) -> bool:
        return self.waits(lambda: words in self.text, within)

    def waits(self, until: Callable[[], bool], within: float = 20.0) -> bool:
        """Read on until something is on the screen."""
        end = time.monotonic() + within
        while time.monotonic() < end:
            try:
                part = self.terminal.read_nonblocking(65536, 0.05)
            except pexpect.TIMEOUT:
                pass
            except pexpect.EOF:
                return until()
            else:
                self.typed += part
                self.stream.feed(part)
            if until():
                return True
        return False

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display)

    def presses(self, keys: str, until: str) -> None:
        """Again until it counts: a hold that has just come takes no key for a moment."""
        for _ in range(20):
            self.terminal.send(keys)
            if self.sees(until, within=1.0):
                return
        pytest.fail(f"never seen: {until}\n{self.text}")

    @property
    def selected(self) -> str:
        """The line of the selected hold; empty while it is drawn anew."""
        return next((line for line in self.screen.display if line.startswith("▸")), "")

    def selects(self, words: str) -> None:
        """Go to the hold with these words: the agent asks for all at once, so they come in any order."""
        for _ in range(10):
            assert self.waits(lambda: bool(self.selected)), self.text
            line = self.selected
            if words in line:
                return
            below = self.screen.display[self.screen.display.index(line) + 1]
            self.terminal.send("g" if below.startswith("──") else "j")
            assert self.waits(lambda id=line[2:8]: self.selected[2:8] not in ("", id)), self.text  # type: ignore[misc]
        pytest.fail(f"never selected: {words}\n{self.text}")

    def leaves(self) -> tuple[int | None, str]:
        """Exit status, and all that was printed after the console."""
        self.terminal.expect(pexpect.EOF)
        self.terminal.close()
        said = (self.typed + self.terminal.before).decode().replace("\r\n", "\n")
        return self.terminal.exitstatus, said


def starts(environment: dict[str, str]) -> Person:
    person = Person(environment)
    assert person.sees("Press Enter to start")
    person.terminal.send("\r")
    assert person.sees("3 waiting"), person.text
    return person


def test_a_person_decides_in_this_terminal_and_reads_what_came_of_it(environment: dict[str, str]) -> None:
    person = starts({**environment, "EDITOR": "true"})
    person.selects("Refund")
    person.presses("e", "not edited")
    person.presses("a", "2 waiting")
    person.selects("Mail")
    person.presses("a", "1 waiting")
    person.selects("Delete")
    person.presses("a", "type the operation")
    person.terminal.send("\x15s3:DeleteBucket\r")  # the line is cleared first: a second "a" may stand there
    assert person.sees("0 waiting"), person.text
    status, said = person.leaves()
    assert status == 0
    assert "mail: done (202)" in said
    assert [times for _, times in table(said).values()] == ["3 times", "once", "once", "once"]
    (state,) = states(environment)
    assert f"ledger show --state {state}" in said
    verified = subprocess.run([*SLUICE, "ledger", "verify", "--state", str(state)], capture_output=True)
    assert verified.returncode == 0


def test_who_quits_early_has_approved_nothing(environment: dict[str, str]) -> None:
    person = starts(environment)
    person.presses("q", "q again quits")
    person.terminal.send("q")
    status, said = person.leaves()
    assert status == 0
    assert [times for _, times in table(said).values()] == ["3 times", "never", "never", "never"]
