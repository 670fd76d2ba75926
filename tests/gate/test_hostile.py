"""Hostile bytes: whatever is sent, nothing fails inside, and what leaves is what was judged."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random

import pytest

from .conftest import Listen, Open, Pki, SmallDoor, Upstream, get, post
from .http2 import Agent2, Upstream2

HOST = "api.test"
PIECES = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: evil.test\r\n",
    b"0\r\n\r\n",
    b"GET /stream HTTP/1.1\r\n",
    b"\xff",
    b"A" * 300,
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\n",
]


def mangled(raw: bytes, chance: random.Random) -> bytes:
    """A few bytes taken out, put in, or doubled."""
    data = bytearray(raw)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(data))
        match chance.randrange(3):
            case 0:
                del data[at : at + chance.randint(1, 8)]
            case 1:
                data[at:at] = chance.choice(PIECES)
            case _:
                data[at:at] = data[at : at + chance.randint(1, 40)]
    return bytes(data)


def failures(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mangled name is dialled nowhere."""

    def lookup(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    monkeypatch.setattr("proxy.gate.dial._lookup", lookup)


def named(raw: bytes, port: int) -> bytes:
    """By name, so that no mangled address can be one."""
    return raw.replace(b"127.0.0.1:%d" % port, HOST.encode())


@pytest.mark.parametrize("seed", range(6))
async def test_mangled_http1_leaves_as_judged_or_not_at_all(
    open_gate: Open, upstream: Upstream, door: SmallDoor, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    chance = random.Random(seed)
    gate = await open_gate(resolve={(HOST, 80): ("127.0.0.1", upstream.port)})
    good = [
        get(upstream.port, "/stream?a=b"),
        post(upstream.port, "/x", b"hello"),
        post(upstream.port, "/stream", b"5\r\nhello\r\n0\r\n\r\n").replace(
            b"Content-Length: 15", b"Transfer-Encoding: chunked"
        ),
    ]
    for _ in range(40):
        agent = await gate.send(mangled(named(chance.choice(good), upstream.port), chance))
        with contextlib.suppress(OSError):
            agent.writer.write_eof()
        with contextlib.suppress(OSError, TimeoutError):
            await asyncio.wait_for(agent.reader.read(), 0.3)
        agent.close()
    assert failures(caplog) == []
    lines = [line for line in bytes(upstream.seen).split(b"\r\n") if line.endswith(b" HTTP/1.1")]
    judged = [b"%s %s HTTP/1.1" % (h.request.method, h.request.target) for h in door.heard]
    for line in lines:
        assert line in judged
        judged.remove(line)


@pytest.mark.parametrize("seed", range(6))
async def test_mangled_http2_frames_fail_nothing_inside(
    open_gate: Open,
    listen: Listen,
    pki: Pki,
    door: SmallDoor,
    caplog: pytest.LogCaptureFixture,
    seed: int,
) -> None:
    chance = random.Random(seed)
    up = Upstream2()
    gate = await open_gate(
        resolve={(HOST, 443): ("127.0.0.1", await listen(up.serve, pki.server(HOST, "h2")))}
    )
    for _ in range(8):
        agent = Agent2(await gate.tls(HOST, 443, "h2"), HOST)
        for _ in range(3):
            stream = agent.ask("/stream", method="POST", headers=[("x", "y")], end=False)
            agent.data(stream, b"hello", end=True)
        raw = mangled(b"\x00\x00\x05\x00\x01\x00\x00\x00\x07hello" + chance.randbytes(40), chance)
        agent.agent.send(raw)
        agent.agent.send(chance.randbytes(64))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(agent.until(lambda agent=agent: agent.closed), 0.2)  # type: ignore[misc]
        agent.agent.close()
    assert failures(caplog) == []
    assert len(up.requests) <= len(door.heard)


@pytest.mark.parametrize("seed", range(4))
async def test_mangled_answers_fail_nothing_inside(
    open_gate: Open, listen: Listen, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    chance = random.Random(seed)
    good = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    ]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(mangled(chance.choice(good), chance))
            writer.close()

    gate = await open_gate()
    port = await listen(serve)
    for _ in range(40):
        agent = await gate.send(get(port, "/stream", "Connection: close"))
        raw = await agent.end()
        assert raw.startswith(b"HTTP/1.1 ")
        assert raw.count(b"sluice-decision") <= 1
    assert failures(caplog) == []
