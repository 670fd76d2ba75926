"""A WebSocket is judged as a request, then flows, and nothing of it is kept."""

from __future__ import annotations

import asyncio

import pytest

from proxy.decision import Happened

from .conftest import LIMIT, Listen, Open, Pki, SmallDoor, Upstream, get
from .test_streams import MB, Peak

HOST = "api.test"
UPGRADE = (
    "Connection: keep-alive, Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"\r\nUpgrade: websocket\r\n" in head
        assert b"\r\nConnection: Upgrade\r\n" in head
        writer.write(ACCEPTED + b"hello")
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


@pytest.mark.parametrize("tls", [False, True])
async def test_a_websocket_flows_in_both_directions(
    open_gate: Open, listen: Listen, pki: Pki, door: SmallDoor, tls: bool
) -> None:
    port = await listen(echo, pki.server(HOST) if tls else None)
    gate = await open_gate(resolve={(HOST, 443): ("127.0.0.1", port)})
    if tls:
        agent = await gate.tls(HOST, 443)
        agent.send("\r\n".join(["GET /stream HTTP/1.1", "Host: api.test", *UPGRADE, "\r\n"]).encode())
    else:
        agent = await gate.send(get(port, "/stream", *UPGRADE))
    head = await agent.head()
    assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert b"\r\nUpgrade: websocket\r\n" in head
    async with asyncio.timeout(LIMIT):
        assert await agent.reader.readexactly(5) == b"hello"
        agent.send(b"\x81\x05first")
        assert await agent.reader.readexactly(7) == b"\x81\x05first"
    assert door.outcomes == []
    agent.close()
    await door.until(lambda: door.outcomes)
    assert door.outcomes[0].happened is Happened.COMPLETED
    assert (door.outcomes[0].status, door.outcomes[0].sent) == (101, 7)


async def test_a_websocket_in_a_plain_tunnel_flows(open_gate: Open, listen: Listen) -> None:
    port = await listen(echo)
    gate = await open_gate()
    agent = await gate.tunnel("127.0.0.1", port)
    lines = ["GET /stream HTTP/1.1", f"Host: 127.0.0.1:{port}", *UPGRADE, "\r\n"]
    agent.send("\r\n".join(lines).encode())
    assert b" 101 " in await agent.head()


async def test_messages_take_no_memory(open_gate: Open, listen: Listen) -> None:
    gate = await open_gate()
    agent = await gate.send(get(await listen(echo), "/stream", *UPGRADE))
    await agent.head()
    await agent.reader.readexactly(5)
    peak = Peak()
    async with asyncio.timeout(30):
        for _ in range(100):
            agent.send(b"x" * MB)
            await agent.reader.readexactly(MB)
    assert peak.stop() < 24 * MB


async def test_a_refused_websocket_is_a_plain_refusal(open_gate: Open, upstream: Upstream) -> None:
    gate = await open_gate()
    agent = await gate.send(get(upstream.port, "/deny", *UPGRADE))
    status, head, _ = await agent.answer()
    assert status == 403
    assert b"upgrade" not in head.lower()
    agent.send(get(upstream.port, "/stream"))
    assert (await agent.answer())[0] == 200


async def test_an_upstream_that_does_not_switch_answers_as_any(open_gate: Open, upstream: Upstream) -> None:
    gate = await open_gate()
    agent = await gate.send(get(upstream.port, "/stream", *UPGRADE))
    assert (await agent.answer())[0] == 200
    agent.send(get(upstream.port, "/deny"))
    assert (await agent.answer())[0] == 403


async def test_an_upstream_that_switches_unasked_is_not_followed(
    open_gate: Open, upstream: Upstream, door: SmallDoor
) -> None:
    upstream.answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\nraw"
    gate = await open_gate()
    agent = await gate.send(get(upstream.port, "/stream"))
    assert (await agent.answer())[0] == 502
    await door.until(lambda: door.outcomes)
    assert door.outcomes[0].happened is Happened.UNKNOWN


async def test_when_upstream_closes_a_websocket_the_agent_sees_it_close(
    open_gate: Open, listen: Listen, door: SmallDoor
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ACCEPTED + b"bye")
        writer.close()

    gate = await open_gate()
    agent = await gate.send(get(await listen(serve), "/stream", *UPGRADE))
    assert (await agent.end()).endswith(b"bye")
    await door.until(lambda: door.outcomes)
