"""The control socket: who may ask, what it costs, and that an agent cannot answer for itself."""

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from memory_desk import MemoryDesk, hold_view

from proxy.control import ControlDesk, ControlServer, Guard, guarded_run
from proxy.control import server as limits
from proxy.errors import Exit, SluiceError
from proxy.linux import peer as kernel
from proxy.reviewers import Reviewers, parse
from proxy.wire import CALL_LIMIT, Call, Change, Snapshot, Verb, decode, encode

DEADLINE = 10.0


@asynccontextmanager
async def serving(folder, desk=None, *, reviewers=None, group=None, guard=None):
    """A control socket over a desk in memory; the server, the desk, and a client of it."""
    desk = desk or MemoryDesk()
    path = folder / "control.sock"
    server = ControlServer(path, desk.ask, reviewers=reviewers or Reviewers(), guard=guard or Guard())
    await server.open(group)
    try:
        yield server, desk, ControlDesk(path)
    finally:
        await server.close()


async def until(found):
    """Wait for a thing, with a deadline."""
    async with asyncio.timeout(DEADLINE):
        while not found():
            await asyncio.sleep(0.01)


async def refused(awaitable, exit=Exit.NO):
    """The problem with which something is refused."""
    with pytest.raises(SluiceError) as caught:
        await awaitable
    assert caught.value.exit is exit
    return caught.value.problems[0]


# What a reviewer can do


async def test_a_reviewer_in_another_process_sees_and_answers_as_at_the_desk(tmp_path):
    async with serving(tmp_path) as (_, desk, client):
        view = desk.open(hold_view(1))
        assert (await client.snapshot()).holds[0].says == view.says
        assert (await client.show("0001")).body == view.body
        answered = await client.review("0001", approves=True, reason="fine", digest=view.digest)
        assert answered.state == "approved"
        assert desk.calls[0][:4] == ("approve", view.id, "fine", view.digest)


async def test_every_verb_reaches_the_desk(tmp_path):
    async with serving(tmp_path) as (_, desk, client):
        desk.open(hold_view(1))
        assert (await client.pause("uid:agent")).paused == ("uid:agent",)
        assert (await client.resume("uid:agent")).paused == ()
        assert (await client.accept("abc")).policy == "abc"
        assert (await client.status()).proxy == desk.status.proxy
        await client.review("0001", approves=False, reason="no")
        assert [call[0] for call in desk.calls] == ["pause", "resume", "accept", "deny"]


async def test_what_the_desk_refuses_is_refused_here_with_its_own_words(tmp_path):
    async with serving(tmp_path) as (_, desk, client):
        desk.open(hold_view(1))
        desk.settle(hold_view(1).id, "abandoned", "the agent left")
        assert (await refused(client.review("0001", approves=True))).what == "hold 0001kk is gone: abandoned"


async def test_changes_come_as_they_happen_after_a_snapshot(tmp_path):
    async with serving(tmp_path) as (_, desk, client):
        desk.open(hold_view(1))
        changes = client.changes()
        first = await anext(changes)
        assert isinstance(first, Snapshot) and len(first.holds) == 1
        desk.open(hold_view(2))
        desk.settle(hold_view(1).id, "expired")
        seen = [await anext(changes), await anext(changes)]
        assert [(change.kind, change.hold.id[:4]) for change in seen] == [
            ("opened", "0002"),
            ("settled", "0001"),
        ]
        await changes.aclose()
        await until(lambda: not desk.listeners)


async def test_a_reader_who_was_too_slow_can_begin_anew_with_a_snapshot(tmp_path):
    async with serving(tmp_path) as (_, desk, client):
        changes = client.changes()
        await anext(changes)
        desk.tell(Snapshot(desk.status, (hold_view(1), hold_view(2))))
        again = await anext(changes)
        assert isinstance(again, Snapshot) and len(again.holds) == 2
        await changes.aclose()


async def test_when_the_gate_stops_whoever_listens_is_told(tmp_path):
    async with serving(tmp_path) as (server, _, client):
        changes = client.changes()
        await anext(changes)
        await server.close()
        await refused(anext(changes), Exit.UNREACHABLE)


