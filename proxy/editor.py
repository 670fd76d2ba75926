"""
A person's own editor, for one text at a time.

The text lies in a file of its own (0600) in a folder of its own (0700) below the state folder,
and is gone afterwards, whatever happens: on an error, on SIGTERM, and where this process was
killed, the next one to edit or to start a gate removes it. The editor runs in a process group of
its own, with the terminal: keys like Ctrl-C and Ctrl-Z in it are no concern of ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shlex
import shutil
import signal
import stat
import tempfile
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from proxy.errors import Exit, SluiceError, fail

FOLDER: Final = "edits"
FILE: Final = "request.txt"
_PREFIX: Final = "edit-"
_LONGEST: Final = 1024 * 1024
_FALLBACKS: Final = ("vi", "nano")
# How often a running editor is looked at: only waiting tells of one that was stopped by Ctrl-Z.
_GLANCE: Final = 0.03
_LAST_WORDS: Final = 0.5
_DEFAULTS: Final = (
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGPIPE,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
)


def editor(environment: Mapping[str, str]) -> tuple[str, ...]:
    """VISUAL, else EDITOR (with their arguments), else vi, else nano; SluiceError where there is none."""
    for name in ("VISUAL", "EDITOR"):
        try:
            words = shlex.split(environment.get(name, ""))
        except ValueError:
            raise fail(
                f"{name} cannot be read: '{environment[name][:200]}'", fix=f"export {name}=nano"
            ) from None
        if words:
            return tuple(words)
    for known in _FALLBACKS:
        if shutil.which(known, path=environment.get("PATH")):
            return (known,)
    raise fail(
        "there is no editor: neither VISUAL nor EDITOR is set, and neither vi nor nano is here",
        "a request is edited as text",
        "export EDITOR=...",
    )


@contextmanager
def draft(state: Path, text: str) -> Iterator[Path]:
    """A file with this text, for as long as the block runs."""
    sweep(state)
    folder, lock = _folder(state / FOLDER)
    try:
        path = folder / FILE
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(file, "w", encoding="utf-8", newline="") as out:
            out.write(text)
        yield path
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def sweep(state: Path) -> None:
    """Remove what editors left behind whose command was killed; those that still run keep theirs."""
    try:
        left = [entry for entry in os.scandir(state / FOLDER) if entry.name.startswith(_PREFIX)]
    except FileNotFoundError:
        return
    for entry in left:
        with contextlib.suppress(OSError):
            lock = _opened(Path(entry.path))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(entry.path)
            finally:
                os.close(lock)


def read(path: Path) -> str:
    """What the editor has left in the file; SluiceError where that is no file of UTF-8 text."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _unread(str(error.strerror)) from None
    with os.fdopen(file, "rb") as opened:
        if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            raise _unread("it is no file")
        data = opened.read(_LONGEST + 1)
    if len(data) > _LONGEST:
        raise _unread(f"it is over {_LONGEST} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise _unread("it is no UTF-8") from None


async def run(command: Sequence[str], path: Path, terminal: int = 0) -> None:
    """
    Let the editor have the file and the terminal until it ends.

    SluiceError where it cannot be started, or did not end well: then nobody can say that what is
    in the file is what was meant.
    """
    pid = _started([*command, str(path)])
    with _terminal_of(pid, terminal):
        status = await _ended(pid)
    if status != 0:
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        raise fail(f"the editor {how}, so nothing was edited", exit=Exit.NO)


def _started(words: list[str]) -> int:
    try:
        return os.posix_spawnp(words[0], words, os.environ, setpgroup=0, setsigmask=(), setsigdef=_DEFAULTS)
    except OSError as error:
        what = f"the editor '{words[0]}' cannot be started: {error.strerror}"
        raise fail(what, fix="export EDITOR=nano", exit=Exit.NO) from None


async def _ended(pid: int) -> int:
    """The exit status of an editor; it is ended where nobody waits for it any more."""
    status = None
    try:
        while True:
            status = _look(pid)
            if status is not None:
                return status
            await asyncio.sleep(_GLANCE)
    finally:
        if status is None:
            _stop(pid)


def _look(pid: int) -> int | None:
    """The exit status, None while it runs; one that stops itself goes on, as nobody could resume it."""
    found, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
    if not found:
        return None
    if os.WIFSTOPPED(status):
        os.killpg(pid, signal.SIGCONT)
        return None
    return os.waitstatus_to_exitcode(status)


def _stop(pid: int) -> None:
    """End an editor whose text nobody waits for any more; it may give the screen back first."""
    for number in (signal.SIGTERM, signal.SIGCONT):
        os.killpg(pid, number)
    until = time.monotonic() + _LAST_WORDS
    while time.monotonic() < until:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return
        time.sleep(_GLANCE)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@contextmanager
def _terminal_of(pid: int, terminal: int) -> Iterator[None]:
    """Give the terminal to a process group, and take it back as it was."""
    if not _ours(terminal):
        yield
        return
    modes = termios.tcgetattr(terminal)
    _give(terminal, pid)
    try:
        yield
    finally:
        _give(terminal, os.getpgrp())
        termios.tcsetattr(terminal, termios.TCSAFLUSH, modes)


def _ours(terminal: int) -> bool:
    """Whether this is the terminal that our process group has."""
    try:
        return os.isatty(terminal) and os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False


def _give(terminal: int, group: int) -> None:
    """Whoever gives the terminal away may be in the background already: that must not stop it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        os.tcsetpgrp(terminal, group)
    except (ProcessLookupError, PermissionError):
        pass  # it has ended at once
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _folder(parent: Path) -> tuple[Path, int]:
    """A new folder, ours alone, and the lock that says that it is in use."""
    parent.mkdir(mode=0o700, exist_ok=True)
    found = parent.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise fail(
            f"'{parent}' is not a folder of yours alone", "what is edited lies there", f"rm -r '{parent}'"
        )
    for _ in range(10):
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        # Whoever sweeps may be faster than our lock: then it is gone, and another is made.
        with contextlib.suppress(FileNotFoundError):
            lock = _opened(folder)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.exists():
                return folder, lock
            os.close(lock)
    raise fail(f"no folder can be made in '{parent}'", exit=Exit.NO)


def _opened(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _unread(why: str) -> SluiceError:
    return fail(f"what the editor left cannot be read: {why}", fix="edit it again", exit=Exit.NO)
