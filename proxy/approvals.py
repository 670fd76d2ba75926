"""
Asking people and waiting: the open holds.

Everything here happens on the event loop, between two awaits, so that of two reviewers who
answer at the same moment one is first and the other is told.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from proxy.action import Action
from proxy.errors import Exit, SluiceError, fail
from proxy.hold import Event, Hold, Review, gone
from proxy.policy.verdict import Verdict

# Settled holds stay findable for a while, so that a reviewer who is late is told how it ended.
_REMEMBERED: Final = 500

type Watcher = Callable[[str, Hold], None]


class Approvals:
    """
    The holds that wait, and for a while those that have ended.

    `clock` gives Unix time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._waiting: dict[str, _Waiting] = {}
        self._ended: OrderedDict[str, Hold] = OrderedDict()
        self._watchers: list[Watcher] = []

    def open(self, id: str, action: Action, verdict: Verdict, digest: bytes) -> Hold:
        """
        Begin a hold; `id` carries 128 bits.

        The deadline runs on the loop's own clock, which never jumps. What was parsed of the body
        is told to the watchers and then let go of: any number may wait.
        """
        now = self._clock()
        hold = Hold(
            id=id,
            action=action,
            verdict=verdict,
            digest=digest,
            opened=now,
            deadline=now + verdict.timeout,
        )
        loop = asyncio.get_running_loop()
        timer = loop.call_later(verdict.timeout, self._expire, hold.id)
        self._waiting[hold.id] = _Waiting(_bare(hold), loop.create_future(), timer)
        self._tell("opened", hold)
        return hold

    async def settled(self, id: str) -> Hold:
        """Wait until a hold has ended, and how."""
        waiting = self._waiting.get(id)
        return await asyncio.shield(waiting.ended) if waiting else self._ended[id]

    def review(self, id: str, review: Review) -> Hold:
        """One person's answer; raises where `Hold.reviewed` does."""
        waiting = self._waiting.get(id)
        if waiting is None:
            return self.get(id).reviewed(review)  # raises: it has ended
        return self._becomes(waiting, waiting.hold.reviewed(review))

    def leave(self, id: str, why: str) -> None:
        """The agent has gone: abandoned, at once."""
        self._end(id, Event.LEAVE, why)

    def refuse(self, id: str, why: str) -> None:
        """The policy now says deny, or everything is paused."""
        self._end(id, Event.REFUSE, why)

    def cut(self, id: str, why: str) -> None:
        """The gate can no longer carry out what would be decided."""
        self._end(id, Event.CUT, why)

    def demand(self, id: str, verdict: Verdict, action: Action) -> None:
        """
        Another verdict for an open hold, after a change of the policy; `action` is what was judged.

        Approvals so far lapse: they were given under a rule that has changed.
        """
        waiting = self._waiting.get(id)
        if waiting is None:
            return
        kept = waiting.hold
        hold = Hold(
            id=kept.id,
            action=action,
            verdict=verdict,
            digest=kept.digest,
            opened=kept.opened,
            deadline=min(kept.deadline, self._clock() + verdict.timeout),
        )
        waiting.hold = _bare(hold)
        self._rewind(waiting)
        self._tell("reviewed", hold)

    def _rewind(self, waiting: _Waiting) -> None:
        waiting.timer.cancel()
        left = max(0.0, waiting.hold.deadline - self._clock())
        waiting.timer = asyncio.get_running_loop().call_later(left, self._expire, waiting.hold.id)

    def extend(self, id: str, seconds: float) -> Hold:
        """Give an open hold so much longer; raises GoneError where it has ended."""
        waiting = self._waiting.get(id)
        if waiting is None:
            raise gone(self.get(id))
        waiting.hold = replace(waiting.hold, deadline=waiting.hold.deadline + seconds)
        self._rewind(waiting)
        self._tell("reviewed", waiting.hold)
        return waiting.hold

    def get(self, id: str) -> Hold:
        """A hold by its whole id, waiting or ended."""
        waiting = self._waiting.get(id)
        return waiting.hold if waiting else self._ended[id]

    def find(self, prefix: str) -> Hold:
        """A hold by a unique prefix of its id; waiting ones come before those that have ended."""
        if prefix in self._waiting:
            return self.get(prefix)  # a whole id is the prefix of no other
        for among in (self._waiting, self._ended):
            ids = [id for id in among if id.startswith(prefix)] if prefix else []
            if len(ids) == 1:
                return self.get(ids[0])
            if ids:
                raise fail(
                    f"'{prefix}' is the beginning of {len(ids)} holds",
                    fix="give more of the id: sluice holds",
                    exit=Exit.NO,
                )
        raise _not_here(prefix)

    @property
    def pending(self) -> tuple[Hold, ...]:
        """The holds that wait, oldest first."""
        return tuple(waiting.hold for waiting in self._waiting.values())

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Call `watcher` with ``opened``, ``reviewed`` or ``settled`` and the hold; returns its end."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def _expire(self, id: str) -> None:
        self._end(id, Event.EXPIRE, "nobody answered in time")

    def _end(self, id: str, event: Event, why: str) -> None:
        waiting = self._waiting.get(id)
        if waiting is not None:
            self._becomes(waiting, waiting.hold.on(event, why))

    def _becomes(self, waiting: _Waiting, hold: Hold) -> Hold:
        waiting.hold = hold
        if not hold.settled:
            self._tell("reviewed", hold)
            return hold
        waiting.timer.cancel()
        del self._waiting[hold.id]
        self._ended[hold.id] = _without_body(hold)
        if len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)
        waiting.ended.set_result(hold)
        self._tell("settled", hold)
        return hold

    def _tell(self, what: str, hold: Hold) -> None:
        for watcher in tuple(self._watchers):
            watcher(what, hold)


class _Waiting:
    """An open hold, who waits for its end, and its deadline's timer."""

    __slots__ = ("ended", "hold", "timer")

    def __init__(self, hold: Hold, ended: asyncio.Future[Hold], timer: asyncio.TimerHandle) -> None:
        self.hold = hold
        self.ended = ended
        self.timer = timer


def _without_body(hold: Hold) -> Hold:
    """What is kept of an ended hold: 500 bodies of 10 MiB would be a way to fill the memory."""
    action = hold.action.bare()
    return replace(hold, action=replace(action, request=replace(action.request, body=None)))


def _bare(hold: Hold) -> Hold:
    return replace(hold, action=hold.action.bare())


def _not_here(prefix: str) -> SluiceError:
    return fail(f"no hold '{prefix}'", "it may have ended long ago", "sluice holds", exit=Exit.NO)
