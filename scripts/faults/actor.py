"""One run's agent and reviewers: what they do, what goes wrong, and what of it is noted."""

from __future__ import annotations

import asyncio
import random
import time

from faults.agent import Asked, Asking, ask
from faults.cases import GATE_WIDE, LEAVES, Case, Fault
from faults.errands import Errand
from faults.journal import Attempt, Call, Journal
from faults.rules import ADA, ADA_AT_NIGHT, BOB, Person
from faults.scene import Scene
from proxy.hold import State
from proxy.wire import HoldView

SHOWN = 10.0
"""Seconds until the desk must show what was brought about, where nothing went wrong."""
UNSURE = 1.0
"""Seconds that are waited for it where something did."""


class Actor:
    """Who acts in one run, by its case or errand; everything that is done and seen is in `journal`."""

    def __init__(self, case: Case | Errand, scene: Scene, journal: Journal) -> None:
        self.case = case
        self.scene = scene
        self.journal = journal
        self.chance = random.Random(case.seed)
        self._asked: list[Asked] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._due = False
        self._struck = False

    async def run(self) -> None:
        """From the first request to the last answer; bounded by every wait in it."""
        try:
            await self.live()
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            self.journal.broken = f"{type(error).__name__}: {error}"
        self.scene.idle(self.case.mark)
        await self.end()

    async def live(self) -> None:
        """What is done until there is nothing to wait for but answers."""
        raise NotImplementedError

    async def end(self) -> None:
        """The agent waits for its answer, however long the gate lives."""
        await self.scene.over.wait()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for asked in self._asked:
            if asked.attempt.left is None and not await asked.answered(SHOWN):
                asked.attempt.lost = False  # still open, and nothing said
            await asked.close()

    # -- what agents and reviewers do ------------------------------------------------

    async def send(self, what: Asking) -> Asked:
        """The agent asks, on a connection of its own."""
        attempt = Attempt(len(self.journal.attempts) + 1)
        self.journal.attempts.append(attempt)
        asked = await ask(what, self.case.carrier, self.scene.door, attempt)
        self._asked.append(asked)
        return asked

    async def leave(self, how: Fault) -> None:
        """The agent hangs up."""
        await self._asked[-1].leave(how, politely=self.chance.random() < 0.5)

    async def answer(self, person: Person, *, approves: bool) -> None:
        """A reviewer answers the hold that the desk shows now."""
        view = self.view
        if view is not None:
            digest = view.digest if self.chance.random() < 0.5 else None
            call = self.call(view, person, approves=approves)
            await self.scene.people.answer(call, person, digest)

    def call(self, view: HoldView, person: Person, *, approves: bool) -> Call:
        """Note that somebody answers now."""
        person = self.scene.people.known(person)
        reason = f"{'yes' if approves else 'no'} {self.chance.getrandbits(32):08x}"
        call = Call(view.id, str(person.uid), person.name, approves, reason, time.monotonic())
        self.journal.calls.append(call)
        return call

    @property
    def view(self) -> HoldView | None:
        """The newest hold of this run as the desk shows it."""
        return self.scene.board.latest(self.case.mark)

    async def shown(self, state: State) -> bool:
        """Wait until the desk shows the hold in this state; whether it did."""
        patience = UNSURE if self._struck or self.scene.hit else SHOWN
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
            await self.strike()
            await asyncio.sleep(-self.case.lead)
        else:
            self._tasks.append(asyncio.create_task(self._strike_late()))

    async def _strike_late(self) -> None:
        await asyncio.sleep(self.case.lead)
        await self.strike()

    async def strike(self) -> None:
        """The fault comes now."""
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
