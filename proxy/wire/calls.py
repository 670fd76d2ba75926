"""
What can be asked of a desk, and what is answered: the messages of the control socket.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from proxy.errors import Exit, Problem, SluiceError, fail
from proxy.signing.statement import Proof
from proxy.wire.views import Change, HoldView, Offer, RollView, Sheet, Snapshot, Standing, Status


class Verb(StrEnum):
    """What can be asked over the control socket; one call a connection, but for the last two."""

    CHANGES = "changes"
    SNAPSHOT = "snapshot"
    STATUS = "status"
    SHOW = "show"
    REVIEW = "review"
    PAUSE = "pause"
    RESUME = "resume"
    ACCEPT = "accept"
    UNLOCK = "unlock"
    ERASE = "erase"
    EXTEND = "extend"
    OFFER = "offer"
    GRANT = "grant"
    GRANTS = "grants"
    REVOKE = "revoke"
    SHEET = "sheet"
    PREVIEW = "preview"
    EDIT = "edit"
    ROLL = "roll"
    ENROL = "enrol"
    REGROUP = "regroup"
    ROTATE_KEY = "rotate-key"
    REVOKE_KEY = "revoke-key"
    RUN_HELLO = "run-hello"
    RUN_GOODBYE = "run-goodbye"


UNSIGNED: Final = frozenset(
    {
        Verb.CHANGES, Verb.SNAPSHOT, Verb.STATUS, Verb.SHOW, Verb.OFFER, Verb.GRANTS, Verb.ROLL,
        Verb.SHEET, Verb.PREVIEW, Verb.PAUSE, Verb.RUN_HELLO, Verb.RUN_GOODBYE,
    }
)  # fmt: skip
"""Verbs that decide nothing, or only refuse; every other one is signed where reviewers are enrolled."""


@dataclass(frozen=True, slots=True)
class Call:
    """
    One question to the gate; the fields are those of the `Desk` verb of the same name.

    `name` is what `--as` asked for, None for the person's first name. `proof` is a reviewer's
    signature over all the others (`proxy.wire.orders`); keys are lines of ``.pub`` files.
    """

    verb: Verb
    name: str | None = None
    prefix: str = ""
    approves: bool = False
    reason: str = ""
    digest: str | None = None
    agent: str | None = None
    policy: str | None = None
    seconds: int = 0
    uses: int = 0
    fields: tuple[str, ...] = ()
    rule: str | None = None
    text: str = ""
    becomes: str = ""
    reviewer: str = ""
    uid: int = 0
    groups: tuple[str, ...] = ()
    key: str = ""
    old: str = ""
    proof: Proof | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """The head of a snapshot on the wire: `count` holds follow, one a line."""

    status: Status
    count: int


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the answer is no: a SluiceError on its way to another process."""

    exit: int
    problems: tuple[Problem, ...]

    def error(self) -> SluiceError:
        """The error to raise where the answer arrives."""
        return SluiceError(*self.problems, exit=Exit(self.exit))


type Answer = HoldView | Status | Offer | Standing | Sheet | RollView
"""What a call is answered with, where it is one message."""

type Message = Call | Listing | Change | Failure | Answer
"""Everything that crosses the control socket."""


