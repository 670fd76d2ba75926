"""Starting, serving and stopping a gate."""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import pwd
import resource
import socket
import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from proxy.decision import Decision, Happened
from proxy.errors import SluiceError
from proxy.gate.ca import CERTIFICATE, KEY, open_authority
from proxy.gate.embedding import Gate, GateConfig
from proxy.linux.sockets import is_local, peer_uid

from .conftest import LIMIT, Agent, Listen, Open, Pki, SmallDoor, Upstream, get, post
from .http2 import Agent2

NOW = datetime.datetime.now(datetime.UTC)


def three_parts(error: SluiceError) -> str:
    problem = error.problems[0]
    assert problem.what
    assert problem.why
    assert problem.fix
    return problem.what


async def test_a_port_in_use_is_said_with_a_way_out(tmp_path: Path, door: SmallDoor) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        gate = Gate(GateConfig(tmp_path, port=taken.getsockname()[1]), door)
        with pytest.raises(SluiceError) as caught:
            await gate.start()
    assert "in use" in three_parts(caught.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
async def test_the_gate_listens_on_loopback_alone(tmp_path: Path, door: SmallDoor, host: str) -> None:
    with pytest.raises(SluiceError) as caught:
        await Gate(GateConfig(tmp_path, host=host, port=0), door).start()
    assert host in three_parts(caught.value)


async def test_the_gate_listens_on_ipv6_too(open_gate: Open, upstream: Upstream) -> None:
    gate = await open_gate(host="::1")
    agent = Agent(*await asyncio.open_connection("::1", gate.port))
    agent.send(get(upstream.port, "/stream"))
    assert (await agent.answer())[0] == 200


def test_a_ca_is_made_once_and_its_key_is_ours_alone(tmp_path: Path) -> None:
    first = open_authority(tmp_path, NOW)
    again = open_authority(tmp_path, NOW)
    assert first.certificate == again.certificate
    assert (tmp_path / KEY).stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE" not in (tmp_path / CERTIFICATE).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [KEY, CERTIFICATE]


def other_key(folder: Path) -> None:
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    open_authority(elsewhere, NOW)
    (elsewhere / KEY).replace(folder / KEY)


def open_to_all(folder: Path) -> None:
    (folder / KEY).chmod(0o640)


def no_certificate(folder: Path) -> None:
    (folder / CERTIFICATE).unlink()


def no_key(folder: Path) -> None:
    (folder / KEY).unlink()


def no_pem(folder: Path) -> None:
    (folder / CERTIFICATE).write_text("nonsense")


def half_a_key(folder: Path) -> None:
    (folder / KEY).write_bytes((folder / KEY).read_bytes()[:60])


@pytest.mark.parametrize("spoil", [other_key, open_to_all, no_certificate, no_key, no_pem, half_a_key])
async def test_a_ca_that_cannot_be_trusted_stops_the_start(
    tmp_path: Path, door: SmallDoor, spoil: Callable[[Path], None]
) -> None:
    open_authority(tmp_path, NOW)
    spoil(tmp_path)
    with pytest.raises(SluiceError) as caught:
        await Gate(GateConfig(tmp_path, port=0), door).start()
    three_parts(caught.value)


def test_an_expired_ca_stops_the_start(tmp_path: Path) -> None:
    open_authority(tmp_path, NOW)
    with pytest.raises(SluiceError) as caught:
        open_authority(tmp_path, NOW + datetime.timedelta(days=4000))
    three_parts(caught.value)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(SluiceError) as caught:
        open_authority(tmp_path / "missing", NOW)
    three_parts(caught.value)


async def test_an_upstream_ca_that_cannot_be_read_stops_the_start(tmp_path: Path, door: SmallDoor) -> None:
    with pytest.raises(SluiceError) as caught:
        await Gate(GateConfig(tmp_path, port=0, upstream_ca=tmp_path / "none.pem"), door).start()
    assert "none.pem" in three_parts(caught.value)


@pytest.mark.parametrize("host", ["api.test", "127.0.0.1", "::1", "a" * 60 + ".example.test", "*.odd.test"])
def test_a_leaf_is_for_its_host_alone_and_short_lived(tmp_path: Path, host: str) -> None:
    authority = open_authority(tmp_path, NOW)
    leaf = authority.leaf(host, ec.generate_private_key(ec.SECP256R1()).public_key(), NOW)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert len(list(names)) == 1
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc < datetime.timedelta(days=200)
    leaf.verify_directly_issued_by(authority.certificate)


@pytest.mark.parametrize("host", ["api.test", "127.0.0.1"])
async def test_strict_clients_accept_the_leaf(open_gate: Open, upstream: Upstream, host: str) -> None:
    gate = await open_gate()
    agent = await gate.tunnel(host, 8443)
    context = ssl.create_default_context(cafile=str(gate.gate.ca_pem))
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    await agent.writer.start_tls(context, server_hostname=host)


async def test_a_second_tls_connection_can_resume_the_first(open_gate: Open, upstream: Upstream) -> None:
    gate = await open_gate()
    first = await gate.tls("api.test", 443)
    second = await gate.tls("api.test", 443)
    assert first.writer.get_extra_info("peercert") == second.writer.get_extra_info("peercert")


async def test_an_agent_is_named_by_its_user(open_gate: Open, upstream: Upstream, door: SmallDoor) -> None:
    gate = await open_gate()
    await (await gate.send(get(upstream.port, "/stream"))).answer()
    assert door.heard[0].request.agent == f"uid:{pwd.getpwuid(os.geteuid()).pw_name}"


async def test_processes_of_another_user_are_not_served(
    open_gate: Open, upstream: Upstream, door: SmallDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = await open_gate()
    monkeypatch.setattr("proxy.gate.embedding.own_uid", lambda: 4_000_000)
    agent = await gate.send(get(upstream.port, "/stream"))
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await agent.head()
    assert door.heard == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be someone else")
async def test_a_real_process_of_another_user_is_not_served(
    open_gate: Open, upstream: Upstream, door: SmallDoor
) -> None:
    gate = await open_gate()
    code = (
        "import socket, sys\n"
        f"s = socket.create_connection(('127.0.0.1', {gate.port}))\n"
        f"s.sendall({get(upstream.port, '/stream')!r})\n"
        "try:\n    got = s.recv(100)\nexcept ConnectionError:\n    got = b''\n"
        "sys.exit(len(got))\n"
    )
    other = await asyncio.create_subprocess_exec(
        "/usr/bin/env", "python3", "-I", "-c", code, user=65534, group=65534, cwd="/"
    )
    assert await other.wait() == 0
    assert door.heard == []


async def test_a_peer_that_the_kernel_cannot_name_is_not_served(
    open_gate: Open, upstream: Upstream, door: SmallDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = await open_gate()
    monkeypatch.setattr("proxy.gate.embedding.peer_uid", lambda peer, ours: None)
    agent = await gate.send(get(upstream.port, "/stream"))
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await agent.head()


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
@pytest.mark.parametrize("way", ["netlink", "proc"])
def test_the_kernel_names_the_user_of_a_peer(
    family: int, host: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "proc":

        def refuse(*_: object) -> None:
            raise OSError

        monkeypatch.setattr("proxy.linux.sockets._by_netlink", refuse)
    with socket.socket(family) as listening, socket.socket(family) as client:
        listening.bind((host, 0))
        listening.listen()
        client.connect(listening.getsockname())
        accepted, peer = listening.accept()
        ours = accepted.getsockname()
        assert peer_uid(peer[:2], ours[:2]) == os.geteuid()
        assert peer_uid((host, 1), ours[:2]) is None
        client.close()
        time.sleep(0.01)
        assert peer_uid(peer[:2], ours[:2]) in (None, os.geteuid())
        accepted.close()


def test_which_addresses_are_this_machines() -> None:
    assert is_local("127.0.0.1")
    assert is_local("127.1.2.3")
    assert is_local("::1")
    assert not is_local("192.0.2.1")
    assert not is_local("nonsense")


async def test_as_many_files_may_be_open_as_the_system_permits(open_gate: Open) -> None:
    await open_gate()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == hard


async def test_an_agent_that_says_nothing_for_long_is_left(open_gate: Open, upstream: Upstream) -> None:
    gate = await open_gate(idle=0.2)
    silent = await gate.connect()
    waiting = await gate.send(get(upstream.port, "/hold"))
    assert await silent.end() == b""
    await asyncio.sleep(0.3)
    assert not waiting.reader.at_eof()


class Closing(SmallDoor):
    """A door that refuses what waits when it closes, as admission does."""

    def close(self) -> None:
        from proxy.decision import By, Word

        for hearing in self.waiting:
            hearing.release()
            hearing.settle(Decision(Word.UNAVAILABLE, By.FAULT))
        self.denies = Word.UNAVAILABLE


async def test_on_stop_two_hundred_waiting_agents_get_an_answer_first(
    tmp_path: Path, upstream: Upstream, pki: Pki
) -> None:
    door = Closing()
    gate = Gate(GateConfig(tmp_path, port=0), door)
    port = (await gate.start()).port
    agents = []
    for _ in range(200):
        agent = Agent(*await asyncio.open_connection("127.0.0.1", port))
        agent.send(post(upstream.port, "/hold", b"x"))
        agents.append(agent)
    idle = Agent(*await asyncio.open_connection("127.0.0.1", port))
    await door.until(lambda: len(door.waiting) == 200)
    begin = time.monotonic()
    door.close()
    await gate.stop()
    assert time.monotonic() - begin < 2
    for agent in agents:
        assert (await agent.answer())[0] == 503
        assert await agent.end() == b""
    assert await idle.end() == b""
    assert upstream.connections == 0
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_on_stop_an_endless_answer_is_cut_and_recorded(
    tmp_path: Path, listen: Listen, door: SmallDoor
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await reader.read()

    gate = Gate(GateConfig(tmp_path, port=0, grace=0.4), door)
    port = (await gate.start()).port
    agent = Agent(*await asyncio.open_connection("127.0.0.1", port))
    agent.send(get(await listen(serve), "/stream"))
    await agent.head()
    begin = time.monotonic()
    await gate.stop()
    assert time.monotonic() - begin < 2
    assert not (await agent.end()).endswith(b"0\r\n\r\n")
    assert door.outcomes[0].why == "the gate is stopping"


async def test_on_stop_an_agent_whose_request_was_sent_is_told_not_to_repeat_it(
    tmp_path: Path, listen: Listen, door: SmallDoor
) -> None:
    asked = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()

    gate = Gate(GateConfig(tmp_path, port=0, grace=0.2), door)
    port = (await gate.start()).port
    agent = Agent(*await asyncio.open_connection("127.0.0.1", port))
    agent.send(get(await listen(serve), "/stream"))
    await asked.wait()
    await gate.stop()
    status, _, body = await agent.answer()
    assert (status, json.loads(body)["decision"], json.loads(body)["retry"]) == (502, "unknown", False)
    assert [outcome.happened for outcome in door.outcomes] == [Happened.UNKNOWN]


async def test_a_gate_starts_again_on_its_port(tmp_path: Path, door: SmallDoor, upstream: Upstream) -> None:
    gate = Gate(GateConfig(tmp_path, port=0), door)
    port = (await gate.start()).port
    agent = Agent(*await asyncio.open_connection("127.0.0.1", port))
    agent.send(get(upstream.port, "/stream"))
    await agent.answer()
    await gate.stop()
    second = Gate(GateConfig(tmp_path, port=port), door)
    assert (await second.start()).port == port
    agent = Agent(*await asyncio.open_connection("127.0.0.1", port))
    agent.send(get(upstream.port, "/stream"))
    assert (await agent.answer())[0] == 200
    await second.stop()


async def test_two_gates_in_one_program_do_not_mix(
    open_gate: Open, tmp_path: Path, upstream: Upstream
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    first, second = await open_gate(), await open_gate(state=other)
    for gate in (first, second):
        assert (await (await gate.send(get(upstream.port, "/stream"))).answer())[0] == 200
    assert first.gate.ca_pem.read_bytes() != second.gate.ca_pem.read_bytes()


async def test_five_hundred_holds_take_little_memory_and_no_time(
    open_gate: Open, upstream: Upstream, door: SmallDoor
) -> None:
    from .test_streams import resident

    gate = await open_gate()
    agents = [await gate.connect() for _ in range(500)]
    before = resident()
    for agent in agents:
        agent.send(post(upstream.port, "/hold", b"x" * 1000))
    await door.until(lambda: len(door.waiting) == 500)
    assert (resident() - before) / 500 < 50 * 1024
    begin = time.process_time()
    await asyncio.sleep(0.3)
    assert time.process_time() - begin < 0.03
    for agent in agents:
        agent.close()
    await door.until(lambda: door.words.count("abandoned") == 500)


async def test_http2_requests_beyond_what_one_connection_may_ask_wait_at_the_agent(
    open_gate: Open, upstream: Upstream, door: SmallDoor
) -> None:
    gate = await open_gate(resolve={("api.test", 443): ("127.0.0.1", upstream.port)})
    agent = Agent2(await gate.tls("api.test", 443, "h2"), "api.test")
    async with asyncio.timeout(LIMIT):
        for _ in range(250):
            agent.ask("/hold")
        await door.until(lambda: len(door.waiting) == 250)


if sys.platform != "linux":
    pytest.skip("the gate is Linux's for now", allow_module_level=True)
