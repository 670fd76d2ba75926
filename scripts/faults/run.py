"""
One run: a hold is led to a state, an event is brought about, and something goes wrong on the way.

`ACTS` says how each event of `proxy.hold` is brought about: an event without one fails the suite.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from faults.actor import SHOWN, Actor
from faults.agent import asking
from faults.cases import LEAVES, Case, Fault, Moment
from faults.journal import Journal
from faults.rules import ADA, ADA_AT_NIGHT, BOB, BRIEF, EVE, FORGETS, WAIT, WINDOW
from faults.scene import Scene
from faults.ways import onward
from proxy.hold import TRANSITIONS, Event, State

_STALLED: Final = 0.7


class Run(Actor):
    """What one case does."""

    def __init__(self, case: Case, scene: Scene) -> None:
        super().__init__(case, scene, Journal(case))
        self.case: Case = case

    async def come_to(self, scene: Scene) -> None:
        """Ask once more, at the gate's next start."""
        self.scene, self._asked, self._tasks = scene, [], []
        await self.ask()
        self.journal.attempts[-1].revived = True
        await self._heard(1)

    async def live(self) -> None:
        """To the state, through the event, and on."""
        case = self.case
        state = State.PENDING
        placed = await self._begin()
        for event in case.way.path:
            await ACTS[event](self)
            state = TRANSITIONS[state, event]
            placed &= await self.shown(state)
        self.journal.placed = placed
        if case.moment is Moment.BEFORE:
            await self.strike()
        self._due = case.moment is Moment.DURING
        await ACTS[case.way.event](self)
        self._due = False
        self.journal.arrived = await self.shown(case.way.target)
        if case.moment is Moment.AFTER:
            self.journal.placed &= self.journal.arrived or case.way.event is Event.CUT
            await self.strike()
        await self._go_on()
        if case.late:
            await self.answer(EVE, approves=True)
        if case.fault is Fault.STALL and not await self._asked[-1].answered(_STALLED):
            await self._asked[-1].leave(Fault.FIN)
        if case.again and self._asked[-1].over and not self.scene.ending.is_set():
            heard = self.scene.board.attempts(case.mark)
            await self.ask()
            await self._heard(heard + 1)

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
        """As any; the desk has shown whoever waited."""
        await super().end()
        heard = self.scene.board.attempts(self.case.mark)
        for number, asked in enumerate(self._asked, 1):
            asked.attempt.heard = number <= heard

    async def ask(self) -> None:
        """The agent asks: the same request each time."""
        await self.send(asking(self.case, self.scene.door.name))


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
