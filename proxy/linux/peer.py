"""
Who is at the other end of a unix socket, as the kernel knows it (unix(7)).

SO_PEERCRED gives the process and the account that connected; a process cannot choose them.
Since an id comes round again once its process has ended, the process is also held by a pidfd
(SO_PEERPIDFD, Linux 6.5; before that opened at once, with a gap of the time to accept).
"""

from __future__ import annotations

import os
import pwd
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from proxy.linux import tree

_SO_PEERPIDFD: Final = 77
_CREDENTIALS: Final = struct.Struct("3i")
_LONGEST: Final = 108
_DEEPEST: Final = 4096
_TRIES: Final = 8


class Connected(Protocol):
    """What is asked of a socket here; asyncio's wrapped sockets have it too."""

    def getsockopt(self, level: int, name: int, size: int = ..., /) -> bytes | int:
        """As `socket.socket.getsockopt`."""
        ...

    def fileno(self) -> int:
        """As `socket.socket.fileno`."""
        ...


@dataclass(slots=True)
class Peer:
    """
    The process that connected; `pid` is 0 where it lives in a namespace that we cannot see.

    Holds a file descriptor until `close`.
    """

    pid: int
    uid: int
    _pidfd: int | None

    @property
    def gone(self) -> bool:
        """Whether that very process has ended, or cannot be told from another one."""
        if self._pidfd is None:
            return True
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Let go of the process."""
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None


def peer_of(connection: Connected) -> Peer:
    """The peer of a connected unix socket."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    assert isinstance(credentials, bytes)
    pid, uid, _ = _CREDENTIALS.unpack(credentials)
    return Peer(pid, uid, _hold(connection, pid))


def _hold(connection: Connected, pid: int) -> int | None:
    try:
        pidfd = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
        assert isinstance(pidfd, int)
        os.set_inheritable(pidfd, False)
        return pidfd
    except OSError:
        pass  # an older kernel, or the process has already ended: then the next line fails too
    try:
        return os.pidfd_open(pid) if pid > 0 else None
    except OSError:
        return None


def ancestors(peer: Peer) -> tuple[tree.Process, ...] | None:
    """
    The peer and the processes above it, up to the first one; None where that cannot be read.

    What is read one after the other is true of one moment: a link counts only if the child
    still names the same parent after the parent was read. A process that ends on the way
    hands its children on, so the walk starts again; never given an end, it is None.
    """
    for _ in range(_TRIES):
        line = _climb(peer.pid)
        if line is not None:
            return None if peer.gone else line
    return None


def _climb(pid: int) -> tuple[tree.Process, ...] | None:
    line: list[tree.Process] = []
    process = tree.read(pid) if pid > 0 else None
    while process is not None and len(line) < _DEEPEST:
        line.append(process)
        if process.parent == 0:
            return tuple(line)
        parent = tree.read(process.parent)
        if parent is None or parent.started > process.started or not _still(process):
            return None
        process = parent
    return None


def _still(process: tree.Process) -> bool:
    now = tree.read(process.pid)
    return now is not None and (now.parent, now.started) == (process.parent, process.started)


def hung_up(connection: Connected) -> bool:
    """
    Whether the other end has closed, also if that has not been read yet.

    The kernel closes what a process holds before it hands its children on: who was reparented
    because a process ended finds this True of that process's connections.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLRDHUP)
    return bool(poll.poll(0))


@contextmanager
def address(path: Path) -> Iterator[str]:
    """A name for a socket's path that fits into an address (108 bytes), however long the path is."""
    if len(os.fsencode(path)) < _LONGEST:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def account(uid: int) -> str:
    """The name of an account, or its number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"{uid}"
