"""
The reviewers: the product's own client of the control socket, and several people by one account.

A *staged* gate (`faults.stage`) takes who calls for the account of the name that is asked for; every
other one asks the kernel, as ever. Where they are enrolled, they sign what they decide.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from faults.gate import Gate, GateError
from faults.journal import Call
from faults.keys import signer
from faults.rules import ADA, BOB, Person, people
from proxy.control.client import ControlDesk
from proxy.errors import Exit, SluiceError
from proxy.hold import State
from proxy.keyring.desk import SigningDesk
from proxy.linux.peer import account
from proxy.wire import Answer, Change, Desk, HoldView, Snapshot, Verb
from proxy.wire import Call as Asked

FORGERIES: Final = ("unsigned", "a stranger's key", "another's key", "a denial's signature")


class People:
    """Who may answer at one gate; where it is not staged, that is this account and nobody else."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._batch = gate.batch
        self._staged = gate.staged
        self._orders = asyncio.Lock()  # of one key a later order counts for all before it

    def known(self, person: Person) -> Person:
        """Whom the gate takes this person for."""
        return person if self._staged else Person(account(os.getuid()), os.getuid())

    def desk(self, person: Person) -> Desk:
        """The desk as this person has it."""
        inner = self.unsigned(person)
        if not self._batch.enrolled:
            return inner
        return self._signing(inner, self.known(person).name)

    def unsigned(self, person: Person) -> ControlDesk:
        """The same, and nothing is signed."""
        return ControlDesk(self._gate.control, person.name if self._staged else None)

    def _signing(self, inner: Desk, whose: str, name: str | None = None) -> SigningDesk:
        return SigningDesk(
            inner, lambda _: signer(self._batch.seed, whose, name), clock=lambda: self._gate.clock
        )

    async def enrol(self) -> None:
        """Everyone whom the gate knows, by the first of them; before there is any agent."""
        known = people(self._batch) if self._staged else (self.known(ADA),)
        for one in known:
            key = signer(self._batch.seed, one.name).key.line
            order = Asked(Verb.ENROL, reviewer=one.name, uid=one.uid, groups=one.groups, key=key)
            try:
                await self.desk(known[0]).take(order)
            except SluiceError as error:
                raise GateError(f"'{one.name}' could not be enrolled: {error}") from None

    # -- answers ---------------------------------------------------------------------

    async def answer(self, call: Call, person: Person, digest: str | None) -> Call:
        """Give one answer, and note what the gate said of it."""
        desk = self.desk(person)
        return await self._noted(
            call, desk.review(call.hold, approves=call.approves, reason=call.reason, digest=digest)
        )

    async def _noted(self, call: Call, asked: Awaitable[HoldView]) -> Call:
        call.sent = time.monotonic()
        try:
            view = await asked
            call.state = view.state
        except SluiceError as error:
            if error.exit is not Exit.UNREACHABLE:
                call.refusal = str(error)
        except OSError:
            pass  # the gate has gone: nobody said anything
        return call

    async def grant(self, call: Call, person: Person, *, seconds: int, uses: int) -> Call:
        """Approve a hold and its like."""
        desk = self.desk(person)

        async def grant() -> HoldView:
            offer = await desk.offer(call.hold)
            return await desk.grant(offer, seconds=seconds, uses=uses, reason=call.reason)

        return await self._noted(call, grant())

    async def edit(self, call: Call, person: Person, change: Callable[[str], str]) -> Call:
        """Edit a hold's request and approve it as far as this person may; no more than that is noted."""
        desk = self.desk(person)

        async def edit() -> HoldView:
            sheet = await desk.sheet(call.hold)
            text = change(sheet.text)
            view = await desk.preview(sheet, text)
            async with self._orders:
                return await desk.edit(sheet, text, becomes=view.digest, reason=call.reason)

        await self._noted(call, edit())
        return call

    async def revoke(self, hold: str, person: Person) -> bool:
        """Take back what was granted with a hold; whether the gate said that it is."""

        async def revoke(desk: Desk) -> Answer:
            [grant] = [one.id for one in (await desk.grants()).grants if one.hold == hold] or [hold]
            return await desk.revoke(grant)

        return await self._ordered(person, revoke)

    async def pause(self) -> bool:
        """Have everything refused; whether the gate said so."""
        return await self._ordered(BOB, lambda desk: desk.pause())

    async def resume(self) -> bool:
        """End the pause; whether the gate said so."""
        return await self._ordered(BOB, lambda desk: desk.resume())

    async def _ordered(self, person: Person, order: Callable[[Desk], Awaitable[Answer]]) -> bool:
        try:
            async with self._orders:
                await order(self.desk(person))
        except (SluiceError, OSError):
            return False
        return True

    async def forge(self, call: Call, how: str) -> Call:
        """Approve a hold as a process of the account could that has no key of a reviewer."""
        whose = self.known(ADA).name
        bare = self.unsigned(ADA)
        match how:
            case "unsigned":
                desk: Desk = bare
            case "a stranger's key":
                desk = self._signing(bare, "stranger", whose)
            case "another's key":
                desk = self._signing(bare, BOB.name, whose)
            case "a denial's signature":
                desk = self._signing(_Turning(bare.path, bare.name), whose)
            case _:
                raise ValueError(how)
        approves = how != "a denial's signature"
        return await self._noted(call, desk.review(call.hold, approves=approves, reason=call.reason))

    async def there(self, person: Person, seen: asyncio.Event) -> None:
        """Look at the desk until the gate has gone; `seen` is set once it is certain that one does."""
        try:
            async for _ in self.unsigned(person).changes():
                seen.set()
        except (SluiceError, OSError):
            return


