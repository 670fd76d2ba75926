"""`sluice run`: a command, its signals, and what it leaves behind, before a real control socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import pexpect
import pytest
from conftest_run import Socket, alive, finish, line_of, run_command, start, until

from proxy.control.client import ControlDesk
from proxy.errors import SluiceError

PYTHON = sys.executable

# Forks twice, starts a session of its own and lets go of everything; prints the pid that stays.
DAEMON = """
import os, sys, time
r, w = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(w, str(os.getpid()).encode())
        os.close(1); os.close(2)
        {body}
        time.sleep(600)
    os._exit(0)
os.wait()
print(os.read(r, 32).decode(), flush=True)
{after}
"""

# Answers the hold from inside the tree; prints what it was told.
ANSWER = """
import asyncio, sys
from pathlib import Path
from proxy.control.client import ControlDesk
from proxy.errors import SluiceError
async def main():
    try:
        await ControlDesk(Path(sys.argv[1])).review("7f3k2q", approves=True)
        print("taken", flush=True)
    except SluiceError as error:
        print(error.problems[0].what, flush=True)
asyncio.run(main())
"""


def daemon(body: str = "pass", after: str = "") -> tuple[str, str, str]:
    return PYTHON, "-c", DAEMON.format(body=body, after=after)


async def approve(control: Socket) -> str:
    """What a reviewer outside every tree is told."""
    try:
        await ControlDesk(control.path).review("7f3k2q", approves=True)
    except SluiceError as error:
        return error.problems[0].what
    return "taken"


@pytest.mark.parametrize(
    ("command", "status"),
    [("exit 0", 0), ("exit 3", 3), ("exit 125", 125), ("kill -TERM $$", 143), ("kill -KILL $$", 137)],
)
async def test_the_exit_status_is_the_commands(control: Socket, command: str, status: int) -> None:
    assert (await finish(await start(control.state, "sh", "-c", command)))[0] == status
    assert control.guard.locked == ""


async def test_a_command_that_is_not_there_is_127(control: Socket) -> None:
    status, _, said = await finish(await start(control.state, "no-such-command"))
    assert status == 127
    assert "sluice: error: cannot run 'no-such-command'" in said
    assert control.guard.locked == ""


async def test_a_command_that_cannot_be_executed_is_126(control: Socket, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a program")
    assert (await finish(await start(control.state, str(tmp_path / "text"))))[0] == 126


async def test_a_gate_that_does_not_come_up_is_125(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    status, _, said = await finish(await start(tmp_path / "state", "touch", str(tmp_path / "ran")))
    assert status == 125
    assert said.startswith("sluice: error: ")
    assert not (tmp_path / "ran").exists()


async def test_another_policy_than_the_running_gates_is_2_and_runs_nothing(
    control: Socket, tmp_path: Path
) -> None:
    process = await start(control.state, "touch", str(tmp_path / "ran"), policy="ab" * 32)
    status, _, said = await finish(process)
    assert status == 2
    assert "another policy" in said
    assert not (tmp_path / "ran").exists()


async def test_the_same_policy_as_the_running_gates_runs(control: Socket) -> None:
    assert (await finish(await start(control.state, "true", policy="9f" * 32)))[0] == 0


async def test_the_child_sees_the_proxy_and_a_bundle_that_loads(control: Socket) -> None:
    code = (
        "import json, os, ssl; ssl.create_default_context(cafile=os.environ['SSL_CERT_FILE']);"
        "print(json.dumps(dict(os.environ)))"
    )
    _, out, _ = await finish(await start(control.state, PYTHON, "-c", code))
    environment = json.loads(out)
    assert environment["HTTPS_PROXY"] == environment["http_proxy"] == "http://127.0.0.1:9"
    assert environment["NO_PROXY"] == ""
    assert environment["SLUICE_ABOUT"] == "http://sluice.invalid/"


async def test_the_child_is_told_how_to_review_and_gets_no_console(control: Socket) -> None:
    _, out, said = await finish(await start(control.state, "echo", "hi"))
    assert out == "hi\n"
    assert said == (
        f"sluice: held requests wait for a reviewer: sluice review --state {control.state}\n"
        "sluice: the agent can read how that works: http://sluice.invalid/\n"
    )


async def test_a_state_folder_is_named_so_that_it_is_found_anywhere_and_the_usual_one_not_at_all(
    control: Socket, tmp_path: Path
) -> None:
    _, _, said = await finish(await start(Path(control.state.name), "true", cwd=tmp_path))
    assert f"sluice review --state {control.state}\n" in said
    (tmp_path / "sluice").symlink_to(control.state)
    usual = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    _, _, said = await finish(await start(tmp_path / "sluice", "true", env=usual))
    assert "for a reviewer: sluice review\n" in said


async def test_nothing_of_ours_is_open_in_the_child(control: Socket) -> None:
    code = "import os; print(sorted(os.listdir('/proc/self/fd'), key=int))"
    _, out, _ = await finish(await start(control.state, PYTHON, "-c", code))
    assert out.strip() == "['0', '1', '2', '3']"  # 3 is the listing itself


async def test_the_child_starts_with_no_signal_blocked_or_ignored(control: Socket) -> None:
    _, out, _ = await finish(await start(control.state, "grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"))
    signals = 2**31 - 1  # 32 and 33 are the C library's own, which it ignores in all that it spawns
    assert [int(mask, 16) & signals for mask in out.split()[1::2]] == [0, 0]


async def test_the_child_stays_in_the_process_group_of_the_pipeline(control: Socket) -> None:
    process = await start(control.state, PYTHON, "-c", "import os; print(os.getpgrp())", process_group=0)
    assert (await finish(process))[1].strip() == str(process.pid)


COUNT = """
import os, signal, sys, time
got = []
def tell(text):  # not print, which may be at work when the signal comes
    os.write(1, text.encode() + b"\\n")
