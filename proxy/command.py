"""
A command in the foreground and everything below it: started, signalled, waited for, ended.

Signals. The command stays in our process group, so that what the terminal sends (Ctrl-C,
Ctrl-Z, a change of size, a hang-up) reaches it without us, in pipelines too. Only what was
sent to us alone is passed on. We stop when the command stops, so that a shell sees its job
stop, and pass SIGCONT on.

To be used from the main thread of a process that has no other children to wait for than
those it names in `apart`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from proxy.linux import tree
from proxy.linux.tree import Process

CANNOT: Final = 125
"""Exit status of failures that are ours and not the command's."""
NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127

LOST: Final = signal.SIGRTMIN
"""To be sent to the main thread where the command must not go on."""

_GRACE: Final = 5.0  # seconds after SIGTERM that what is left has to end by itself
_GIVE_UP: Final = 5.0  # seconds of SIGKILL: what lives then is stuck in the kernel or not ours
_LOOK_AGAIN: Final = 0.05  # seconds; while ending only, since orphans of orphans send no signal

_PASSED_ON: Final = frozenset(
    {
        *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2),
        *(signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT),
    }
)
_HURRY: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})
_JOB_STOPS: Final = frozenset({signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})
_AWAITED: Final = frozenset({*_PASSED_ON, signal.SIGCHLD, LOST})
# A background process that touches the terminal would be stopped; see `terminal_kept`.
_BLOCKED: Final = frozenset({*_AWAITED, signal.SIGTTOU})


class CannotStartError(Exception):
    """A command that could not be started; `status` is what a shell would exit with."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror)
        self.status = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE


@contextlib.contextmanager
def signals_held() -> Iterator[frozenset[signal.Signals]]:
    """
    Hold back every signal that a command is concerned with, for `Command.wait` to take.

    Gives the signals that were blocked before, which is how the command starts. Threads that
    start inside hold them back too.
    """
    before = frozenset(
        signal.Signals(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
    )
    try:
        yield before
    finally:
        # What is still pending was meant for a command that has ended.
        while signal.sigtimedwait(_AWAITED, 0) is not None:
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def terminal_kept() -> Iterator[None]:
    """
    Take the terminal back afterwards where we had it before.

    A shell with jobs of its own that is killed leaves the terminal to a process group that is
    no more.
    """
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        yield
        return
    try:
        ours = _foreground(terminal) == os.getpgrp()
        yield
        if ours and _foreground(terminal) != os.getpgrp():
            with contextlib.suppress(OSError):  # hung up meanwhile
                os.tcsetpgrp(terminal, os.getpgrp())
    finally:
        os.close(terminal)


def _foreground(terminal: int) -> int | None:
    try:
        return os.tcgetpgrp(terminal)
    except OSError:
        return None


@dataclass(slots=True)
class Command:
    """
    A running command and its tree. `status` is its exit status once it has ended.

    `apart` are children of ours that belong to something else; `ended` has the raw status of
    those that ended meanwhile.
    """

    pid: int
    apart: frozenset[int] = frozenset()
    status: int | None = None
    lost: bool = False
    ended: dict[int, int] = field(default_factory=dict)

    @classmethod
    def start(
        cls,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        *,
        blocked: frozenset[signal.Signals],
        apart: frozenset[int] = frozenset(),
    ) -> Command:
        """Start it below us; CannotStartError where there is no such command."""
        try:
            pid = os.posix_spawnp(
                arguments[0],
                list(arguments),
                environment,
                setsigmask=blocked,
                # Python ignores these two for itself.
                setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
            )
        except (OSError, ValueError) as error:
            raise CannotStartError(error if isinstance(error, OSError) else OSError(0, str(error))) from error
        return cls(pid, apart)

    def wait(self) -> int:
        """
        Wait until the command ends, passing signals on; its exit status, 128 + N for signal N.

        Returns at once, `lost` set and the command running, where LOST arrives or a process
        of `apart` ends.
        """
        self._reap()
        while self.status is None and not self.lost:
            arrived = signal.sigwaitinfo(_AWAITED)
            if arrived.si_signo == signal.SIGCHLD:
                self._reap()
            elif arrived.si_signo == LOST:
                self.lost = True
            elif arrived.si_signo == signal.SIGCONT or not _has_it_already(arrived):
                self._send(signal.Signals(arrived.si_signo))
        return CANNOT if self.status is None else self.status

    def end(self) -> list[Process]:
        """
        End everything below us: SIGTERM, a time of grace, SIGKILL.

        Returns what could not be ended. A signal that asks us to end cuts the grace short; where
        the command is `lost` there is none, because the next gate would not know its processes.
        """
        asked: set[tuple[int, int]] = set()
        kill_at = time.monotonic() + (0.0 if self.lost else _GRACE)
        give_up_at = kill_at + _GIVE_UP
        while left := self._left():
            now = time.monotonic()
            if now >= give_up_at:
                return left
            for process in left:
                if now >= kill_at:
                    tree.send(process, signal.SIGKILL)
                elif (process.pid, process.started) not in asked:
                    asked.add((process.pid, process.started))
                    tree.send(process, signal.SIGTERM)
                    tree.send(process, signal.SIGCONT)  # a stopped process hears nothing else
            arrived = signal.sigtimedwait(_AWAITED, _LOOK_AGAIN)
            if arrived is not None and arrived.si_signo in _HURRY:
                kill_at, give_up_at = now, now + _GIVE_UP
            self._reap()
        return []

    def _left(self) -> list[Process]:
        return tree.below(os.getpid(), tree.snapshot(), self.apart)

    def _send(self, signum: signal.Signals) -> None:
        # Not reaped yet, so the id is still the command's.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, signum)

    def _reap(self) -> None:
        """Take note of every child that ended, orphans included, and of the command stopping."""
        while True:
            try:
                pid, raw = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if os.WIFSTOPPED(raw):
                if pid == self.pid:
                    _stop_too(signal.Signals(os.WSTOPSIG(raw)))
            elif pid == self.pid:
                self.status = os.WEXITSTATUS(raw) if os.WIFEXITED(raw) else 128 + os.WTERMSIG(raw)
            elif pid in self.apart:
                self.ended[pid] = raw
                self.lost = True


def _has_it_already(arrived: signal.struct_siginfo) -> bool:
    """Whether the command got this signal without us, or something below us sent it."""
    if arrived.si_code > 0:  # from the kernel, so from the terminal: to the whole group
        return True
    processes = tree.snapshot()
    sender = processes.get(arrived.si_pid)
    while sender is not None and sender.pid != os.getpid():
        sender = processes.get(sender.parent)
    return sender is not None and arrived.si_pid != os.getpid()


def _stop_too(signum: signal.Signals) -> None:
    # Only for a shell's sake: one that stops a command by SIGSTOP does not wait for its job.
    if signum not in _JOB_STOPS:
        return
    os.kill(os.getpid(), signum)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signum})  # we stop here
    signal.pthread_sigmask(signal.SIG_BLOCK, {signum} & _BLOCKED)
