"""Nothing is ever sent for an agent that has gone: every way to go, at every moment."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable

import httpx
import pytest

from proxy.decision import Happened, Word

from .conftest import LIMIT, Agent, Listen, Open, OpenGate, Pki, SmallDoor, Upstream, get, post
from .http2 import Agent2, Upstream2

HOST = "api.test"


async def settle() -> None:
    """Let everything that is on its way arrive."""
    await asyncio.sleep(0.1)


def finish(agent: Agent) -> None:
    agent.close()


def half_close(agent: Agent) -> None:
    agent.writer.write_eof()


def reset(agent: Agent) -> None:
    agent.reset()


@pytest.mark.parametrize("go", [finish, half_close, reset])
async def test_an_agent_that_hangs_up_while_it_waits_ends_its_hold_at_once(
    open_gate: Open, upstream: Upstream, door: SmallDoor, go: Callable[[Agent], None]
) -> None:
    gate = await open_gate()
    agent = await gate.send(post(upstream.port, "/hold", b"x"))
    await door.until(lambda: door.waiting)
    go(agent)
    await door.until(lambda: door.words == ["abandoned"])
    door.waiting[0].release()
    await settle()
    assert upstream.connections == 0


@pytest.mark.parametrize("go", [finish, reset])
async def test_hanging_up_inside_tls_ends_the_hold_at_once(
    open_gate: Open, upstream: Upstream, door: SmallDoor, go: Callable[[Agent], None]
) -> None:
    gate = await open_gate(resolve={(HOST, 443): ("127.0.0.1", upstream.port)})
    agent = await gate.tls(HOST, 443)
    agent.send(b"POST /hold HTTP/1.1\r\nHost: api.test\r\nContent-Length: 1\r\n\r\nx")
    await door.until(lambda: door.waiting)
    go(agent)
    await door.until(lambda: door.words == ["abandoned"])
    await settle()
    assert upstream.connections == 0


def cancel(agent: Agent2, stream: int) -> None:
    agent.cancel(stream)


def goaway(agent: Agent2, stream: int) -> None:
    agent.h2.close_connection()
    agent.flush()


def finish2(agent: Agent2, stream: int) -> None:
    agent.agent.close()


def reset2(agent: Agent2, stream: int) -> None:
    agent.agent.reset()


@pytest.mark.parametrize("go", [cancel, goaway, finish2, reset2])
async def test_leaving_an_http2_stream_ends_its_hold_at_once(
    open_gate: Open, upstream: Upstream, door: SmallDoor, go: Callable[[Agent2, int], None]
) -> None:
    gate = await open_gate(resolve={(HOST, 443): ("127.0.0.1", upstream.port)})
    agent = Agent2(await gate.tls(HOST, 443, "h2"), HOST)
    stream = agent.ask("/hold")
    await door.until(lambda: door.waiting)
    go(agent, stream)
    await door.until(lambda: door.words == ["abandoned"])
    await settle()
    assert upstream.connections == 0


async def test_a_request_that_is_taken_back_in_the_packet_that_it_came_in_waits_for_nobody(
    open_gate: Open, upstream: Upstream, door: SmallDoor
) -> None:
    gate = await open_gate(resolve={(HOST, 443): ("127.0.0.1", upstream.port)})
    agent = Agent2(await gate.tls(HOST, 443, "h2"), HOST)
    stream = agent.h2.get_next_available_stream_id()
    fields = [(":method", "POST"), (":scheme", "https"), (":authority", HOST), (":path", "/hold")]
    agent.h2.send_headers(stream, fields)
    agent.h2.send_data(stream, b"x", end_stream=True)
    agent.h2.reset_stream(stream, 8)
    agent.flush()
    await door.until(lambda: door.words == ["abandoned"])
    await settle()
    assert upstream.connections == 0


@pytest.mark.parametrize("go", [finish, reset])
@pytest.mark.parametrize("round", range(10))
async def test_a_hang_up_that_the_kernel_has_beats_an_approval_in_the_same_turn(
    open_gate: Open, upstream: Upstream, door: SmallDoor, go: Callable[[Agent], None], round: int
) -> None:
    gate = await open_gate()
    agent = await gate.send(get(upstream.port, "/stream"))
    await agent.answer()  # now an upstream connection is open and idle
    agent.send(post(upstream.port, "/hold", b"x"))
    await door.until(lambda: door.waiting)
    go(agent)
    door.waiting[0].release()
    await settle()
    assert upstream.requests == 1


class Slow:
    """Takes connections at once, and passes them on to `port` only when told."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.dialled = asyncio.Event()
        self.go = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.dialled.set()
        await self.go.wait()
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.port)
        await asyncio.gather(_pipe(reader, far_writer), _pipe(far_reader, writer))


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
    except OSError:
        pass
    writer.close()


