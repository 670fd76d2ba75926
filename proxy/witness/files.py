"""
An append-only file elsewhere: another disk, another machine's share, a path with ``chattr +a``.

Notes follow each other with an empty line between. Reading takes the same, a single note, and
logs into which syslog wrote: any line with ``sluice-checkpoint`` and the note in base64.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from proxy.errors import Problem, fail
from proxy.ledger.anchors import Kept, Place
from proxy.ledger.seal import Seal
from proxy.note import LIMIT, NoteError, decode64, notes
from proxy.witness import RefusedError

MARK: Final = "sluice-checkpoint"
_MARKED: Final = re.compile(rb"\bsluice-checkpoint ([A-Za-z0-9+/]+={0,2})(?=\s|$)")


class FilePlace:
    """Checkpoints in a file."""

    def __init__(self, path: Path, name: str | None = None, *, may_be_new: bool = False) -> None:
        self.path = path
        self.name = name or str(path)
        self._may_be_new = may_be_new

    def read(self) -> Iterator[Kept]:
        """See `Place.read`."""
        try:
            with self.path.open("rb") as file:
                for note in notes(_lines(iter(lambda: file.readline(LIMIT), b""))):
                    yield Kept(note)
        except FileNotFoundError:
            if not self._may_be_new:
                raise self._cannot("there is no such file") from None
        except OSError as error:
            raise self._cannot(error.strerror or "it cannot be read") from None

    def _cannot(self, why: str) -> Exception:
        return fail(f"the checkpoints in '{self.path}' cannot be read", why, "name a file of checkpoints")


def _lines(lines: Iterator[bytes]) -> Iterator[bytes]:
    """The lines as they are, and those of a log taken out of theirs."""
    for line in lines:
        marked = _MARKED.search(line)
        if marked is None:
            yield line
            continue
        try:
            note = decode64(marked[1].decode())
        except NoteError:
            yield line
        else:
            yield b"\n"
            yield from note.splitlines(keepends=True)
            yield b"\n"


class FileWitness:
    """Appends notes to a file, and waits for the disk once for all that it is given."""

    every: float = 1.0
    renew: float = 0.0

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = f"file:{path}"
        self.place: Place = FilePlace(path, self.name, may_be_new=True)

    def send(self, seals: Sequence[Seal]) -> None:
        """See `Witness.send`."""
        self.append([seal.note for seal in seals])

    def append(self, kept: Sequence[bytes]) -> None:
        """Append notes; when this returns they survive a power cut."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        descriptor = os.open(self.path, flags, 0o600)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise RefusedError(Problem(f"'{self.path}' is no file"))
            # After a write that a crash has torn, an empty line: it costs that note and no other.
            gap = b"\n\n" if found.st_size else b""
            _write(descriptor, gap + b"\n".join(kept))
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
