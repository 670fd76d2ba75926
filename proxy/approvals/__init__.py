"""
Asking people and waiting: the open holds.

Everything here happens on the event loop, between two awaits, so that of two reviewers who
answer at the same moment one is first and the other is told. What may happen to a hold is
`proxy.hold`'s table; here is when it happens: who waits, and which deadline runs. Deadlines run
on the loop's own clock, which never jumps.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from proxy.action import Action
from proxy.approvals.waiting import Waiting
from proxy.errors import Exit, SluiceError, fail
from proxy.hold import ASKING, OPEN, Event, Hold, Review, State, gone, open_hold
from proxy.policy.verdict import Effect, Verdict

# Settled holds stay findable for a while, so that a reviewer who is late is told how it ended.
_REMEMBERED: Final = 500
_LARGEST_UNATTENDED: Final = 64 * 1024

type Watcher = Callable[[str, Hold], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be kept of holds that no connection waits for: so many, and bytes of bodies."""

    unattended: int = 10_000
    deferred: int = 64 * 1024 * 1024


class Approvals:
    """
    The holds that wait, and for a while those that have ended.

    `clock` gives Unix time in seconds.
    """

    def __init__(self, clock: Callable[[], float], limits: Limits = Limits()) -> None:
        self._clock = clock
        self._limits = limits
        self._open: dict[str, Waiting] = {}
        # By digest: those that no connection waits for, and the last of those that one does.
        self._alone: dict[bytes, str] = {}
        self._attended: dict[bytes, str] = {}
        self._deferred = 0
        self._ended: OrderedDict[str, Hold] = OrderedDict()
        self._watchers: list[Watcher] = []

    def open(self, id: str, action: Action, verdict: Verdict) -> Hold:
        """Begin a hold on which a connection waits; `id` carries 128 bits."""
        return self.begin(open_hold(id, action, verdict, self._clock()))

    def begin(self, hold: Hold, wait: float | None = None) -> Hold:
        """
        Let a connection wait on a new hold: to its deadline, or for `wait` seconds (else its rules').

        What was parsed of the body is told to the watchers and then let go of: any number may wait.
        """
        id, verdict = hold.id, hold.verdict
        waiting = Waiting(_bare(hold), asyncio.get_running_loop().time() + hold.deadline - hold.opened)
        self._open[id] = waiting
        self._attended[hold.asked] = id
        self._attend(waiting, verdict.patience.wait if wait is None else wait)
        self._tell("opened", hold)
        return hold

    def alone(self, asked: bytes) -> Hold | None:
        """The hold of this digest (so of this agent) that no connection waits for, if there is one."""
        id = self._alone.get(asked)
        return None if id is None else self._open[id].hold

    def twin(self, asked: bytes) -> Hold | None:
        """A hold of this digest on which another connection waits, if there is one."""
        id = self._attended.get(asked)
        return None if id is None else self._open[id].hold

    def rejoin(self, id: str, action: Action, wait: float | None = None) -> Hold:
        """Another attempt of the same request waits on; GoneError where the hold cannot take one."""
        waiting = self._open.get(id)
        if waiting is None:
            raise gone(self.get(id))
        again = waiting.hold.on(Event.REJOIN)
        self._becomes(waiting, replace(again, action=action, attempts=again.attempts + 1))
        waiting.hold = _bare(waiting.hold)
        self._attend(waiting, waiting.hold.verdict.patience.wait if wait is None else wait)
        return waiting.hold

    def spend(self, id: str) -> Hold:
        """The agent has come for what was approved; GoneError where it cannot be spent."""
        waiting = self._open.get(id)
        if waiting is None:
            raise gone(self.get(id))
        waiting.attended = True  # by whoever spends it, and writes down how it ended
        kept = waiting.hold
        return self._becomes(waiting, replace(kept.on(Event.SPEND, kept.cause), attempts=kept.attempts + 1))

    async def answered(self, id: str) -> Hold:
        """Wait until nobody waits on a hold any more: it has ended, was deferred, or its agent left."""
        waiting = self._open.get(id)
        if waiting is None or waiting.hold.state is not State.PENDING:
            return self.get(id)
        return await asyncio.shield(waiting.turn)

    async def settled(self, id: str) -> Hold:
        """Wait until a hold has ended, and how."""
        while (waiting := self._open.get(id)) is not None:
            await asyncio.shield(waiting.ended)
        return self._ended[id]

    def attended(self, id: str) -> bool:
        """Whether somebody waits on a hold, or took its end: they write down how it ended."""
        waiting = self._open.get(id)
        return waiting is not None and waiting.attended

    def review(self, id: str, review: Review) -> Hold:
        """One person's answer; raises where `Hold.reviewed` does."""
        waiting = self._open.get(id)
        if waiting is None:
            return self.get(id).reviewed(review)  # raises: it has ended
        return self._becomes(waiting, waiting.hold.reviewed(review))

    def leave(self, id: str, why: str) -> None:
        """The agent's connection has gone: unattended for a while, or deferred where people may go on."""
        waiting = self._open.get(id)
        if waiting is None or not waiting.hold.may(Event.LEAVE):
            return
        if waiting.hold.deferrable:
            self._defer(waiting, why)
            return
        patience = waiting.hold.verdict.patience.rejoin
        self._becomes(waiting, waiting.hold.on(Event.LEAVE, why))
        if patience <= 0 or len(self._alone) > self._limits.unattended:
            self._end(id, Event.LAPSE, why)
        elif id in self._open:
            self._arm(waiting, min(patience, waiting.left()), Event.LAPSE, why)

    def lapse(self, id: str, why: str) -> None:
        """What was approved and is not yet spent can no longer be, nor an unattended hold be joined."""
        self._end(id, Event.LAPSE, why)

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
        waiting = self._open.get(id)
        if waiting is None:
            return
        hold = self._sooner(waiting, waiting.hold.judged(action, verdict))
        waiting.hold = _bare(hold)
        if hold.state is State.PENDING:
            self._attend(waiting, verdict.patience.wait, fresh=False)
        elif hold.state is State.DEFERRED:
            self._arm(waiting, waiting.left(), Event.EXPIRE)
        self._tell("reviewed", hold)

    def edit(self, id: str, edited: Hold) -> Hold:
        """
        Let another request stand in the place of the agent's; GoneError where nobody waits on it.

        When the agent is told to ask again, if it is, stays as it was.
        """
        waiting = self._open.get(id)
        if waiting is None or waiting.hold.state is not State.PENDING:
            raise gone(self.get(id))
        hold = self._sooner(waiting, edited)
        waiting.hold = _bare(hold)
        if waiting.next[1] is not Event.DEFER:
            self._arm(waiting, waiting.left(), _at_the_end(hold.verdict))
        self._tell("reviewed", hold)
        return waiting.hold

    def _sooner(self, waiting: Waiting, hold: Hold) -> Hold:
        """A hold with another verdict: a deadline comes sooner by it, never later."""
        seconds = hold.verdict.window or hold.verdict.timeout
        waiting.ends = min(waiting.ends, waiting.now() + seconds)
        return replace(hold, deadline=min(waiting.hold.deadline, self._clock() + seconds))

    def extend(self, id: str, seconds: float) -> Hold:
        """Give an open hold so much longer; raises GoneError where nobody is asked any more."""
        waiting = self._open.get(id)
        if waiting is None or waiting.hold.state not in ASKING:
            raise gone(self.get(id))
        waiting.hold = replace(waiting.hold, deadline=waiting.hold.deadline + seconds)
        waiting.extend(seconds)
        waiting.rearm(self._due)
        self._tell("reviewed", waiting.hold)
        return waiting.hold

    def get(self, id: str) -> Hold:
        """A hold by its whole id, waiting or ended."""
        waiting = self._open.get(id)
        return waiting.hold if waiting else self._ended[id]

    def find(self, prefix: str) -> Hold:
        """A hold by a unique prefix of its id; waiting ones come before those that have ended."""
        if prefix in self._open:
            return self.get(prefix)  # a whole id is the prefix of no other
        asking = {id for id, waiting in self._open.items() if waiting.hold.state in ASKING}
        for among in (asking, self._open, self._ended):
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
        """The holds about which people are asked, oldest first."""
        return tuple(one.hold for one in self._open.values() if one.hold.state in ASKING)

    @property
    def open_holds(self) -> tuple[Hold, ...]:
        """All that have not ended, oldest first: also those that no connection waits for."""
        return tuple(one.hold for one in self._open.values())

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """
        Call `watcher` with ``opened``, ``reviewed``, ``moved`` (another state that does not end it),
        ``reminder`` (half of its time) or ``settled`` and the hold; returns the watcher's end.
        """
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    # -- time ------------------------------------------------------------------------

    def _attend(self, waiting: Waiting, wait: float | None, *, fresh: bool = True) -> None:
        """A connection waits from now on: until the deadline, or until it is told to ask again."""
        waiting.attended = True
        if fresh:
            waiting.turn = asyncio.get_running_loop().create_future()
        left = waiting.left()
        if wait is not None and wait < left:
            self._arm(waiting, wait, Event.DEFER)
        else:
            self._arm(waiting, left, _at_the_end(waiting.hold.verdict))

    def _arm(self, waiting: Waiting, seconds: float, event: Event, why: str = "") -> None:
        waiting.next = (waiting.now() + max(0.0, seconds), event, why or _SILENCE.get(event, ""))
        waiting.rearm(self._due)

    def _due(self, id: str) -> None:
        waiting = self._open.get(id)
        if waiting is None:
            return
        if waiting.remind():
            self._tell("reminder", waiting.hold)
            waiting.rearm(self._due)
            return
        _, event, why = waiting.next
        if event is Event.DEFER:
            self._defer(waiting, "")
        else:
            self._end(id, event, why)

    def _defer(self, waiting: Waiting, why: str) -> None:
        body = len(waiting.hold.action.request.body or b"")
        if self._deferred + body > self._limits.deferred:
            self._becomes(waiting, waiting.hold.on(Event.CUT, "too many requests are deferred"))
            return
        self._becomes(waiting, waiting.hold.on(Event.DEFER, why))
        self._arm(waiting, waiting.left(), Event.EXPIRE)

    # -- steps -----------------------------------------------------------------------

    def _end(self, id: str, event: Event, why: str) -> None:
        waiting = self._open.get(id)
        if waiting is not None and waiting.hold.may(event):
            self._becomes(waiting, waiting.hold.on(event, why))

    def _becomes(self, waiting: Waiting, hold: Hold) -> Hold:
        before = waiting.hold
        self._move(before, hold)
        waiting.hold = _lighter(hold)
        if hold.settled:
            return self._settle(waiting, hold)
        if before.state is hold.state:
            self._tell("reviewed", hold)
        else:
            self._moved(waiting, before.state)
            self._tell("moved", hold)
        return hold

    def _move(self, before: Hold, hold: Hold) -> None:
        """Keep count of those that no connection waits for."""
        if before.state is hold.state:
            return
        for index, states in ((self._alone, _ALONE), (self._attended, _ATTENDED)):
            if before.state in states and index.get(before.asked) == before.id:
                del index[before.asked]
            if hold.state in states:
                index[hold.asked] = hold.id
        self._deferred += _size(hold) * (hold.state in _KEPT) - _size(before) * (before.state in _KEPT)

    def _moved(self, waiting: Waiting, before: State) -> None:
        """An open hold is in another state now; whoever waited on it is told."""
        waiting.attended = waiting.hold.state is State.PENDING
        if before is State.PENDING and not waiting.turn.done():
            waiting.turn.set_result(waiting.hold)
        if waiting.hold.state is State.SPENDABLE:
            why = "approved, but the agent did not come back for it"
            self._arm(waiting, waiting.hold.verdict.patience.remember, Event.LAPSE, why)

    def _settle(self, waiting: Waiting, hold: Hold) -> Hold:
        waiting.stop()
        waiting.hold = _without_body(hold)
        if not waiting.turn.done():
            waiting.turn.set_result(hold)
        self._tell("settled", hold)  # while it is still known whether somebody waits on it
        del self._open[hold.id]
        self._ended[hold.id] = waiting.hold
        if len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)
        waiting.ended.set_result(None)
        return hold

    def _tell(self, what: str, hold: Hold) -> None:
        for watcher in tuple(self._watchers):
            watcher(what, hold)


