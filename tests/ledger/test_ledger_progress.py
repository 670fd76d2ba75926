"""How far verifying and exporting are: one line on a terminal, nothing of it anywhere else."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pexpect
import pyte
import pytest
from ledgers import Clock, kinds, story

from proxy.ledger.sqlite import SqliteLedger

BAR = re.compile(r"sluice: (━* *) ([\d,]+) of ([\d,]+) entries")


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Long enough to be read for a second or so."""
    folder = tmp_path_factory.mktemp("long")
    folder.chmod(0o700)
    asyncio.run(_write(folder / "ledger.db"))
    return folder / "ledger.db"


async def _write(path: Path) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=Clock())
    for some in itertools.batched(story(4_000), 2_000):
        await asyncio.gather(*map(ledger.queue, some))
    await ledger.close()


class Terminal:
    """A command in a terminal of its own, to its end."""

    def __init__(self, *words: object, width: int = 80, shell: str = "") -> None:
        environment = {**os.environ, "TERM": "xterm-256color", "NO_COLOR": "1", "LC_ALL": "C.UTF-8"}
        command = [sys.executable, "-m", "proxy", "ledger", *map(str, words)]
        if shell:
            command = ["sh", "-c", f'"$@" {shell}', "sh", *command]
        child = pexpect.spawn(command[0], command[1:], env=environment, dimensions=(50, width), timeout=30)
        self.raw = child.read()
        child.close()
        self.status = child.exitstatus
        screen = pyte.Screen(width, 50)
        pyte.ByteStream(screen).feed(self.raw)
        lines = [line if len(line.rstrip()) == width else line.rstrip() + "\n" for line in screen.display]
        self.text = "".join(lines).rstrip()

    @property
    def bars(self) -> list[tuple[int, int, int]]:
        """Each bar that was drawn: how long it was, how many entries lay behind, of how many."""
        found = BAR.findall(self.raw.decode())
        return [(bar.count("━"), *(int(one.replace(",", "")) for one in two)) for bar, *two in found]


def check(terminal: Terminal, total: int) -> None:
    """The line was there, went on, said what was so, and is gone."""
    bars = terminal.bars
    assert bars, terminal.raw
    assert bars == sorted(bars)
    assert {whole for _, _, whole in bars} == {total}
    assert all(length == 30 * count // total for length, count, _ in bars)
    assert terminal.status == 0
    assert "━" not in terminal.text


def test_verifying_says_on_a_terminal_how_far_it_is(ledger: Path) -> None:
    terminal = Terminal("verify", ledger)
    check(terminal, len(kinds(ledger)))
    assert terminal.text.splitlines()[0].endswith("no change was found")


@pytest.mark.parametrize("format", ["jsonl", "csv", "ocsf", "cef", "html"])
def test_an_export_says_on_a_terminal_how_far_it_is(ledger: Path, tmp_path: Path, format: str) -> None:
    total = len(kinds(ledger))
    terminal = Terminal("export", ledger, "--format", format, "-o", tmp_path / "out")
    check(terminal, total)
    assert format != "html" or len(terminal.bars) > 1  # the one that takes longest
    assert terminal.text == f"sluice: {total} entries written to {tmp_path / 'out'}"


@pytest.mark.parametrize("format", ["jsonl", "html"])
def test_what_a_filter_leaves_out_was_read_too(ledger: Path, tmp_path: Path, format: str) -> None:
    words = ("--format", format, "--agent", "nobody", "-o", tmp_path / "out")
    check(Terminal("export", ledger, *words), len(kinds(ledger)))


def test_an_export_into_a_pipe_is_told_of_on_the_terminal(ledger: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    terminal = Terminal("export", ledger, shell=f"> {out}")
    check(terminal, len(kinds(ledger)))
    assert terminal.text == ""
    assert "\x1b" not in out.read_text()


def test_an_export_onto_the_terminal_is_not_written_over(ledger: Path) -> None:
    terminal = Terminal("export", ledger, "--format", "csv", "--kind", "genesis")
    assert (terminal.status, terminal.bars) == (0, [])
    assert terminal.text.startswith("seq,")


def test_on_a_narrow_terminal_the_line_stays_one(ledger: Path) -> None:
    terminal = Terminal("verify", ledger, width=30)
    drawn = [line for line in terminal.raw.decode().split("\r") if "━" in line]
    assert drawn
    assert all(len(line.replace("\x1b[K", "")) < 30 for line in drawn)
    assert terminal.text.startswith(f"{len(kinds(ledger))} entries")


def test_an_error_does_not_stand_behind_a_bar(ledger: Path, tmp_path: Path) -> None:
    harmed = tmp_path / "ledger.db"
    harmed.write_bytes(ledger.read_bytes())
    with harmed.open("r+b") as file:
        file.seek(harmed.stat().st_size // 2)
        file.write(bytes(8_192))
    terminal = Terminal("export", harmed, "-o", tmp_path / "out")
    assert terminal.bars
    assert terminal.status == 1
    assert "━" not in terminal.text
    assert "sluice: error:" in terminal.text


@pytest.mark.parametrize("words", [("verify",), ("verify", "--json"), ("export", "-o", "{out}"), ("export",)])
def test_nothing_of_it_where_stderr_is_no_terminal(
    ledger: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    given = [word.format(out=tmp_path / "out") for word in words]
    command = [sys.executable, "-m", "proxy", "ledger", given[0], str(ledger), *given[1:]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    for text in (done.stdout, done.stderr):
        assert not {"━", "\r", "\x1b"} & set(text)