def note(number, _):
    got.append(number)
    tell(f"{signal.Signals(number).name} {len(got)}")
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH):
    signal.signal(number, note)
tell("ready")
while not (signal.SIGTERM in got): time.sleep(0.01)
sys.exit(len(got))
"""


async def test_a_signal_sent_to_run_reaches_the_command_once(control: Socket) -> None:
    process = await start(control.state, PYTHON, "-c", COUNT)
    assert await line_of(process) == "ready"
    names = ("SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGTERM")
    for count, name in enumerate(names, 1):
        process.send_signal(signal.Signals[name])
        assert await line_of(process) == f"{name} {count}"
    assert (await finish(process))[0] == len(names)


async def test_a_signal_from_below_is_not_sent_back(control: Socket) -> None:
    code = COUNT.replace(
        "while",
        "import os; os.kill(os.getppid(), signal.SIGUSR1); time.sleep(0.3); sys.exit(len(got))\nwhile",
    )
    assert (await finish(await start(control.state, PYTHON, "-c", code)))[0] == 0


def in_terminal(control: Socket, *command: str) -> pexpect.spawn[bytes]:
    arguments = run_command(control.state, *command)
    return pexpect.spawn(arguments[0], arguments[1:], timeout=20)


async def test_ctrl_c_reaches_the_command_once(control: Socket) -> None:
    terminal = in_terminal(control, PYTHON, "-c", COUNT)
    await terminal.expect("ready", async_=True)
    terminal.sendintr()
    await terminal.expect("SIGINT 1", async_=True)
    terminal.kill(signal.SIGTERM)
    await terminal.expect("SIGTERM 2", async_=True)
    await terminal.expect(pexpect.EOF, async_=True)
    terminal.close()
    assert terminal.exitstatus == 2


async def test_a_shell_can_stop_the_command_and_bring_it_back(control: Socket, tmp_path: Path) -> None:
    script = tmp_path / "job.sh"
    arguments = run_command(control.state, "sh", "-c", "echo wor''king; read line; echo got $line")
    script.write_text("#!/bin/sh\nexec " + " ".join(_quoted(part) for part in arguments))
    script.chmod(0o755)
    shell = pexpect.spawn(
        "bash", ["--norc", "--noprofile", "-i"], timeout=20, env={**os.environ, "PS1": "$ "}
    )
    shell.sendline(str(script))
    await shell.expect("working", async_=True)
    shell.sendcontrol("z")
    await shell.expect("Stopped", async_=True)
    shell.sendline("echo pro''mpt")
    await shell.expect("prompt", async_=True)
    shell.sendline("fg")
    await shell.expect("job.sh", async_=True)
    shell.sendline("input")
    await shell.expect("got input", async_=True)
    shell.sendline("echo status''=$?")
    await shell.expect("status=0", async_=True)
    shell.close(force=True)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


async def test_a_shell_with_jobs_of_its_own_runs_as_the_command(control: Socket) -> None:
    terminal = in_terminal(control, "bash", "--norc", "--noprofile", "-i")
    await terminal.expect("[#$] ", async_=True)
    terminal.sendline("sh -c 'echo in\"\"side; exec sleep 100'")
    await terminal.expect("inside", async_=True)
    terminal.sendcontrol("c")
    await terminal.expect("[#$] ", async_=True)
    terminal.sendline("exit 7")
    await terminal.expect(pexpect.EOF, async_=True)
    terminal.close()
    assert terminal.exitstatus == 7


async def test_what_forked_twice_and_left_is_ended_before_goodbye(control: Socket) -> None:
    process = await start(control.state, *daemon())
    pid = int(await line_of(process))
    status, _, _ = await finish(process)
    assert status == 0
    assert not alive(pid)
    assert (control.guard.roots, control.guard.locked) == (0, "")
    assert await approve(control) == "taken"


async def test_what_ignores_sigterm_is_killed_and_a_signal_cuts_the_grace_short(control: Socket) -> None:
    ignoring = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    process = await start(control.state, *daemon(ignoring))
    pid = int(await line_of(process))
    begun = time.monotonic()
    while process.returncode is None:  # before the command is waited for, a signal is the command's
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(process.wait()), 0.1)
    await finish(process)
    assert not alive(pid)
    assert time.monotonic() - begun < 4.5


async def test_a_stopped_process_is_ended_too(control: Socket, tmp_path: Path) -> None:
    said = tmp_path / "said"
    told = f"lambda *_: (open({str(said)!r}, 'w').close(), os._exit(0))"
    body = f"import signal; signal.signal(signal.SIGTERM, {told}); os.kill(os.getpid(), signal.SIGSTOP)"
    process = await start(control.state, *daemon(body))
    pid = int(await line_of(process))
    await finish(process)
    assert not alive(pid)
    assert said.exists(), "by SIGTERM, not by the SIGKILL at the end of the grace"


@pytest.mark.parametrize("way", ["directly", "double-forked"])
async def test_an_agent_in_a_run_tree_cannot_approve_itself(
    control: Socket, tmp_path: Path, way: str
) -> None:
    answer = tmp_path / "answer.py"
    answer.write_text(ANSWER)
    told = tmp_path / "told"
    inside = f"os.system('{PYTHON} {answer} {control.path} > {told}')"
    if way == "directly":
        command: tuple[str, ...] = (PYTHON, "-c", f"import os; {inside}")
    else:
        wait = f"while not (os.path.exists('{told}') and os.path.getsize('{told}')): time.sleep(0.02)"
        command = daemon(inside, wait)
    status, _, said = await finish(await start(control.state, *command))
    assert status == 0, said
    assert told.read_text().strip() not in ("", "taken")
    assert control.desk.answers == []


async def test_an_agent_that_kills_run_locks_the_socket_for_everyone(control: Socket, tmp_path: Path) -> None:
    answer = tmp_path / "answer.py"
    answer.write_text(ANSWER)
    told = tmp_path / "told"
    body = (
        "import signal; os.kill(int(sys.argv[1]), signal.SIGKILL); "
        f"os.system('{PYTHON} {answer} {control.path} > {told}')"
    )
    program = daemon(body, "time.sleep(600)")
    shell = f'exec {PYTHON} -c "$0" $PPID'
    process = await start(control.state, "sh", "-c", shell, program[2])
    try:
        await until(lambda: told.exists() and told.read_text().endswith("\n"), "the agent was answered")
        assert told.read_text() != "taken\n"
        await until(lambda: control.guard.locked != "", "the socket is locked")
        assert await approve(control) == "the desk is locked: nothing is approved over the socket"
        assert control.desk.answers == []
        control.server.unlock()
        assert await approve(control) == "taken"
    finally:
        _end_all_that_run(program[2])
        await finish(process)


def _end_all_that_run(program: str) -> None:
    # Nothing is above them any more: they are known by the program that they run.
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if program.encode() in (entry / "cmdline").read_bytes():
                    os.kill(int(entry.name), signal.SIGKILL)
            except OSError:
                continue


async def test_where_the_gate_goes_the_command_is_ended_at_once(control: Socket) -> None:
    # What ignores SIGTERM would have five seconds to approve itself at a gate that is started again.
    ignoring = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    process = await start(control.state, *daemon(ignoring, after="time.sleep(600)"))
    pid = int(await line_of(process))
    begun = time.monotonic()
    await asyncio.shield(control.server.close())
    status, _, said = await finish(process)
    assert status == 125
    assert "the gate has gone" in said
    assert not alive(pid)
    assert time.monotonic() - begun < 4


async def test_run_keeps_to_one_thread(control: Socket) -> None:
    # Of several threads one can hand the children on before another has closed the connection.
    process = await start(control.state, PYTHON, "-c", "print('ready', flush=True); input()", stdin=-1)
    assert await line_of(process) == "ready"
    assert len(os.listdir(f"/proc/{process.pid}/task")) == 1
    await finish(process)


async def test_run_cannot_be_traced_and_the_command_can(control: Socket) -> None:
    ask = "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), flush=True)"  # PR_GET_DUMPABLE
    launch = f"Launch(({PYTHON!r}, '-c', {ask!r}), Path({str(control.state)!r}))"
    code = f"from pathlib import Path; from proxy.run import Launch, run; run({launch}); {ask}"
    process = await asyncio.create_subprocess_exec(PYTHON, "-c", code, stdout=-1, stderr=-1)
    _, out, _ = await finish(process)
    assert out.split() == ["1", "0"]