async def test_a_thousand_holds_come_whole(tmp_path):
    async with serving(tmp_path) as (_, desk, client):
        for number in range(1000):
            desk.holds[str(number)] = hold_view(number)
        assert len((await client.snapshot()).holds) == 1000


async def test_without_a_gate_the_client_says_what_to_do(tmp_path):
    problem = await refused(ControlDesk(tmp_path / "control.sock").snapshot(), Exit.UNREACHABLE)
    assert "no running gate" in problem.what and "sluice up" in problem.fix


# Who the reviewer is


async def test_the_reviewer_is_the_account_that_the_kernel_names(tmp_path):
    async with serving(tmp_path) as (_, desk, client):
        desk.open(hold_view(1))
        await client.review("0001", approves=True)
        assert desk.calls[0][4].person == f"uid:{os.getuid()}"
        assert desk.calls[0][4].name == kernel.account(os.getuid())


async def test_a_name_is_taken_only_from_those_of_the_account(tmp_path):
    names = [{"name": "ada", "uid": os.getuid()}, {"name": "eve", "uid": os.getuid() + 1}]
    reviewers = parse({"version": 1, "reviewers": names}, "reviewers.yaml")
    async with serving(tmp_path, reviewers=reviewers) as (server, desk, _):
        desk.open(hold_view(1))
        await refused(ControlDesk(server.path, "eve").review("0001", approves=True))
        await ControlDesk(server.path, "ada").review("0001", approves=True)
        assert [call[4].name for call in desk.calls] == ["ada"]


# The socket itself


async def test_the_socket_is_the_owners_alone(tmp_path):
    async with serving(tmp_path) as (server, _, _):
        assert stat.S_IMODE(server.path.stat().st_mode) == 0o600
    assert not server.path.exists()


async def test_with_a_review_group_the_socket_is_that_groups_too(tmp_path):
    group = os.getgid()
    async with serving(tmp_path, group=group) as (server, _, _):
        status = server.path.stat()
        assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o660, group)


async def test_the_socket_of_a_gate_that_died_is_replaced(tmp_path):
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / "control.sock"))
    dead.close()
    async with serving(tmp_path) as (_, _, client):
        await client.snapshot()


async def test_the_socket_of_a_living_gate_is_not_taken(tmp_path):
    async with serving(tmp_path) as (_, _, client):
        second = ControlServer(
            tmp_path / "control.sock", MemoryDesk().ask, reviewers=Reviewers(), guard=Guard()
        )
        problem = await refused(second.open(), Exit.WRONG)
        assert "already" in problem.what and problem.why and "--state" in problem.fix
        await client.snapshot()


async def test_a_living_socket_that_took_no_lock_is_not_taken_either(tmp_path):
    other = socket.socket(socket.AF_UNIX)
    other.bind(str(tmp_path / "control.sock"))
    other.listen()
    server = ControlServer(tmp_path / "control.sock", MemoryDesk().ask, reviewers=Reviewers(), guard=Guard())
    assert "already" in (await refused(server.open(), Exit.WRONG)).what
    other.close()


async def test_what_is_no_socket_is_not_removed(tmp_path):
    (tmp_path / "control.sock").write_text("precious")
    server = ControlServer(tmp_path / "control.sock", MemoryDesk().ask, reviewers=Reviewers(), guard=Guard())
    assert "no socket" in (await refused(server.open(), Exit.WRONG)).what
    assert (tmp_path / "control.sock").read_text() == "precious"


async def test_a_folder_may_be_deeper_than_a_socket_address_is_long(tmp_path):
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    async with serving(deep) as (_, _, client):
        await client.snapshot()


# Hostile clients


