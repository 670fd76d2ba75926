"""
Holds: how fast an approved one leaves, and what thousands of waiting ones cost.

The approving side is the product's own client of the control socket: a call is a connection, a
line out, a line back, as `sluice approve` makes it.
"""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from bench.agent import BrokenError, Way, answer
from bench.sides import Proxy
from bench.upstream import BODY
from proxy.control.client import ControlDesk
from proxy.wire import Change, Snapshot

_PATIENCE: Final = 120.0
_AT_ONCE: Final = 32


def _refund(way: Way) -> bytes:
    """A request of which the body is 1,000 bytes, and that waits."""
    form = b"amount=9000&charge=ch_bench&reason="
    words = b"the+customer+has+sent+the+thing+back+" * 27
    return way.post("/v1/refunds", (form + words)[:1_000])


@dataclass(frozen=True, slots=True)
class Kept:
    """
    What so many waiting holds cost: seconds to build up (wall and the proxy's CPU), bytes of
    memory each, and the share of a core that the proxy takes while they wait, without and with them.
    """

    count: int
    built: float
    built_cpu: float
    each: float
    idle: float
    waiting: float


def approvals(proxy: Proxy, way: Way, count: int) -> list[float]:
    """
    Hold and approve one request after the other on one connection; milliseconds of each.

    From just before the reviewer's call to the first byte of the request at upstream.
    """
    return asyncio.run(_approvals(proxy, way, count))


async def _approvals(proxy: Proxy, way: Way, count: int) -> list[float]:
    desk, took = ControlDesk(proxy.state / "control.sock"), []
    request, sock = _refund(way), await asyncio.to_thread(lambda: way.connect(way.context()))
    loop, changes = asyncio.get_running_loop(), desk.changes()
    await anext(changes)
    with sock, ThreadPoolExecutor(1) as reading:
        for _ in range(count):
            sock.sendall(request)
            id = await asyncio.wait_for(_opened(changes), _PATIENCE)
            began = time.monotonic_ns()
            answered = loop.run_in_executor(reading, _read, sock)
            await desk.review(id, approves=True)
            took.append((int(json.loads(await answered)["first_byte"]) - began) / 1e6)
    return took


async def _opened(changes: AsyncIterator[Snapshot | Change]) -> str:
    async for change in changes:
        if isinstance(change, Change) and change.kind == "opened" and change.hold is not None:
            return change.hold.id
    raise BrokenError("the desk was closed")


def _read(sock: socket.socket) -> bytes:
    data = b""
    while (found := answer(data)) is None:
        more = sock.recv(65536)
        if not more:
            raise BrokenError("the connection was closed")
        data += more
    if found.status != 200:
        raise BrokenError(f"approved, but answered with {data[:500]!r}")
    return data[-BODY:]


@contextmanager
def waiting(proxy: Proxy, way: Way, count: int, *, settled: float, watched: float) -> Iterator[Kept]:
    """
    So many holds at once, each on a connection of its own, for as long as the block runs.

    `settled` seconds pass once all are held, then the proxy is `watched` for so many.
    """
    _raise_file_limit(count)
    idle = _share(proxy, watched)
    before, cpu, began = proxy.memory(), proxy.cpu(), time.monotonic()
    agents = _ask(way, count)
    try:
        _until_held(proxy, count)
        built, built_cpu = time.monotonic() - began, proxy.cpu() - cpu
        time.sleep(settled)
        each = (proxy.memory() - before) / count
        yield Kept(count, built, built_cpu, each, idle, _share(proxy, watched))
    finally:
        for agent in agents:
            agent.close()


def _ask(way: Way, count: int) -> list[socket.socket]:
    request, context = _refund(way), way.context()

    def ask(_: int) -> socket.socket:
        sock = way.connect(context)
        sock.sendall(request)
        return sock

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(ask, range(count)))


def _until_held(proxy: Proxy, count: int) -> None:
    desk, deadline = ControlDesk(proxy.state / "control.sock"), time.monotonic() + _PATIENCE
    while (held := asyncio.run(desk.status()).held) < count:
        if time.monotonic() > deadline:
            raise BrokenError(f"{held} of {count} requests are held after {_PATIENCE:.0f} s")
        time.sleep(0.02)


def _share(proxy: Proxy, seconds: float) -> float:
    """The share of one core that a process takes, over so many seconds."""
    cpu, began = proxy.cpu(), time.monotonic()
    time.sleep(seconds)
    return (proxy.cpu() - cpu) / (time.monotonic() - began)


def _raise_file_limit(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = count + 256
    if hard != resource.RLIM_INFINITY and hard < need:
        raise BrokenError(f"{count} connections need {need} open files, and {hard} are permitted")
    if soft < need:
        resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))
