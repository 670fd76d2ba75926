"""
One errand: a leg is walked step by step, and something goes wrong on the way.

`ACTS` says how each step of `faults.errands` is taken, `LATER` what is done at the gate's next start.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from itertools import cycle
from typing import Final

from faults.actor import SHOWN, UNSURE, Actor
from faults.agent import asking_for
from faults.cases import Fault, Moment
from faults.errands import AMOUNT, Errand, Leg
from faults.funds import used
from faults.journal import Walk
from faults.people import FORGERIES
from faults.rules import ADA, ADA_AT_NIGHT, BOB, EVE, SHUT, ZOE, Person, watch
from faults.scene import Scene, lines
from proxy.hold import State
from proxy.wire import HoldView

_LOOK: Final = 0.02
_SOON: Final = 2
"""Seconds that a grant stands which ends by itself."""
_LONG: Final = 600
_HEARD: Final = 1.0
"""Seconds before the end of a gate until which it hears whoever asks."""


class Walking(Actor):
    """What one errand does."""

    def __init__(self, errand: Errand, scene: Scene) -> None:
        self.journal: Walk
        super().__init__(errand, scene, Walk(errand))
        self.case: Errand = errand
        self.granted = 0.0
        self._there: asyncio.Task[None] | None = None

    async def live(self) -> None:
        """Every step of its leg, in order."""
        errand = self.case
        for number, act in enumerate(ACTS[errand.leg]):
            here = number == errand.step
            self.journal.placed |= here
            if here and errand.moment is Moment.BEFORE:
                await self.strike()
            self._due = here and errand.moment is Moment.DURING
            await act(self)
            await self.about()
        if errand.moment is Moment.AFTER:
            await self.strike()
        self.journal.arrived = True

    async def come_to(self, scene: Scene) -> None:
        """Ask again, at the gate's next start."""
        self.scene, self._asked, self._tasks, self._struck = scene, [], [], False
        before = len(self.journal.attempts)
        await LATER[self.case.leg](self)
        for attempt in self.journal.attempts[before:]:
            attempt.revived = True

    async def end(self) -> None:
        """As any; whoever asked in time was heard."""
        await super().end()
        if self._there is not None:
            self._there.cancel()
            await asyncio.wait({self._there})
            self._there = None
        for asked in self._asked:
            asked.attempt.heard = asked.attempt.asked < self.scene.ended - _HEARD

    def attend(self, there: asyncio.Task[None]) -> None:
        """Somebody looks at the desk until all is over."""
        self._there = there

    async def leave(self, how: Fault) -> None:
        """The agent hangs up, on whatever it waits for."""
        politely = self.chance.random() < 0.5
        await asyncio.gather(*(asked.leave(how, politely) for asked in self._asked))

    # -- what the agent does ---------------------------------------------------------

    async def ask(self, amount: int, *, same: bool = False, behaviour: str = "") -> int:
        """Ask for so much; the `same` request again, or one of its own. Its number."""
        number = len(self.journal.attempts) + 1
        self.journal.amounts[number] = amount
        what = asking_for(
            self.case, self.scene.door.name, amount, number=0 if same else number, behaviour=behaviour
        )
        await self.send(what)
        return number

    async def crowd(self, amounts: Sequence[int], behaviours: Sequence[str] = ("",)) -> None:
        """Ask for all of it at once, and wait until each has its answer, or people are asked."""
        asked = [self.ask(one, behaviour=how) for one, how in zip(amounts, cycle(behaviours), strict=False)]
        for one in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(one, BaseException):
                raise one
        await self.calm()

    async def calm(self) -> None:
        """Wait until every request so far has its answer or waits for people."""
        stalls = self.case.fault is Fault.STALL
        patience = UNSURE if stalls or self._struck or self.scene.hit else SHOWN
        until = time.monotonic() + patience
        while not self._is_calm() and time.monotonic() < until and not self.scene.gone.is_set():
            await asyncio.sleep(_LOOK)
        if stalls:
            waiting = self.numbers()
            for asked in self._asked:
                if not asked.over and asked.attempt.number not in waiting:
                    await asked.leave(Fault.FIN)

    def _is_calm(self) -> bool:
        open_ = sum(not asked.over for asked in self._asked)
        return open_ <= len(self.scene.board.waiting(self.case.mark))

    def numbers(self) -> dict[int, HoldView]:
        """The holds on which an agent waits, by the number of their attempt."""
        waiting = self.scene.board.waiting(self.case.mark)
        return {int(view.url.partition("?n=")[2] or 1): view for view in waiting}

    # -- what people do --------------------------------------------------------------

    async def says(self, *people: Person, approves: bool, view: HoldView | None = None) -> None:
        """People answer one after the other the hold that is shown, or one that was."""
        for person in people:
            seen = view or self.view
            if seen is not None:
                call = self.call(seen, person, approves=approves)
                await self.scene.people.answer(call, person, seen.digest)

    async def forge(self) -> None:
        """Try to approve without a reviewer's key, in every way there is."""
        view = self.view
        for how in FORGERIES if view is not None else ():
            call = self.call(view, Person(f"forged: {how}", 0), approves=True)
            call.name = f"forged: {how}"
            await self.scene.people.forge(call, how)

    async def edit(self) -> None:
        """Ada makes another amount of it."""
        if self.view is not None:
            call = self.call(self.view, ADA, approves=True)
            old, new = (f'"amount": {amount}' for amount in (AMOUNT, self.case.amount))
            await self.scene.people.edit(call, ADA, lambda text: text.replace(old, new))

    # -- grants ----------------------------------------------------------------------

    async def grant(self) -> None:
        """Approve the like of it."""
        if self.view is None:
            return
        call = self.call(self.view, ADA, approves=True)
        seconds = _SOON if self.case.ending == "time" else _LONG
        await self.scene.people.grant(call, ADA, seconds=seconds, uses=self.case.uses)
        self.granted = time.monotonic()

    async def end_grant(self) -> None:
        """A grant ends before it is used up: taken back, by a denial of its like, or by its time."""
        match self.case.ending:
            case "revoke":
                hold = next((call.hold for call in self.journal.calls if call.approves), "")
                ended = bool(hold) and await self.scene.people.revoke(hold, BOB)
            case "deny":
                ended = await self._deny_its_like()
            case "time":
                await asyncio.sleep(max(0.0, self.granted + _SOON + 0.2 - time.monotonic()))
                ended = self.case.fault is not Fault.CLOCK
            case _:
                return
        if ended:
            self.journal.ended = time.monotonic()

    async def _deny_its_like(self) -> bool:
        like = [view for at, view in self.numbers().items() if self.journal.amounts.get(at, 0) <= AMOUNT]
        if not like:
            return False
        call = self.call(like[0], BOB, approves=False)
        await self.scene.people.answer(call, BOB, None)
        return call.state == State.DENIED

    # -- budgets ---------------------------------------------------------------------

    async def spend(self, many: int) -> None:
        """Ask for so many at once; some of them fail in the ways that upstreams do."""
        amounts = [self.chance.randint(10, 50) for _ in range(many)]
        await self.crowd(amounts, ("no", "", "ok", "", "sick"))
        await self.proceeds()

    async def spend_what_is_left(self) -> None:
        """Ask for more than there is room for, and for all the room, as the ledger has it."""
        history, now = lines(self.scene.gate.ledger), self.scene.gate.clock
        room = self.case.limit - used(history, self.case.rule, now)
        amounts = [1] * (room + 1) if self.case.counts else [room + 1, room]
        for at, amount in enumerate(amounts):
            if amount > 0:
                number = await self.ask(amount, behaviour="ok")
                fits = at < room if self.case.counts else at == 1
                self.journal.rooms[number] = fits
                await self.calm()
                await self.proceeds()

    async def proceeds(self) -> None:
        """Where a window lets it through, wait for its end."""
        if self.case.window:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.scene.ending.wait(), SHUT + 0.3)


