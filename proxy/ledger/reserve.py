"""
Room on the disk that is kept for saying that it is full.

A file of 1 MiB beside the ledger. When nothing can be written any more it goes, and what has
happened can still be written down in its place: that the disk is full, how what waited ended,
what came of what had left. Nothing new is let through until the file can be made again.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

SIZE: Final = 1024 * 1024


class Reserve:
    """The file; `given` says that its room is in use."""

    def __init__(self, path: Path, size: int = SIZE) -> None:
        self._path = path
        self._size = size
        self.given = False

    def keep(self) -> bool:
        """Make the file, unless it is there; False where there is not as much room again beside it."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(self._path, flags, 0o600)
        except FileExistsError:
            self.given = False
            return True
        except OSError:
            return False
        try:
            os.posix_fallocate(descriptor, 0, self._size)
            disk = os.fstatvfs(descriptor)
            kept = disk.f_bavail * disk.f_frsize >= self._size
        except OSError:
            kept = False
        finally:
            os.close(descriptor)
        if kept:
            self.given = False
        else:
            self._remove()
        return kept

    def give(self) -> None:
        """Let the room be used, if the disk has none and the file is there."""
        try:
            disk = os.statvfs(self._path)
        except OSError:
            return
        if disk.f_bavail * disk.f_frsize < self._size and self._remove():
            self.given = True

    def _remove(self) -> bool:
        with contextlib.suppress(OSError):
            self._path.unlink()
            return True
        return False