class _Turning(ControlDesk):
    """Makes an approval of a denial that was signed."""

    async def take(self, call: Asked) -> Answer:
        return await ControlDesk.take(self, replace(call, approves=True) if call.proof else call)


class Board:
    """What the desk of one gate shows, followed: the holds of each mark."""

    def __init__(self, people: People, of: Callable[[str], str]) -> None:
        self._people, self._of = people, of
        self._holds: dict[str, dict[str, HoldView]] = {}
        self._changed = asyncio.Condition()
        self._closed = False

    async def follow(self) -> None:
        """Until the gate has gone."""
        try:
            async for change in self._people.unsigned(ADA).changes():
                await self._take(change)
        except (SluiceError, OSError):
            pass  # it has gone: nothing more is shown
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    async def _take(self, change: Snapshot | Change) -> None:
        views = change.holds if isinstance(change, Snapshot) else (change.hold,)
        async with self._changed:
            for view in views:
                if view is not None:
                    mark = self._of(view.url)
                    self._holds.setdefault(mark, {})[view.id] = view
            self._changed.notify_all()

    def latest(self, mark: str) -> HoldView | None:
        """The newest hold of a mark."""
        holds = self._holds.get(mark)
        return list(holds.values())[-1] if holds else None

    def waiting(self, mark: str) -> list[HoldView]:
        """The holds of a mark on which an agent waits."""
        return [view for view in self._holds.get(mark, {}).values() if view.state == State.PENDING]

    def attempts(self, mark: str) -> int:
        """How many times somebody has asked for this mark and waited, or fetched what was approved."""
        return sum(view.attempts for view in self._holds.get(mark, {}).values())

    async def shows(self, mark: str, state: State, patience: float) -> bool:
        """Wait until the newest hold of a mark is shown in this state; whether it was."""

        def there() -> bool:
            view = self.latest(mark)
            return view is not None and view.state == state

        return await self._until(there, patience)

    async def hears(self, mark: str, attempts: int, patience: float) -> bool:
        """Wait until somebody has asked for a mark so often; whether they did."""
        return await self._until(lambda: self.attempts(mark) >= attempts, patience)

    async def _until(self, there: Callable[[], bool], patience: float) -> bool:
        try:
            async with asyncio.timeout(patience), self._changed:
                await self._changed.wait_for(lambda: there() or self._closed)
        except TimeoutError:
            return False
        return there()
