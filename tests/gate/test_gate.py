"""The way of one request, over real sockets."""

from __future__ import annotations

import json

from proxy.decision import Happened

from .conftest import Listen, Open, OpenGate, Pki, SmallDoor, Upstream, get, post


async def test_an_allowed_request_reaches_upstream_and_its_answer_comes_back(
    open_gate: Open, upstream: Upstream, door: SmallDoor
) -> None:
    gate: OpenGate = await open_gate()
    agent = await gate.send(get(upstream.port, "/stream?a=1"))
    status, _, body = await agent.answer()
    assert (status, body) == (200, b"ok")
    assert bytes(upstream.seen).startswith(b"GET /stream?a=1 HTTP/1.1\r\nHost: 127.0.0.1:")
    await door.until(lambda: door.outcomes)
    assert door.outcomes[0].happened is Happened.COMPLETED
    assert (door.outcomes[0].status, door.outcomes[0].received) == (200, 2)


async def test_a_body_that_was_judged_leaves_as_it_was_judged(
    open_gate: Open, upstream: Upstream, door: SmallDoor
) -> None:
    gate = await open_gate()
    agent = await gate.send(post(upstream.port, "/x", b"amount=5"))
    assert (await agent.answer())[0] == 200
    assert door.judged[0].body == b"amount=5"
    assert bytes(upstream.seen).endswith(b"Content-Length: 8\r\n\r\namount=5")


async def test_a_refusal_is_a_problem_in_json_and_nothing_leaves(open_gate: Open, upstream: Upstream) -> None:
    gate = await open_gate()
    agent = await gate.send(get(upstream.port, "/deny"))
    status, head, body = await agent.answer()
    assert status == 403
    assert b"content-type: application/problem+json" in head
    assert b"sluice-decision: refused" in head
    assert json.loads(body)["detail"] == "never"
    assert upstream.connections == 0


async def test_a_held_request_waits_and_leaves_when_it_is_approved(
    open_gate: Open, upstream: Upstream, door: SmallDoor
) -> None:
    gate = await open_gate()
    agent = await gate.send(post(upstream.port, "/hold", b"x"))
    await door.until(lambda: door.waiting)
    assert upstream.connections == 0
    door.waiting[0].release()
    assert (await agent.answer())[0] == 200
    assert upstream.requests == 1


async def test_requests_in_tls_are_judged_and_answered_inside_it(
    open_gate: Open, listen: Listen, pki: Pki, door: SmallDoor
) -> None:
    raw = Upstream()
    port = await listen(raw.serve, pki.server("api.test"))
    gate = await open_gate(resolve={("api.test", 443): ("127.0.0.1", port)})
    agent = await gate.tls("api.test", 443)
    assert raw.connections == 0, "a CONNECT dials nothing"
    agent.send(b"GET /stream HTTP/1.1\r\nHost: api.test\r\n\r\n")
    assert (await agent.answer())[0] == 200
    assert door.heard[0].request.url == "https://api.test/stream"
    agent.send(b"GET /deny HTTP/1.1\r\nHost: api.test\r\n\r\n")
    assert (await agent.answer())[0] == 403
    agent.send(b"GET /stream/2 HTTP/1.1\r\nHost: api.test\r\n\r\n")
    assert (await agent.answer())[0] == 200
    assert raw.connections == 1, "the upstream connection is used again"


async def test_an_absolute_https_target_is_dialled_with_tls(
    open_gate: Open, listen: Listen, pki: Pki, door: SmallDoor
) -> None:
    raw = Upstream()
    port = await listen(raw.serve, pki.server("api.test"))
    gate = await open_gate(resolve={("api.test", 443): ("127.0.0.1", port)})
    agent = await gate.send(b"GET https://api.test/stream HTTP/1.1\r\nHost: api.test\r\n\r\n")
    assert (await agent.answer())[0] == 200
    assert door.heard[0].request.url == "https://api.test/stream"
    assert bytes(raw.seen).startswith(b"GET /stream HTTP/1.1\r\nHost: api.test\r\n")
