"""
Editing a held request: what an edit would be, and the edit.

An edit is one act with the approval of whoever makes it. The edited request is read, understood
and judged as if an agent had sent it, by the policy in force: what a rule denies is not edited
in, and what other rules hold waits for their reviewers. Nothing of the hold changes until the
edit counts, and what is then written down first.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from proxy import records
from proxy.action import Action, Request
from proxy.edit import difference, edited, form
from proxy.errors import Exit, SluiceError, fail
from proxy.hold import Hold, Review, Reviewer, State, gone
from proxy.ledger import UnavailableError
from proxy.policy.verdict import Effect, Verdict

if TYPE_CHECKING:
    from proxy.admission import Admission


@dataclass(frozen=True, slots=True)
class Proposal:
    """A hold, what an edit would make of it, and the editor's approval of that, where it counts."""

    hold: Hold
    edited: Hold
    review: Review | None

    @property
    def outcome(self) -> Hold:
        """The hold once the edit is made and its editor's approval counted."""
        return self.edited if self.review is None else self.edited.reviewed(self.review)


async def sheet(admission: Admission, prefix: str) -> tuple[Hold, str]:
    """A hold and its request as text to be edited; SluiceError (exit 1) says why it cannot be."""
    hold = _waiting(admission.approvals.find(prefix))
    made = await asyncio.to_thread(form, hold.action.request, _kept(hold))
    return hold, made.text


async def propose(
    admission: Admission, prefix: str, reviewer: Reviewer, *, seen: bytes, text: str, reason: str = ""
) -> Proposal:
    """
    What an edited text would make of a hold; nothing is done.

    SluiceError (exit 1) where the hold is not the one that was `seen`, is not this person's to
    answer, the text is not a request that may be sent in its place, or a rule denies that.
    """
    hold = _waiting(admission.approvals.find(prefix))
    if hold.digest != seen:
        raise fail(
            f"hold {hold.id[:6]} is not for the request that you saw", fix="edit it again", exit=Exit.NO
        )
    hold.check_reviewer(reviewer)
    request, lines = await asyncio.to_thread(_read, hold, text)
    action = admission.understood(request)
    after = hold.edited(action, _verdict(admission, hold, action), reviewer.name, lines)
    if after.digest == hold.digest:
        raise fail("the edit changes nothing of what is sent", fix="approve it as it is", exit=Exit.NO)
    return Proposal(hold, after, _approval(admission, after, reviewer, reason))


async def edit(
    admission: Admission,
    prefix: str,
    reviewer: Reviewer,
    *,
    seen: bytes,
    text: str,
    becomes: bytes,
    reason: str = "",
    approves: bool = True,
) -> Hold:
    """
    Edit a hold and approve it as far as this person may; returns once that is on disk.

    `becomes` is the digest that was confirmed. Without `approves` it is only edited: where
    reviewers are enrolled, the approval is signed over what it has become. Raises as `propose`
    does, and where the edit could not be written down.
    """
    proposal = await propose(admission, prefix, reviewer, seen=seen, text=text, reason=reason)
    id = proposal.hold.id
    if proposal.edited.digest != becomes or admission.approvals.latest(proposal.hold).digest != seen:
        raise fail(
            f"hold {id[:6]} would not become the request that you confirmed",
            fix="edit it again",
            exit=Exit.NO,
        )
    try:
        ticket = admission.ledger.queue(records.edited(proposal.edited, reviewer, seen), patient=True)
        ticket.add_done_callback(lambda done: _cut_unwritten(admission, id, done))
        admission.approvals.edit(id, proposal.edited)
        await asyncio.shield(ticket)
    except UnavailableError:
        raise fail(
            f"the edit of hold {id[:6]} could not be written down, so nothing was sent",
            "the ledger cannot be written",
            "see the console of sluice up",
            exit=Exit.NO,
        ) from None
    if proposal.review is None or not approves:
        return admission.approvals.latest(proposal.edited)
    return await admission.review(id, reviewer, approves=True, reason=reason, seen=becomes)


def _cut_unwritten(admission: Admission, id: str, ticket: asyncio.Future[int]) -> None:
    """An edit that leaves no trace is not sent."""
    if ticket.cancelled() or ticket.exception() is not None:
        admission.approvals.cut(id, "the ledger cannot be written")


def _waiting(hold: Hold) -> Hold:
    if hold.settled:
        raise gone(hold)
    if hold.state is not State.PENDING:
        raise fail(
            f"hold {hold.id[:6]} cannot be edited while its agent is not there",
            "an edit is for the request that waits, and ends with its connection",
            "wait until the agent asks again",
            exit=Exit.NO,
        )
    return hold


def _kept(hold: Hold) -> frozenset[bytes]:
    """Headers that carry an idempotency key: an edited request is still the same attempt."""
    return frozenset(name.lower().encode() for name in hold.verdict.idempotency)


def _read(hold: Hold, text: str) -> tuple[Request, tuple[str, ...]]:
    """The edited request, and how it differs from the agent's own. Pure; may take a while."""
    kept = _kept(hold)
    request = edited(hold.action.request, text, kept)
    own = hold.edit.before if hold.edit else hold
    return request, difference(form(own.action.request, kept).text, form(request, kept).text)


def _verdict(admission: Admission, hold: Hold, action: Action) -> Verdict:
    """
    What the policy in force says of the edited request.

    Where nothing would hold it any more, the rules that held the agent's own still ask for
    their reviewers: it is their hold.
    """
    if action.unreadable is not None:
        raise _refused(f"two servers could read the edited request differently: {action.unreadable}")
    verdict = admission.budgeting.weigh(admission.policy.judge(action))
    match verdict.effect:
        case Effect.DENY:
            raise _refused(f"rule '{verdict.rule}' denies the edited request: {verdict.why}")
        case Effect.HOLD:
            return verdict
        case Effect.WATCH | Effect.ALLOW:
            return replace(hold.verdict, says="", budgets=verdict.budgets)


def _refused(what: str) -> SluiceError:
    return fail(what, "the hold waits on as it was", "edit it again, or deny it", exit=Exit.NO)


def _approval(admission: Admission, after: Hold, reviewer: Reviewer, reason: str) -> Review | None:
    """The editor's approval; None where the edited request is for others to approve."""
    review = Review(reviewer, True, reason, after.digest, admission.clock())
    try:
        after.reviewed(review)
    except SluiceError:
        return None
    return review
