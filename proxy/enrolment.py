"""
Who decides: the roll in force, and what a call needs so that it counts as a reviewer's own.

While nobody is enrolled the kernel's word for the account is enough, as it always was. From the
first enrolment on a decision is signed, by a key on the roll and from the account it belongs to:
whoever merely reaches the desk can look, pause, and decide nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from proxy.errors import Exit, SluiceError, fail
from proxy.hold import Review, Reviewer
from proxy.ledger import Draft, Ledger, UnavailableError
from proxy.ledger.roll import ACTS, Enrolled, Roll, entry
from proxy.reviewers import Reviewers, proposals
from proxy.signing import ProofError
from proxy.signing.statement import Proof, Statement
from proxy.wire import UNSIGNED, Call, Enrollee, HoldView, RollView, Verb
from proxy.wire.orders import ANSWERING, about, act

_SIGN: Final = (
    "sluice reviewer list says who is enrolled; in the terminal of one: sluice approve, sluice review"
)


@dataclass(frozen=True, slots=True)
class Authority:
    """Whose decision a call is, and the proof of it where it answers a hold."""

    reviewer: Reviewer
    proof: Proof | None = None


class Enrolment:
    """
    The roll of one gate. For the event loop alone.

    `file` is what `reviewers.yaml` says, which counts until somebody is enrolled; `busy` says why
    nobody can be the first now, empty where somebody can; `clock` gives Unix time in seconds.
    `changed` is told the name of every reviewer who has lost a key or has other groups, in the same step.
    """

    def __init__(
        self,
        roll: Roll,
        ledger: Ledger,
        *,
        clock: Callable[[], float],
        file: Reviewers,
        busy: Callable[[], str] = lambda: "",
    ) -> None:
        self.roll = roll
        self.busy = busy
        self._ledger = ledger
        self._clock = clock
        self._file = file
        self.changed: Callable[[str], None] = lambda name: None
        self._changing = asyncio.Lock()

    def who(self, uid: int, account: str, name: str | None = None) -> Reviewer:
        """
        The reviewer that an account is, by the name it asks for or else by its first one.

        Where reviewers are enrolled, an account that is none may still look.
        """
        if not self.roll.required:
            return self._file.who(uid, account, name)
        known = self.roll.named(uid)
        for one in known:
            if name in (None, one.name):
                return _reviewer(one, account)
        if name is None:
            return Reviewer(f"uid:{uid}", account, account=account)
        names = ", ".join(one.name for one in known) or "none"
        what = f"account '{account}' (uid {uid}) has no name '{name}' among those enrolled"
        raise fail(what, fix=f"its names are: {names}", exit=Exit.NO)

    def view(self) -> RollView:
        """The roll as people see it."""
        people = tuple(
            Enrollee(one.name, one.uid, one.groups, tuple(key.line for key in one.keys))
            for one in self.roll.people.values()
        )
        return RollView(self.roll.ledger, people, self._proposals())

    def _proposals(self) -> tuple[str, ...]:
        if not self.roll.required:
            return ()
        return proposals(self._file, [(one.name, one.uid, one.groups) for one in self.roll.people.values()])

    async def admit(self, call: Call, asking: Reviewer, shown: Callable[[str], HoldView]) -> Authority:
        """
        Whose decision a call is, if it may be one; written down where it is more than an answer.

        `asking` is who the kernel says is asking, `shown` gives a hold as it is shown now. Raises
        SluiceError (exit 1) where the call needs a signature that counts, and has none.
        """
        changes = act(call) in ACTS
        if call.verb in UNSIGNED or not (changes or self.roll.required):
            return Authority(asking)
        if call.proof is None:
            raise _unsigned(call)
        view = shown(call.prefix) if call.verb in ANSWERING else None
        _check_whole(call, view)
        order = about(call, view)
        async with self._changing:  # an answer waits for a change that is on its way to the disk
            if changes:
                return await self._change(call.proof, act(call), order, asking)
            statement, who = self._judged(call.proof, act(call), order, asking)
            self.roll.spend(statement)
        if view is None:
            await self._written(entry(statement.act, order, statement, call.proof))
        return Authority(_reviewer(who, asking.account), call.proof)

    def today(self, reviewer: Reviewer) -> Reviewer | None:
        """A reviewer as the roll has them now; None where it has no key of theirs."""
        if not self.roll.required:
            return reviewer
        who = self.roll.people.get(reviewer.name)
        if who is None or not who.keys or who.person != reviewer.person:
            return None
        return _reviewer(who, reviewer.account)

    def known(self, review: Review) -> Reviewer | None:
        """Who gave an answer, as the roll has them now; None where its key is not in force any more."""
        if not self.roll.required or review.proof is None:
            return None if self.roll.required else review.reviewer
        try:
            statement, key = review.proof.opened()
        except ProofError:
            return None
        who = self.roll.people.get(statement.reviewer)
        return _reviewer(who, review.reviewer.account) if who is not None and key in who.keys else None

    def _judged(
        self, proof: Proof, act: str, order: dict[str, object], asking: Reviewer
    ) -> tuple[Statement, Enrolled]:
        statement, who = self.roll.judge(proof, act, order, int(self._clock() * 1_000_000))
        if self.roll.required and who.person != asking.person:
            what = f"'{who.name}' is enrolled for uid {who.uid}, and this comes from {asking.person}"
            raise ProofError("account", what, "a key counts from its own account alone")
        return statement, who

    async def _change(self, proof: Proof, act: str, order: dict[str, object], asking: Reviewer) -> Authority:
        first = not self.roll.required
        if first and (why := self.busy()):
            raise fail(
                f"nobody can be the first to be enrolled now: {why}",
                "an agent could enrol itself",
                "end every agent, then enrol",
                exit=Exit.NO,
            )
        if first and f"uid:{order.get('uid')}" != asking.person:
            raise fail("the first to be enrolled is whoever asks", fix="give your own --uid", exit=Exit.NO)
        statement, who = self._judged(proof, act, order, asking)
        self.roll.copy().apply(act, order)  # raises before anything is written
        await self._written(entry(act, order, statement, proof))
        self.roll.apply(act, order)
        self.roll.spend(statement)
        if act != "enrol":
            self.changed(str(order.get("reviewer")))
        return Authority(Reviewer(asking.person, who.name, who.groups, asking.account), proof)

    async def _written(self, draft: Draft) -> None:
        try:
            await self._ledger.queue(draft)
        except UnavailableError:
            raise fail(
                "this could not be written down, so nothing was done",
                "the ledger cannot be written",
                "see the console of sluice up",
                exit=Exit.NO,
            ) from None


def _reviewer(one: Enrolled, account: str) -> Reviewer:
    return Reviewer(one.person, one.name, one.groups, account)


def _check_whole(call: Call, view: HoldView | None) -> None:
    """What is signed names what it is for in full: nothing that could come to mean another thing."""
    if view is not None and (call.prefix, call.digest) != (view.id, view.digest):
        raise fail(
            "a signed answer names its hold and the request by whole id and digest",
            "else it could come to be for another one",
            "look at it again",
            exit=Exit.NO,
        )
    if call.verb is Verb.ACCEPT and not call.policy:
        raise fail("no changed policy waits to be taken", "a signed order names the policy", exit=Exit.NO)


def _unsigned(call: Call) -> SluiceError:
    return fail(
        f"this is not signed, and reviewers are enrolled here: '{act(call)}' counts for nothing",
        "whoever reaches the desk, an agent of this account too, could decide in their name",
        _SIGN,
        exit=Exit.NO,
    )