class Desk(Protocol):
    """
    What a reviewer can do, whoever carries it: in-process for the console of `up`, over the
    control socket for `review`, `holds`, `approve` and the rest.

    An implementation gives `changes`, `snapshot` and `take`; the named verbs below are spelled in
    terms of `take`. Each raises SluiceError with exit 1 where the answer is no (the hold is gone,
    not yours to decide, the desk is locked), exit 3 where no proxy is there.
    """

    @abstractmethod
    def changes(self) -> AsyncIterator[Snapshot | Change]:
        """A Snapshot first, then every Change from that moment on, none missed between."""
        ...

    @abstractmethod
    async def snapshot(self) -> Snapshot:
        """The desk now."""
        ...

    @abstractmethod
    async def take(self, call: Call) -> Answer:
        """Do what one call asks, of the verbs that are answered with one message."""
        ...

    async def status(self) -> Status:
        """The gate at a glance; the one thing that a `sluice run` may ask."""
        return _status(await self.take(Call(Verb.STATUS)))

    async def show(self, prefix: str) -> HoldView:
        """One hold, whole; `prefix` is any unique prefix of its id, settled ones for a while too."""
        return _hold(await self.take(Call(Verb.SHOW, prefix=prefix)))

    async def review(
        self, prefix: str, *, approves: bool, reason: str = "", digest: str | None = None
    ) -> HoldView:
        """
        Answer a hold; returns it as it is once the answer is on disk.

        With `digest` (hex) the answer counts only for exactly that request.
        """
        call = Call(Verb.REVIEW, prefix=prefix, approves=approves, reason=reason, digest=digest)
        return _hold(await self.take(call))

    async def pause(self, agent: str | None = None) -> Status:
        """Refuse everything (of one agent) until `resume`; open holds are refused too."""
        return _status(await self.take(Call(Verb.PAUSE, agent=agent)))

    async def resume(self, agent: str | None = None) -> Status:
        """End a pause."""
        return _status(await self.take(Call(Verb.RESUME, agent=agent)))

    async def accept(self, policy: str) -> Status:
        """Take the changed policy, if it is exactly the one that was shown (its digest, hex)."""
        return _status(await self.take(Call(Verb.ACCEPT, policy=policy)))

    async def erase(self, prefix: str, reason: str) -> Status:
        """Erase what the ledger keeps beside the entries of one hold; that it was, and why, stays."""
        return _status(await self.take(Call(Verb.ERASE, prefix=prefix, reason=reason)))

    async def extend(self, prefix: str, seconds: int) -> HoldView:
        """Give a hold so many seconds more until it expires."""
        return _hold(await self.take(Call(Verb.EXTEND, prefix=prefix, seconds=seconds)))

    async def offer(self, prefix: str, fields: tuple[str, ...] = ()) -> Offer:
        """
        What approving the like of a hold would let through.

        `fields` are bound in place of those that the hold's rules look at.
        """
        return _offer(await self.take(Call(Verb.OFFER, prefix=prefix, fields=fields)))

    async def grant(
        self, offer: Offer, *, seconds: int, uses: int, reason: str = "", fields: tuple[str, ...] = ()
    ) -> HoldView:
        """
        Approve a hold and its like, for so many seconds and uses more.

        The answer counts only for exactly the request and the rule of the offer.
        """
        call = Call(
            Verb.GRANT,
            prefix=offer.hold,
            digest=offer.digest,
            rule=offer.rule,
            seconds=seconds,
            uses=uses,
            reason=reason,
            fields=fields,
        )
        return _hold(await self.take(call))

    async def grants(self) -> Standing:
        """The grants that stand."""
        return _standing(await self.take(Call(Verb.GRANTS)))

    async def revoke(self, prefix: str) -> Standing:
        """Take a grant back, all of them for an empty prefix; those that still stand."""
        return _standing(await self.take(Call(Verb.REVOKE, prefix=prefix)))

    async def sheet(self, prefix: str) -> Sheet:
        """The request of a hold as text to be edited; raises where it cannot be."""
        return _sheet(await self.take(Call(Verb.SHEET, prefix=prefix)))

    async def preview(self, sheet: Sheet, text: str) -> HoldView:
        """
        The hold as it would be once its request is edited, `difference` in it; nothing is done.

        `state` is ``pending`` where others would have to approve it, too.
        """
        return _hold(await self.take(Call(Verb.PREVIEW, prefix=sheet.hold, digest=sheet.digest, text=text)))

    async def edit(self, sheet: Sheet, text: str, *, becomes: str, reason: str = "") -> HoldView:
        """
        Put the edited request in the place of the agent's, and approve it as far as one may.

        Counts only for the request that the sheet was made of and, with `becomes` (the digest of
        the preview, hex), for the one that was previewed.
        """
        call = Call(
            Verb.EDIT, prefix=sheet.hold, digest=sheet.digest, text=text, becomes=becomes, reason=reason
        )
        return _hold(await self.take(call))

    async def roll(self) -> RollView:
        """Who is enrolled."""
        return _roll(await self.take(Call(Verb.ROLL)))

    async def unlock(self) -> Status:
        """Take decisions again after an agent's `sluice run` ended without goodbye (console only)."""
        return _status(await self.take(Call(Verb.UNLOCK)))


def _hold(answer: Answer) -> HoldView:
    if not isinstance(answer, HoldView):
        raise strange()
    return answer


def _status(answer: Answer) -> Status:
    if not isinstance(answer, Status):
        raise strange()
    return answer


def _offer(answer: Answer) -> Offer:
    if not isinstance(answer, Offer):
        raise strange()
    return answer


def _standing(answer: Answer) -> Standing:
    if not isinstance(answer, Standing):
        raise strange()
    return answer


def _sheet(answer: Answer) -> Sheet:
    if not isinstance(answer, Sheet):
        raise strange()
    return answer


def _roll(answer: Answer) -> RollView:
    if not isinstance(answer, RollView):
        raise strange()
    return answer


def strange() -> SluiceError:
    """The two ends do not mean the same by a call."""
    return fail("the gate answered something else than was asked", exit=Exit.UNREACHABLE)
