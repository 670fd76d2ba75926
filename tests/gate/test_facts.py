"""
What is known about the proxy core, and shown here to be closed.

The numbers are those under which each was first measured; F2 is in `test_http2`.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from proxy.decision import Decision, Happened, Word

from .conftest import Agent, Listen, Open, Pki, SmallDoor, SmallHearing, Upstream, get, post


@pytest.mark.parametrize("path", ["/bug-in-receive", "/bug-in-judge"])
async def test_f1_a_bug_refuses_and_the_agent_is_told_unavailable(
    open_gate: Open, upstream: Upstream, door: SmallDoor, path: str
) -> None:
    gate = await open_gate()
    agent = await gate.send(post(upstream.port, path, b"x"))
    status, _, body = await agent.answer()
    assert status == 503
    assert json.loads(body)["decision"] == "unavailable"
    assert json.loads(body)["retry"] is True
    await door.until(lambda: door.words == ["unavailable"])
    assert upstream.connections == 0
    assert (await (await gate.send(get(upstream.port, "/stream"))).answer())[0] == 200


async def test_f1_a_bug_in_the_gate_itself_refuses(
    open_gate: Open, upstream: Upstream, door: SmallDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def planted(*_: object, **__: object) -> Any:
        raise KeyError("planted")

    gate = await open_gate()
    monkeypatch.setattr("proxy.gate.exchange.release", planted)
    agent = await gate.send(get(upstream.port, "/stream"))
    assert (await agent.answer())[0] == 503
    assert upstream.requests == 0
    await door.until(lambda: door.outcomes)
    assert door.outcomes[0].happened is Happened.FAILED
    monkeypatch.setattr("proxy.gate.exchange.read_request", planted)
    agent = await gate.send(get(upstream.port, "/stream"))
    assert (await agent.answer())[0] == 503
    await door.until(lambda: "unavailable" in door.words)
    assert upstream.requests == 0


@pytest.mark.parametrize("word", [word for word in Word if not word.opens])
async def test_f1_only_a_decision_that_opens_lets_anything_leave(
    open_gate: Open, upstream: Upstream, word: Word, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def judge(self: SmallHearing, request: object) -> Decision:
        from proxy.decision import By

        return self.settle(Decision(word, By.FAULT))

    monkeypatch.setattr(SmallHearing, "judge", judge)
    gate = await open_gate()
    agent = await gate.send(post(upstream.port, "/x", b"x"))
    status, head, _ = await agent.answer()
    assert status >= 400
    assert f"sluice-decision: {word}".encode() in head
    assert upstream.connections == 0


async def test_f1_no_decision_at_all_refuses(
    open_gate: Open, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def judge(self: SmallHearing, request: object) -> None:
        return None

    monkeypatch.setattr(SmallHearing, "judge", judge)
    gate = await open_gate()
    assert (await (await gate.send(post(upstream.port, "/x", b"x"))).answer())[0] == 503
    assert upstream.connections == 0


async def test_f3_a_body_that_is_judged_is_never_streamed_however_large(
    open_gate: Open, upstream: Upstream, door: SmallDoor
) -> None:
    gate = await open_gate()
    body = b"x" * 3_000_000
    agent = await gate.send(post(upstream.port, "/hold", body))
    await door.until(lambda: door.waiting)
    assert upstream.connections == 0
    assert door.judged[0].body == body
    door.waiting[0].release()
    assert (await agent.answer())[0] == 200
    await upstream.until(lambda: len(upstream.seen) > len(body))
    assert bytes(upstream.seen).endswith(body)


async def test_f4_a_denied_hold_is_answered_and_leaves_nothing_behind(
    open_gate: Open, upstream: Upstream, door: SmallDoor
) -> None:
    gate = await open_gate()
    door.denies = Word.DENIED
    agent = await gate.send(post(upstream.port, "/hold", b"x"))
    await door.until(lambda: door.waiting)
    door.waiting[0].release()
    status, _, body = await agent.answer()
    assert (status, json.loads(body)["detail"]) == (403, "amount too high")
    agent.send(get(upstream.port, "/stream"))
    assert (await agent.answer())[0] == 200
    assert upstream.requests == 1


@pytest.mark.parametrize("first", [b"\x00\x01raw", b"SSH-2.0-x\r\n", b"hello\r\n\r\n", b"EHLO x\r\n\r\n"])
async def test_f4_bytes_in_a_tunnel_that_are_not_http_go_nowhere(
    open_gate: Open, upstream: Upstream, door: SmallDoor, first: bytes
) -> None:
    gate = await open_gate()
    agent = await gate.tunnel("127.0.0.1", upstream.port)
    agent.send(first)
    assert (await agent.answer())[0] == 400
    assert await agent.end() == b""
    assert upstream.connections == 0
    assert door.words == ["unreadable"]


async def test_f5_no_name_that_an_agent_sends_lets_it_pass_unjudged(
    open_gate: Open, listen: Listen, pki: Pki, door: SmallDoor
) -> None:
    raw = Upstream()
    port = await listen(raw.serve, pki.server("evil.test"))
    gate = await open_gate(resolve={("evil.test", 443): ("127.0.0.1", port)})
    for sni in ("evil.test", "good.test", "127.0.0.1"):
        agent = await gate.tls("evil.test", 443, sni=sni)
        agent.send(b"GET /deny HTTP/1.1\r\nHost: evil.test\r\n\r\n")
        assert (await agent.answer())[0] in (403, 421)
    assert raw.connections == 0


async def test_f6_a_websocket_is_judged_before_it_opens(
    open_gate: Open, upstream: Upstream, door: SmallDoor
) -> None:
    gate = await open_gate()
    upgrade = (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    agent = await gate.send(get(upstream.port, "/hold", *upgrade))
    await door.until(lambda: door.waiting)
    agent.close()
    await door.until(lambda: door.words == ["abandoned"])
    assert upstream.connections == 0


@pytest.mark.parametrize("cut", [1, 7, 1000])
async def test_f7_interim_answers_of_upstream_are_not_the_answer(
    open_gate: Open, listen: Listen, cut: int
) -> None:
    whole = (
        b"HTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        b"HTTP/1.1 102 Processing\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    )

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            for position in range(0, len(whole), cut):
                writer.write(whole[position : position + cut])
                await asyncio.sleep(0.0005)

    port = await listen(serve)
    gate = await open_gate()
    agent: Agent = await gate.send(get(port, "/stream"))
    for _ in range(2):
        status, _, body = await agent.answer()
        assert (status, body) == (200, b"ok")
        agent.send(get(port, "/stream"))
