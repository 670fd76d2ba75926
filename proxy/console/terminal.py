"""
A terminal taken over for a while, and given back whatever happens.

Writing never waits: the gate runs on the same event loop, and a terminal that is stopped or
slow must not hold it up. What a frame changes is kept until the terminal takes it, and no
other frame is begun before.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import termios
import time
import tty
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from proxy.render import visible

# Save the title, alternate screen, no cursor, no wrapping at the edge, pastes told from keys.
_ENTER: Final = b"\x1b[22;2t\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[?2004h\x1b[0m\x1b[2J"
_LEAVE: Final = b"\x1b[0m\x1b[?2004l\x1b[?7h\x1b[?25h\x1b[?1049l\x1b]2;\x07\x1b[23;2t"
_ABORT: Final = b"\x18"
_PATIENCE: Final = 0.5


class Terminal:
    """The terminal behind a file descriptor, from `enter` to `leave`."""

    def __init__(self, fd: int) -> None:
        self.fd = _own(fd)
        self._modes = termios.tcgetattr(self.fd)
        self._out = bytearray()
        self._lines: list[str] = []
        self._size = (0, 0)
        self._title = ""

    def enter(self) -> None:
        """Take the terminal over: raw keys, a screen of our own."""
        modes = termios.tcgetattr(self.fd)
        tty.cfmakeraw(modes)
        termios.tcsetattr(self.fd, termios.TCSANOW, modes)
        self._out += _ENTER

    def leave(self) -> None:
        """Give it back as it was; keys that nobody has read are thrown away."""
        try:
            self._out[:] = (_ABORT if self._out else b"") + _LEAVE
            self._drain()
            termios.tcflush(self.fd, termios.TCIFLUSH)
            termios.tcsetattr(self.fd, termios.TCSANOW, self._modes)
        except (OSError, termios.error):
            pass  # it has gone: nothing to give back
        finally:
            os.close(self.fd)

    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        try:
            columns, lines = os.get_terminal_size(self.fd)
        except OSError:
            columns = lines = 0
        return (columns or 80, lines or 24)

    def read(self) -> bytes | None:
        """What was typed since, maybe nothing; None where the terminal has gone."""
        try:
            return os.read(self.fd, 4096) or None
        except BlockingIOError:
            return b""
        except OSError:
            return None

    def redraw(self) -> None:
        """Forget what stands on the terminal: the next frame is drawn whole."""
        self._size = (0, 0)

    def draw(self, lines: Sequence[Text], size: tuple[int, int], *, title: str, bell: bool) -> None:
        """Begin to bring a frame onto the terminal; `flush` until it is there."""
        if size != self._size:
            self._out += b"\x1b[0m\x1b[2J"
            self._lines, self._size = [], size
        drawn = _encoded(lines, size[0])
        for number, line in enumerate(drawn):
            if number >= len(self._lines) or self._lines[number] != line:
                # Cleared first: after a line that fills its row, the cursor still stands on the last cell.
                self._out += f"\x1b[{number + 1};1H\x1b[0m\x1b[K{line}\x1b[0m".encode()
        self._lines = drawn
        if title != self._title:
            self._out += f"\x1b]2;{visible(title)}\x07".encode()
            self._title = title
        if bell:
            self._out += b"\x07"

    def flush(self) -> bool:
        """Write what the terminal takes now; whether everything is out. OSError where it has gone."""
        while self._out:
            try:
                del self._out[: os.write(self.fd, self._out)]
            except BlockingIOError:
                return False
        return True

    def _drain(self) -> None:
        until = time.monotonic() + _PATIENCE
        while not self.flush() and (left := until - time.monotonic()) > 0:
            select.select([], [self.fd], [], left)


def _own(fd: int) -> int:
    """The same terminal, opened anew: not to wait on it is then ours alone, not our shell's too."""
    flags = os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
    for path in (os.ttyname(fd), "/dev/tty"):
        with contextlib.suppress(OSError):
            return os.open(path, flags)
    own = os.dup(fd)
    os.set_blocking(own, False)
    return own


def _encoded(lines: Sequence[Text], width: int) -> list[str]:
    """Each line with its colours, as far as this terminal has them (TERM, NO_COLOR)."""
    console = Console(
        file=io.StringIO(), force_terminal=True, width=width, markup=False, emoji=False, highlight=False
    )
    encoded = []
    for line in lines:
        with console.capture() as capture:
            console.print(line, end="", no_wrap=True, overflow="ellipsis", crop=True)
        encoded.append(capture.get().rstrip("\n"))
    return encoded
