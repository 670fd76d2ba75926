"""HTTP/2 agents, towards upstreams of both kinds."""

from __future__ import annotations

import json

import h2.connection
import pytest
from hyperframe.frame import GoAwayFrame

from proxy.decision import Happened

from .conftest import Listen, Open, Pki, SmallDoor, Upstream
from .http2 import Agent2, Upstream2

HOST = "api.test"


async def agent2(open_gate: Open, port: int) -> Agent2:
    gate = await open_gate(resolve={(HOST, 443): ("127.0.0.1", port)})
    return Agent2(await gate.tls(HOST, 443, "h2"), HOST)


async def test_two_http2_requests_share_one_upstream_connection(
    open_gate: Open, listen: Listen, pki: Pki, door: SmallDoor
) -> None:
    up = Upstream2()
    agent = await agent2(open_gate, await listen(up.serve, pki.server(HOST, "h2")))
    first, second = agent.ask("/stream/1"), agent.ask("/stream/2")
    assert await agent.answer(first) == (200, b"ok")
    assert await agent.answer(second) == (200, b"ok")
    assert up.connections == 1
    assert [request[":path"] for request in up.requests] == ["/stream/1", "/stream/2"]
    assert door.heard[0].request.version == "HTTP/2"
    await door.until(lambda: len(door.outcomes) == 2)
    assert {outcome.happened for outcome in door.outcomes} == {Happened.COMPLETED}


async def test_while_one_stream_waits_for_a_person_the_others_go_on(
    open_gate: Open, listen: Listen, pki: Pki, door: SmallDoor
) -> None:
    up = Upstream2()
    agent = await agent2(open_gate, await listen(up.serve, pki.server(HOST, "h2")))
    held = agent.ask("/hold", method="POST", end=False)
    agent.data(held, b"amount=1", end=True)
    await door.until(lambda: door.waiting)
    assert (await agent.answer(agent.ask("/stream")))[0] == 200
    assert held not in agent.status
    door.waiting[0].release()
    assert (await agent.answer(held))[0] == 200
    assert b"amount=1" in up.bodies.values()


@pytest.mark.parametrize("path", ["/judged", "/stream"])
async def test_f2_a_body_without_a_length_is_framed_for_an_http1_upstream(
    open_gate: Open, listen: Listen, pki: Pki, path: str
) -> None:
    raw = Upstream()
    agent = await agent2(open_gate, await listen(raw.serve, pki.server(HOST, "http/1.1")))
    stream = agent.ask(path, method="POST", end=False)
    smuggled = b"POST /smuggled HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    agent.data(stream, smuggled, end=True)
    await agent.answer(stream)
    await raw.until(lambda: b"smuggled" in raw.seen)
    head, _, body = bytes(raw.seen).partition(b"\r\n\r\n")
    if path == "/judged":
        assert b"Content-Length: %d" % len(smuggled) in head
        assert body == smuggled
    else:
        assert b"Transfer-Encoding: chunked" in head
        assert body == b"%x\r\n%s\r\n0\r\n\r\n" % (len(smuggled), smuggled)


async def test_cookie_crumbs_and_authority_become_one_cookie_and_a_host(
    open_gate: Open, listen: Listen, pki: Pki
) -> None:
    raw = Upstream()
    agent = await agent2(open_gate, await listen(raw.serve, pki.server(HOST, "http/1.1")))
    stream = agent.ask("/stream", headers=[("cookie", "a=1"), ("cookie", "b=2")])
    assert await agent.answer(stream) == (200, b"ok")
    assert bytes(raw.seen).startswith(b"GET /stream HTTP/1.1\r\nHost: api.test\r\n")
    assert b"\r\ncookie: a=1; b=2\r\n" in raw.seen


