"""
`sluice run`: a command behind the gate, and everything that it starts.

The control socket refuses every process of a guarded tree, and this process is its root: it
is given every orphan below it, says hello before the command starts and goodbye once nothing
of the tree is left. Ending without goodbye locks the socket; that is why a tree that cannot
be ended is never said goodbye to. Where the gate goes, the command is ended: the next gate
would not know its processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxy.about import URL
from proxy.childenv import child_environment, write_bundle
from proxy.childgate import ChildGate, start_gate
from proxy.command import CANNOT, LOST, CannotStartError, Command, signals_held, terminal_kept
from proxy.control.client import ControlDesk
from proxy.errors import Exit, Problem, SluiceError
from proxy.linux import tree
from proxy.linux.notice import signal_on_news
from proxy.linux.peer import address
from proxy.linux.tree import Process
from proxy.state import state_folder
from proxy.wire import LINE_LIMIT, Call, Failure, Status, Verb, decode, encode

CONTROL: Final = "control.sock"
CA: Final = "ca.pem"
_ANSWERS_WITHIN: Final = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Launch:
    """
    What `sluice run` was asked for.

    `flags` are the flags of `sluice up` as they were given, but for --state; `policy` is the
    digest of the policy that they name, None where they name none.
    """

    command: tuple[str, ...]
    state: Path
    flags: tuple[str, ...] = ()
    policy: str | None = None


@dataclass(frozen=True, slots=True)
class Behind:
    """The gate that a command runs behind; `own` where it is ours to stop."""

    status: Status
    control: Path
    ca: Path
    own: ChildGate | None = None


class OtherPolicyError(SluiceError):
    """The running gate judges by other rules than were asked for."""


def run(launch: Launch) -> int:
    """
    Run a command behind the gate; its exit status, 128 + N where signal N ended it.

    125 where it could not be guarded, 126 where it cannot be executed, 127 where it is not
    found; what went wrong stands on stderr then. Raises SluiceError, exit 2, where the
    running gate has another policy than was asked for.
    """
    with ExitStack() as stack:
        try:
            gate = _gate(launch, stack)
            environment = _environment(launch.state, gate)
            tree.become_subreaper()
            tree.refuse_tracing()  # or the command could say goodbye through us
            stack.enter_context(terminal_kept())
            return _guarded(launch.command, environment, gate)
        except OtherPolicyError:
            raise
        except OSError as error:
            return _cannot(Problem(f"cannot guard the command: {error}"))
        except SluiceError as error:
            return _cannot(*error.problems)


def _gate(launch: Launch, stack: ExitStack) -> Behind:
    """The gate that runs on this state, else one of our own."""
    status = _status(launch.state / CONTROL)
    if status is not None:
        _agree(launch, status)
        return Behind(status, launch.state / CONTROL, launch.state / CA)
    own = stack.enter_context(start_gate(launch.state, _own(launch.flags)))
    status = asyncio.run(ControlDesk(own.ready.control).status())
    return Behind(status, own.ready.control, own.ready.ca, own)


def _status(control: Path) -> Status | None:
    try:
        return asyncio.run(ControlDesk(control).status())
    except SluiceError as error:
        if error.exit is Exit.UNREACHABLE:
            return None
        raise


def _own(flags: tuple[str, ...]) -> tuple[str, ...]:
    # Nobody but the command needs the address, so any free port will do.
    if any(flag == "--listen" or flag.startswith("--listen=") for flag in flags):
        return flags
    return ("--listen", "127.0.0.1:0", *flags)


def _agree(launch: Launch, status: Status) -> None:
    if launch.policy is not None and launch.policy != status.policy:
        raise OtherPolicyError(
            Problem(
                f"the gate running on '{launch.state}' has another policy than --policy names",
                "the command would be judged by rules that you did not ask for",
                "leave --policy out, or have a gate of its own with another --state",
            )
        )
    others = [flag for flag in launch.flags if flag.startswith("--") and not flag.startswith("--policy")]
    if others:
        _say(f"note: the gate running on '{launch.state}' keeps its own {', '.join(others)}")


def _environment(state: Path, gate: Behind) -> dict[str, str]:
    bundle = write_bundle(state, gate.ca)
    _say(f"held requests wait for a reviewer: {_review(state)}")
    _say(f"the agent can read how that works: {URL}")
    return child_environment(os.environ, proxy=gate.status.proxy, ca=gate.ca, bundle=bundle)


def _review(state: Path) -> str:
    """What finds this gate in any terminal and folder; its state is named where it is not the usual one."""
    there = {name: value for name, value in os.environ.items() if name != "SLUICE_STATE"}
    if state.absolute() == state_folder(None, there).absolute():
        return "sluice review"
    return f"sluice review --state {shlex.quote(str(state.absolute()))}"


def _guarded(command: Sequence[str], environment: Mapping[str, str], gate: Behind) -> int:
    apart = frozenset({gate.own.process.pid} if gate.own else ())
    with signals_held() as blocked:
        line = Lifeline(gate.control)
        line.watch(LOST)
        try:
            started = Command.start(command, environment, blocked=blocked, apart=apart)
        except CannotStartError as error:
            line.goodbye()
            _say(f"error: cannot run '{command[0]}': {error}")
            return error.status
        status = started.wait()
        if started.lost:
            _say("error: the gate has gone, so the command is ended: nothing guards it any more")
        left = started.end()
        if gate.own and (raw := started.ended.get(gate.own.process.pid)) is not None:
            gate.own.process.returncode = os.waitstatus_to_exitcode(raw)
        if left:
            return _cannot(_not_ended(left))
        line.goodbye()
        return status


class Lifeline:
    """
    The connection by which the gate knows the tree.

    No thread keeps it: while one thread of a process that is killed still holds the connection,
    another can already have handed the children on, and the gate would see neither.
    """

    def __init__(self, control: Path) -> None:
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._connection.settimeout(_ANSWERS_WITHIN)
        try:
            with address(control) as name:
                self._connection.connect(name)
            self._ask(Verb.RUN_HELLO)
        except BaseException:
            self._connection.close()
            raise

    def watch(self, signum: signal.Signals) -> None:
        """Be sent this signal when the gate goes; to be called with it held back."""
        if signal_on_news(self._connection, signum):
            os.kill(os.getpid(), signum)

    def goodbye(self) -> None:
        """Tell the gate that nothing of the tree is left."""
        # A gate that has gone has no lock to leave behind.
        with self._connection, contextlib.suppress(OSError):
            self._ask(Verb.RUN_GOODBYE)

    def _ask(self, verb: Verb) -> None:
        self._connection.sendall(encode(Call(verb)))
        answer = b""
        while not answer.endswith(b"\n"):
            part = self._connection.recv(65536)
            if not part or len(answer) > LINE_LIMIT:
                raise ConnectionResetError("the gate closed the connection")
            answer += part
        message = decode(answer)
        if isinstance(message, Failure):
            raise message.error()


def _not_ended(left: Sequence[Process]) -> Problem:
    pids = ", ".join(str(process.pid) for process in left[:8])
    return Problem(
        f"{len(left)} processes of the command could not be ended: {pids}",
        "they could answer their own requests, so the gate takes no approval over its socket now",
        "end them, then lift the lock at the gate's console",
    )


def _cannot(*problems: Problem) -> int:
    for problem in problems:
        for line in str(problem).splitlines():
            _say(line)
    return CANNOT


def _say(line: str) -> None:
    print(f"sluice: {line}", file=sys.stderr, flush=True)
