"""
How fast a ledger takes entries that survive a power cut, beside the disk alone.

    python -m bench.writing JSON     {"folder", "callers", "rate", "seconds", "warm", "count"}

Prints what `Written` holds. Each entry is a decision with 1,000 bytes kept beside it; everything that a
gate has is on: salted commitments, the signed head over the Merkle tree in each commit, and a witness
(a file) that is sent heads. `callers` write one entry after the other; with a `rate` instead, entries
come at random moments, so many a second, whether or not those before them are done. With `count` that
many entries are written as fast as it goes, for what is measured on a ledger of that size.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import selectors
import sys
import time
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Final

from bench.table import percentile
from proxy.ledger import Draft, UnavailableError
from proxy.ledger.sqlite import SqliteLedger
from proxy.witness.files import FileWitness
from proxy.witness.sending import Sending

PAYLOAD: Final = 1_000
_BLOCK: Final = bytes(4096)
_AT_ONCE: Final = 2_048


@dataclass(frozen=True, slots=True)
class Written:
    """
    Entries a second and their milliseconds until they were on disk; how many were refused.

    `floor` is how often a second 4 KiB were written and waited for in the same process, just before.
    """

    rate: float
    p50: float
    p99: float
    refused: int
    floor: float


class Drafts:
    """Decisions and their outcomes, in turn, no two the same."""

    def __init__(self) -> None:
        self._numbers = count()
        self._body = random.Random(1).randbytes(PAYLOAD // 2).hex().encode()

    def __call__(self) -> Draft:
        """The next one."""
        number, outcome = divmod(next(self._numbers), 2)
        id = f"{number:026d}"
        if outcome:
            fields: dict[str, object] = {"id": id, "status": 200, "sent": 310, "received": 1_204}
            return Draft("completed", fields | {"microseconds": 8_211}, None, self._body)
        url = f"https://api.example.com/v1/things/{number}"
        return Draft("decided", {**_FIELDS, "id": id, "url": url}, bytes(32), self._body)


_FIELDS: Final = {
    "agent": "uid:agent",
    "by": "rule",
    "credential": "4f1c0d9a",
    "decision": "allowed",
    "effect": "allow",
    "host": "api.example.com",
    "method": "GET",
    "operation": "things.read",
    "policy": "9c1f7d52e0b84a66",
    "rule": "reading-is-free",
    "rules": ["reading-is-free"],
    "why": "Reading things changes nothing.",
}


def floor(folder: Path, seconds: float) -> float:
    """How often a second 4 KiB can be appended to a file and waited for."""
    done, path = 0, folder / "floor"
    with path.open("wb", buffering=0) as file:
        began = time.perf_counter()
        while (took := time.perf_counter() - began) < seconds:
            file.write(_BLOCK)
            os.fdatasync(file.fileno())
            done += 1
    path.unlink()
    return done / took


async def closed(ledger: SqliteLedger, callers: int, until: float) -> list[tuple[float, float]]:
    """Each caller writes the next entry when the last one is on disk: (when, seconds) of each."""
    drafts, took = Drafts(), []

    async def call() -> None:
        while (began := time.perf_counter()) < until:
            await ledger.queue(drafts())
            ended = time.perf_counter()
            took.append((ended, ended - began))

    await asyncio.gather(*(call() for _ in range(callers)))
    return took


async def opened(ledger: SqliteLedger, rate: float, until: float) -> tuple[list[tuple[float, float]], int]:
    """Entries at random moments, `rate` a second: (when, seconds) of each, and how many were refused."""
    drafts, chance, took, refused = Drafts(), random.Random(2), [], 0
    waiting: set[asyncio.Future[int]] = set()

    def note(ticket: asyncio.Future[int], began: float) -> None:
        waiting.discard(ticket)
        ended = time.perf_counter()
        took.append((ended, ended - began))

    due = time.perf_counter()
    while due < until:
        if (pause := due - time.perf_counter()) > 0:
            await asyncio.sleep(pause)
        try:
            ticket = ledger.queue(drafts())
        except UnavailableError:
            refused += 1
        else:
            waiting.add(ticket)
            # From when it was due: being late ourselves is no excuse.
            ticket.add_done_callback(lambda ticket, began=due: note(ticket, began))
        due += chance.expovariate(rate)
    await asyncio.gather(*waiting)
    return took, refused


async def measured(folder: Path, callers: int, rate: float, seconds: float, warm: float) -> Written:
    """Open a ledger, load it for so long, and close it."""
    alone = floor(folder, max(warm, seconds / 3))
    ledger, _ = await SqliteLedger.open(folder / "ledger.db")
    sending = Sending(
        [FileWitness(folder / "witness")],
        lambda: ledger.seal,
        ledger.note,
        ticks=time.monotonic,
        max_unanchored=300,
    )
    sending.start()
    begins = time.perf_counter() + warm
    refused = 0
    if rate:
        took, refused = await opened(ledger, rate, begins + seconds)
    else:
        took = await closed(ledger, callers, begins + seconds)
    await sending.close()
    await ledger.close()
    times = [one * 1e3 for ended, one in took if ended >= begins]
    return Written(len(times) / seconds, percentile(times, 50), percentile(times, 99), refused, alone)


async def filled(folder: Path, entries: int) -> None:
    """A ledger of so many entries."""
    ledger, _ = await SqliteLedger.open(folder / "ledger.db")
    drafts, left = Drafts(), entries - 3  # genesis, started and stopped
    while left > 0:
        some = min(left, _AT_ONCE)
        await asyncio.gather(*(ledger.queue(drafts()) for _ in range(some)))
        left -= some
    await ledger.close()


def _precise() -> asyncio.AbstractEventLoop:
    """A loop whose timers are good to microseconds: epoll's are rounded up to the next millisecond."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


def main() -> None:
    """See the module's words."""
    plan = json.loads(sys.argv[1])
    folder = Path(plan["folder"])
    folder.mkdir(mode=0o700, exist_ok=True)
    if plan.get("count"):
        asyncio.run(filled(folder, plan["count"]))
        return
    done = measured(folder, plan["callers"], plan["rate"], plan["seconds"], plan["warm"])
    with asyncio.Runner(loop_factory=_precise) as runner:
        print(json.dumps(asdict(runner.run(done))))


if __name__ == "__main__":
    main()
