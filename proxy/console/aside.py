"""
What else a program writes to its terminal while the console has it: logs, warnings, tracebacks.

On the screen it would stand anywhere, and bytes of an agent in it would act on the terminal.
So it is kept aside, the newest of it, and shown made safe once the terminal is given back.
"""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
from typing import Final

from proxy.render import visible

_KEPT: Final = 64 * 1024
_MOST: Final = 1024 * 1024


class Aside:
    """Standard output and error of this process, from `begin` to `end` kept in a file without a name."""

    def __init__(self) -> None:
        self._saved: dict[int, int] = {}
        self._kept = -1

    def begin(self) -> None:
        """Take them aside, those that are a terminal."""
        with tempfile.TemporaryFile() as file:
            self._kept = os.dup(file.fileno())
        fcntl.fcntl(self._kept, fcntl.F_SETFL, os.O_APPEND)
        for fd in (1, 2):
            if os.isatty(fd):
                self._saved[fd] = os.dup(fd)
                os.dup2(self._kept, fd)

    def trim(self) -> None:
        """Forget the oldest once there is too much; to be called now and then."""
        if self._kept >= 0 and os.fstat(self._kept).st_size > _MOST:
            os.ftruncate(self._kept, 0)

    def end(self) -> None:
        """Give them back, and print what was kept, as text that acts on nothing."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for fd, saved in self._saved.items():
            os.dup2(saved, fd)
            os.close(saved)
        self._saved = {}
        if self._kept < 0:
            return
        size = os.fstat(self._kept).st_size
        text = os.pread(self._kept, _KEPT, max(0, size - _KEPT)).decode(errors="replace")
        os.close(self._kept)
        self._kept = -1
        for line in text.splitlines():
            print(visible(line), file=sys.stderr)