@pytest.mark.parametrize("go", [cancel, goaway, finish2, reset2])
@pytest.mark.parametrize("alpn", ["h2", "http/1.1"])
async def test_leaving_while_upstream_is_being_dialled_sends_nothing(
    open_gate: Open, listen: Listen, pki: Pki, door: SmallDoor, go: Callable[[Agent2, int], None], alpn: str
) -> None:
    raw, up = Upstream(), Upstream2()
    slow = Slow(await listen(up.serve if alpn == "h2" else raw.serve, pki.server(HOST, alpn)))
    port = await listen(slow.serve)
    gate: OpenGate = await open_gate(resolve={(HOST, 443): ("127.0.0.1", port)})
    agent = Agent2(await gate.tls(HOST, 443, "h2"), HOST)
    stream = agent.ask("/hold")
    await door.until(lambda: door.waiting)
    door.waiting[0].release()
    await slow.dialled.wait()
    go(agent, stream)
    await settle()
    slow.go.set()
    await settle()
    assert up.requests == []
    assert raw.requests == 0
    await door.until(lambda: door.outcomes)
    assert door.outcomes[0].happened is Happened.FAILED


@pytest.mark.parametrize("go", [finish, reset])
async def test_an_http1_agent_that_leaves_while_upstream_is_being_dialled_sends_nothing(
    open_gate: Open, listen: Listen, pki: Pki, door: SmallDoor, go: Callable[[Agent], None]
) -> None:
    raw = Upstream()
    slow = Slow(await listen(raw.serve, pki.server(HOST, "http/1.1")))
    port = await listen(slow.serve)
    gate = await open_gate(resolve={(HOST, 443): ("127.0.0.1", port)})
    agent = await gate.tls(HOST, 443)
    agent.send(b"GET /hold HTTP/1.1\r\nHost: api.test\r\n\r\n")
    await door.until(lambda: door.waiting)
    door.waiting[0].release()
    await slow.dialled.wait()
    go(agent)
    await settle()
    slow.go.set()
    await settle()
    assert raw.requests == 0
    await door.until(lambda: door.outcomes)
    assert door.outcomes[0].happened is Happened.FAILED


async def test_an_agent_that_stays_is_served_however_long_the_dialling_takes(
    open_gate: Open, listen: Listen, pki: Pki, door: SmallDoor
) -> None:
    up = Upstream2()
    slow = Slow(await listen(up.serve, pki.server(HOST, "h2")))
    port = await listen(slow.serve)
    gate = await open_gate(resolve={(HOST, 443): ("127.0.0.1", port)})
    agent = Agent2(await gate.tls(HOST, 443, "h2"), HOST)
    stream = agent.ask("/hold")
    await door.until(lambda: door.waiting)
    door.waiting[0].release()
    await slow.dialled.wait()
    slow.go.set()
    assert (await agent.answer(stream))[0] == 200


async def test_leaving_before_the_body_is_complete_is_recorded_as_abandoned(
    open_gate: Open, upstream: Upstream, door: SmallDoor
) -> None:
    gate = await open_gate()
    agent = await gate.send(post(upstream.port, "/x", b"abc")[:-1])
    await door.until(lambda: door.heard)
    await settle()
    agent.close()
    await door.until(lambda: door.words == [str(Word.ABANDONED)])
    assert door.judged == []
    assert upstream.connections == 0


async def test_leaving_in_the_middle_of_an_upload_leaves_it_unfinished_upstream(
    open_gate: Open, upstream: Upstream, door: SmallDoor
) -> None:
    gate = await open_gate()
    upstream.answer = b""
    head = get(upstream.port, "/stream", "Transfer-Encoding: chunked").replace(b"GET", b"POST")
    agent = await gate.send(head + b"3\r\nabc\r\n")
    await upstream.until(lambda: b"abc" in upstream.seen)
    agent.close()
    await door.until(lambda: door.outcomes)
    assert door.outcomes[0].happened is Happened.UNKNOWN
    assert not bytes(upstream.seen).endswith(b"0\r\n\r\n")


async def test_a_stream_that_is_left_does_not_disturb_the_others(
    open_gate: Open, listen: Listen, pki: Pki, door: SmallDoor
) -> None:
    up = Upstream2()
    port = await listen(up.serve, pki.server(HOST, "h2"))
    gate = await open_gate(resolve={(HOST, 443): ("127.0.0.1", port)})
    agent = Agent2(await gate.tls(HOST, 443, "h2"), HOST)
    first, second = agent.ask("/hold/1"), agent.ask("/hold/2")
    await door.until(lambda: len(door.waiting) == 2)
    agent.cancel(first)
    await door.until(lambda: door.words == ["abandoned"])
    door.waiting[1].release()
    assert (await agent.answer(second))[0] == 200
    assert [request[":path"] for request in up.requests] == ["/hold/2"]


async def test_more_sent_ahead_than_can_wait_is_hanging_up(
    open_gate: Open, upstream: Upstream, door: SmallDoor
) -> None:
    gate = await open_gate()
    agent = await gate.send(get(upstream.port, "/hold"))
    await door.until(lambda: door.waiting)
    agent.send(get(upstream.port, "/stream") * 5000)
    await door.until(lambda: door.words == ["abandoned"])
    assert upstream.connections == 0


