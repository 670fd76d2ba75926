"""The gate's own name: answered by the gate, and by nobody else."""

from __future__ import annotations

import pytest

from proxy.about import HOST

from .conftest import Open, SmallDoor, Upstream, get, post


async def test_a_plain_request_for_it_is_answered_and_goes_nowhere(
    open_gate: Open, door: SmallDoor, upstream: Upstream
) -> None:
    gate = await open_gate(resolve={(HOST, 80): ("127.0.0.1", upstream.port)})
    agent = await gate.send(get(80, "/", host=HOST))
    assert (await agent.answer())[::2] == (200, b"about /")
    assert (door.heard, door.decided, upstream.connections) == ([], [], 0)
    assert door.asked[0].agent is not None


async def test_the_connection_goes_on_after_it(open_gate: Open, door: SmallDoor, upstream: Upstream) -> None:
    gate = await open_gate()
    agent = await gate.send(
        get(80, "/", host=HOST) + get(upstream.port, "/stream") + get(80, "/x", host=HOST)
    )
    said = [(await agent.answer())[2] for _ in range(3)]
    assert said == [b"about /", b"ok", b"about /x"]


@pytest.mark.parametrize("port", [443, 8443])
async def test_a_tunnel_to_it_ends_at_the_gate(open_gate: Open, door: SmallDoor, port: int) -> None:
    gate = await open_gate()
    agent = await gate.tls(HOST, port)
    agent.send(b"GET /holds/abc HTTP/1.1\r\nHost: %s:%d\r\n\r\n" % (HOST.encode(), port))
    assert (await agent.answer())[2] == b"about /holds/abc"
    assert door.heard == []


async def test_its_name_is_known_in_any_case(open_gate: Open, door: SmallDoor) -> None:
    gate = await open_gate()
    agent = await gate.send(get(80, "/", host="Sluice.INVALID"))
    assert (await agent.answer())[2] == b"about /"


async def test_it_takes_no_body_and_needs_none(open_gate: Open, door: SmallDoor) -> None:
    gate = await open_gate(body_limit=10)
    agent = await gate.send(post(80, "/", b"x" * 1_000, host=HOST))
    status, head, body = await agent.answer()
    assert (status, body) == (200, b"about /")
    assert b"connection: close" in head.lower()
    waits = await gate.send(post(80, "/", b"", "Expect: 100-continue", host=HOST))
    assert (await waits.answer())[0] == 200


async def test_head_has_no_body(open_gate: Open, door: SmallDoor) -> None:
    gate = await open_gate()
    agent = await gate.send(get(80, "/", "Connection: close", host=HOST).replace(b"GET", b"HEAD"))
    assert (await agent.end()).endswith(b"\r\n\r\n")


async def test_a_request_that_also_names_another_host_is_refused(open_gate: Open, door: SmallDoor) -> None:
    gate = await open_gate()
    agent = await gate.send(f"GET http://{HOST}/ HTTP/1.1\r\nHost: bank.example\r\n\r\n".encode())
    assert (await agent.answer())[0] == 421
    assert door.asked == []


async def test_a_name_below_it_is_a_name_like_any_other(open_gate: Open, door: SmallDoor) -> None:
    gate = await open_gate()
    agent = await gate.send(get(80, "/deny", host=f"x.{HOST}"))
    assert (await agent.answer())[0] == 403
    assert len(door.heard) == 1


async def test_a_bug_in_the_answer_refuses(open_gate: Open, door: SmallDoor) -> None:
    gate = await open_gate()
    agent = await gate.send(get(80, "/bug", host=HOST))
    assert (await agent.answer())[0] == 503
