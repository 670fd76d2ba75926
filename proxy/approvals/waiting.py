"""
One open hold's clock: its deadline, the reminder before it, and what happens next by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from proxy.hold import ASKING, Event, Hold
from proxy.policy.verdict import Effect


class Waiting:
    """
    An open hold, who waits for its next turn and for its end, and what happens next by itself.

    `ends` and the time in `next` are seconds of the loop's clock. `half` is when people are
    reminded, None once they were.
    """

    __slots__ = ("attended", "ended", "ends", "half", "hold", "next", "timer", "turn")

    def __init__(self, hold: Hold, ends: float) -> None:
        loop = asyncio.get_running_loop()
        self.hold = hold
        self.ends = ends
        self.half = None if hold.verdict.effect is Effect.WATCH else (loop.time() + ends) / 2
        self.attended = True
        self.turn: asyncio.Future[Hold] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.next = (ends, Event.EXPIRE, "")
        self.timer: asyncio.TimerHandle | None = None

    def now(self) -> float:
        """The loop's clock."""
        return asyncio.get_running_loop().time()

    def left(self) -> float:
        """Seconds until the deadline."""
        return max(0.0, self.ends - self.now())

    def extend(self, seconds: float) -> None:
        """Move the deadline, and the reminder of it."""
        self.ends += seconds
        self.half = (self.now() + self.ends) / 2

    def rearm(self, due: Callable[[str], None]) -> None:
        """Call `due` at the next thing that happens by itself."""
        self.stop()
        at, event, why = self.next
        if event in (Event.EXPIRE, Event.PROCEED):
            at = self.ends
            self.next = (at, event, why)
        asking = self.half is not None and self.hold.state in ASKING
        first = min(at, self.half) if asking and self.half is not None else at
        self.timer = asyncio.get_running_loop().call_at(first, due, self.hold.id)

    def remind(self) -> bool:
        """Whether it is time to remind people; once."""
        if self.half is None or self.hold.state not in ASKING or self.now() < self.half:
            return False
        self.half = None
        return self.now() < self.next[0]

    def stop(self) -> None:
        """Nothing happens by itself any more."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


def silence(hold: Hold, event: Event) -> str:
    """In words, what it means that no more was answered in time."""
    if event is Event.PROCEED:
        return "nobody stopped it"
    if event is not Event.EXPIRE:
        return ""
    if not hold.reviews:
        return "nobody answered in time"
    return f"not enough answers in time: {hold.approvals_needed} more had to approve"
