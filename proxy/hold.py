"""
A hold: one action that waits, for people or for its window, and the only ways in which that can end.

The table below is the whole machine; what is not in it cannot happen.

    PENDING     an agent waits on a connection
    UNATTENDED  its connection has gone; the same request may come again and wait on
    DEFERRED    the agent was told to ask again; people may answer meanwhile
    SPENDABLE   a deferred hold that people approved; the same request, come again, spends it

All others are settled, and nothing leads out of them, so a settled hold never changes:

    APPROVED    enough different people of the right groups said yes
    DENIED      enough people said no (one, unless a rule says more)
    EXPIRED     the deadline passed; silence refuses
    ABANDONED   the agent went and did not come back in time
    UNSPENT     approved, but the agent did not come back for it in time
    PROCEEDED   a watch window ended and nobody had stopped it: nobody approved it
    REFUSED     the policy now says deny, or everything is paused
    CUT_OFF     the gate stops, or cannot write what was decided

Two things follow from the table and are all that matters. Only `APPROVED` and `PROCEEDED` let
anything leave, and both are reached from a state in which an agent waits (`PENDING`) or by the
agent's own asking (`SPENDABLE --spend-->`): nothing leaves for an agent that is not there. And an
approval reaches `APPROVED` or `SPENDABLE` once, so one approval is one request.

What is decided here is not yet enforced: an approved hold leaves only after its decision is on
disk (`proxy.admission`), and only to an agent that is still there (`proxy.gate`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from proxy.action import Action, Header, Request, digest
from proxy.errors import Exit, SluiceError, fail
from proxy.people import Review, Reviewer, counts, excluded, fits, stands, unmet
from proxy.policy.verdict import Demand, Verdict

__all__ = [
    "ASKING",
    "OPEN",
    "TRANSITIONS",
    "Event",
    "GoneError",
    "Hold",
    "Review",
    "Reviewer",
    "State",
    "gone",
    "key_for",
    "open_hold",
    "reviewed_digest",
    "unmet",
]


class State(StrEnum):
    """Where a hold stands."""

    PENDING = "pending"
    UNATTENDED = "unattended"
    DEFERRED = "deferred"
    SPENDABLE = "spendable"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    ABANDONED = "abandoned"
    UNSPENT = "unspent"
    PROCEEDED = "proceeded"
    REFUSED = "refused"
    CUT_OFF = "cut_off"


class Event(StrEnum):
    """What can happen to a hold."""

    APPROVE = "approve"
    DENY = "deny"
    EXPIRE = "expire"
    PROCEED = "proceed"
    LEAVE = "leave"
    DEFER = "defer"
    REJOIN = "rejoin"
    SPEND = "spend"
    LAPSE = "lapse"
    REFUSE = "refuse"
    CUT = "cut"


OPEN: Final = frozenset({State.PENDING, State.UNATTENDED, State.DEFERRED, State.SPENDABLE})
"""The states that are not settled."""

ASKING: Final = frozenset({State.PENDING, State.DEFERRED})
"""The states in which people are asked: what `sluice holds` lists."""

TRANSITIONS: Final[Mapping[tuple[State, Event], State]] = {
    (State.PENDING, Event.APPROVE): State.APPROVED,
    (State.PENDING, Event.DENY): State.DENIED,
    (State.PENDING, Event.EXPIRE): State.EXPIRED,
    (State.PENDING, Event.PROCEED): State.PROCEEDED,
    (State.PENDING, Event.LEAVE): State.UNATTENDED,
    (State.PENDING, Event.DEFER): State.DEFERRED,
    (State.UNATTENDED, Event.REJOIN): State.PENDING,
    (State.UNATTENDED, Event.DENY): State.DENIED,
    (State.UNATTENDED, Event.LAPSE): State.ABANDONED,
    (State.DEFERRED, Event.REJOIN): State.PENDING,
    (State.DEFERRED, Event.APPROVE): State.SPENDABLE,
    (State.DEFERRED, Event.DENY): State.DENIED,
    (State.DEFERRED, Event.EXPIRE): State.EXPIRED,
    (State.SPENDABLE, Event.SPEND): State.APPROVED,
    (State.SPENDABLE, Event.DENY): State.DENIED,
    (State.SPENDABLE, Event.LAPSE): State.UNSPENT,
    **{(state, Event.REFUSE): State.REFUSED for state in sorted(OPEN)},
    **{(state, Event.CUT): State.CUT_OFF for state in sorted(OPEN)},
}


@dataclass(frozen=True, slots=True)
class Hold:
    """
    An action that waits; frozen, each step gives the next one.

    `id` carries 128 bits; `opened` and `deadline` are Unix time in seconds. `asked` is the digest
    of the request as the agent sent it, by which its attempts are known; `digest` is the digest
    of what would be sent, `added` headers in it, and what reviewers answer for. `cause` says in
    words how a settled hold ended, `by` who answered, `again` which hold for the same that was an
    answer to. `salt` (16 random bytes) is what every entry about it commits to its request with.
    `notices` and `differs` are what a reviewer has to know first: that the same was sent before, how
    it differs from one that was not. With `edit` a reviewer has put another request in the place of
    the agent's: `action` is that one.
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
    again: str = ""
    asked: bytes = b""
    added: tuple[Header, ...] = ()
    attempts: int = 1
    notices: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()
    salt: bytes = b""
    edit: Edit | None = None

    @property
    def settled(self) -> bool:
        """Whether it has ended."""
        return self.state not in OPEN

    @property
    def deferrable(self) -> bool:
        """Whether people may answer it while nobody waits."""
        return self.verdict.patience.wait is not None

    def may(self, event: Event) -> bool:
        """Whether the table has such a step from here."""
        return (self.state, event) in TRANSITIONS

    def on(self, event: Event, cause: str = "") -> Hold:
        """The hold after an event; GoneError where the table has no such step."""
        state = TRANSITIONS.get((self.state, event))
        if state is None:
            raise gone(self)
        here = self._unedited() if event in _PARTING else self
        return replace(here, state=state, cause=cause)

    def judged(self, action: Action, verdict: Verdict) -> Hold:
        """The hold under another verdict, on what it would send; answers so far lapse."""
        added = key_for(self.id, verdict, action.request)
        becomes = reviewed_digest(digest(action.request), added)
        return replace(self, action=action, verdict=verdict, added=added, digest=becomes, reviews=(), by=())

    def edited(self, action: Action, verdict: Verdict, by: str, difference: tuple[str, ...]) -> Hold:
        """
        The hold with a reviewer's request in the place of the agent's; answers so far lapse.

        `difference` is from the agent's own request, also where it was edited before.
        """
        before, names = (self.edit.before, self.edit.by) if self.edit else (self, ())
        edit = Edit(tuple(dict.fromkeys((*names, by))), difference, before)
        return replace(self.judged(action, verdict), edit=edit)

    def _unedited(self) -> Hold:
        """The agent's own request again: whoever comes back for it asks for that one."""
        if self.edit is None:
            return self
        before = self.edit.before
        lapsed = f"{', '.join(self.edit.by)} had edited it, but the agent left: this is its own request again"
        return replace(
            self,
            action=before.action,
            verdict=before.verdict,
            digest=before.digest,
            added=before.added,
            reviews=(),
            by=(),
            notices=(*before.notices, lapsed),
            edit=None,
        )

    def reviewed(self, review: Review) -> Hold:
        """
        The hold after one person's answer.

        A denial settles once any demand has its number of them, an approval once every demand is
        met, both by different people. Raises where the hold has ended or cannot be answered so
        now, the digest is not this hold's, the person has already answered, or none of the
        demands is theirs to answer.
        """
        event = Event.APPROVE if review.approves else Event.DENY
        if not self.may(event):
            raise gone(self)
        if review.digest != self.digest:
            raise _no(f"hold {self.id[:6]} is not for the request that you saw", "look at it again")
        self.check_reviewer(review.reviewer, approves=review.approves)
        person = review.reviewer.person
        said = [seen.approves for seen in self.reviews if seen.reviewer.person == person]
        if review.approves in said:
            word = "approved" if review.approves else "denied"
            raise _no(f"you have already {word} hold {self.id[:6]}; it needs someone else too", "")
        others = tuple(seen for seen in self.reviews if seen.reviewer.person != person)
        names = tuple(dict.fromkeys((*(seen.reviewer.name for seen in others), review.reviewer.name)))
        with_it = replace(self, reviews=(*others, review), by=names)
        if not review.approves:
            return with_it._denied(review)
        if unmet(self.verdict.demands, with_it.reviews, self.agent):
            return with_it
        approved = tuple(seen.reviewer.name for seen in with_it.reviews if seen.approves)
        return replace(with_it.on(Event.APPROVE, review.reason), by=approved)

    def _denied(self, review: Review) -> Hold:
        against = [seen for seen in self.reviews if not seen.approves]
        for demand in self.verdict.demands or (Demand("default"),):
            if sum(fits(demand, seen.reviewer) for seen in against) >= demand.denials:
                names = tuple(seen.reviewer.name for seen in against)
                return replace(self.on(Event.DENY, review.reason), by=names)
        return self

    def recounted(self, known: Callable[[Review], Reviewer | None]) -> Hold:
        """
        The hold without the approvals that count no more; a denial stays, whoever gave it.

        `known` says who gave an answer as they are known now, None where they may not review any more.
        """
        demands, agent = self.verdict.demands, self.agent
        kept = tuple(
            seen
            for seen in self.reviews
            if not seen.approves or stands(demands, seen.reviewer, known(seen), agent)
        )
        names = tuple(dict.fromkeys(seen.reviewer.name for seen in kept))
        return self if kept == self.reviews else replace(self, reviews=kept, by=names)

    def denied_with(self, other: Hold) -> Hold:
        """
        The hold once people have denied `other`, which is for the same request: it is denied, too.

        GoneError where it has ended.
        """
        return replace(self.on(Event.DENY, other.cause), by=other.by, again=other.id)

    def check_reviewer(self, reviewer: Reviewer, *, approves: bool = True) -> None:
        """Raise where none of the demands is this person's to answer; anyone of a group may deny."""
        demands = self.verdict.demands
        if demands and not any(fits(demand, reviewer) for demand in demands):
            groups = sorted({name for demand in demands for name in demand.reviewers})
            raise _no(
                f"hold {self.id[:6]} needs a reviewer of {' or '.join(groups)}, and you are not one",
                "ask one of them, or name yourself in reviewers.yaml",
            )
        if approves and demands and not any(counts(demand, reviewer, self.agent) for demand in demands):
            raise _no(
                f"hold {self.id[:6]} may not be approved by you: {excluded(demands, reviewer, self.agent)}",
                "ask someone else; you may deny it",
            )

    @property
    def agent(self) -> str | None:
        """Who asked."""
        return self.action.request.agent

    @property
    def approvals_needed(self) -> int:
        """How many more people have to say yes, at the least."""
        if not self.verdict.demands and self.verdict.window:
            return 0
        return sum(missing for _, missing in unmet(self.verdict.demands, self.reviews, self.agent))

    def sends(self, request: Request) -> Request:
        """
        What leaves for `request`, an attempt of this hold, once it is approved.

        A key that was added stands alone, as it was reviewed: later attempts may bring their own.
        """
        sent = self.action.request if self.edit else request
        if not self.added:
            return sent
        ours = {name.lower() for name, _ in self.added}
        theirs = tuple(pair for pair in sent.headers if pair[0].lower() not in ours)
        return replace(sent, headers=(*theirs, *self.added))