async def raw(path, *lines):
    """What comes back for exactly these bytes."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        for line in lines:
            writer.write(line)
        async with asyncio.timeout(DEADLINE):
            return await reader.read()
    finally:
        writer.close()


WRONG = {
    "no JSON": b"hello\n",
    "an unknown verb": b'{"message": "call", "verb": "shell", "name": null}\n',
    "no call": encode(Change("status")),
    "goodbye without hello": encode(Call(Verb.RUN_GOODBYE)),
    "a line without end": b"x" * (CALL_LIMIT * 3),
}


@pytest.mark.parametrize("line", WRONG.values(), ids=WRONG.keys())
async def test_what_is_no_call_is_answered_with_a_failure_and_nothing_done(tmp_path, line):
    async with serving(tmp_path) as (server, desk, client):
        failure = decode(await raw(server.path, line))
        assert failure.exit == Exit.WRONG and not desk.calls
        await client.snapshot()


async def test_a_client_that_says_nothing_is_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(limits.Client.call, "__defaults__", (0.1,))
    async with serving(tmp_path) as (server, _, _):
        assert await raw(server.path) == b""


async def test_a_client_that_does_not_read_is_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "PATIENCE", 0.2)
    async with serving(tmp_path) as (server, desk, _):
        desk.open(hold_view(1, body="x" * 30_000_000))
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(server.path))
        client.sendall(encode(Call(Verb.SHOW, prefix="0001")))
        await until(lambda: server._clients)
        await until(lambda: not server._clients)
        client.close()


async def test_clients_beyond_the_limit_are_told_so(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "CONNECTIONS", 3)
    async with serving(tmp_path) as (server, _, client):
        idle = [await asyncio.open_unix_connection(str(server.path)) for _ in range(3)]
        await until(lambda: len(server._clients) == 3)
        assert "served already" in (await refused(client.snapshot())).what
        for _, writer in idle:
            writer.close()
        await until(lambda: not server._clients)
        await client.snapshot()


async def test_a_bug_in_the_desk_is_an_answer_that_says_nothing_of_it(tmp_path, caplog):
    class Broken(MemoryDesk):
        def ask(self, reviewer):
            return self

        async def take(self, call):
            raise RuntimeError("secret detail")

    async with serving(tmp_path, Broken()) as (_, _, client):
        problem = await refused(client.pause())
        assert "secret" not in f"{problem}" and "secret detail" in caplog.text
        await client.snapshot()


async def test_a_client_that_leaves_while_it_is_answered_harms_nobody(tmp_path):
    async with serving(tmp_path) as (server, desk, client):
        desk.open(hold_view(1))
        desk.gate = asyncio.Event()
        _, writer = await asyncio.open_unix_connection(str(server.path))
        writer.write(encode(Call(Verb.REVIEW, prefix="0001", approves=True)))
        await until(lambda: server._clients)
        writer.close()
        desk.gate.set()
        await until(lambda: not server._clients)
        assert (await client.show("0001")).state == "approved"


# Agents below a sluice run

ASK = f"""
import json, socket, sys
def ask(path, line):
    s = socket.socket(socket.AF_UNIX); s.connect(path)
    try: s.sendall(line)
    except BrokenPipeError: pass  # refused already
    return s.makefile("rb").readline().decode().strip()
APPROVE = {encode(Call(Verb.REVIEW, prefix="0001", approves=True))!r}
STATUS = {encode(Call(Verb.STATUS))!r}
HELLO = {encode(Call(Verb.RUN_HELLO))!r}
DENY = {encode(Call(Verb.REVIEW, prefix="0001", approves=False))!r}
SHOW = {encode(Call(Verb.SHOW, prefix="0001"))!r}
"""

# Says hello, becomes the subreaper of what it starts, and starts an agent.
RUN = (
    ASK
    + """
import os, subprocess, time
from proxy.linux.tree import become_subreaper
become_subreaper()
path, out, agent = sys.argv[1:]
s = socket.socket(socket.AF_UNIX); s.connect(path); s.sendall(HELLO)
guarded = s.makefile("rb"); guarded.readline()
print(ask(path, STATUS), ask(path, APPROVE), sep="\\n", flush=True)
subprocess.Popen([sys.executable, "-c", agent, path, out])
sys.stdin.readline()
s.sendall(b'{"message": "call", "verb": "run-goodbye", "name": null}\\n')
guarded.readline()
"""
)

AGENT = ASK + "open(sys.argv[2], 'w').write(ask(sys.argv[1], WHAT) + chr(10))\n"

DOUBLE_FORK = (
    ASK
    + """
import os, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
time.sleep(0.1)
answer = ask(sys.argv[1], APPROVE)
open(sys.argv[2], "w").write(answer + chr(10))
"""
)

# Kills the sluice run above it, and asks as soon as it has another parent.
KILLER = (
    ASK
    + """
