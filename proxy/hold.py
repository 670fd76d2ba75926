"""
A hold: one action that waits for people, and the only ways in which that can end.

The table below is the whole machine. A hold is `PENDING` once and settled once; nothing
leads out of a settled state, so a settled hold never changes.

    PENDING --approve-->  APPROVED    enough different people of the right groups said yes
            --deny----->  DENIED      one person said no
            --expire--->  EXPIRED     the deadline passed; silence refuses
            --leave---->  ABANDONED   the agent that asked has gone
            --refuse--->  REFUSED     the policy now says deny, or everything is paused
            --cut------>  CUT_OFF     the gate stops, or cannot write what was decided

What is decided here is not yet enforced: an approved hold leaves only after its decision is
on disk (`proxy.admission`), and only to an agent that is still there (`proxy.gate`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from proxy.action import Action
from proxy.errors import Exit, SluiceError, fail
from proxy.policy.verdict import Demand, Verdict


class State(StrEnum):
    """Where a hold stands; all but PENDING are final."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    ABANDONED = "abandoned"
    REFUSED = "refused"
    CUT_OFF = "cut_off"


class Event(StrEnum):
    """What can happen to a hold."""

    APPROVE = "approve"
    DENY = "deny"
    EXPIRE = "expire"
    LEAVE = "leave"
    REFUSE = "refuse"
    CUT = "cut"


TRANSITIONS: Final[Mapping[tuple[State, Event], State]] = {
    (State.PENDING, Event.APPROVE): State.APPROVED,
    (State.PENDING, Event.DENY): State.DENIED,
    (State.PENDING, Event.EXPIRE): State.EXPIRED,
    (State.PENDING, Event.LEAVE): State.ABANDONED,
    (State.PENDING, Event.REFUSE): State.REFUSED,
    (State.PENDING, Event.CUT): State.CUT_OFF,
}


@dataclass(frozen=True, slots=True)
class Reviewer:
    """A person, as the kernel and `reviewers.yaml` know them; `person` is what is counted."""

    person: str
    name: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Review:
    """One person's answer to one hold, for the digest that this person saw."""

    reviewer: Reviewer
    approves: bool
    reason: str
    digest: bytes
    time: float


@dataclass(frozen=True, slots=True)
class Hold:
    """
    An action that waits; frozen, each step gives the next one.

    `id` carries 128 bits; `opened` and `deadline` are Unix time in seconds. `cause` says in
    words how a settled hold ended.
    """

    id: str
    action: Action
    verdict: Verdict
    digest: bytes
    opened: float
    deadline: float
    state: State = State.PENDING
    reviews: tuple[Review, ...] = ()
    cause: str = ""
    by: tuple[str, ...] = field(default=())

    @property
    def settled(self) -> bool:
        """Whether it has ended."""
        return self.state is not State.PENDING

    def on(self, event: Event, cause: str = "") -> Hold:
        """The hold after an event; GoneError where the table has no such step."""
        state = TRANSITIONS.get((self.state, event))
        if state is None:
            raise gone(self)
        return replace(self, state=state, cause=cause)

    def reviewed(self, review: Review) -> Hold:
        """
        The hold after one person's answer.

        A denial settles; an approval does once every demand is met by different people.
        Raises where the hold has ended, the digest is not this hold's, the person already
        approved, or none of the demands is theirs to answer.
        """
        if self.settled:
            raise gone(self)
        if review.digest != self.digest:
            raise _no(f"hold {self.id[:6]} is not for the request that you saw", "look at it again")
        with_it = replace(self, reviews=(*self.reviews, review), by=(*self.by, review.reviewer.name))
        self.check_reviewer(review.reviewer)
        if not review.approves:
            return replace(with_it.on(Event.DENY, review.reason), by=(review.reviewer.name,))
        if any(seen.reviewer.person == review.reviewer.person for seen in self.reviews):
            raise _no(f"you have already approved hold {self.id[:6]}; it needs someone else too", "")
        if unmet(self.verdict.demands, with_it.reviews):
            return with_it
        return with_it.on(Event.APPROVE, review.reason)

    def check_reviewer(self, reviewer: Reviewer) -> None:
        """Raise where none of the demands is this person's to answer."""
        if not may_answer(self.verdict.demands, reviewer):
            groups = sorted({name for demand in self.verdict.demands for name in demand.reviewers})
            raise _no(
                f"hold {self.id[:6]} needs a reviewer of {' or '.join(groups)}, and you are not one",
                "ask one of them, or name yourself in reviewers.yaml",
            )

    @property
    def approvals_needed(self) -> int:
        """How many more people have to say yes, at the least."""
        return sum(missing for _, missing in unmet(self.verdict.demands, self.reviews))


class GoneError(SluiceError):
    """An answer came for a hold that has already ended."""


def gone(hold: Hold) -> GoneError:
    """What a reviewer is told who answers too late."""
    who = f" by {', '.join(hold.by)}" if hold.by else ""
    why = f": {hold.cause}" if hold.cause else ""
    problem = fail(f"hold {hold.id[:6]} is gone: {hold.state}{who}{why}", exit=Exit.NO).problems
    return GoneError(*problem, exit=Exit.NO)


def _no(what: str, fix: str) -> SluiceError:
    return fail(what, fix=fix, exit=Exit.NO)


def may_answer(demands: tuple[Demand, ...], reviewer: Reviewer) -> bool:
    """Whether at least one demand is this person's to answer (no demand: anyone's)."""
    return not demands or any(_fits(demand, reviewer) for demand in demands)


def _fits(demand: Demand, reviewer: Reviewer) -> bool:
    return not demand.reviewers or not set(demand.reviewers).isdisjoint(reviewer.groups)


def unmet(demands: tuple[Demand, ...], reviews: tuple[Review, ...]) -> list[tuple[Demand, int]]:
    """
    The demands that the approvals so far do not meet, each with the number still missing.

    One person may serve several rules, but counts once for each; without a demand one
    approval is enough.
    """
    people = {review.reviewer.person: review.reviewer for review in reviews if review.approves}
    missing = []
    for demand in demands or (Demand("default"),):
        have = sum(_fits(demand, reviewer) for reviewer in people.values())
        if have < demand.approvals:
            missing.append((demand, demand.approvals - have))
    return missing
