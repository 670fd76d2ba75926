"""
The load generator, in a process of its own: one request after the other on each connection.

    python -m bench.load PLAN

PLAN is JSON: the fields of `Way` and the parameters of `run`. The request's bytes are made once,
answers are looked through for their end and no more. One JSON line on stdout (`Loaded`).
"""

from __future__ import annotations

import json
import math
import select
import socket
import ssl
import sys
import time
from dataclasses import asdict, dataclass

from bench import process
from bench.agent import BrokenError, Way, answer
from bench.table import percentile

_STALLED = 30.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """
    What one run gave: requests a second that were allowed, and how many were not; milliseconds
    at the median and at p99, microseconds of the proxy's CPU for each request, and the share of
    a core that the generator itself took.
    """

    rate: float
    refused: int
    p50: float
    p99: float
    cpu: float
    busy: float


@dataclass(slots=True)
class _Connection:
    sock: socket.socket
    sent: int = 0
    buffer: bytes = b""


class _Driven:
    """So many connections, each asking again as soon as it was answered."""

    def __init__(self, way: Way, connections: int) -> None:
        self._request = way.get("/v1/items?limit=20&page=3")
        self._poll = select.epoll()
        self._open: dict[int, _Connection] = {}
        context = way.context()
        for _ in range(connections):
            sock = way.connect(context)
            sock.setblocking(False)
            self._poll.register(sock.fileno(), select.EPOLLIN)
            self._open[sock.fileno()] = _Connection(sock)
        for connection in self._open.values():
            connection.sent = time.perf_counter_ns()
            connection.sock.send(self._request)

    def drive(self, seconds: float) -> tuple[list[int], int]:
        """Go on for so long: (nanoseconds of each request that was allowed, how many were not)."""
        clock, took, refused = time.perf_counter_ns, [], 0
        last = clock() + int(seconds * 1e9)
        while clock() < last:
            ready = self._poll.poll(_STALLED)
            if not ready:
                raise BrokenError(f"no answer for {_STALLED:.0f} s")
            for number, _ in ready:
                connection = self._open[number]
                status = _status(connection)
                if status is None:
                    continue
                now = clock()
                if status == 200:
                    took.append(now - connection.sent)
                else:
                    refused += 1
                connection.sent = now
                connection.sock.send(self._request)
        return took, refused


def _status(connection: _Connection) -> int | None:
    """Receive; the status of the answer once it is whole."""
    try:
        data = connection.sock.recv(65536)
    except (ssl.SSLWantReadError, BlockingIOError):
        return None  # a record that is not whole yet, or a session ticket
    if not data:
        raise BrokenError("the connection was closed")
    connection.buffer += data
    found = answer(connection.buffer)
    if found is None:
        return None
    connection.buffer = connection.buffer[found.end :]
    return found.status


def run(way: Way, connections: int, warm: float, seconds: float, pid: int | None) -> Loaded:
    """Load for `warm` seconds that do not count, and then `seconds` that do."""

    def spent() -> tuple[float, float, float]:
        return time.perf_counter(), time.process_time(), process.cpu(pid) if pid else math.nan

    driven = _Driven(way, connections)
    driven.drive(warm)
    before = spent()
    took, refused = driven.drive(seconds)
    wall, ours, theirs = (now - then for now, then in zip(spent(), before, strict=True))
    if not took:
        raise BrokenError(f"nothing was allowed, {refused} requests were refused")
    return Loaded(
        rate=len(took) / wall,
        refused=refused,
        p50=percentile(took, 50) / 1e6,
        p99=percentile(took, 99) / 1e6,
        cpu=theirs / len(took) * 1e6,
        busy=ours / wall,
    )


def main() -> None:
    """See the module's words."""
    plan = json.loads(sys.argv[1])
    way = Way(plan["port"], plan["proxy"], plan["ca"])
    print(json.dumps(asdict(run(way, plan["connections"], plan["warm"], plan["seconds"], plan["pid"]))))


if __name__ == "__main__":
    main()