import os, signal, time
run = os.getppid()
os.kill(run, signal.SIGKILL)
while os.getppid() == run: pass
answers = [ask(sys.argv[1], APPROVE) for _ in range(50)]
open(sys.argv[2], "w").write(chr(10).join(answers) + chr(10))
"""
)


class Run:
    """A process that guards an agent as `sluice run` does."""

    def __init__(self, folder, path, agent):
        self.out = folder / "answer"
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(path), str(self.out), agent],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env,
        )  # fmt: skip

    async def lines(self, count):
        return [json.loads(await asyncio.to_thread(self.process.stdout.readline)) for _ in range(count)]

    async def answers(self):
        await until(lambda: self.out.exists() and self.out.read_text().endswith("\n"))
        return [json.loads(line) for line in self.out.read_text().splitlines()]

    def goodbye(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@asynccontextmanager
async def running(tmp_path, agent):
    """A gate with one hold, and an agent behind a `sluice run`."""
    async with serving(tmp_path) as (server, desk, client):
        desk.open(hold_view(1))
        run = Run(tmp_path, server.path, agent)
        try:
            yield server, desk, client, run
        finally:
            run.close()


@pytest.mark.parametrize("what", ["APPROVE", "DENY", "SHOW", "STATUS", "HELLO", "b''"])
async def test_an_agent_below_a_sluice_run_is_refused_everything(tmp_path, what):
    async with running(tmp_path, AGENT.replace("WHAT", what)) as (_, desk, client, run):
        (answer,) = await run.answers()
        assert answer["message"] == "failure" and answer["exit"] == 1
        assert "agent" in answer["problems"][0]["what"]
        assert not desk.calls
        await client.review("0001", approves=True)


async def test_the_run_itself_may_ask_for_the_status_and_nothing_more(tmp_path):
    async with running(tmp_path, "pass") as (_, desk, _, run):
        status, approve = await run.lines(2)
        assert status["message"] == "status" and approve["message"] == "failure"
        assert not desk.calls


async def test_an_agent_that_forks_twice_and_leaves_its_parents_is_still_refused(tmp_path):
    async with running(tmp_path, DOUBLE_FORK) as (_, desk, _, run):
        (answer,) = await run.answers()
        assert answer["message"] == "failure" and "agent may not" in answer["problems"][0]["what"]
        assert not desk.calls


async def test_an_agent_that_kills_its_run_finds_the_desk_locked(tmp_path):
    async with running(tmp_path, KILLER) as (server, desk, client, run):
        answers = await run.answers()
        assert len(answers) == 50 and all(answer["message"] == "failure" for answer in answers)
        assert not desk.calls and f"process {run.process.pid}" in server.locked
        problem = await refused(client.review("0001", approves=True))
        assert "locked" in problem.what and "without goodbye" in problem.why and "console" in problem.fix


async def test_a_locked_desk_opens_nothing_from_the_socket_but_still_refuses(tmp_path):
    guard = Guard()
    async with serving(tmp_path, guard=guard) as (_, desk, client):
        desk.open(hold_view(1))
        guard.locked = "planted"
        for call in (
            client.review("0001", approves=True), client.accept("ab"), client.resume(), client.unlock(),
        ):  # fmt: skip
            await refused(call)
        assert not desk.calls
        await client.pause()
        await client.review("0001", approves=False)
        assert [call[0] for call in desk.calls] == ["pause", "deny"]


async def test_the_console_of_the_gate_lifts_the_lock(tmp_path):
    told = []
    guard = Guard(lambda: told.append(guard.locked))
    async with serving(tmp_path, guard=guard) as (server, desk, client):
        desk.open(hold_view(1))
        async with guarded_run(server.path):
            pass  # leaves without goodbye
        await until(lambda: server.locked)
        server.unlock()
        assert not server.locked and len(told) == 2
        await client.review("0001", approves=True)


async def test_unlocking_is_never_taken_from_the_socket(tmp_path):
    async with serving(tmp_path) as (_, _, client):
        assert "console" in (await refused(client.unlock())).what


async def test_a_run_that_says_goodbye_leaves_the_desk_open(tmp_path):
    async with running(tmp_path, "pass") as (server, _, client, run):
        await run.lines(2)
        assert server._guard.roots == 1
        run.goodbye()
        await until(lambda: not server._guard.roots)
        assert not server.locked
        await client.review("0001", approves=True)


async def test_a_run_that_breaks_its_word_locks_the_desk(tmp_path):
    async with serving(tmp_path) as (server, _, _):
        await raw(server.path, encode(Call(Verb.RUN_HELLO)), encode(Call(Verb.STATUS)))
        await until(lambda: server.locked)


async def test_while_an_agent_runs_a_process_that_cannot_be_told_from_it_is_refused(tmp_path):
    """A child hands its connection on and ends: nobody can say any more who asks."""
    async with serving(tmp_path) as (server, desk, _):
        desk.open(hold_view(1))
        run = Run(tmp_path, server.path, "pass")
        try:
            await run.lines(2)
            orphan = await handed_on(server.path)
            orphan.sendall(encode(Call(Verb.REVIEW, prefix="0001", approves=True)))
            answer = decode(await asyncio.to_thread(orphan.recv, 65536))
            assert "nobody can say which process asks" in answer.problems[0].what
            assert not desk.calls
            orphan.close()
        finally:
            run.close()


def test_nothing_is_answered_between_the_end_of_a_run_and_the_news_of_it(tmp_path):
    """Who was below it has another parent by then, and the gate has not read the end yet."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        code = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); input()"
        run = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "s")], stdin=subprocess.PIPE)
        connection, _ = listener.accept()
    guard = Guard()
    root = guard.hello(kernel.peer_of(connection), connection)
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    someone = kernel.peer_of(ours)
    guard.check(someone, Call(Verb.REVIEW, approves=True))
    run.kill()
    run.wait()
    with pytest.raises(SluiceError, match="just ending"):
        guard.check(someone, Call(Verb.REVIEW, approves=True))
    guard.lose(root)
    with pytest.raises(SluiceError, match="locked"):
        guard.check(someone, Call(Verb.REVIEW, approves=True))
    for thing in (connection, ours, theirs, run.stdin, someone):
        thing.close()


