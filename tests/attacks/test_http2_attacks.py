"""Attacks over HTTP/2: streams that wait unseen."""

from __future__ import annotations

import h2.connection
from gate.conftest import Listen, Open, Pki, SmallDoor
from gate.http2 import Agent2, Upstream2

HOST = "api.test"


async def agent2(open_gate: Open, port: int) -> Agent2:
    gate = await open_gate(resolve={(HOST, 443): ("127.0.0.1", port)})
    return Agent2(await gate.tls(HOST, 443, "h2"), HOST)


async def test_an_approved_request_never_waits_unseen_behind_another_one_upstream(
    open_gate: Open, listen: Listen, pki: Pki, door: SmallDoor
) -> None:
    up = Upstream2(streams=1)

    def only_the_first(conn: h2.connection.H2Connection, stream: int) -> None:
        if up.requests[-1][":path"] == "/stream":
            conn.send_headers(stream, [(":status", "200")], end_stream=True)

    up.reply = only_the_first
    agent = await agent2(open_gate, await listen(up.serve, pki.server(HOST, "h2")))
    await agent.answer(agent.ask("/stream"))  # now it is known that upstream takes one at a time
    agent.ask("/hold/1")
    agent.ask("/hold/2")
    await door.until(lambda: len(door.waiting) == 2)
    for held in door.waiting:
        held.release()
    await up.until(lambda: len(up.requests) == 3)
    assert up.connections == 2


async def test_upstream_cannot_speak_for_the_gate_in_trailers(
    open_gate: Open, listen: Listen, pki: Pki
) -> None:
    def with_trailers(conn: h2.connection.H2Connection, stream: int) -> None:
        conn.send_headers(stream, [(":status", "200")])
        conn.send_data(stream, b"ok")
        conn.send_headers(stream, [("grpc-status", "0"), ("sluice-decision", "approved")], end_stream=True)

    up = Upstream2(reply=with_trailers)
    agent = await agent2(open_gate, await listen(up.serve, pki.server(HOST, "h2")))
    stream = agent.ask("/stream")
    await agent.answer(stream)
    assert agent.trailers[stream] == [("grpc-status", "0")]
