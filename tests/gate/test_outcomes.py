"""What happened upstream is told to the agent, and to the door, once."""

from __future__ import annotations

import asyncio
import json

import pytest

from proxy.decision import Happened, Word

from .conftest import Agent, Listen, Open, Pki, SmallDoor, Upstream, get, post
from .http2 import Agent2, Upstream2

HOST = "api.test"


async def told(agent: Agent, door: SmallDoor, status: int, decision: str, *, retry: bool) -> str:
    answered, head, body = await agent.answer()
    problem = json.loads(body)
    assert (answered, problem["decision"], problem["retry"]) == (status, decision, retry)
    assert f"sluice-decision: {decision}".encode() in head
    await door.until(lambda: door.outcomes)
    assert len(door.outcomes) == 1
    return door.outcomes[0].happened


async def test_an_upstream_that_cannot_be_reached_has_failed(open_gate: Open, door: SmallDoor) -> None:
    gate = await open_gate()
    agent = await gate.send(get(1, "/stream"))
    assert await told(agent, door, 502, "failed", retry=True) is Happened.FAILED
    assert door.outcomes[0].decision is Word.FAILED
    agent.send(get(1, "/deny"))
    assert (await agent.answer())[0] == 403


async def test_a_name_that_does_not_resolve_has_failed(open_gate: Open, door: SmallDoor) -> None:
    gate = await open_gate()
    agent = await gate.send(get(80, "/stream", host="does-not-exist.invalid"))
    assert await told(agent, door, 502, "failed", retry=True) is Happened.FAILED


async def test_an_upstream_that_is_not_who_it_should_be_gets_nothing(
    open_gate: Open, listen: Listen, pki: Pki, door: SmallDoor
) -> None:
    raw = Upstream()
    port = await listen(raw.serve, pki.server("other.test"))
    gate = await open_gate(resolve={(HOST, 443): ("127.0.0.1", port)})
    agent = await gate.tls(HOST, 443)
    agent.send(b"GET /stream HTTP/1.1\r\nHost: api.test\r\n\r\n")
    assert await told(agent, door, 502, "failed", retry=True) is Happened.FAILED
    assert "ertificate" in door.outcomes[0].why
    assert raw.seen == b""


async def test_an_upstream_of_an_unknown_ca_gets_nothing(
    open_gate: Open, listen: Listen, pki: Pki, door: SmallDoor
) -> None:
    raw = Upstream()
    port = await listen(raw.serve, pki.server(HOST))
    gate = await open_gate(resolve={(HOST, 443): ("127.0.0.1", port)}, upstream_ca=None)
    agent = await gate.tls(HOST, 443)
    agent.send(b"GET /stream HTTP/1.1\r\nHost: api.test\r\n\r\n")
    assert await told(agent, door, 502, "failed", retry=True) is Happened.FAILED
    assert raw.seen == b""


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    ],
)
async def test_an_answer_that_is_lost_is_unknown_and_asked_for_once(
    open_gate: Open, listen: Listen, door: SmallDoor, answer: bytes
) -> None:
    asked = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        asked += 1
        writer.write(answer)
        writer.close()

    gate = await open_gate()
    agent = await gate.send(post(await listen(serve), "/x", b"x"))
    assert await told(agent, door, 502, "unknown", retry=False) is Happened.UNKNOWN
    assert asked == 1


