"""`sluice run` with a gate of its own: the real one, from the command line down."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest_run import alive, finish, line_of, until

from proxy.childgate import ChildGate, start_gate
from proxy.demo.authority import Authority
from proxy.demo.fakes import BANK, fakes
from proxy.demo.upstream import Upstream

SLUICE = [sys.executable, "-P", "-m", "proxy"]

POLICY = """\
version: 1
default: {read: allow, write: hold, new_host: allow}
"""

READ = f"""
import urllib.request, sys
print(urllib.request.urlopen('https://{BANK}/v1/balance', timeout=20).status, flush=True)
"""


@pytest.fixture
def upstream() -> Iterator[tuple[Upstream, Authority]]:
    authority = Authority.make()
    with fakes(authority).serve() as served:
        yield served, authority


@pytest.fixture
def flags(tmp_path: Path, upstream: tuple[Upstream, Authority]) -> list[str]:
    served, authority = upstream
    (tmp_path / "upstream.pem").write_bytes(authority.certificate)
    (tmp_path / "policy.yaml").write_text(POLICY)
    named = [f"--policy={tmp_path}/policy.yaml", f"--upstream-ca={tmp_path}/upstream.pem"]
    return [*named, *served.resolve_flags()]


async def sluice_run(state: Path, flags: list[str], *command: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(*SLUICE, "run", "--state", str(state), *flags, "--", *command),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def gates(state: Path) -> list[int]:
    """The processes of `sluice up` on this state."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"up" in words and str(state).encode() in words:
                found.append(int(entry.name))
    return [pid for pid in found if alive(pid)]


async def test_a_command_reaches_upstream_through_a_gate_that_ends_with_it(
    tmp_path: Path, flags: list[str], upstream: tuple[Upstream, Authority]
) -> None:
    state = tmp_path / "state"
    status, out, said = await finish(await sluice_run(state, flags, sys.executable, "-c", READ))
    assert (status, out) == (0, "200\n"), said
    assert upstream[0].count(BANK, "GET") == 1
    assert gates(state) == []
    verified = subprocess.run([*SLUICE, "ledger", "verify", "--state", str(state)], capture_output=True)
    assert verified.returncode == 0


async def test_the_gate_of_a_run_that_was_killed_stops_and_so_does_the_path(
    tmp_path: Path, flags: list[str]
) -> None:
    state = tmp_path / "state"
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    process = await sluice_run(state, flags, sys.executable, "-c", code)
    left = int(await line_of(process))
    try:
        assert len(gates(state)) == 1
        process.kill()
        await until(lambda: not gates(state), "the gate has stopped")
    finally:
        os.kill(left, signal.SIGKILL)
        await finish(process)


@pytest.fixture
def gate(tmp_path: Path, flags: list[str]) -> Iterator[ChildGate]:
    with start_gate(tmp_path / "state", ["--listen=127.0.0.1:0", *flags]) as running:
        yield running


async def test_a_command_runs_behind_the_gate_that_is_there(
    tmp_path: Path, gate: ChildGate, upstream: tuple[Upstream, Authority]
) -> None:
    status, out, said = await finish(await sluice_run(tmp_path / "state", [], sys.executable, "-c", READ))
    assert (status, out) == (0, "200\n"), said
    assert gates(tmp_path / "state") == [gate.process.pid]
    assert upstream[0].count(BANK, "GET") == 1


async def test_the_policy_of_the_gate_that_is_there_may_be_named_and_no_other(
    tmp_path: Path, gate: ChildGate
) -> None:
    same = [f"--policy={tmp_path}/policy.yaml"]
    assert (await finish(await sluice_run(tmp_path / "state", same, "true")))[0] == 0
    (tmp_path / "other.yaml").write_text(
        "version: 1\ndefault: {read: allow, write: allow, new_host: allow}\n"
    )
    other = [f"--policy={tmp_path}/other.yaml"]
    status, _, said = await finish(await sluice_run(tmp_path / "state", other, "true"))
    assert status == 2
    assert "another policy" in said


async def test_flags_that_cannot_change_the_gate_that_is_there_are_said(
    tmp_path: Path, gate: ChildGate
) -> None:
    process = await sluice_run(tmp_path / "state", ["--record", "strict"], "true")
    status, _, said = await finish(process)
    assert status == 0
    assert "keeps its own --record" in said