# -- the steps -------------------------------------------------------------------------


async def _ask(run: Walking) -> None:
    await run.about()
    if run.case.leg is Leg.GRANT:
        await run.crowd([AMOUNT] * (2 if run.case.ending == "deny" else 1))
    else:
        await run.ask(AMOUNT, same=True)
        await run.calm()


async def _grant(run: Walking) -> None:
    await run.about()
    await run.grant()


async def _use(run: Walking) -> None:
    await run.about()
    many = run.case.uses - 1 if run.case.ending else run.case.many
    await run.crowd([AMOUNT + 1, *(run.chance.randint(1, AMOUNT) for _ in range(many))])


async def _end_grant(run: Walking) -> None:
    await run.about()
    await run.end_grant()


async def _use_more(run: Walking) -> None:
    await run.about()
    await run.crowd([AMOUNT, AMOUNT - 1])


async def _spend(run: Walking) -> None:
    await run.about()
    await run.spend(run.case.many)


async def _spend_more(run: Walking) -> None:
    await run.about()
    await run.spend(3)


async def _release_more(run: Walking) -> None:
    """What is over a budget that holds it is a person's to release, or not."""
    await run.about()
    await run.says(ADA, approves=run.chance.random() < 0.5)
    await run.calm()


async def _edit(run: Walking) -> None:
    seen = run.view
    await run.about()
    await run.edit()
    if seen is not None:
        await run.says(BOB, approves=True, view=seen)  # is for what has been edited since, or not


