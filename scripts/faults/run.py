"""
One run: a hold is led to a state, an event is brought about, and something goes wrong on the way.

`ACTS` says how each event of `proxy.hold` is brought about: an event without one fails the suite.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from faults.agent import Asked, ask
from faults.cases import GATE_WIDE, LEAVES, Case, Fault, Moment
from faults.journal import Attempt, Call, Journal
from faults.rules import ADA, ADA_AT_NIGHT, BOB, BRIEF, EVE, FORGETS, WAIT, WINDOW, Person
from faults.scene import Scene
from faults.ways import onward
from proxy.hold import TRANSITIONS, Event, State
from proxy.wire import HoldView

SHOWN: Final = 10.0
"""Seconds until the desk must show what was brought about, where nothing went wrong."""
_UNSURE: Final = 1.0
_STALLED: Final = 0.7


class Run:
    """What one case does; everything that it did and saw is in `journal`."""

    def __init__(self, case: Case, scene: Scene) -> None:
        self.case = case
        self.scene = scene
        self.journal = Journal(case)
        self.chance = random.Random(case.seed)
        self._asked: list[Asked] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._due = False
        self._struck = False

    async def run(self) -> None:
        """From the first request to the last answer; bounded by every wait in it."""
        try:
            await self._live()
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            self.journal.broken = f"{type(error).__name__}: {error}"
        self.scene.idle(self.case.mark)
        await self.end()

    async def come_to(self, scene: Scene) -> None:
        """Ask once more, at the gate's next start."""
        self.scene, self._asked, self._tasks = scene, [], []
        await self.ask()
        self.journal.attempts[-1].revived = True
        await self._heard(1)

    async def _live(self) -> None:
        case = self.case
        state = State.PENDING
        placed = await self._begin()
        for event in case.way.path:
            await ACTS[event](self)
            state = TRANSITIONS[state, event]
            placed &= await self.shown(state)
        self.journal.placed = placed
        if case.moment is Moment.BEFORE:
            await self._strike()
        self._due = case.moment is Moment.DURING
        await ACTS[case.way.event](self)
        self._due = False
        self.journal.arrived = await self.shown(case.way.target)
        if case.moment is Moment.AFTER:
            self.journal.placed &= self.journal.arrived or case.way.event is Event.CUT
            await self._strike()
        await self._go_on()
        if case.late:
            await self.answer(EVE, approves=True)
        if case.fault is Fault.STALL and not await self._asked[-1].answered(_STALLED):
            await self._asked[-1].leave(Fault.FIN)
        if case.again and self._asked[-1].over and not self.scene.ending.is_set():
            await self.ask()
            await self._heard(len(self._asked))

    async def _begin(self) -> bool:
        await self.ask()
        placed = await self.shown(State.PENDING)
        if self.case.twin:
            await self.ask()
            placed &= await self.scene.board.hears(self.case.mark, 2, SHOWN)
        return placed

    async def _heard(self, attempts: int) -> None:
        """Wait until the last attempt waits at the gate, or has its answer already."""
        hearing = asyncio.create_task(self.scene.board.hears(self.case.mark, attempts, SHOWN))
        answered = asyncio.create_task(self._asked[-1].answered(SHOWN))
        await asyncio.wait({hearing, answered}, return_when=asyncio.FIRST_COMPLETED)
        hearing.cancel()
        answered.cancel()
        await asyncio.wait({hearing, answered})

    async def _go_on(self) -> None:
        state = self.case.way.target
        for event in onward(TRANSITIONS, ACTS, state) if self.case.onward else ():
            if self.scene.ending.is_set():
                return
            await ACTS[event](self)
            state = TRANSITIONS[state, event]
            await self.shown(state)

    async def end(self) -> None:
        """The agent waits for its answer, however long the gate lives."""
        await self.scene.over.wait()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for asked in self._asked:
            if asked.attempt.left is None and not await asked.answered(SHOWN):
                asked.attempt.lost = False  # still open, and nothing said
            await asked.close()
        heard = self.scene.board.attempts(self.case.mark)
        for number, asked in enumerate(self._asked, 1):
            asked.attempt.heard = number <= heard

    # -- what agents and reviewers do ------------------------------------------------

    async def ask(self) -> None:
        """The agent asks: the same request each time, on a connection of its own."""
        attempt = Attempt(len(self.journal.attempts) + 1)
        self.journal.attempts.append(attempt)
        self._asked.append(await ask(self.case, self.scene.door, attempt))

    async def leave(self, how: Fault) -> None:
        """The agent hangs up."""
        await self._asked[-1].leave(how, politely=self.chance.random() < 0.5)

    async def answer(self, person: Person, *, approves: bool) -> None:
        """A reviewer answers the hold that the desk shows now."""
        view, person = self.view, self.scene.people.known(person)
        if view is None:
            return
        reason = f"{'yes' if approves else 'no'} {self.chance.getrandbits(32):08x}"
        call = Call(view.id, str(person.uid), person.name, approves, reason, time.monotonic())
        self.journal.calls.append(call)
        digest = view.digest if self.chance.random() < 0.5 else None
        await self.scene.people.answer(call, person, digest)

    @property
    def view(self) -> HoldView | None:
        """The newest hold of this run as the desk shows it."""
        return self.scene.board.latest(self.case.mark)

    async def shown(self, state: State) -> bool:
        """Wait until the desk shows the hold in this state; whether it did."""
        patience = _UNSURE if self._struck or self.scene.hit else SHOWN
        return await self.scene.board.shows(self.case.mark, state, patience)

    # -- what goes wrong -------------------------------------------------------------

    async def about(self) -> None:
        """The event comes now: where the fault comes in the transition, it comes with it."""
        if not self._due:
            return
        self._due = False
        if self.case.fault in GATE_WIDE:
            self._struck = True
            await self.scene.strike_at(self.case.mark)
            await asyncio.sleep(max(0.0, -self.case.lead))
        elif self.case.lead < 0:
            await self._strike()
            await asyncio.sleep(-self.case.lead)
        else:
            self._tasks.append(asyncio.create_task(self._strike_late()))

    async def _strike_late(self) -> None:
        await asyncio.sleep(self.case.lead)
        await self._strike()

    async def _strike(self) -> None:
        fault = self.case.fault
        self._struck = fault is not Fault.NONE
        if fault in GATE_WIDE:
            await self.scene.struck_at(self.case.mark)
        elif fault in LEAVES:
            await self.leave(fault)
        elif fault is Fault.TWO:
            await self._two_at_once()

    async def _two_at_once(self) -> None:
        """Two people, or one under two names, answer at the same moment."""
        one, other = self.chance.choice(((ADA, BOB), (ADA, ADA_AT_NIGHT), (ADA_AT_NIGHT, ADA)))
        first, second = (self.chance.random() < 0.7 for _ in range(2))
        await asyncio.gather(self.answer(one, approves=first), self.answer(other, approves=second))