_ATTENDED: Final = frozenset({State.PENDING})
_ALONE: Final = OPEN - _ATTENDED
_KEPT: Final = frozenset({State.DEFERRED, State.SPENDABLE})
_SILENCE: Final = {
    Event.EXPIRE: "nobody answered in time",
    Event.PROCEED: "nobody stopped it",
}


def _at_the_end(verdict: Verdict) -> Event:
    """What silence means."""
    return Event.PROCEED if verdict.effect is Effect.WATCH else Event.EXPIRE


def _lighter(hold: Hold) -> Hold:
    """An unattended hold does without a large body: whoever comes again brings it."""
    body = hold.action.request.body
    if hold.state is State.UNATTENDED and body is not None and len(body) > _LARGEST_UNATTENDED:
        return _without_body(hold)
    return hold


def _without_body(hold: Hold) -> Hold:
    """What is kept of an ended hold: 500 bodies of 10 MiB would be a way to fill the memory."""
    action = hold.action.bare()
    return replace(hold, action=replace(action, request=replace(action.request, body=None)))


def _size(hold: Hold) -> int:
    return len(hold.action.request.body or b"")


def _bare(hold: Hold) -> Hold:
    return replace(hold, action=hold.action.bare())


def _not_here(prefix: str) -> SluiceError:
    return fail(f"no hold '{prefix}'", "it may have ended long ago", "sluice holds", exit=Exit.NO)
