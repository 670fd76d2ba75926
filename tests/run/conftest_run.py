"""A gate's control socket without a gate: the real server and guard over a desk of one hold."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from proxy.control import ControlServer, Guard
from proxy.demo.authority import Authority
from proxy.reviewers import Reviewers
from proxy.wire import Call, Change, Desk, HoldView, Snapshot, Status, Verb

DEADLINE = 20.0
PROXY = "http://127.0.0.1:9"
POLICY = "9f" * 32


def one_hold() -> HoldView:
    return HoldView(
        id="7f3k2q",
        rule="refunds-wait",
        rules=("refunds-wait",),
        why="A refund moves money.",
        agent="uid:agent",
        method="POST",
        url="https://api.stripe.com/v1/refunds",
        operation="POST /v1/refunds",
        says="Refund",
        show={},
        digest="00" * 32,
        opened=1.0,
        deadline=2.0,
        approvals_needed=1,
    )


@dataclass
class OneHold(Desk):
    """A desk with one hold that any reviewer may answer; it remembers the answers."""

    answers: list[bool] = field(default_factory=list)

    async def changes(self) -> AsyncIterator[Snapshot | Change]:
        yield await self.snapshot()

    async def snapshot(self) -> Snapshot:
        return Snapshot(Status(proxy=PROXY, policy=POLICY), (one_hold(),))

    async def take(self, call: Call) -> HoldView | Status:
        match call.verb:
            case Verb.SHOW:
                return one_hold()
            case Verb.REVIEW:
                self.answers.append(call.approves)
                return replace(one_hold(), state="approved")
            case _:
                return (await self.snapshot()).status


@dataclass
class Socket:
    """The control socket of a state folder, and what was answered over it."""

    state: Path
    server: ControlServer
    desk: OneHold
    guard: Guard

    @property
    def path(self) -> Path:
        return self.server.path


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[Socket]:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "ca.pem").write_bytes(Authority.make().certificate)
    desk, guard = OneHold(), Guard()
    server = ControlServer(state / "control.sock", lambda _: desk, reviewers=Reviewers(), guard=guard)
    await server.open()
    yield Socket(state, server, desk, guard)
    await server.close()


RUN = """
import sys
from pathlib import Path
from proxy.errors import SluiceError
from proxy.run import Launch, run
state, policy, *command = sys.argv[1:]
try:
    sys.exit(run(Launch(tuple(command), Path(state), policy=policy or None)))
except SluiceError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit)
"""


def run_command(state: Path, *command: str, policy: str = "") -> list[str]:
    """The arguments of a process that is `sluice run -- COMMAND`."""
    return [sys.executable, "-c", RUN, str(state), policy, *command]


async def start(state: Path, *command: str, **options: Any) -> asyncio.subprocess.Process:
    policy = options.pop("policy", "")
    return await asyncio.create_subprocess_exec(
        *run_command(state, *command, policy=policy),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        **options,
    )


async def finish(process: asyncio.subprocess.Process) -> tuple[int, str, str]:
    """Exit status, stdout and stderr once it has ended."""
    async with asyncio.timeout(DEADLINE):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def line_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(DEADLINE):
        return (await process.stdout.readline()).decode().strip()


async def until(true: Callable[[], bool], what: str) -> None:
    """Wait for something to become true."""
    try:
        async with asyncio.timeout(DEADLINE):
            while not true():
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"never true: {what}")


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def kill(pid: int, signum: int) -> None:
    os.kill(pid, signum)
