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
from dataclasses import replace
from typing import Final

from proxy.action import Action
from proxy.approvals.kept import Kept, Limits, bare, lighter, without_body
from proxy.approvals.waiting import Waiting, silence
from proxy.errors import Exit, SluiceError, fail
from proxy.hold import ASKING, Event, Hold, Review, Reviewer, State, gone, open_hold, unmet
from proxy.policy.verdict import Effect, Verdict

# Settled holds stay findable for a while, so that a reviewer who is late is told how it ended.
_REMEMBERED: Final = 500

type Watcher = Callable[[str, Hold], None]


class Approvals:
    """
    The holds that wait, and for a while those that have ended.

    `clock` gives Unix time in seconds.
    """

    def __init__(self, clock: Callable[[], float], limits: Limits | None = None) -> None:
        self._clock = clock
        self._open: dict[str, Waiting] = {}
        self._kept = Kept(limits or Limits())
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
        waiting = Waiting(bare(hold), asyncio.get_running_loop().time() + hold.deadline - hold.opened)
        self._open[id] = waiting
        self._kept.add(hold)
        self._attend(waiting, verdict.patience.wait if wait is None else wait)
        self._tell("opened", hold)
        return hold

    def alone(self, asked: bytes) -> Hold | None:
        """
        The hold of this digest (so of this agent) that no connection waits for, if there is one.

        One that is approved comes first. None of an agent that nobody can name: it may be another.
        """
        id = self._kept.spendable.newest(asked) or self._kept.alone.newest(asked)
        hold = None if id is None else self._open[id].hold
        return None if hold is None or hold.agent is None else hold

    def twin(self, asked: bytes) -> Hold | None:
        """A hold of this digest on which another connection waits, if there is one."""
        id = self._kept.attended.newest(asked)
        return None if id is None else self._open[id].hold

    def turn(self, id: str) -> asyncio.Future[Hold]:
        """How the waiting of the attempt ends that a hold has now: by its end, a leaving, a deferral."""
        return self._open[id].turn

    def rejoin(self, id: str, action: Action, wait: float | None = None) -> Hold:
        """
        Another attempt of the same request waits on; GoneError where the hold cannot take one.

        A window begins anew: nobody was shown the request while its agent was away.
        """
        waiting = self._open.get(id)
        if waiting is None:
            raise gone(self.get(id))
        again = waiting.hold.on(Event.REJOIN)
        self._becomes(waiting, replace(again, action=action, attempts=again.attempts + 1))
        waiting.hold = bare(self._whole_window(waiting, waiting.hold))
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
        """
        One person's answer; raises where `Hold.reviewed` does.

        What denies a hold denies every same request that is open, too. An approval is for one.
        """
        waiting = self._open.get(id)
        if waiting is None:
            return self.get(id).reviewed(review)  # raises: it has ended
        hold = self._becomes(waiting, waiting.hold.reviewed(review))
        if hold.state is State.DENIED:
            self._deny_twins(hold)
        return hold

    def _deny_twins(self, denied: Hold) -> None:
        """Those of the same digest; what a reviewer has made of one is another request."""
        for id in self._kept.ids(denied.asked):
            waiting = self._open.get(id)
            if waiting is not None and waiting.hold.edit is None and waiting.hold.may(Event.DENY):
                self._becomes(waiting, waiting.hold.denied_with(denied))

    def recount(self, known: Callable[[Review], Reviewer | None]) -> None:
        """
        Let the approvals go that count no more (see `Hold.recounted`).

        What was approved by them, and is not yet spent, can no longer be.
        """
        for id, waiting in tuple(self._open.items()):
            hold = waiting.hold.recounted(known)
            if hold is waiting.hold:
                continue
            waiting.hold = hold
            if hold.state is State.SPENDABLE and unmet(hold.verdict.demands, hold.reviews, hold.agent):
                self._end(id, Event.LAPSE, "whoever approved it may not any more")
            else:
                self._tell("reviewed", hold)

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
        if patience <= 0 or self._kept.too_much(waiting.hold):
            self._end(id, Event.LAPSE, why)
        elif id in self._open:
            self._arm(waiting, min(patience, waiting.left()), Event.LAPSE, why)

    def lapse(self, id: str, why: str) -> None:
        """What was approved and is not yet spent can no longer be, nor an unattended hold be joined."""
        self._end(id, Event.LAPSE, why)

    def refuse(self, id: str, why: str, verdict: Verdict | None = None) -> None:
        """Everything is paused; or the policy now says deny, with this `verdict`."""
        waiting = self._open.get(id)
        if waiting is not None and verdict is not None:
            waiting.hold = replace(waiting.hold, verdict=verdict)
        self._end(id, Event.REFUSE, why)

    def cut(self, id: str, why: str) -> None:
        """The gate can no longer carry out what would be decided."""
        self._end(id, Event.CUT, why)

    def demand(self, id: str, verdict: Verdict, action: Action) -> None:
        """
        Another verdict for an open hold, after a change of the policy; `action` is what was judged.

        Approvals so far lapse: they were given under a rule that has changed. So does a hold that was
        approved and is not yet spent: people are asked about the next one.
        """
        waiting = self._open.get(id)
        if waiting is None:
            return
        if waiting.hold.state is State.SPENDABLE:
            self._end(id, Event.LAPSE, "its rules have changed since it was approved")
            return
        hold = self._sooner(waiting, waiting.hold.judged(action, verdict))
        waiting.hold = bare(hold)
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
        waiting.hold = bare(hold)
        if waiting.next[1] is not Event.DEFER:
            self._arm(waiting, waiting.left(), _at_the_end(hold.verdict))
        self._tell("reviewed", hold)
        return waiting.hold

    def _sooner(self, waiting: Waiting, hold: Hold) -> Hold:
        """A hold with another verdict: a deadline comes sooner by it, never later; a window never sooner."""
        if hold.verdict.effect is Effect.WATCH:
            return self._whole_window(waiting, hold)
        seconds = hold.verdict.timeout
        waiting.ends = min(waiting.ends, waiting.now() + seconds)
        return replace(hold, deadline=min(waiting.hold.deadline, self._clock() + seconds))

    def _whole_window(self, waiting: Waiting, hold: Hold) -> Hold:
        """A watched hold, with all of its window from now on; any other as it is."""
        if hold.verdict.effect is not Effect.WATCH:
            return hold
        waiting.ends = max(waiting.ends, waiting.now() + hold.verdict.window)
        return replace(hold, deadline=max(hold.deadline, self._clock() + hold.verdict.window))

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

    def latest(self, hold: Hold) -> Hold:
        """A hold as it stands now; as it was, where it ended so long ago that it is forgotten."""
        waiting = self._open.get(hold.id)
        return waiting.hold if waiting else self._ended.get(hold.id, hold)

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
        waiting.next = (waiting.now() + max(0.0, seconds), event, why)
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
        if self._kept.too_much(waiting.hold):
            self._becomes(waiting, waiting.hold.on(Event.CUT, "too many requests are deferred"))
            return
        self._becomes(waiting, waiting.hold.on(Event.DEFER, why))
        self._arm(waiting, waiting.left(), Event.EXPIRE)

    # -- steps -----------------------------------------------------------------------

    def _end(self, id: str, event: Event, why: str) -> None:
        waiting = self._open.get(id)
        if waiting is not None and waiting.hold.may(event):
            self._becomes(waiting, waiting.hold.on(event, why or silence(waiting.hold, event)))

    def _becomes(self, waiting: Waiting, hold: Hold) -> Hold:
        before, waiting.hold = waiting.hold, lighter(hold)
        if before.state is not hold.state:
            self._kept.remove(before)
            if not hold.settled:
                self._kept.add(waiting.hold)
        if hold.settled:
            return self._settle(waiting, hold)
        if before.state is hold.state:
            self._tell("reviewed", hold)
        else:
            self._moved(waiting, before.state)
            self._tell("moved", hold)
        return hold

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
        waiting.hold = without_body(hold)
        if not waiting.turn.done():
            waiting.turn.set_result(hold)
        try:
            self._tell("settled", hold)  # while it is still known whether somebody waits on it
        finally:
            del self._open[hold.id]
        self._ended[hold.id] = waiting.hold
        if len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)
        waiting.ended.set_result(None)
        return hold

    def _tell(self, what: str, hold: Hold) -> None:
        for watcher in tuple(self._watchers):
            watcher(what, hold)


def _at_the_end(verdict: Verdict) -> Event:
    """What silence means."""
    return Event.PROCEED if verdict.effect is Effect.WATCH else Event.EXPIRE


def _not_here(prefix: str) -> SluiceError:
    return fail(f"no hold '{prefix}'", "it may have ended long ago", "sluice holds", exit=Exit.NO)
