"""
The processes below one process: keeping them, finding them, ending them.

A *subreaper* (prctl(2), PR_SET_CHILD_SUBREAPER) is given every orphan below it, so a process
that forks twice and lets go of its parent stays a descendant. What is below a process is read
from /proc (proc_pid_stat(5)); a process is always named by its id and the time it started,
because ids come round again.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_CHILD_SUBREAPER: Final = 36


@dataclass(frozen=True, slots=True)
class Process:
    """
    One process at one moment.

    `state` is the letter of proc_pid_stat(5), `started` in clock ticks since boot: with `pid`
    it names a process for good.
    """

    pid: int
    parent: int
    state: str
    started: int

    @property
    def alive(self) -> bool:
        """Whether it still runs or could: a zombie has ended and waits to be reaped."""
        return self.state not in "ZXx"


def become_subreaper() -> None:
    """Be given every orphan of the processes below from now on; OSError where that fails."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def refuse_tracing() -> None:
    """
    Let no process of this account look into this one or speak through it (ptrace(2)).

    Root, and whoever may trace everything, still can.
    """
    _prctl(_PR_SET_DUMPABLE, 0)


def end_with_parent(signum: signal.Signals) -> None:
    """
    Have the kernel send this process a signal once the thread that started it ends.

    To be called between fork and exec; the caller has to see itself whether the parent is
    still there (prctl(2), PR_SET_PDEATHSIG).
    """
    _prctl(_PR_SET_PDEATHSIG, signum)


def _prctl(option: int, argument: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = [ctypes.c_ulong(value) for value in (argument, 0, 0, 0)]
    if libc.prctl(option, *arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def read(pid: int) -> Process | None:
    """One process, None where there is none (or none that we may see)."""
    try:
        line = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    # The name in the second field is the process's to choose, brackets and blanks included.
    fields = line[line.rindex(b")") + 2 :].split()
    return Process(pid, parent=int(fields[1]), state=fields[0].decode(), started=int(fields[19]))


def snapshot() -> dict[int, Process]:
    """Every process that can be seen, by id."""
    pids = [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdecimal()]
    return {pid: process for pid in pids if (process := read(pid)) is not None}


def below(root: int, processes: Mapping[int, Process], apart: Collection[int] = ()) -> list[Process]:
    """
    The processes below `root` that have not ended, parents before children.

    Those in `apart`, and what is below them, are left out.
    """
    children: dict[int, list[Process]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    waiting = [root]
    while waiting:
        for child in children.pop(waiting.pop(), ()):
            if child.pid not in apart:
                found.append(child)
                waiting.append(child.pid)
    return [process for process in found if process.alive]


def send(process: Process, signum: signal.Signals) -> bool:
    """
    Send a signal to exactly this process; False where it has ended or is not ours to signal.
    """
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        # The descriptor names what has this id now: see that it is the process that was meant.
        now = read(process.pid)
        if now is None or now.started != process.started:
            return False
        signal.pidfd_send_signal(descriptor, signum)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