MALFORMED = {
    "upper-case name": ("/", [("X-Upper", "1")], None),
    "connection header": ("/", [("connection", "close")], None),
    "transfer-encoding": ("/", [("transfer-encoding", "chunked")], None),
    "te": ("/", [("te", "gzip")], None),
    "line break in a value": ("/", [("x", "a\r\nb: c")], None),
    "null in a value": ("/", [("x", "a\0b")], None),
    "name with a space": ("/", [("x y", "1")], None),
    "two hosts": ("/", [("host", "api.test"), ("host", "api.test")], None),
    "two lengths": ("/", [("content-length", "1"), ("content-length", "1")], None),
    "bad expectation": ("/", [("expect", "magic")], None),
    "trailer": ("/", [("trailer", "x")], None),
    "relative path": ("relative", [], None),
    "fragment": ("/a#b", [], None),
    "space in the path": ("/a b", [], None),
    "lower-case method": (
        "/",
        [],
        [(":method", "get"), (":scheme", "https"), (":authority", HOST), (":path", "/")],
    ),
    "no path": ("/", [], [(":method", "GET"), (":scheme", "https"), (":authority", HOST)]),
    "two paths": (
        "/",
        [],
        [(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", "/"), (":path", "/b")],
    ),
    "plain scheme": (
        "/",
        [],
        [(":method", "GET"), (":scheme", "http"), (":authority", HOST), (":path", "/")],
    ),
    "extended connect": (
        "/",
        [],
        [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "https"),
            (":authority", HOST),
            (":path", "/"),
        ],
    ),
    "no authority": ("/", [], [(":method", "GET"), (":scheme", "https"), (":path", "/")]),
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_malformed_http2_head_is_refused_on_its_own_stream_and_recorded(
    open_gate: Open, upstream: Upstream, door: SmallDoor, name: str
) -> None:
    path, headers, pseudo = MALFORMED[name]
    agent = await agent2(open_gate, upstream.port)
    other = agent.ask("/hold")
    await door.until(lambda: door.waiting)
    stream = agent.ask(path, headers=headers, pseudo=pseudo)
    status, body = await agent.answer(stream)
    assert status == 400
    assert b'"decision": "unreadable"' in body
    assert door.words == ["unreadable"]
    assert upstream.connections == 0
    assert other not in agent.status
    assert not agent.closed


async def test_an_authority_other_than_the_connect_name_is_misdirected(
    open_gate: Open, upstream: Upstream, door: SmallDoor
) -> None:
    agent = await agent2(open_gate, upstream.port)
    pseudo = [(":method", "GET"), (":scheme", "https"), (":authority", "evil.test"), (":path", "/stream")]
    assert (await agent.answer(agent.ask("/", pseudo=pseudo)))[0] == 421
    assert (await agent.answer(agent.ask("/", headers=[("host", "evil.test")])))[0] == 421
    assert door.words == ["unreadable", "unreadable"]
    assert door.heard == []


async def test_request_trailers_are_unreadable(open_gate: Open, upstream: Upstream, door: SmallDoor) -> None:
    agent = await agent2(open_gate, upstream.port)
    stream = agent.ask("/x", method="POST", end=False)
    agent.data(stream, b"abc")
    agent.h2.send_headers(stream, [("x-trailer", "1")], end_stream=True)
    agent.flush()
    assert (await agent.answer(stream))[0] == 400
    assert door.words == ["unreadable"]
    assert door.judged == []


async def test_a_body_that_differs_from_its_content_length_is_never_forwarded(
    open_gate: Open, upstream: Upstream, door: SmallDoor
) -> None:
    agent = await agent2(open_gate, upstream.port)
    stream = agent.ask("/x", method="POST", headers=[("content-length", "10")], end=False)
    agent.data(stream, b"abc", end=True)
    await agent.until(lambda: agent.closed)
    await door.until(lambda: "unreadable" in door.words)
    assert door.judged == []
    assert upstream.connections == 0


async def test_trailers_of_an_answer_pass(open_gate: Open, listen: Listen, pki: Pki) -> None:
    def reply(conn: object, stream: int) -> None:
        conn.send_headers(stream, [(":status", "200")])  # type: ignore[attr-defined]
        conn.send_data(stream, b"m")  # type: ignore[attr-defined]
        conn.send_headers(stream, [("grpc-status", "0")], end_stream=True)  # type: ignore[attr-defined]

    up = Upstream2(reply=reply)
    agent = await agent2(open_gate, await listen(up.serve, pki.server(HOST, "h2")))
    stream = agent.ask("/stream", headers=[("te", "trailers")])
    assert await agent.answer(stream) == (200, b"m")
    assert agent.trailers[stream] == [("grpc-status", "0")]
    assert up.requests[0]["te"] == "trailers"


async def test_more_requests_than_upstream_takes_at_once_use_another_connection(
    open_gate: Open, listen: Listen, pki: Pki
) -> None:
    up = Upstream2(streams=1, reply=lambda conn, stream: None)
    agent = await agent2(open_gate, await listen(up.serve, pki.server(HOST, "h2")))
    agent.ask("/stream/1")
    await up.until(lambda: len(up.requests) == 1)
    agent.ask("/stream/2")
    await up.until(lambda: len(up.requests) == 2)
    assert up.connections == 2


def goaway(conn: h2.connection.H2Connection, last: int) -> None:
    """A GOAWAY that is not the end, which hyper-h2 does not send."""
    conn._data_to_send += GoAwayFrame(0, last_stream_id=last).serialize()


@pytest.mark.parametrize("warns", [False, True])
async def test_what_upstream_took_before_it_said_goodbye_is_still_answered(
    open_gate: Open, listen: Listen, pki: Pki, door: SmallDoor, warns: bool
) -> None:
    """As servers do that restart: "no more" (or not), then "nothing after this one", then the answer."""
    asked: list[int] = []

    def reply(conn: h2.connection.H2Connection, stream: int) -> None:
        asked.append(stream)
        if len(asked) == 2:
            if warns:
                goaway(conn, 2**31 - 1)
            goaway(conn, asked[0])
            conn.send_headers(asked[0], [(":status", "200")])
            conn.send_data(asked[0], b"late", end_stream=True)
        elif len(asked) > 2:
            conn.send_headers(stream, [(":status", "200")], end_stream=True)

    up = Upstream2(reply=reply)
    port = await listen(up.serve, pki.server(HOST, "h2"))
    gate = await open_gate(resolve={(HOST, 443): ("127.0.0.1", port)})
    agent = Agent2(await gate.tls(HOST, 443, "h2"), HOST)
    first, second = agent.ask("/stream/1"), agent.ask("/stream/2")
    assert await agent.answer(first) == (200, b"late")
    status, body = await agent.answer(second)
    assert (status, json.loads(body)["decision"]) == (502, "unknown")
    assert await agent.answer(agent.ask("/stream/3")) == (200, b"")
    assert up.connections == 2
    assert [request[":path"] for request in up.requests] == ["/stream/1", "/stream/2", "/stream/3"]
