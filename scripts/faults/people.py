"""
The reviewers: the product's own client of the control socket, and several people by one account.

A *staged* gate (`faults.stage`) takes who calls for the account of the name that is asked for; every
other one asks the kernel, as ever.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

from faults.journal import Call
from faults.rules import ADA, Person
from proxy.control.client import ControlDesk
from proxy.errors import Exit, SluiceError
from proxy.hold import State
from proxy.linux.peer import account
from proxy.wire import Change, HoldView, Snapshot


class People:
    """Who may answer at one gate; where it is not staged, that is this account and nobody else."""

    def __init__(self, control: Path, staged: bool) -> None:
        self._control = control
        self._staged = staged

    def known(self, person: Person) -> Person:
        """Whom the gate takes this person for."""
        return person if self._staged else Person(account(os.getuid()), os.getuid())

    async def answer(self, call: Call, person: Person, digest: str | None) -> Call:
        """Give one answer, and note what the gate said of it."""
        call.sent = time.monotonic()
        try:
            view = await self._review(call, person, digest)
            call.state = view.state
        except SluiceError as error:
            if error.exit is not Exit.UNREACHABLE:
                call.refusal = str(error)
        except OSError:
            pass  # the gate has gone: nobody said anything
        return call

    async def _review(self, call: Call, person: Person, digest: str | None) -> HoldView:
        desk = ControlDesk(self._control, person.name if self._staged else None)
        return await desk.review(call.hold, approves=call.approves, reason=call.reason, digest=digest)


class Board:
    """What the desk of one gate shows, followed: the holds of each mark."""

    def __init__(self, control: Path, staged: bool, of: Callable[[str], str]) -> None:
        self._control, self._staged, self._of = control, staged, of
        self._holds: dict[str, dict[str, HoldView]] = {}
        self._changed = asyncio.Condition()
        self._closed = False

    async def follow(self) -> None:
        """Until the gate has gone."""
        try:
            async for change in ControlDesk(self._control, ADA.name if self._staged else None).changes():
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