@dataclass(frozen=True, slots=True)
class Edit:
    """
    What reviewers made of a request: who, the lines in which it differs, and the hold before.

    It lasts for as long as the agent waits on the connection on which it asked.
    """

    by: tuple[str, ...]
    difference: tuple[str, ...]
    before: Hold


_PARTING: Final = frozenset({Event.LEAVE, Event.DEFER})
"""When the agent's connection goes, and with it whatever was made of the request that came on it."""


def key_for(id: str, verdict: Verdict, request: Request) -> tuple[Header, ...]:
    """
    The idempotency headers that a hold adds: one key for all its attempts, derived from its id.

    None where the agent sent its own: that one may already be known upstream.
    """
    names = [name.encode() for name in verdict.idempotency if not request.header(name.lower().encode())]
    if not names:
        return ()
    key = hashlib.sha256(b"sluice.idempotency.v1\0" + id.encode()).hexdigest()[:32]
    return tuple((name, b"sluice-" + key.encode()) for name in names)


def reviewed_digest(asked: bytes, added: tuple[Header, ...]) -> bytes:
    """The digest that reviewers answer for (32 bytes): the request's own, and what the gate adds to it."""
    if not added:
        return asked
    hashed = hashlib.sha256(b"sluice.reviewed.v1\0" + asked)
    for name, value in added:
        hashed.update(b"%d\0%s%d\0%s" % (len(name), name.lower(), len(value), value))
    return hashed.digest()