async def test_an_agent_that_leaves_while_a_name_is_dialled_gives_its_memory_back(
    open_gate: Open, door: SmallDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialled = asyncio.Event()

    async def never(self: object, address: object) -> None:
        dialled.set()
        await asyncio.Event().wait()

    monkeypatch.setattr("proxy.gate.dial.Dialler.dial", never)
    gate = await open_gate(hold_memory=1000)
    for count in (1, 2, 3):
        dialled.clear()
        agent = await gate.send(post(80, "/x", b"x" * 900, host=HOST))
        await dialled.wait()
        agent.close()
        await door.until(lambda count=count: len(door.outcomes) == count)  # type: ignore[misc]
        assert door.outcomes[-1].happened is Happened.FAILED


async def test_a_bug_while_bytes_are_read_closes_and_is_concluded(
    open_gate: Open, listen: Listen, door: SmallDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        monkeypatch.setattr("proxy.gate.http1_client.read_answer", None)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await reader.read()

    gate = await open_gate()
    agent = await gate.send(get(await listen(serve), "/stream"))
    await agent.end()
    await door.until(lambda: door.outcomes)
    assert door.outcomes[0].happened is Happened.UNKNOWN
    monkeypatch.undo()
    assert (await (await gate.send(get(1, "/deny"))).answer())[0] == 403


async def test_a_tls_handshake_without_end_is_left(open_gate: Open, upstream: Upstream) -> None:
    gate = await open_gate()
    agent = await gate.tunnel("127.0.0.1", upstream.port)
    hello = b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + b"a" * (0x4000 - 4)
    agent.send(hello)
    for _ in range(10):
        agent.send(b"\x16\x03\x01\x40\x00" + b"a" * 0x4000)
    with contextlib.suppress(ConnectionError):
        assert await agent.end() == b""


async def test_an_http2_agent_that_has_stopped_reading_is_not_there(
    open_gate: Open, listen: Listen, pki: Pki, door: SmallDoor
) -> None:
    """As httpx does whose read timeout has struck: no reset, no end, nobody who reads."""
    up = Upstream2()
    port = await listen(up.serve, pki.server(HOST, "h2"))
    gate = await open_gate(knock=0.2, resolve={(HOST, 443): ("127.0.0.1", port)})
    agent = Agent2(await gate.tls(HOST, 443, "h2"), HOST)
    agent.ask("/hold")
    await door.until(lambda: door.waiting)
    agent.agent.writer.transport.pause_reading()  # type: ignore[attr-defined]
    door.waiting[0].release()
    await door.until(lambda: door.outcomes)
    assert (door.outcomes[0].happened, door.outcomes[0].why) == (
        Happened.FAILED,
        "the agent left before the request was sent",
    )
    assert door.waiting[0].left == ["the agent does not answer"]
    assert up.requests == []


async def test_an_http2_agent_that_leaves_while_it_is_asked_for_a_sign_is_gone_at_once(
    open_gate: Open, listen: Listen, pki: Pki, door: SmallDoor
) -> None:
    up = Upstream2()
    port = await listen(up.serve, pki.server(HOST, "h2"))
    gate = await open_gate(knock=60, resolve={(HOST, 443): ("127.0.0.1", port)})
    agent = Agent2(await gate.tls(HOST, 443, "h2"), HOST)
    agent.ask("/hold")
    await door.until(lambda: door.waiting)
    agent.agent.writer.transport.pause_reading()  # type: ignore[attr-defined]
    door.waiting[0].release()
    await door.until(lambda: door.words == ["approved"])
    async with asyncio.timeout(5):
        while not up.connections:
            await asyncio.sleep(0.01)
    await settle()
    assert not door.outcomes
    agent.agent.reset()
    await door.until(lambda: door.outcomes)
    assert door.outcomes[0].happened is Happened.FAILED
    assert up.requests == []


async def test_nothing_is_sent_for_an_httpx_whose_read_timeout_has_struck(
    open_gate: Open, listen: Listen, pki: Pki, door: SmallDoor
) -> None:
    up = Upstream2()
    port = await listen(up.serve, pki.server(HOST, "h2"))
    gate = await open_gate(knock=0.3, resolve={(HOST, 443): ("127.0.0.1", port)})
    tls = ssl.create_default_context(cafile=str(gate.gate.ca_pem))
    proxy = f"http://127.0.0.1:{gate.port}"
    async with httpx.AsyncClient(http2=True, proxy=proxy, verify=tls, timeout=LIMIT) as client:
        refused = await client.get(f"https://{HOST}/deny")  # the connection stands: what strikes is the read
        assert refused.status_code == 403
        said = door.words
        with pytest.raises(httpx.ReadTimeout):
            await client.post(f"https://{HOST}/hold", headers={"user-agent": "MyAgent/1"}, timeout=0.3)
        await door.until(lambda: door.waiting)
        assert door.words == said  # it has told nobody
        door.waiting[0].release()
        await door.until(lambda: door.outcomes)
    assert door.outcomes[0].happened is Happened.FAILED
    assert up.requests == []
