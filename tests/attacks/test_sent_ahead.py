"""Attacks on memory that nobody counts: bytes behind a request that waits."""

from __future__ import annotations

from gate.conftest import Open, SmallDoor, Upstream, get


async def test_what_is_sent_ahead_of_a_waiting_request_is_no_more_than_a_head(
    open_gate: Open, upstream: Upstream, door: SmallDoor
) -> None:
    gate = await open_gate()
    agent = await gate.send(get(upstream.port, "/hold"))
    await door.until(lambda: door.waiting)
    agent.send(b"GET /" + b"a" * 65_000)
    agent.send(b"a" * 1_000)
    await door.until(lambda: door.words == ["abandoned"])
