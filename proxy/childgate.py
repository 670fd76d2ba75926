"""
A gate as a child process: `sluice up --no-console`, started, waited for, and stopped.

Used where a command needs a gate of its own. The child dies with its parent: a gate that
nobody watches over any more is stopped by the kernel's signal, and its agents are refused.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from proxy.errors import Exit, Problem, SluiceError, fail
from proxy.linux.tree import end_with_parent

LOG: Final = "gate.log"
"""What the child says on stderr, in the state folder."""

_STARTS_WITHIN: Final = 30.0  # seconds; a cold disk reads a lot of Python
_STOPS_WITHIN: Final = 10.0  # twice what the contract gives it for 1,000 holds
_LINE_LIMIT: Final = 64 * 1024
_LOG_SHOWN: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Ready:
    """The line that a gate prints once it accepts traffic and decisions."""

    proxy: str
    control: Path
    ca: Path
    pid: int

    @classmethod
    def parse(cls, line: bytes) -> Ready:
        """The line as a value; ValueError where it is anything else."""
        try:
            message = json.loads(line)
            if message["event"] != "ready":
                raise ValueError(f"not a ready line: {line[:80]!r}")
            return cls(
                str(message["proxy"]), Path(message["control"]), Path(message["ca"]), int(message["pid"])
            )
        except (TypeError, KeyError) as error:
            raise ValueError(f"not a ready line: {line[:80]!r}") from error


class ChildGate:
    """A running gate of ours; a context manager that stops it."""

    def __init__(self, process: subprocess.Popen[bytes], ready: Ready) -> None:
        self.process = process
        self.ready = ready

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop it: asked first, so that every waiting agent gets an answer, then made to."""
        _stop(self.process)


def start_gate(
    state: Path, flags: Sequence[str], *, environment: Mapping[str, str] | None = None
) -> ChildGate:
    """
    Start a gate on `state` with these flags of `sluice up`, and wait until it is ready.

    Its talk goes to a file in the state folder. Raises SluiceError with what it said, and its
    exit status, where it does not come up.
    """
    _make_folder(state)
    log = state / LOG
    # -P: the folder that we happen to stand in is no place to import `proxy` from.
    command = [sys.executable, "-P", "-m", "proxy", "up", "--no-console", "--state", str(state), *flags]
    parent = os.getpid()

    def die_with_parent() -> None:
        end_with_parent(signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as said:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            env=environment,
            start_new_session=True,  # a Ctrl-C at the terminal is for the command, not for its gate
            preexec_fn=die_with_parent,  # so: only where no other threads run
        )
    try:
        line = _line(process, time.monotonic() + _STARTS_WITHIN)
        return ChildGate(process, Ready.parse(line))
    except ValueError as error:
        _stop(process)
        raise _not_started(process, log, str(error)) from error
    except BaseException:
        _stop(process)
        raise


def _make_folder(state: Path) -> None:
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise fail(
            f"cannot make the state folder '{state}': {error.strerror}",
            "the gate keeps its ledger, keys and control socket there",
            "name another one with --state",
        ) from error


def _line(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    """The first line on stdout; ValueError where it ends or takes too long before that."""
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    line = b""
    while b"\n" not in line:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            raise ValueError(f"it was not ready within {_STARTS_WITHIN:.0f} s")
        part = os.read(descriptor, 4096)
        if not part or len(line) > _LINE_LIMIT:
            raise ValueError("it ended before it was ready" if not part else "it said too much")
        line += part
    return line.partition(b"\n")[0]


def _not_started(process: subprocess.Popen[bytes], log: Path, why: str) -> SluiceError:
    said = log.read_bytes()[-_LOG_SHOWN:].decode(errors="replace")
    status = Exit.WRONG if process.returncode == Exit.WRONG else Exit.NO
    # Its own words have what, why and fix: they stand for ours.
    if problems := list(_problems(said)):
        return SluiceError(*problems, exit=status)
    return fail("the gate did not start", f"{why}. {said.strip()[-500:]}", f"see {log}", exit=status)


def _problems(said: str) -> Iterator[Problem]:
    """The problems in what a command of ours says on stderr."""
    found: list[dict[str, str]] = []
    for line in said.splitlines():
        name, _, text = line.removeprefix("sluice: ").partition(": ")
        if name == "error":
            found.append({"what": text})
        elif name in ("why", "fix") and found:
            found[-1][name] = text
    return (Problem(**parts) for parts in found)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOPS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()