async def test_an_answer_that_is_cut_is_cut_for_the_agent_too(
    open_gate: Open, listen: Listen, door: SmallDoor
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        writer.close()

    gate = await open_gate()
    agent = await gate.send(get(await listen(serve), "/stream"))
    raw = await agent.end()
    assert raw.endswith(b"3\r\nabc\r\n")
    await door.until(lambda: door.outcomes)
    assert door.outcomes[0].happened is Happened.UNKNOWN
    assert (door.outcomes[0].status, door.outcomes[0].received) == (200, 3)


async def test_an_answer_that_is_cut_is_no_end_to_an_http10_agent(
    open_gate: Open, listen: Listen, door: SmallDoor
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await asyncio.sleep(0.05)
        writer.close()

    gate = await open_gate()
    port = await listen(serve)
    agent = await gate.send(f"GET http://127.0.0.1:{port}/stream HTTP/1.0\r\n\r\n".encode())
    await agent.head()
    with pytest.raises(ConnectionResetError):
        await agent.end()


async def test_an_idle_upstream_connection_that_closes_costs_no_request(
    open_gate: Open, listen: Listen, door: SmallDoor
) -> None:
    asked = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        asked += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    gate = await open_gate()
    port = await listen(serve)
    agent = await gate.connect()
    for count in range(1, 20):
        agent.send(post(port, "/x", b"x"))
        assert (await agent.answer())[0] == 200
        assert asked == count


async def test_an_upstream_that_closes_during_a_hold_is_dialled_again(
    open_gate: Open, listen: Listen, door: SmallDoor
) -> None:
    close = asyncio.Event()
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await close.wait()
        writer.close()

    gate = await open_gate()
    port = await listen(serve)
    agent = await gate.send(get(port, "/stream"))
    assert (await agent.answer())[0] == 200
    agent.send(get(port, "/hold"))
    await door.until(lambda: door.waiting)
    close.set()
    await asyncio.sleep(0.05)
    door.waiting[0].release()
    assert (await agent.answer())[0] == 200
    assert len(asked) == 2


async def test_an_answer_that_nobody_asked_for_is_no_answer_to_the_next_request(
    open_gate: Open, listen: Listen
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        good = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"
        writer.write(good + good.replace(b"good", b"evil"))
        await reader.read()

    gate = await open_gate()
    port = await listen(serve)
    agent = await gate.connect()
    for _ in range(3):
        agent.send(get(port, "/stream"))
        assert (await agent.answer())[2] == b"good"


@pytest.mark.parametrize("how", ["reset", "goaway", "garbage", "name", "lengths", "status"])
async def test_an_http2_answer_that_is_lost_is_unknown(
    open_gate: Open, listen: Listen, pki: Pki, door: SmallDoor, how: str
) -> None:
    def reply(conn: object, stream: int) -> None:
        if how == "reset":
            conn.reset_stream(stream, 2)  # type: ignore[attr-defined]
        elif how == "goaway":
            conn.close_connection(2)  # type: ignore[attr-defined]
        else:
            conn.send_headers(stream, garbage[how])  # type: ignore[attr-defined]

    garbage = {
        "garbage": [(":status", "200"), ("x", "a\r\nevil: 1")],
        "name": [(":status", "200"), ("evil: 1 x", "a")],
        "lengths": [(":status", "200"), ("content-length", "2"), ("content-length", "3")],
        "status": [(":status", "99999")],
    }

    up = Upstream2(reply=reply)
    port = await listen(up.serve, pki.server(HOST, "h2"))
    gate = await open_gate(resolve={(HOST, 443): ("127.0.0.1", port)})
    agent = Agent2(await gate.tls(HOST, 443, "h2"), HOST)
    status, body = await agent.answer(agent.ask("/stream"))
    assert (status, json.loads(body)["decision"]) == (502, "unknown")
    await door.until(lambda: door.outcomes)
    assert door.outcomes[0].happened is Happened.UNKNOWN
    assert len(up.requests) == 1


async def test_headers_that_only_the_gate_may_say_are_taken_off_upstreams_answer(
    open_gate: Open, upstream: Upstream
) -> None:
    upstream.answer = (
        b"HTTP/1.1 403 Forbidden\r\nSluice-Decision: approved\r\nX-Own: 1\r\nContent-Length: 0\r\n\r\n"
    )
    gate = await open_gate()
    status, head, _ = await (await gate.send(get(upstream.port, "/stream"))).answer()
    assert status == 403
    assert b"sluice" not in head.lower()
    assert b"X-Own: 1" in head


async def test_an_agent_that_leaves_in_the_middle_of_an_answer_leaves_it_unknown(
    open_gate: Open, listen: Listen, door: SmallDoor
) -> None:
    closed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        await reader.read()
        closed.set()

    gate = await open_gate()
    agent = await gate.send(get(await listen(serve), "/stream"))
    await agent.head()
    agent.close()
    await door.until(lambda: door.outcomes)
    assert door.outcomes[0].happened is Happened.UNKNOWN
    async with asyncio.timeout(5):
        await closed.wait()