async def _approve_all(run: Walking) -> None:
    await run.about()
    await run.says(ADA, ADA_AT_NIGHT, BOB, approves=True)


async def _come_again(run: Walking) -> None:
    await run.about()
    if run.case.fault is not Fault.NONE or run.chance.random() < 0.3:
        await _ask(run)
        await run.says(ADA, BOB, approves=True)


async def _deny(run: Walking) -> None:
    await run.about()
    await run.says(BOB, approves=False)


async def _deny_twice(run: Walking) -> None:
    await run.about()
    await asyncio.gather(run.says(BOB, approves=False), run.says(BOB, approves=False))


async def _settle(run: Walking) -> None:
    await run.about()
    await run.says(ADA, ADA_AT_NIGHT, approves=run.chance.random() < 0.3)


async def _approve_excluded(run: Walking) -> None:
    await run.about()
    await run.says(ZOE, EVE, approves=True)


async def _be_there(run: Walking) -> None:
    await run.about()
    scene, seen = run.scene, asyncio.Event()
    if not scene.gate.staged:
        return
    person = watch(scene.batch, run.case.mark)
    there = asyncio.create_task(scene.people.there(person, seen))
    run.attend(there)
    looking = asyncio.create_task(seen.wait())
    await asyncio.wait({looking, there}, timeout=SHOWN, return_when=asyncio.FIRST_COMPLETED)
    looking.cancel()


async def _ask_alone(run: Walking) -> None:
    await run.about()
    run.journal.alone.add(await run.ask(AMOUNT))
    await run.calm()


async def _ask_attended(run: Walking) -> None:
    await run.about()
    await run.ask(AMOUNT)
    await run.calm()


async def _watch_answers(run: Walking) -> None:
    await run.about()
    await run.says(ADA, approves=True)  # is not one of those who may
    if run.scene.gate.staged:
        await run.says(watch(run.scene.batch, run.case.mark), approves=run.chance.random() < 0.8)


async def _forge(run: Walking) -> None:
    await run.about()
    await run.forge()


async def _again(run: Walking) -> None:
    await run.ask(AMOUNT, same=True)
    await run.calm()


async def _again_and_deny(run: Walking) -> None:
    await _again(run)
    await run.says(BOB, approves=False)


async def _again_and_excluded(run: Walking) -> None:
    await _again(run)
    await run.says(EVE, ZOE, approves=True)


async def _again_and_forge(run: Walking) -> None:
    await _again(run)
    await run.forge()


type Act = Callable[[Walking], Awaitable[None]]

ACTS: Final[Mapping[Leg, tuple[Act, ...]]] = {
    Leg.GRANT: (_ask, _grant, _use, _end_grant, _use_more),
    Leg.BUDGET: (_spend, _release_more, _spend_more),
    Leg.EDIT: (_ask, _edit, _approve_all, _come_again),
    Leg.DENIALS: (_ask, _deny, _deny_twice, _settle),
    Leg.EXCLUDED: (_ask, _approve_excluded, _approve_all),
    Leg.NOBODY: (_ask_alone, _be_there, _ask_attended, _watch_answers),
    Leg.SIGNED: (_ask, _forge, _approve_all),
}

LATER: Final[Mapping[Leg, Act]] = {
    Leg.GRANT: _use_more,
    Leg.BUDGET: Walking.spend_what_is_left,
    Leg.EDIT: _again,
    Leg.DENIALS: _again_and_deny,
    Leg.EXCLUDED: _again_and_excluded,
    Leg.NOBODY: _ask_alone,
    Leg.SIGNED: _again_and_forge,
}
