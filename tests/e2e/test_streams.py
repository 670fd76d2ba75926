"""Streams stay streams: what is answered passes as it arrives, in flat memory."""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
from pathlib import Path

import httpx
import pytest
import requests

from .conftest import HOST, Started
from .product import PATIENCE, Gate
from .upstream import LARGE, MIB, Upstream, accepts, large_digest


def _memory(gate: Gate) -> int:
    """The most memory that the gate has had so far, in bytes."""
    lines = Path(f"/proc/{gate.process.pid}/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
def test_each_event_passes_before_the_next_is_sent(gate: Gate, upstream: Upstream, http2: bool) -> None:
    """The API says an event only once the one before it was seen: a buffer would never end."""
    tls = ssl.create_default_context(cafile=gate.ca)
    with (
        httpx.Client(proxy=gate.proxy, verify=tls, http2=http2, timeout=PATIENCE) as client,
        client.stream("GET", f"https://{HOST}/events") as answer,
    ):
        assert answer.headers["content-type"] == "text/event-stream"
        lines = answer.iter_lines()
        for number in range(5):
            upstream.say(b"data: %d\n\n" % number)
            assert (next(lines), next(lines)) == (f"data: {number}", "")
        upstream.say(b"")
        assert list(lines) == []


def test_a_large_download_passes_whole_in_flat_memory(gate: Gate) -> None:
    before = _memory(gate)
    hashed, size = hashlib.sha256(), 0
    with requests.get(
        f"https://{HOST}/large", proxies={"https": gate.proxy}, verify=gate.ca, timeout=PATIENCE, stream=True
    ) as answer:
        for part in answer.iter_content(MIB):
            hashed.update(part)
            size += len(part)
    assert (size, hashed.hexdigest()) == (LARGE, large_digest())
    assert _memory(gate) - before < 16 * MIB


def test_an_upload_that_no_rule_needs_passes_whole_in_flat_memory(
    gate: Gate, upstream: Upstream, mark: str
) -> None:
    """It is far over the limit of bodies that are read to be judged: nobody reads it."""
    before = _memory(gate)
    block = bytes(MIB)
    answer = requests.post(
        f"https://{HOST}/free/{mark}",
        data=(block for _ in range(32)),
        proxies={"https": gate.proxy},
        verify=gate.ca,
        timeout=PATIENCE,
    )
    assert answer.status_code == 200
    [arrival] = upstream.got(mark)
    assert len(arrival.body) == 32 * MIB
    assert _memory(gate) - before < 16 * MIB


def _frame(opcode: int, text: bytes) -> bytes:
    """A masked frame of a client (RFC 6455, 5.2), shorter than 126 bytes."""
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(text))
    return bytes([0x80 | opcode, 0x80 | len(text)]) + mask + masked


async def test_a_websocket_waits_as_the_write_that_it_is_then_flows(
    gate: Gate, upstream: Upstream, mark: str
) -> None:
    key = "c2x1aWNlLXNsdWljZS1zbA=="
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
        writer.write(f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n".encode())
        assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
        await writer.start_tls(ssl.create_default_context(cafile=gate.ca), server_hostname=HOST)
        writer.write(
            f"GET /echo?{mark} HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        hold = await asyncio.to_thread(gate.held, mark)
        assert upstream.got(mark) == []
        await asyncio.to_thread(gate.answer, hold, True)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert accepts(key).encode() in head
        for text in (b"one", b"two", b"caf\xc3\xa9"):
            writer.write(_frame(0x1, text))
            assert await reader.readexactly(2 + len(text)) == bytes([0x81, len(text)]) + text
        writer.write(_frame(0x8, b"\x03\xe8"))
        assert await reader.readexactly(4) == b"\x88\x02\x03\xe8"
        writer.close()
    assert len(upstream.got(mark)) == 1


def test_a_websocket_that_is_denied_is_told_so(gate: Gate, mark: str, started: Started) -> None:
    headers = {
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec-websocket-key": "c2x1aWNlLXNsdWljZS1zbA==",
        "sec-websocket-version": "13",
    }
    asking = started(
        requests.get,
        f"https://{HOST}/echo?{mark}",
        headers=headers,
        proxies={"https": gate.proxy},
        verify=gate.ca,
        timeout=PATIENCE,
    )
    gate.answer(gate.held(mark), False, "no sockets")
    answer = asking.result(PATIENCE)
    assert (answer.status_code, answer.json()["detail"]) == (403, "no sockets")
