"""
Correct a request before it is released: the reviewer's way from the text to the sent bytes.

The same at the command line and from the console: the gate gives the request as text, the
reviewer's editor changes it, the gate says what that would be and what it would need, and only
what was then confirmed is sent. Nothing here decides, and no secret comes here.
"""

from __future__ import annotations

import asyncio
import os
import sys
import termios
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxy import editor
from proxy.errors import SluiceError
from proxy.render import emit, preview_lines, printer, problem_lines, visible
from proxy.state import prepare, state_folder
from proxy.wire import Desk, HoldView, Sheet

_YES: Final = frozenset({"y", "yes"})
_AGAIN: Final = frozenset({"e", "edit"})
_ELSE: Final = "anything else leaves the hold as it is"
_LONGEST: Final = 4096
_INTERRUPT: Final = b"\x03"
_UNCHANGED: Final = "sluice: nothing was changed (an editor with a window of its own may need --wait)"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a correction takes place: the folder for its file, the environment, the terminal's number."""

    state: Path
    environment: Mapping[str, str]
    terminal: int = 0

    @classmethod
    def of(cls, state: Path) -> Place:
        """Here: in the gate's state folder, or in this account's own where that is another's."""
        if not state.is_dir() or state.stat().st_uid != os.geteuid():
            named = {name: value for name, value in os.environ.items() if name != "SLUICE_STATE"}
            state = state_folder(None, named)
            prepare(state)
        return cls(state, os.environ)


def at_editor(state: Path) -> Callable[[Desk, str], Awaitable[HoldView | None]]:
    """As `correct`, at a place that is chosen when it is needed."""

    async def edit(desk: Desk, prefix: str) -> HoldView | None:
        return await correct(desk, prefix, Place.of(state))

    return edit


async def correct(desk: Desk, prefix: str, place: Place, reason: str = "") -> HoldView | None:
    """
    Let the reviewer edit a hold; the hold as it then is, None where it was left as it is.

    Talks on stderr, reads answers from the terminal. SluiceError where the request cannot be
    edited, there is no editor, or the confirmed edit was not accepted.
    """
    command = editor.editor(place.environment)
    sheet = await desk.sheet(prefix)
    with editor.draft(place.state, sheet.text) as path:
        while True:
            await editor.run(command, path, place.terminal)
            again, edited = await _confirmed(desk, sheet, path, place, reason)
            if not again:
                return edited


async def _confirmed(
    desk: Desk, sheet: Sheet, path: Path, place: Place, reason: str
) -> tuple[bool, HoldView | None]:
    """(edit it again, the hold once it is edited)."""
    try:
        text = editor.read(path)
        if text == sheet.text:
            print(_UNCHANGED, file=sys.stderr)
            return False, None
        view = await desk.preview(sheet, text)
    except SluiceError as error:
        lines = [line for problem in error.problems for line in problem_lines(problem)]
        emit(printer(sys.stderr, os.environ), lines)
        answer = await _asked(f"e edits again; {_ELSE}: ", place)
        return answer.lower() in _AGAIN, None
    emit(printer(sys.stderr, os.environ), list(preview_lines(view)))
    yes = view.confirm[-1] if view.confirm else "yes"
    typed = f"{visible(yes)} (its {view.confirm[0]})" if view.confirm else yes
    answer = await _asked(f"{typed} sends the edited request; e edits again; {_ELSE}: ", place)
    # At the critical tier what names the request is typed, exactly.
    if answer == yes or (not view.confirm and answer.lower() in _YES):
        return False, await desk.edit(sheet, text, becomes=view.digest, reason=reason)
    return answer.lower() in _AGAIN, None


async def _asked(question: str, place: Place) -> str:
    """What the reviewer answers; empty where nobody does, or on Ctrl-C."""
    with _answering(place.terminal):
        print(f"sluice: {question}", end="", file=sys.stderr, flush=True)
        line = await _line(place.terminal)
    return "" if _INTERRUPT in line else line.decode("utf-8", "replace").strip()


@contextmanager
def _answering(terminal: int) -> Iterator[None]:
    """
    The terminal as it is for one line: what was typed before the question is no answer to it.

    Ctrl-C ends the line instead of the process: that may be the gate, and others wait on it.
    """
    try:
        before = termios.tcgetattr(terminal)
    except termios.error:
        yield
        return
    modes = termios.tcgetattr(terminal)
    modes[3] = (modes[3] | termios.ICANON | termios.ECHO) & ~termios.ISIG
    modes[6][termios.VEOL] = _INTERRUPT
    termios.tcsetattr(terminal, termios.TCSAFLUSH, modes)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)


async def _line(fd: int) -> bytes:
    """One line, without keeping the event loop from its work."""
    line = b""
    while not line.endswith((b"\n", _INTERRUPT)) and len(line) < _LONGEST:
        await _readable(fd)
        part = os.read(fd, 1)
        if not part:
            break
        line += part
    return line


async def _readable(fd: int) -> None:
    """Wait until there is something to read; a file that is no stream always has."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(fd, ready.set)
    except PermissionError:
        return
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)
