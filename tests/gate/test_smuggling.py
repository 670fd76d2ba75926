"""What cannot be read in one way is refused, recorded, and never forwarded."""

from __future__ import annotations

import json

import pytest

from .conftest import Open, SmallDoor, Upstream, get
from .malformed import ADDRESSES, HEADS, MISDIRECTED

CHUNKS = {
    "size": b"zz\r\nabc\r\n0\r\n\r\n",
    "extension": b"3;x=1\r\nabc\r\n0\r\n\r\n",
    "longer than its size": b"3\r\nabcdef\r\n0\r\n\r\n",
    "bare LF": b"3\nabc\n0\n\n",
    "trailers": b"3\r\nabc\r\n0\r\nX: 1\r\n\r\n",
    "endless size": b"1" * 5000,
}


async def refused(open_gate: Open, door: SmallDoor, raw: bytes, status: int) -> None:
    gate = await open_gate()
    agent = await gate.send(raw)
    answered, head, body = await agent.answer()
    assert answered == status, head
    assert b"content-type: application/problem+json" in head
    assert json.loads(body)["decision"] == "unreadable"
    assert b"mitmproxy" not in head + body
    assert door.words == ["unreadable"]
    assert door.judged == []


@pytest.mark.parametrize("name", HEADS)
async def test_a_malformed_head_is_unreadable_and_recorded(
    open_gate: Open, door: SmallDoor, name: str
) -> None:
    await refused(open_gate, door, HEADS[name], 400)


@pytest.mark.parametrize("name", ADDRESSES)
async def test_an_address_that_is_not_in_its_one_spelling_is_unreadable(
    open_gate: Open, door: SmallDoor, name: str
) -> None:
    await refused(open_gate, door, ADDRESSES[name], 400)


@pytest.mark.parametrize("name", MISDIRECTED)
async def test_a_host_other_than_the_one_dialled_is_misdirected(
    open_gate: Open, door: SmallDoor, name: str
) -> None:
    await refused(open_gate, door, MISDIRECTED[name], 421)


@pytest.mark.parametrize("cut", [False, True])
async def test_a_head_over_64_kib_is_unreadable(open_gate: Open, door: SmallDoor, cut: bool) -> None:
    raw = get(9, "/x", "X: " + "a" * 66000)
    await refused(open_gate, door, raw[:-2] if cut else raw, 400)


@pytest.mark.parametrize("name", CHUNKS)
async def test_malformed_chunks_of_a_body_that_is_read_are_unreadable(
    open_gate: Open, upstream: Upstream, door: SmallDoor, name: str
) -> None:
    head = get(upstream.port, "/x", "Transfer-Encoding: chunked").replace(b"GET", b"POST")
    await refused(open_gate, door, head + CHUNKS[name], 400)
    assert upstream.connections == 0


@pytest.mark.parametrize("name", CHUNKS)
async def test_malformed_chunks_of_a_streamed_body_cut_what_has_left(
    open_gate: Open, upstream: Upstream, door: SmallDoor, name: str
) -> None:
    gate = await open_gate()
    head = get(upstream.port, "/stream", "Transfer-Encoding: chunked").replace(b"GET", b"POST")
    upstream.answer = b""
    agent = await gate.send(head + b"3\r\none\r\n")
    await upstream.until(lambda: b"one" in upstream.seen)
    agent.send(CHUNKS[name])
    assert (await agent.answer())[0] == 400
    await door.until(lambda: door.outcomes)
    assert not bytes(upstream.seen).endswith(b"0\r\n\r\n")


async def test_what_is_sent_behind_a_request_is_a_request_of_its_own(
    open_gate: Open, upstream: Upstream, door: SmallDoor
) -> None:
    gate = await open_gate()
    agent = await gate.send(get(upstream.port, "/stream/1") + get(upstream.port, "/deny"))
    assert (await agent.answer())[0] == 200
    assert (await agent.answer())[0] == 403
    assert [hearing.request.target for hearing in door.heard] == [b"/stream/1", b"/deny"]
    assert upstream.requests == 1


async def test_a_request_behind_a_malformed_one_is_never_read(
    open_gate: Open, upstream: Upstream, door: SmallDoor
) -> None:
    gate = await open_gate()
    agent = await gate.send(HEADS["two lengths"] + get(upstream.port, "/stream"))
    assert b"connection: close" in (await agent.answer())[1].lower()
    assert door.heard == []
    assert upstream.connections == 0


async def test_a_malformed_request_in_a_tunnel_is_answered_inside_tls(
    open_gate: Open, upstream: Upstream, door: SmallDoor
) -> None:
    gate = await open_gate(resolve={("api.test", 443): ("127.0.0.1", upstream.port)})
    agent = await gate.tls("api.test", 443)
    agent.send(b"GET / HTTP/1.1\r\nHost : api.test\r\n\r\n")
    assert (await agent.answer())[0] == 400
    agent = await gate.tls("api.test", 443)
    agent.send(b"GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n")
    assert (await agent.answer())[0] == 421
    agent = await gate.tls("api.test", 443, sni="evil.test")
    agent.send(b"GET / HTTP/1.1\r\nHost: api.test\r\n\r\n")
    assert (await agent.answer())[0] == 421
    assert door.words == ["unreadable"] * 3
    assert upstream.connections == 0


async def test_an_empty_line_before_a_request_is_ignored(open_gate: Open, upstream: Upstream) -> None:
    gate = await open_gate()
    agent = await gate.send(b"\r\n" + get(upstream.port, "/stream"))
    assert (await agent.answer())[0] == 200
