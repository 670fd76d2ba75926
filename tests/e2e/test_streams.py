"""Streams stay streams: what is answered passes as it arrives, in flat memory."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from pathlib import Path

import aiohttp
import httpx
import pytest
import requests

from .conftest import HOST
from .product import PATIENCE, Gate
from .upstream import LARGE, MIB, Upstream, large_digest


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


async def test_a_websocket_waits_as_the_write_that_it_is_then_flows(
    gate: Gate, upstream: Upstream, mark: str
) -> None:
    tls = ssl.create_default_context(cafile=gate.ca)
    async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as session:
        opening = asyncio.ensure_future(
            session.ws_connect(f"wss://{HOST}/echo?{mark}", proxy=gate.proxy, ssl=tls)
        )
        hold = await asyncio.to_thread(gate.held, mark)
        assert upstream.got(mark) == []
        assert not opening.done()
        await asyncio.to_thread(gate.answer, hold, True)
        async with await opening as socket:
            for text in ("one", "two", "café"):
                await socket.send_str(text)
                assert await socket.receive_str() == text
    assert socket.close_code == 1000
    assert len(upstream.got(mark)) == 1


async def test_a_websocket_that_is_denied_is_told_so(gate: Gate, upstream: Upstream, mark: str) -> None:
    tls = ssl.create_default_context(cafile=gate.ca)
    async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as session:
        opening = asyncio.ensure_future(
            session.ws_connect(f"wss://{HOST}/echo?{mark}", proxy=gate.proxy, ssl=tls)
        )
        hold = await asyncio.to_thread(gate.held, mark)
        await asyncio.to_thread(gate.answer, hold, False, "no sockets")
        with pytest.raises(aiohttp.WSServerHandshakeError) as told:
            await opening
    assert told.value.headers
    assert (told.value.status, told.value.headers["sluice-decision"]) == (403, "denied")
    assert upstream.got(mark) == []
