"""Streams stay streams, in flat memory, however slowly anyone reads."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from proxy.decision import Happened

from .conftest import LIMIT, Listen, Open, Pki, SmallDoor, Upstream, get, post
from .http2 import Agent2

HOST = "api.test"
MB = 1024 * 1024


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


class Peak:
    """The most memory that was taken since it began, sampled."""

    def __init__(self) -> None:
        self.begin = resident()
        self.most = 0
        self.task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            self.most = max(self.most, resident() - self.begin)
            await asyncio.sleep(0.01)

    def stop(self) -> int:
        self.task.cancel()
        return self.most


async def big(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers with as many MB as the path says."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.split(b"/big/")[1].split(b" ")[0]) * MB
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        block = b"x" * MB
        for _ in range(size // MB):
            writer.write(block)
            await writer.drain()
        await reader.read()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


@pytest.mark.parametrize("tls", [False, True])
async def test_events_of_a_stream_pass_as_they_come(
    open_gate: Open, listen: Listen, pki: Pki, tls: bool
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(10):
            await asyncio.sleep(0.02)
            event = b"data: %.6f\n\n" % time.monotonic()
            writer.write(b"%x\r\n%s\r\n" % (len(event), event))
        writer.write(b"0\r\n\r\n")

    port = await listen(serve, pki.server(HOST) if tls else None)
    gate = await open_gate(resolve={(HOST, 443): ("127.0.0.1", port)})
    if tls:
        agent = await gate.tls(HOST, 443)
        agent.send(b"GET /stream HTTP/1.1\r\nHost: api.test\r\n\r\n")
    else:
        agent = await gate.send(get(port, "/stream"))
    await agent.head()
    delays = []
    async with asyncio.timeout(LIMIT):
        for _ in range(10):
            await agent.reader.readuntil(b"data: ")
            sent = float(await agent.reader.readuntil(b"\n"))
            delays.append(time.monotonic() - sent)
    assert sorted(delays)[5] < 0.015, delays


@pytest.mark.parametrize("how", ["plain", "tls", "h2"])
async def test_a_download_of_200_mb_takes_no_memory(
    open_gate: Open, listen: Listen, pki: Pki, how: str, door: SmallDoor
) -> None:
    port = await listen(big, None if how == "plain" else pki.server(HOST, "http/1.1"))
    gate = await open_gate(resolve={(HOST, 443): ("127.0.0.1", port)})
    size = 60 if how == "h2" else 200
    peak = Peak()
    async with asyncio.timeout(60):
        if how == "h2":
            agent2 = Agent2(await gate.tls(HOST, 443, "h2"), HOST)
            agent2.keeps = False
            stream = agent2.ask(f"/stream/big/{size}")
            while stream not in agent2.ended:
                agent2.changed.clear()
                await agent2.changed.wait()
            received = agent2.received[stream]
        else:
            agent = await gate.tls(HOST, 443) if how == "tls" else await gate.connect()
            if how == "tls":
                agent.send(f"GET /stream/big/{size} HTTP/1.1\r\nHost: api.test\r\n\r\n".encode())
            else:
                agent.send(get(port, f"/stream/big/{size}"))
            await agent.head()
            received = 0
            while received < size * MB:
                received += len(await agent.reader.read(MB))
    assert received == size * MB
    assert peak.stop() < 24 * MB
    await door.until(lambda: door.outcomes)
    assert door.outcomes[0].received == size * MB


@pytest.mark.parametrize("how", ["plain", "h2"])
async def test_an_agent_that_reads_slowly_holds_upstream_back(
    open_gate: Open, listen: Listen, pki: Pki, how: str
) -> None:
    written = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1000 * MB))
        try:
            for _ in range(1000):
                writer.write(b"x" * MB)
                await writer.drain()
                written += MB
        except OSError:
            pass

    port = await listen(serve, None if how == "plain" else pki.server(HOST, "http/1.1"))
    gate = await open_gate(resolve={(HOST, 443): ("127.0.0.1", port)})
    peak = Peak()
    if how == "h2":
        agent2 = Agent2(await gate.tls(HOST, 443, "h2"), HOST)
        agent2.acknowledges = False
        slow = agent2.ask("/stream/slow")
        await agent2.until(lambda: agent2.received[slow] > 60000)
    else:
        agent = await gate.send(get(port, "/stream"))
        await agent.head()
    before = -1
    async with asyncio.timeout(LIMIT):
        while written != before:
            before = written
            await asyncio.sleep(0.3)
    assert peak.stop() < 24 * MB
    assert written < 64 * MB  # what the kernel's buffers hold
    if how == "h2":
        other = agent2.ask("/deny")
        assert (await agent2.answer(other))[0] == 403


async def test_an_upload_that_no_rule_needs_is_streamed(
    open_gate: Open, listen: Listen, door: SmallDoor
) -> None:
    received = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        await reader.readuntil(b"\r\n\r\n")
        while received < 100 * MB:
            received += len(await reader.read(MB))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    gate = await open_gate()
    port = await listen(serve)
    peak = Peak()
    agent = await gate.send(
        post(port, "/stream", b"", "X: 1").replace(b"Length: 0", b"Length: %d" % (100 * MB))
    )
    block = b"x" * MB
    for _ in range(100):
        agent.send(block)
        await agent.writer.drain()
    assert (await agent.answer())[0] == 200
    assert received == 100 * MB
    assert peak.stop() < 24 * MB
    await door.until(lambda: door.outcomes)
    assert door.outcomes[0].sent == 100 * MB


@pytest.mark.parametrize("stalls", ["door", "upstream"])
async def test_an_upload_waits_while_the_gate_or_upstream_does(
    open_gate: Open, listen: Listen, door: SmallDoor, stalls: str
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    port = await listen(serve)
    door.slow = 60.0 if stalls == "door" else 0.0
    gate = await open_gate()
    peak = Peak()
    agent = await gate.send(
        post(port, "/stream", b"", "X: 1").replace(b"Length: 0", b"Length: %d" % (900 * MB))
    )
    sent = 0
    block = b"x" * MB
    with pytest.raises(TimeoutError):
        while True:
            agent.send(block)
            await asyncio.wait_for(agent.writer.drain(), 0.5)
            sent += MB
    assert sent < 64 * MB
    assert peak.stop() < 24 * MB


async def test_an_http2_upload_waits_while_upstream_does_and_other_streams_go_on(
    open_gate: Open, listen: Listen, pki: Pki, door: SmallDoor
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    port = await listen(serve, pki.server(HOST, "http/1.1"))
    gate = await open_gate(resolve={(HOST, 443): ("127.0.0.1", port)})
    agent = Agent2(await gate.tls(HOST, 443, "h2"), HOST)
    stream = agent.ask("/stream", method="POST", end=False)
    held = agent.ask("/hold")
    sent = await agent.upload(stream, 900 * MB, stall=0.3)
    assert sent < 64 * MB
    assert (await agent.answer(agent.ask("/deny")))[0] == 403
    agent.cancel(held)
    await door.until(lambda: "abandoned" in door.words)


async def test_a_body_over_the_limit_is_too_large_before_it_is_read(
    open_gate: Open, upstream: Upstream, door: SmallDoor
) -> None:
    gate = await open_gate(body_limit=1000)
    agent = await gate.send(post(upstream.port, "/x", b"a" * 1001).partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    status, head, body = await agent.answer()
    assert (status, json.loads(body)["decision"]) == (413, "too_large")
    assert b"connection: close" in head.lower()
    assert door.words == ["too_large"]
    head = get(upstream.port, "/x", "Transfer-Encoding: chunked").replace(b"GET", b"POST")
    agent = await gate.send(head + b"3e9\r\n" + b"a" * 1001)
    assert (await agent.answer())[0] == 413
    assert (await (await gate.send(post(upstream.port, "/x", b"a" * 1000))).answer())[0] == 200
    assert upstream.requests == 1


async def test_bodies_that_wait_share_their_memory_and_give_it_back(
    open_gate: Open, upstream: Upstream, door: SmallDoor
) -> None:
    gate = await open_gate(hold_memory=3000)
    first = await gate.send(post(upstream.port, "/hold/1", b"a" * 2000))
    await door.until(lambda: door.waiting)
    second = await gate.send(post(upstream.port, "/hold/2", b"a" * 2000))
    status, head, body = await second.answer()
    assert (status, json.loads(body)["decision"]) == (503, "unavailable")
    assert b"x-should-retry: true" in head
    door.waiting[0].release()
    assert (await first.answer())[0] == 200
    third = await gate.send(post(upstream.port, "/hold/3", b"a" * 2000))
    await door.until(lambda: len(door.waiting) == 2)
    third.close()
    await door.until(lambda: "abandoned" in door.words)
    await door.until(lambda: gate.gate.connections <= 2)
    fourth = await gate.send(post(upstream.port, "/x", b"a" * 2900))
    assert (await fourth.answer())[0] == 200


@pytest.mark.parametrize("path", ["/x", "/stream"])
async def test_an_agent_that_waits_for_100_is_told_to_go_on_only_when_its_body_is_wanted(
    open_gate: Open, upstream: Upstream, path: str
) -> None:
    gate = await open_gate()
    raw = post(upstream.port, path, b"abc", "Expect: 100-continue")
    agent = await gate.send(raw[:-3])
    assert await agent.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
    agent.send(b"abc")
    assert (await agent.answer())[0] == 200
    assert b"expect" not in bytes(upstream.seen).lower()
    agent = await gate.send(post(upstream.port, "/deny", b"abc", "Expect: 100-continue")[:-3])
    assert (await agent.answer())[0] == 403


async def test_an_agent_that_sends_all_before_it_reads_still_sees_its_refusal(
    open_gate: Open, upstream: Upstream
) -> None:
    gate = await open_gate()
    agent = await gate.send(post(upstream.port, "/deny", b"x" * 20 * MB))
    await agent.writer.drain()
    status, head, _ = await agent.answer()
    assert status == 403
    assert b"connection: close" in head.lower()
    assert upstream.connections == 0


async def test_an_http2_agent_that_sends_all_before_it_reads_still_sees_its_refusal(
    open_gate: Open, upstream: Upstream
) -> None:
    gate = await open_gate(resolve={(HOST, 443): ("127.0.0.1", upstream.port)})
    agent = Agent2(await gate.tls(HOST, 443, "h2"), HOST)
    stream = agent.ask("/deny", method="POST", end=False)
    assert await agent.upload(stream, 5 * MB) == 5 * MB
    assert (await agent.answer(stream))[0] == 403
    assert stream not in agent.reset


async def test_an_answer_without_a_length_ends_where_upstream_closes(open_gate: Open, listen: Listen) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
        writer.close()

    gate = await open_gate()
    agent = await gate.send(get(await listen(serve), "/stream"))
    status, head, body = await agent.answer()
    assert (status, body) == (200, b"hello")
    assert b"Transfer-Encoding: chunked" in head


async def test_an_http10_agent_gets_an_answer_it_understands(open_gate: Open, upstream: Upstream) -> None:
    upstream.answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    gate = await open_gate()
    agent = await gate.send(f"GET http://127.0.0.1:{upstream.port}/stream HTTP/1.0\r\n\r\n".encode())
    raw = await agent.end()
    assert raw.endswith(b"\r\n\r\nok")
    assert b"chunked" not in raw
    assert f"Host: 127.0.0.1:{upstream.port}".encode() in upstream.seen


@pytest.mark.parametrize(("status", "method"), [("204 No Content", "GET"), ("304 Not Modified", "GET")])
async def test_answers_without_a_body_do_not_hang(
    open_gate: Open, upstream: Upstream, status: str, method: str
) -> None:
    upstream.answer = f"HTTP/1.1 {status}\r\nETag: x\r\n\r\n".encode()
    gate = await open_gate()
    agent = await gate.send(get(upstream.port, "/stream"))
    for _ in range(2):
        head = await agent.head()
        assert status.encode() in head
        assert b"chunked" not in head.lower()
        agent.send(get(upstream.port, "/stream"))


async def test_an_answer_to_head_keeps_its_length(open_gate: Open, upstream: Upstream) -> None:
    upstream.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"
    gate = await open_gate()
    agent = await gate.send(get(upstream.port, "/stream").replace(b"GET", b"HEAD"))
    assert b"Content-Length: 500" in await agent.head()
    agent.send(get(upstream.port, "/stream").replace(b"GET", b"HEAD"))
    assert b" 200 " in await agent.head()


async def test_an_answer_that_comes_before_the_request_is_complete_passes(
    open_gate: Open, listen: Listen, door: SmallDoor
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        await writer.drain()
        await reader.read()

    gate = await open_gate()
    port = await listen(serve)
    agent = await gate.send(post(port, "/stream", b"x" * MB)[:-1])
    status, _, body = await agent.answer()
    assert (status, body) == (401, b"no")
    await door.until(lambda: door.outcomes)
    assert door.outcomes[0].happened is Happened.COMPLETED


async def test_an_http2_upload_that_is_answered_early_gets_the_whole_answer(
    open_gate: Open, listen: Listen, pki: Pki, upstream: Upstream
) -> None:
    port = await listen(upstream.serve, pki.server(HOST, "http/1.1"))
    gate = await open_gate(resolve={(HOST, 443): ("127.0.0.1", port)})
    agent = Agent2(await gate.tls(HOST, 443, "h2"), HOST)
    stream = agent.ask("/stream", method="POST", end=False)
    assert await agent.upload(stream, 3 * MB) == 3 * MB
    assert await agent.answer(stream) == (200, b"ok")
