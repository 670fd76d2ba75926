"""A desk in memory: the second implementation of the protocol, for the rooms that only use one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

from proxy.errors import Exit, fail
from proxy.hold import Reviewer
from proxy.wire import Answer, Call, Change, Desk, HoldView, Offer, ReviewView, Snapshot, Status, Verb

RULE = """\
version: 1
rules:
  - name: like-0001kk
    why: The like of hold 0001kk was approved.
    match:
      host: api.stripe.com
      scheme: https
      port: 443
      method: POST
      path: /v1/refunds
      where:
        agent: {is: "uid:agent"}
        operation: {is: stripe.refund}
        form.charge: {is: ch_1}
        form.amount: {above: 0}
        blast.currency: {exists: false}
        credential: {exists: false}
        blast.amount: {above: 0}
    unless:
      - where: {form.amount: {above: 100}}
      - where: {form.amount: {count_above: 1}}
      - where: {form.charge: {count_above: 1}}
      - where: {blast.amount: {above: 100}}
    then: allow
"""


def hold_view(number: int = 1, **changes: object) -> HoldView:
    """A hold as the gate would show it; every field can be said."""
    now = round(time.time(), 3)
    view = HoldView(
        id=f"{number:04d}" + "k" * 22,
        rule="refunds-wait",
        rules=("refunds-wait",),
        why="A refund moves money and cannot be taken back.",
        agent="uid:agent",
        method="POST",
        url="https://api.stripe.com/v1/refunds",
        operation="stripe.refund",
        says=f"Refund {number}00 of charge ch_{number}",
        show={"form.amount": (f"{number}00",), "form.charge": (f"ch_{number}",)},
        digest=f"{number:064x}",
        opened=now,
        deadline=now + 600,
        approvals_needed=1,
        headers=(("content-type", "application/x-www-form-urlencoded"),),
        body=f"amount={number}00&charge=ch_{number}",
    )
    return replace(view, **changes)


@dataclass
class MemoryDesk(Desk):
    """Holds, what happened to them, and who asked; `ask` gives the desk of one reviewer."""

    reviewer: Reviewer = field(default_factory=lambda: Reviewer("uid:0", "ada"))
    status: Status = field(default_factory=lambda: Status("http://127.0.0.1:8080", "p" * 64))
    holds: dict[str, HoldView] = field(default_factory=dict)
    calls: list[tuple[object, ...]] = field(default_factory=list)
    listeners: list[asyncio.Queue[Snapshot | Change | BaseException | None]] = field(default_factory=list)
    gate: asyncio.Event | None = None

    def ask(self, reviewer: Reviewer) -> MemoryDesk:
        return replace(self, reviewer=reviewer)

    def open(self, view: HoldView) -> HoldView:
        self.holds[view.id] = view
        self.tell(Change("opened", hold=view))
        return view

    def settle(self, hold: str, state: str, cause: str = "", by: tuple[str, ...] = ()) -> HoldView:
        view = replace(self.holds[hold], state=state, cause=cause, by=by)
        self.holds[hold] = view
        self.tell(Change("settled", hold=view))
        return view

    def now(self, **changes: object) -> Status:
        for name, value in changes.items():
            object.__setattr__(self.status, name, value)
        status = replace(self.status)
        self.tell(Change("status", status=status))
        return status

    def tell(self, change: Change | BaseException | None) -> None:
        for listener in self.listeners:
            listener.put_nowait(change)

    async def changes(self) -> AsyncIterator[Snapshot | Change]:
        queue: asyncio.Queue[Snapshot | Change | BaseException | None] = asyncio.Queue()
        queue.put_nowait(await self.snapshot())
        self.listeners.append(queue)
        try:
            while (change := await queue.get()) is not None:
                if isinstance(change, BaseException):
                    raise change
                yield change
        finally:
            self.listeners.remove(queue)

    async def snapshot(self) -> Snapshot:
        waiting = tuple(view for view in self.holds.values() if view.state == "pending")
        listed = tuple(replace(view, headers=(), body="") for view in waiting)
        return Snapshot(replace(self.status), listed)

    async def take(self, call: Call) -> Answer:
        match call.verb:
            case Verb.SHOW:
                return self._found(call.prefix)
            case Verb.REVIEW:
                return await self._reviewed(call)
            case Verb.PAUSE:
                self.calls.append(("pause", call.agent))
                return self.now(paused=(call.agent or "*",))
            case Verb.RESUME:
                self.calls.append(("resume", call.agent))
                return self.now(paused=())
            case Verb.ACCEPT:
                self.calls.append(("accept", call.policy))
                return self.now(policy_change="", policy_next="", policy=call.policy or "")
            case Verb.ERASE:
                self.calls.append(("erase", call.prefix, call.reason))
                return self.now()
            case Verb.EXTEND:
                self.calls.append(("extend", call.prefix, call.seconds))
                view = self._found(call.prefix)
                self.holds[view.id] = replace(view, deadline=view.deadline + call.seconds)
                self.tell(Change("reviewed", hold=self.holds[view.id]))
                return self.holds[view.id]
            case Verb.OFFER:
                view = self._found(call.prefix)
                return Offer(view.id, view.digest, RULE, "everything else in the body")
            case Verb.GRANT:
                self.calls.append(("grant", call.prefix, call.seconds, call.uses))
                return self.settle(call.prefix, "approved", "", (self.reviewer.name,))
            case Verb.UNLOCK:
                self.calls.append(("unlock",))
                return self.now(locked="")
            case Verb.STATUS:
                return replace(self.status)
            case _:
                raise fail(f"{call.verb} cannot be asked here")

    def _found(self, prefix: str) -> HoldView:
        found = [view for key, view in self.holds.items() if key.startswith(prefix)]
        if len(found) != 1:
            raise fail(f"no hold '{prefix}'", exit=Exit.NO)
        return found[0]

    async def _reviewed(self, call: Call) -> HoldView:
        if self.gate is not None:
            await self.gate.wait()
        view = self._found(call.prefix)
        if view.state != "pending":
            raise fail(f"hold {view.id[:6]} is gone: {view.state}", exit=Exit.NO)
        if call.digest not in (None, view.digest):
            raise fail(f"hold {view.id[:6]} is not for the request that you saw", exit=Exit.NO)
        answer = "approve" if call.approves else "deny"
        self.calls.append((answer, view.id, call.reason, call.digest, self.reviewer))
        review = ReviewView(self.reviewer.name, call.approves, time.time(), call.reason)
        self.holds[view.id] = replace(view, reviews=(*view.reviews, review))
        ended = "approved" if call.approves else "denied"
        return self.settle(view.id, ended, call.reason, (self.reviewer.name,))
