"""
The counting upstream, in a process of its own.

    python -m faults.upstream FOLDER

One JSON line on stdout: ``{"plain": PORT, "tls": PORT, "h2": PORT, "slam": PORT, "none": PORT}``; its CA is
then in ``FOLDER/upstream-ca.pem``. It ends with its standard input.

Requests are ``/GATE/RULE/BEHAVIOUR/MARK``, with ``?n=NUMBER`` where several have one mark. As soon as one
has been read whole, it looks into the ledger of that gate and writes to ``FOLDER/GATE/arrivals.jsonl``: the
mark, the attempt (x-request-id), the time, how many approvals of that mark and number were on disk at
this moment, and of a short body all of it. Then it answers, or does not.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sqlite3
import sys
import time
from collections import Counter, OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Final

from faults.answers import ANSWER, SLOW, slam
from faults.upstream2 import Http2Upstream
from proxy.demo.authority import Authority

HOSTS: Final = ("api.faults.test", "h2.faults.test", "slam.faults.test", "none.faults.test")
_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
_STALL: Final = 30.0
_GATES: Final = 16
_TARGET: Final = re.compile(r"/(b\d+)/[a-z-]+/([a-z-]+)/(m\d+[xy]\d+)(?:\?n=(\d+))?", re.ASCII)
_MARK: Final = re.compile(r"/(m\d+[xy]\d+(?:\?n=\d+)?)", re.ASCII)
_SHORT: Final = 200


class Approved:
    """How many approvals of each mark a gate's ledger has on disk."""

    def __init__(self, ledger: Path) -> None:
        uri = f"{ledger.resolve().as_uri()}?mode=ro"
        self._ledger = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5)
        self._counts: Counter[str] = Counter()
        self._last = -1

    def now(self, mark: str) -> int:
        """How many there are at this moment."""
        query = "SELECT seq, body FROM entry WHERE seq > ? ORDER BY seq"
        for seq, body in self._ledger.execute(query, (self._last,)).fetchall():
            self._last = seq
            entry = json.loads(body)
            if entry["kind"] == "decided" and opens(entry):
                self._counts.update(_MARK.findall(str(entry.get("url"))))
        return self._counts[mark]

    def close(self) -> None:
        self._ledger.close()


def opens(entry: dict[str, object]) -> bool:
    """
    Whether a decision let a request leave that was not free to: people approved it or its like, its
    window ended, or a budget had room for it.
    """
    why = ("hold", "grant", "budgets")
    return entry["decision"] in ("allowed", "approved", "watched") and any(entry.get(one) for one in why)


class Upstream:
    """Everything that arrives, in all batches."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ledgers: OrderedDict[str, Approved] = OrderedDict()

    def _approved(self, gate: str, mark: str) -> int:
        ledger = self._ledgers.get(gate)
        if ledger is None:
            self._ledgers[gate] = ledger = Approved(self._folder / gate / "state" / "ledger.db")
            if len(self._ledgers) > _GATES:
                self._ledgers.popitem(last=False)[1].close()
        return ledger.now(mark)

    def arrived(self, target: str, attempt: str, body: bytes) -> str:
        """Count a request that has been read whole; returns what is to be done with it."""
        found = _TARGET.fullmatch(target)
        if found is None:
            raise ValueError(f"a request that is none of ours: {target!r:.200}")
        gate, behaviour, mark, number = found.groups()
        self._count(gate, mark, number, attempt, body)
        return behaviour

    def _count(self, gate: str, mark: str, number: str | None, attempt: str, body: bytes) -> None:
        found = {
            "mark": mark,
            "attempt": int(attempt),
            "time": time.monotonic(),
            "approved": self._approved(gate, f"{mark}?n={number}" if number else mark),
            "number": int(number or 0),
            "body": body.decode() if len(body) <= _SHORT else "",
        }
        with (self._folder / gate / "arrivals.jsonl").open("a") as log:
            log.write(json.dumps(found) + "\n")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            while await self._exchange(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = re.search(r"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        body = await reader.readexactly(int(length[1]) if length else 0)
        attempt = re.search(r"\r\nx-request-id: *(\d+)", head, re.IGNORECASE)
        behaviour = self.arrived(head.split(" ", 2)[1], attempt[1] if attempt else "0", body)
        return await _behave(behaviour, reader, writer)


async def _behave(how: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """What is done with a request that was read; whether the connection goes on."""
    whole = _HEAD % len(ANSWER) + ANSWER
    match how:
        case "reset":
            slam(writer)
            return False
        case "stall":
            with suppress(OSError, TimeoutError):
                await asyncio.wait_for(reader.read(1), _STALL)
            return False
        case "half-head":
            writer.write(whole[:20])
            await writer.drain()
            return False
        case "half-body":
            writer.write(whole[:-5])
            await writer.drain()
            return False
        case "slow":
            await asyncio.sleep(SLOW)
        case "no":
            whole = whole.replace(b"200 OK", b"402 No")
        case "sick":
            whole = whole.replace(b"200 OK", b"500 Oh")
    writer.write(whole)
    await writer.drain()
    return True


async def _serve(folder: Path) -> None:
    upstream, authority = Upstream(folder), Authority.make()
    (folder / "upstream-ca.pem").write_bytes(authority.certificate)
    tls = authority.server_context(HOSTS)
    plain = await asyncio.start_server(upstream.serve, "127.0.0.1", 0, backlog=1024)
    secured = await asyncio.start_server(upstream.serve, "127.0.0.1", 0, ssl=tls, backlog=1024)
    http2 = authority.server_context(HOSTS)
    http2.set_alpn_protocols(["h2"])
    multiplexed = await asyncio.start_server(
        lambda reader, writer: Http2Upstream(upstream.arrived, writer).serve(reader),
        "127.0.0.1",
        0,
        ssl=http2,
        backlog=1024,
    )
    slammed = await asyncio.start_server(lambda _, writer: slam(writer), "127.0.0.1", 0, backlog=1024)
    ports = {
        name: server.sockets[0].getsockname()[1]
        for name, server in (("plain", plain), ("tls", secured), ("h2", multiplexed), ("slam", slammed))
    }
    with socket.socket() as kept:  # bound and never listening: nobody else gets it
        kept.bind(("127.0.0.1", 0))
        print(json.dumps({**ports, "none": kept.getsockname()[1]}), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