type Act = Callable[[Run], Awaitable[None]]


async def _approve(run: Run) -> None:
    await run.about()
    await run.answer(ADA, approves=True)
    if run.case.people == 2:
        await run.answer(ADA_AT_NIGHT, approves=True)  # is refused: it is the same person
        await run.answer(BOB, approves=True)


async def _deny(run: Run) -> None:
    await run.about()
    await run.answer(BOB, approves=False)


async def _at(run: Run, moment: float) -> None:
    """Let a deadline pass: by itself, as deadlines do."""
    await asyncio.sleep(max(0.0, moment - time.monotonic() - max(0.0, run.case.lead)))
    await run.about()
    await asyncio.sleep(max(0.0, moment - time.monotonic()))


async def _expire(run: Run) -> None:
    await _at(run, run.journal.attempts[-1].asked + BRIEF)


async def _proceed(run: Run) -> None:
    await _at(run, run.journal.attempts[-1].asked + WINDOW)


async def _defer(run: Run) -> None:
    await _at(run, run.journal.attempts[-1].asked + WAIT)


async def _lapse(run: Run) -> None:
    await _at(run, time.monotonic() + FORGETS)


async def _come_again(run: Run) -> None:
    await run.about()
    await run.ask()


async def _leave(run: Run) -> None:
    await run.about()
    await run.leave(run.case.fault if run.case.fault in LEAVES else run.chance.choice((Fault.FIN, Fault.RST)))


async def _refuse(run: Run) -> None:
    await run.about()
    run.journal.barred = time.monotonic()
    run.scene.gate.bar(run.case.mark)


async def _cut(run: Run) -> None:
    run.scene.idle(run.case.mark)
    await run.scene.ending.wait()
    await run.about()


ACTS: Final[Mapping[Event, Act]] = {
    Event.APPROVE: _approve,
    Event.DENY: _deny,
    Event.EXPIRE: _expire,
    Event.PROCEED: _proceed,
    Event.LEAVE: _leave,
    Event.DEFER: _defer,
    Event.REJOIN: _come_again,
    Event.SPEND: _come_again,
    Event.LAPSE: _lapse,
    Event.REFUSE: _refuse,
    Event.CUT: _cut,
}
