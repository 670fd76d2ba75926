"""
The like of what people approved: granted, used and taken back.

What covers a request is `proxy.grant`'s business. Here is the order of things: a grant counts
once its entry is on disk, a use is counted before anything of it is written, and whatever ends
a grant ends it first and is written down then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from proxy import records
from proxy.action import Action, Request, digest
from proxy.decode import decode
from proxy.errors import Exit, fail
from proxy.grant import Grant, Grants, Limits, Scope, contents, mark_of, not_offered, scope
from proxy.hold import Event, Hold, Review, Reviewer, State, gone
from proxy.ledger import Draft, UnavailableError
from proxy.people import unmet
from proxy.policy import Policy
from proxy.policy.verdict import Verdict
from proxy.signing.statement import Proof

if TYPE_CHECKING:
    from proxy.admission import Admission


_CHANGED: Final = "whoever gave it has another key or other groups since"


class Granting:
    """What goes without a prompt because a person has seen its like. For the event loop alone."""

    def __init__(self, admission: Admission, grants: Grants) -> None:
        self._admission = admission
        self._grants = grants
        self._denied: list[tuple[Hold, str]] = []  # while a grant is on its way to the disk
        self._coming = 0
        self._changes: Counter[str] = Counter()  # of reviewers, by name

    # -- giving ------------------------------------------------------------------------

    def offer(self, prefix: str, fields: Sequence[str] = ()) -> tuple[Hold, Scope]:
        """
        What approving the like of a hold would let through; `fields` are bound instead of the rules'.

        Raises SluiceError (exit 1) where nothing like it may be granted.
        """
        hold, _, found = self._offered(prefix, fields)
        return hold, found

    def _offered(self, prefix: str, fields: Sequence[str]) -> tuple[Hold, Verdict, Scope]:
        hold = self._admission.approvals.find(prefix)
        if not hold.may(Event.APPROVE):
            raise gone(hold)
        action = decode(hold.action.request, self._admission.facts)
        verdict = self._admission.budgeting.weigh(self._admission.policy.judge(action))
        if digest(hold.action.request) != hold.asked:
            raise not_offered("it was edited")
        if self._admission.budgeting.weigh(verdict) != verdict:
            raise not_offered("it is over a budget")
        return hold, verdict, scope(action, verdict, self._admission.policy, hold.id, fields)

    async def grant(
        self,
        prefix: str,
        reviewer: Reviewer,
        *,
        reason: str,
        seen: bytes | None,
        limits: Limits,
        fields: Sequence[str] = (),
        rule: str | None = None,
        proof: Proof | None = None,
    ) -> Hold:
        """
        Approve a hold, and its like within `limits`; returns once both are on disk.

        With `rule` only exactly that one is granted. Raises SluiceError (exit 1), before anything
        is approved, where the like cannot be granted, or not by this person alone.
        """
        hold, verdict, found = self._offered(prefix, fields)
        if rule is not None and rule != found.text:
            raise fail("that is not the rule that you saw", fix="look at it again", exit=Exit.NO)
        digest_seen = hold.digest if seen is None else seen
        review = Review(reviewer, True, reason, digest_seen, self._admission.clock())
        if unmet(verdict.demands, (review,), hold.agent):
            raise not_offered("you alone could not release it")
        self._grants.check_room()
        changes = self._changes[reviewer.name]
        held_by = contents(self._admission.policy, verdict.rules)
        ended = await self._admission.review(
            hold.id, reviewer, approves=True, reason=reason, seen=seen, proof=proof
        )
        if ended.state not in (State.APPROVED, State.SPENDABLE):
            raise fail(f"hold {hold.id[:6]} is not released yet, so its like is not granted", exit=Exit.NO)
        grant = Grant(
            id=self._admission.new_id(),
            hold=hold.id,
            agent=hold.agent or "",
            by=reviewer.name,
            person=reviewer.person,
            text=found.text,
            mark=self._mark(hold.action.request) if found.whole else "",
            rules=held_by,
            uses=limits.uses,
            until=round(self._admission.clock() + limits.seconds, 6),
        )
        await self._written(grant)
        self._grants.open(grant)
        for hold, by in self._denied:
            self._end_covering(hold, by)
        if not self._coming:
            self._denied = []
        self.policy_changed(self._admission.policy)  # it may have, while the disk was waited for
        if self._changes[reviewer.name] != changes:
            self._end(grant, _CHANGED)
        return ended

    async def _written(self, grant: Grant) -> None:
        """A grant is on disk; what is denied meanwhile is remembered until it can be ended by it."""
        if not self._coming:
            self._denied = []  # of one that could not be written
        self._coming += 1
        try:
            await self._write(
                [records.granted(grant)], f"hold {grant.hold[:6]} is approved, its like is not granted"
            )
        finally:
            self._coming -= 1

    async def _write(self, drafts: Iterable[Draft], otherwise: str) -> None:
        try:
            for ticket in [self._admission.ledger.queue(draft, patient=True) for draft in drafts]:
                await ticket
        except UnavailableError:
            why = "the ledger cannot be written"
            raise fail(otherwise, why, "see the console of sluice up", exit=Exit.NO) from None

    # -- using -------------------------------------------------------------------------

    def spend(self, action: Action, verdict: Verdict) -> Grant | None:
        """
        The grant that this held request uses up by one, in this very step; None where none covers it.

        Nothing goes past a budget: a rule that holds what is over its own is among no grant's rules.
        """
        if not self._grants:
            return None
        return self._grants.spend(action, verdict, self._mark(action.request), self._admission.clock())

    def _mark(self, request: Request) -> str:
        return mark_of(digest(request), self._admission.facts.key)

    # -- ending ------------------------------------------------------------------------

    @property
    def standing(self) -> tuple[Grant, ...]:
        """Those that may still be used, oldest first."""
        return self._grants.standing(self._admission.clock())

    async def revoke(self, prefix: str, by: str) -> None:
        """Take back a grant, or all of them for an empty prefix; SluiceError (exit 1) where there is none."""
        found = (self._grants.find(prefix, self._admission.clock()),) if prefix else self.standing
        for grant in found:
            self._grants.revoke(grant.id)
        drafts = [records.revoked(grant, f"{by} took it back", by) for grant in found]
        await self._write(drafts, "revoked until the gate stops: it could not be written down")

    def denied(self, hold: Hold, by: str) -> None:
        """A person has denied this: what would have let it go ends. A later no outweighs an earlier yes."""
        if self._coming:
            self._denied.append((hold, by))
        self._end_covering(hold, by)

    def _end_covering(self, hold: Hold, by: str) -> None:
        if not self._grants:
            return
        action = decode(hold.action.request, self._admission.facts)
        mark, now = self._mark(hold.action.request), self._admission.clock()
        for grant in list(self._grants.covering(action, hold.verdict, mark, now)):
            self._end(grant, f"{by} denied a request like it", by)

    def policy_changed(self, policy: Policy) -> None:
        """What rests on a rule that says something else now, lapses."""
        for grant in self._grants.changed(policy):
            self._end(grant, "a rule that it rests on has changed")

    def reviewer_changed(self, name: str) -> None:
        """A reviewer has lost a key or has other groups: their grants end with what they were given by."""
        self._changes[name] += 1
        for grant in self.standing:
            if grant.by == name:
                self._end(grant, _CHANGED)

    def _end(self, grant: Grant, why: str, by: str = "") -> None:
        self._grants.revoke(grant.id)
        self._admission.ledger.note(records.revoked(grant, why, by))