def open_hold(
    id: str, action: Action, verdict: Verdict, now: float, asked: bytes | None = None, attempts: int = 1
) -> Hold:
    """A hold as it begins, at Unix time `now`."""
    request = action.request
    asked = digest(request) if asked is None else asked
    added = key_for(id, verdict, request)
    return Hold(
        id=id,
        action=action,
        verdict=verdict,
        digest=reviewed_digest(asked, added),
        opened=now,
        deadline=now + (verdict.window or verdict.timeout),
        asked=asked,
        added=added,
        attempts=attempts,
    )


class GoneError(SluiceError):
    """An answer came for a hold that has already ended."""


_AWAY: Final = {
    State.UNATTENDED: "its agent has gone; it can be approved when the same request comes again",
    State.SPENDABLE: "it is approved already, and waits for its agent to ask again",
}


def gone(hold: Hold) -> GoneError:
    """What a reviewer is told who answers too late, or too early."""
    if hold.state in _AWAY:
        what = f"hold {hold.id[:6]} cannot be approved now: {_AWAY[hold.state]}"
        return GoneError(*fail(what, exit=Exit.NO).problems, exit=Exit.NO)
    who = f" by {', '.join(hold.by)}" if hold.by else ""
    why = f": {hold.cause}" if hold.cause else ""
    problem = fail(f"hold {hold.id[:6]} is gone: {hold.state}{who}{why}", exit=Exit.NO).problems
    return GoneError(*problem, exit=Exit.NO)


def _no(what: str, fix: str) -> SluiceError:
    return fail(what, fix=fix, exit=Exit.NO)