async def handed_on(path):
    ours, theirs = socket.socketpair()
    code = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
        "socket.send_fds(socket.socket(fileno=int(sys.argv[2])), [b'x'], [s.fileno()])"
    )
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(path), str(theirs.fileno()), pass_fds=[theirs.fileno()]
    )
    await child.wait()
    _, (descriptor,), _, _ = await asyncio.to_thread(socket.recv_fds, ours, 1, 1)
    ours.close()
    theirs.close()
    return socket.socket(fileno=descriptor)


async def test_more_agents_than_can_be_guarded_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("proxy.control.guard._ROOTS", 1)
    async with running(tmp_path, "pass") as (server, _, _, run):
        await run.lines(2)
        async with asyncio.timeout(DEADLINE):
            with pytest.raises(SluiceError) as caught:
                async with guarded_run(server.path):
                    pass
        assert "run already" in caught.value.problems[0].what


# What the kernel says


def test_ancestors_lead_from_a_process_to_the_first_one():
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    peer = kernel.peer_of(ours)
    line = kernel.ancestors(peer)
    assert [process.pid for process in line[:2]] == [os.getpid(), os.getppid()]
    assert line[-1].parent == 0
    peer.close()
    ours.close()
    theirs.close()


def test_a_process_that_has_ended_has_no_ancestors():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    peer = kernel.Peer(child.pid, os.getuid(), os.pidfd_open(child.pid))
    assert kernel.ancestors(peer) is not None
    child.send_signal(signal.SIGKILL)
    until = time.monotonic() + DEADLINE
    while not peer.gone and time.monotonic() < until:
        pass
    assert peer.gone and kernel.ancestors(peer) is None
    child.wait()
    child.stdin.close()
    peer.close()


def test_a_process_that_we_cannot_see_has_no_ancestors():
    assert kernel.ancestors(kernel.Peer(0, 0, None)) is None


def test_an_account_without_a_name_goes_by_its_number():
    assert kernel.account(0) == "root"
    assert kernel.account(4_000_000_000) == "4000000000"
