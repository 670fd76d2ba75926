"""
What waits for the disk, oldest first.

Three limits make sure that what a crash can lose stays small. Two are here: so many entries wait
or are at the disk at most, and none waits longer than 100 ms while the disk is busy with those
before it (time in which the disk is free and only the event loop is late does not count: the disk
is not slow then). The third is the writer's (`proxy.ledger.sqlite`): after any error of the disk
nothing is taken until a probe entry has reached it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from proxy import chain
from proxy.errors import Problem
from proxy.ledger import Draft, UnavailableError
from proxy.ledger.pen import Group, Line

ENTRIES: Final = 4_096
SECONDS: Final = 0.1
PAYLOAD: Final = 1024 * 1024
GROUP: Final = 512
BACK: Final = 60 * 1_000_000
"""Microseconds that the clock may be behind the newest entry: beyond, it was set back."""


@dataclass(slots=True)
class Waiting:
    """An entry, since when it waits (in ticks), and whom to tell; None where it has happened already."""

    line: Line
    since: float
    ticket: asyncio.Future[int] | None

    def give_up(self, why: str) -> None:
        """It is not written, or nobody knows whether it is."""
        if self.ticket is not None and not self.ticket.done():
            self.ticket.set_exception(unavailable(why))
            self.ticket.exception()  # an allowed request does not wait for its entry


class Queue:
    """
    Entries that wait, each with its time.

    `time` is that of the newest one in microseconds. It goes back only where a `clock` entry says
    so: a clock that was once wrong would keep every later entry at its time, and what was signed
    by the right one would seem of another day. `clock` gives Unix time in seconds, `ticks` seconds
    that never go back.
    """

    def __init__(self, time: int, clock: Callable[[], float], ticks: Callable[[], float]) -> None:
        self.time = time
        self._clock = clock
        self._ticks = ticks
        self._waiting: deque[Waiting] = deque()
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, draft: Draft, ticket: asyncio.Future[int] | None) -> None:
        """Put an entry at the end. A draft that cannot be one raises `chain.UnfitError`."""
        chain.check(draft.kind, draft.fields)
        if draft.payload is not None and len(draft.payload) > PAYLOAD:
            raise chain.UnfitError(
                "too_long", f"a payload of {len(draft.payload)} bytes: at most {PAYLOAD} are kept"
            )
        if (back := self.set_back()) is not None:
            self._waiting.append(Waiting(Line(back, self.now()), self._ticks(), None))
        self._waiting.append(Waiting(Line(draft, self.now()), self._ticks(), ticket))
        self._wake.set()

    def set_back(self, least: int = BACK) -> Draft | None:
        """The entry from which on time goes on as the clock says, where it was set back by so much."""
        now = int(self._clock() * 1_000_000)
        if now >= self.time - least:
            return None
        before, self.time = self.time, now
        return Draft("clock", {"before": chain.stamp(before)})

    def now(self) -> str:
        """The time of an entry that is made now."""
        self.time = max(self.time, int(self._clock() * 1_000_000))
        return chain.stamp(self.time)

    def next_time(self) -> str:
        """The time of an entry that is written before all that waits."""
        return self._waiting[0].line.time if self._waiting else self.now()

    def refuse_if_full(self, group: Group, patient: bool) -> None:
        """UnavailableError where one more would be too many behind the `group` that is written."""
        most = 2 * ENTRIES if patient else ENTRIES
        if len(self._waiting) + len(group.lines) >= most:
            raise unavailable(f"{most} entries wait for the disk")
        if patient:
            return
        if group.at_disk and self._waiting and self._ticks() - self._waiting[0].since > SECONDS:
            raise unavailable(f"the disk has not answered for {SECONDS * 1000:.0f} ms")

    def take(self) -> list[Waiting]:
        """The oldest ones, as many as one transaction writes."""
        return [self._waiting.popleft() for _ in range(min(len(self._waiting), GROUP))]

    def give_up(self, why: str, also: Iterable[Waiting] = ()) -> None:
        """Tell whoever waits. What has happened already stays, and is written once it can be."""
        for waiting in (*also, *self._waiting):
            waiting.give_up(why)
        happened = [waiting for waiting in self._waiting if waiting.ticket is None]
        self._waiting = deque(happened[:ENTRIES])

    def wake(self) -> None:
        """Have whoever waits for an entry look at once."""
        self._wake.set()

    async def woken(self, seconds: float | None = None) -> bool:
        """Wait for an entry, or `wake`; False where nothing came for so long."""
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def sleep(self) -> None:
        """Only what comes from here on wakes."""
        self._wake.clear()


def unavailable(what: str) -> UnavailableError:
    """Why nothing can be written down now."""
    return UnavailableError(Problem(what, "what cannot be written down is not let through"))
