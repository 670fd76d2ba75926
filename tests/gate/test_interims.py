"""Interim answers on the wire: as long as people decide, and not one byte longer."""

from __future__ import annotations

import asyncio
import logging
import socket

import h2.settings
import pytest
from mitmproxy.connection import Client, ConnectionState
from mitmproxy.proxy import commands
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.events import DataReceived, Event

from proxy.decision import Word
from proxy.gate.events import Answered, Interim, ResponseEndOfMessage
from proxy.gate.http1_server import Http1Server
from proxy.gate.layer import LayerOptions
from proxy.policy.verdict import Keepalive

from .conftest import LIMIT, Agent, Listen, Open, Pki, SmallDoor, Upstream, get, post
from .http2 import Agent2, Upstream2

HOST = "api.test"
PULSE = 0.02
REQUESTS = "User-Agent: python-requests/2.34.2"
CURL = "User-Agent: curl/8.15.0"
FETCH = ("Sec-Fetch-Mode: cors", "Accept-Language: *")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


async def beats(count: int = 5) -> None:
    """Let some beats pass, at which nothing may happen."""
    await asyncio.sleep(PULSE * count)


async def quiet(agent: Agent) -> None:
    """Nothing comes for the time of some beats."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(agent.reader.read(1), PULSE * 5)


async def final(agent: Agent) -> tuple[list[int], int]:
    """(the interim statuses that are still under way, the final one)."""
    interims = []
    while (status := (await agent.answer())[0]) < 200:
        interims.append(status)
    return interims, status


@pytest.mark.parametrize(("headers", "status"), [((REQUESTS,), 100), (FETCH, 102), ((*FETCH, REQUESTS), 102)])
async def test_an_agent_that_waits_is_told_so_until_it_is_answered_once(
    open_gate: Open, upstream: Upstream, door: SmallDoor, headers: tuple[str, ...], status: int
) -> None:
    gate = await open_gate(pulse=PULSE)
    agent = await gate.send(post(upstream.port, "/hold", b"x", *headers))
    for _ in range(3):
        assert await agent.head() == b"HTTP/1.1 %d %s\r\n\r\n" % (
            status,
            b"Continue" if status == 100 else b"Processing",
        )
    assert upstream.connections == 0
    door.waiting[0].release()
    interims, last = await final(agent)
    assert (set(interims) <= {status}, last) == (True, 200)
    await quiet(agent)
    assert upstream.requests == 1


async def test_a_refusal_comes_after_the_interim_answers(
    open_gate: Open, upstream: Upstream, door: SmallDoor
) -> None:
    door.denies = Word.DENIED
    gate = await open_gate(pulse=PULSE)
    agent = await gate.send(post(upstream.port, "/hold", b"x", REQUESTS))
    assert await agent.head() == CONTINUE
    door.waiting[0].release()
    assert (await final(agent))[1] == 403
    await quiet(agent)
    assert upstream.connections == 0


async def test_inside_tls_an_agent_is_told_too(
    open_gate: Open, listen: Listen, pki: Pki, door: SmallDoor
) -> None:
    raw = Upstream()
    port = await listen(raw.serve, pki.server(HOST, "http/1.1"))
    gate = await open_gate(pulse=PULSE, resolve={(HOST, 443): ("127.0.0.1", port)})
    agent = await gate.tls(HOST, 443)
    agent.send(f"GET /hold HTTP/1.1\r\nHost: {HOST}\r\n{REQUESTS}\r\n\r\n".encode())
    for _ in range(3):
        assert await agent.head() == CONTINUE
    door.waiting[0].release()
    assert (await final(agent))[1] == 200
    await quiet(agent)
    assert raw.requests == 1


async def test_over_http2_each_stream_is_told_for_itself(
    open_gate: Open, listen: Listen, pki: Pki, door: SmallDoor
) -> None:
    up = Upstream2()
    port = await listen(up.serve, pki.server(HOST, "h2"))
    gate = await open_gate(pulse=PULSE, resolve={(HOST, 443): ("127.0.0.1", port)})
    agent = Agent2(await gate.tls(HOST, 443, "h2"), HOST)
    named = agent.ask("/hold/1", headers=[("user-agent", "python-httpx/0.28.1")])
    fetch = agent.ask("/hold/2", headers=[("sec-fetch-mode", "cors"), ("accept-language", "*")])
    other = agent.ask("/hold/3", headers=[("user-agent", "curl/8.15.0")])
    await agent.until(lambda: len(agent.interims[named]) > 2 and len(agent.interims[fetch]) > 2)
    for hearing in door.waiting:
        hearing.release()
    for stream in (named, fetch, other):
        assert await agent.answer(stream) == (200, b"ok")
    told = [set(agent.interims[stream]) for stream in (named, fetch, other)]
    assert told == [{100}, {102}, set()]
    counted = {stream: len(seen) for stream, seen in agent.interims.items()}
    await beats()
    assert {stream: len(seen) for stream, seen in agent.interims.items()} == counted
    assert len(up.requests) == 3


async def test_a_stream_that_is_left_is_told_nothing_more(
    open_gate: Open, upstream: Upstream, door: SmallDoor
) -> None:
    gate = await open_gate(pulse=PULSE, resolve={(HOST, 443): ("127.0.0.1", upstream.port)})
    agent = Agent2(await gate.tls(HOST, 443, "h2"), HOST)
    first = agent.ask("/hold/1", headers=[("user-agent", "python-httpx/0.28.1")])
    second = agent.ask("/hold/2", headers=[("user-agent", "python-httpx/0.28.1")])
    await agent.until(lambda: agent.interims[first])
    agent.cancel(first)
    await door.until(lambda: door.words == ["abandoned"])
    seen = len(agent.interims[second])
    await agent.until(lambda: len(agent.interims[second]) > seen + 2)
    assert not agent.closed
    assert upstream.connections == 0


@pytest.mark.parametrize("said", [None, Keepalive.NONE])
async def test_what_no_hold_keeps_waiting_is_told_nothing(
    open_gate: Open, upstream: Upstream, door: SmallDoor, said: Keepalive | None
) -> None:
    door.keepalive = said
    gate = await open_gate(pulse=PULSE)
    agent = await gate.send(post(upstream.port, "/hold", b"x", REQUESTS))
    await door.until(lambda: door.waiting)
    await quiet(agent)
    door.waiting[0].keepalive = Keepalive.AUTO
    if said is None:  # it opens late: from now on there is something to say
        assert await agent.head() == CONTINUE


@pytest.mark.parametrize("headers", [(CURL,), (REQUESTS, "Via: 1.1 other"), (REQUESTS, REQUESTS)])
async def test_an_agent_that_could_misread_it_is_told_nothing(
    open_gate: Open, upstream: Upstream, door: SmallDoor, headers: tuple[str, ...]
) -> None:
    gate = await open_gate(pulse=PULSE)
    agent = await gate.send(post(upstream.port, "/hold", b"x", *headers))
    await door.until(lambda: door.waiting)
    await beats()
    door.waiting[0].release()
    assert await final(agent) == ([], 200)


async def test_http_1_0_knows_no_interim_answers(
    open_gate: Open, upstream: Upstream, door: SmallDoor
) -> None:
    door.keepalive = Keepalive.CONTINUE
    gate = await open_gate(pulse=PULSE)
    asked = post(upstream.port, "/hold", b"x", REQUESTS).replace(b" HTTP/1.1", b" HTTP/1.0")
    agent = await gate.send(asked)
    await door.until(lambda: door.waiting)
    await beats()
    door.waiting[0].release()
    assert await final(agent) == ([], 200)


async def test_an_upload_is_not_interrupted(open_gate: Open, upstream: Upstream, door: SmallDoor) -> None:
    gate = await open_gate(pulse=PULSE)
    asked = post(upstream.port, "/hold", b"xyz", REQUESTS)
    agent = await gate.send(asked[:-1])
    await door.until(lambda: door.heard)
    await quiet(agent)
    agent.send(asked[-1:])
    assert await agent.head() == CONTINUE


async def test_an_agent_that_expects_a_100_gets_it_before_its_body(
    open_gate: Open, upstream: Upstream, door: SmallDoor
) -> None:
    gate = await open_gate(pulse=PULSE)
    asked = post(upstream.port, "/hold", b"x", CURL, "Expect: 100-continue")
    agent = await gate.send(asked[:-1])
    assert await agent.head() == CONTINUE
    await quiet(agent)
    agent.send(b"x")
    await door.until(lambda: door.waiting)
    await quiet(agent)
    door.waiting[0].release()
    assert await final(agent) == ([], 200)
    assert upstream.requests == 1


async def test_a_request_sent_ahead_is_never_answered_by_the_first_ones_beat(
    open_gate: Open, upstream: Upstream, door: SmallDoor
) -> None:
    gate = await open_gate(pulse=PULSE)
    first = post(upstream.port, "/hold/1", b"x", REQUESTS)
    agent = await gate.send(first + post(upstream.port, "/hold/2", b"y", CURL))
    assert await agent.head() == CONTINUE
    assert len(door.waiting) == 1
    door.waiting[0].release()
    assert (await final(agent))[1] == 200
    await door.until(lambda: len(door.waiting) == 2)
    await quiet(agent)
    door.waiting[1].release()
    assert await final(agent) == ([], 200)
    assert upstream.requests == 2


async def test_nothing_is_said_while_upstream_takes_its_time(
    open_gate: Open, upstream: Upstream, door: SmallDoor
) -> None:
    upstream.answer = b""
    gate = await open_gate(pulse=PULSE)
    agent = await gate.send(post(upstream.port, "/hold", b"x", REQUESTS))
    assert await agent.head() == CONTINUE
    door.waiting[0].release()
    await upstream.until(lambda: upstream.requests)
    await beats(1)
    while True:  # those that were under way already
        try:
            await asyncio.wait_for(agent.reader.readuntil(b"\r\n\r\n"), PULSE * 5)
        except TimeoutError:
            break
    await quiet(agent)


@pytest.mark.parametrize("round", range(20))
async def test_a_release_at_the_moment_of_a_beat_is_one_answer(
    open_gate: Open, upstream: Upstream, door: SmallDoor, round: int
) -> None:
    gate = await open_gate(pulse=0.0005)
    agent = await gate.send(post(upstream.port, "/hold", b"x", REQUESTS))
    await agent.head()
    await asyncio.sleep(0.0001 * round)
    door.waiting[0].release()
    interims, last = await final(agent)
    assert (set(interims) <= {100}, last) == (True, 200)
    agent.send(get(upstream.port, "/stream"))  # nothing stands between the two answers
    assert await final(agent) == ([], 200)
    assert upstream.requests == 2


@pytest.mark.parametrize("tls", [False, True])
async def test_an_agent_that_resets_during_a_beat_is_gone_and_no_bug(
    open_gate: Open, upstream: Upstream, door: SmallDoor, caplog: pytest.LogCaptureFixture, tls: bool
) -> None:
    gate = await open_gate(pulse=0.0005, resolve={(HOST, 443): ("127.0.0.1", upstream.port)})
    for count in range(1, 11):
        if tls:
            agent = await gate.tls(HOST, 443)
            agent.send(f"GET /hold HTTP/1.1\r\nHost: {HOST}\r\n{REQUESTS}\r\n\r\n".encode())
        else:
            agent = await gate.send(get(upstream.port, "/hold", REQUESTS))
        assert await agent.head() == CONTINUE
        agent.reset()
        await door.until(lambda count=count: len(door.words) == count)  # type: ignore[misc]
    assert set(door.words) == {"abandoned"}
    assert upstream.connections == 0
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_for_an_agent_that_does_not_read_nothing_piles_up(
    open_gate: Open, listen: Listen, pki: Pki, door: SmallDoor
) -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + bytes(3_000_000))
        await reader.read()

    port = await listen(endless, pki.server(HOST, "http/1.1"))
    gate = await open_gate(pulse=0.005, resolve={(HOST, 443): ("127.0.0.1", port)})
    raw = await gate.tls(HOST, 443, "h2")
    [connection] = gate.gate._connections
    theirs = connection._transports[connection._client].writer
    for writer, option in ((raw.writer, socket.SO_RCVBUF), (theirs, socket.SO_SNDBUF)):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, option, 2**16)
    agent = Agent2(raw, HOST)
    agent.keeps = False
    agent.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 2**24})
    agent.flush()
    large = agent.ask("/stream")
    await agent.until(lambda: agent.received[large])
    transport = raw.writer.transport
    transport.pause_reading()  # type: ignore[attr-defined]
    held = agent.ask("/hold", headers=[("user-agent", "python-httpx/0.28.1")])
    await door.until(lambda: door.waiting)

    def backlog() -> int:
        return connection.backlog(connection._client)

    async with asyncio.timeout(LIMIT):
        before = -1
        while not backlog() or before != backlog():  # until it stands still over many beats
            before = backlog()
            await asyncio.sleep(0.2)
    assert before > 0
    transport.resume_reading()  # type: ignore[attr-defined]
    await agent.until(lambda: agent.interims[held])
    door.waiting[0].release()


def test_after_the_final_head_or_for_another_exchange_an_http1_connection_says_nothing() -> None:
    """The exchanges see to it; this is the second lock on the same door."""
    client = Client(peername=("", 0), sockname=("", 0), timestamp_start=0.0, state=ConnectionState.OPEN)
    speaker = Http1Server(Context(client, LayerOptions()))  # type: ignore[arg-type]

    def said(event: Event) -> bytes:
        done = speaker.handle_event(event)
        return b"".join(one.data for one in done if isinstance(one, commands.SendData))

    assert said(DataReceived(client, get(80, "/1") + get(80, "/2"))) == b""
    assert said(Interim(1, 100)) == CONTINUE
    assert said(Interim(3, 100)) == b""
    assert said(Answered(1, 200, b"", [(b"content-length", b"0")])).startswith(b"HTTP/1.1 200 ")
    assert said(Interim(1, 100)) == b""
    assert said(ResponseEndOfMessage(1)) == b""
    assert said(Interim(1, 100)) == b""
    assert said(Interim(3, 100)) == CONTINUE
