"""
The reviewers' desk in this process: what they see, and what they may do.

One `Board` a gate, which follows the holds and turns them into views; one `LocalDesk` a
reviewer, with that person's name on every answer.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Final

from proxy import granted, records
from proxy.admission import Admission, editing
from proxy.admission.writing import on_disk
from proxy.enrolment import Enrolment
from proxy.errors import Exit, fail
from proxy.hold import Hold, Reviewer, State
from proxy.ledger.roll import Roll
from proxy.policy.verdict import Effect
from proxy.redact import redact
from proxy.reload import Reload
from proxy.reviewers import Reviewers
from proxy.signing.statement import Proof
from proxy.wire import Answer, Call, Change, Desk, HoldView, ReviewView, Sheet, Snapshot, Status, Verb

_REMEMBERED: Final = 500
_BACKLOG: Final = 5_000
_REFRESH: Final = 1.0


class Board:
    """
    Everything on the desk, for everyone who looks at it.

    `locked` says why no decision is taken (see `proxy.control`), empty where one is; `enrolment`
    who may take one.
    """

    def __init__(
        self,
        admission: Admission,
        *,
        proxy: str,
        locked: Callable[[], str] = lambda: "",
        enrolment: Enrolment | None = None,
    ) -> None:
        self.admission = admission
        self.enrolment = enrolment or Enrolment(
            Roll(""), admission.ledger, clock=admission.clock, file=Reviewers()
        )
        self.proxy = proxy
        self.locked = locked
        self.reload: Reload | None = None
        self.ledger_error: Callable[[], str] = lambda: ""
        self.witness_error: Callable[[], str] = lambda: ""
        self.erase: Callable[[str, str, str], Awaitable[object]] | None = None
        self._waiting: dict[str, HoldView] = {}
        self._ended: OrderedDict[str, HoldView] = OrderedDict()
        self._readers: dict[asyncio.Queue[Change | None], Reviewer | None] = {}
        admission.present = self.present
        self.enrolment.changed = lambda name: admission.reviewer_changed(name, self.enrolment.known)
        admission.approvals.watch(self._on_hold)

    def _on_hold(self, what: str, hold: Hold) -> None:
        before = self._waiting.pop(hold.id, None)
        bare = hold.settled or not hold.action.documents
        if before and before.edited_by and hold.edit is None:
            # An edit has lapsed: what was shown was the edited request.
            bare, hold = False, replace(hold, action=self.admission.understood(hold.action.request))
        view = _moved_on(before, hold) if before and bare else summary(hold)
        if hold.settled:
            self._ended[hold.id] = view
            if len(self._ended) > _REMEMBERED:
                self._ended.popitem(last=False)
        else:
            self._waiting[hold.id] = view
        self.tell(Change(what, hold=view))

    def tell(self, change: Change) -> None:
        """Give a change to everyone who looks; one who is too slow begins anew with a snapshot."""
        for reader in self._readers:
            if reader.qsize() < _BACKLOG:
                reader.put_nowait(change)
            elif reader.qsize() == _BACKLOG:
                reader.put_nowait(None)

    def present(self) -> tuple[Reviewer, ...]:
        """The reviewers who look at the desk now, and whose answers would count."""
        looking = [self.enrolment.today(who) for who in self._readers.values() if who is not None]
        return tuple(who for who in looking if who is not None)

    def status_changed(self) -> None:
        """What `status` says has changed."""
        self.tell(Change("status", status=self.status()))

    def status(self) -> Status:
        """The gate at a glance, now."""
        counts, reload = self.admission.counts, self.reload
        return Status(
            proxy=self.proxy,
            policy=self.admission.policy.digest,
            shadow=self.admission.rules.shadow,
            paused=tuple(sorted(self.admission.paused)),
            locked=self.locked(),
            policy_change=reload.difference if reload else "",
            policy_next=reload.waiting if reload else "",
            policy_error=reload.error if reload else "",
            allowed=counts.allowed,
            held=counts.held,
            refused=counts.refused,
            ledger_error=self.ledger_error(),
            witness_error=self.witness_error(),
        )

    def snapshot(self) -> Snapshot:
        """Pending holds, oldest first, and the status."""
        return Snapshot(self.status(), tuple(self.view(hold) for hold in self.admission.approvals.pending))

    def view(self, hold: Hold) -> HoldView:
        """The view of a hold, made once and kept."""
        return self._waiting.get(hold.id) or self._ended.get(hold.id) or summary(hold)

    def shown(self, prefix: str) -> HoldView:
        """One hold as the queue shows it, by any unique prefix of its id."""
        return self.view(self.admission.approvals.find(prefix))

    def whole(self, prefix: str) -> HoldView:
        """One hold with its headers and body, as far as they are still there."""
        hold = self.admission.approvals.find(prefix)
        return whole(hold, self.view(hold))

    async def changes(self, reviewer: Reviewer | None = None) -> AsyncIterator[Snapshot | Change]:
        """
        A snapshot, then every change, and the status again whenever its counts have moved.

        `reviewer` is there to decide for as long as this is read.
        """
        reader: asyncio.Queue[Change | None] = asyncio.Queue()
        self._readers[reader] = reviewer
        try:
            snapshot = self.snapshot()
            yield snapshot
            told = snapshot.status
            while True:
                try:
                    change = await asyncio.wait_for(reader.get(), _REFRESH)
                except TimeoutError:
                    change = Change("status", status=self.status())
                    if change.status == told:
                        continue
                if change is None:
                    while not reader.empty():
                        reader.get_nowait()
                    snapshot = self.snapshot()
                    told = snapshot.status
                    yield snapshot
                    continue
                told = change.status or told
                yield change
        finally:
            del self._readers[reader]


class LocalDesk(Desk):
    """
    The desk as one reviewer sees it; implements `proxy.wire.Desk`.

    `lift` is given to the terminal of `sluice up` alone: only there may a lock be lifted. `proof`
    is the signature under the one call that this desk is for.
    """

    def __init__(
        self,
        board: Board,
        reviewer: Reviewer,
        *,
        lift: Callable[[], None] | None = None,
        proof: Proof | None = None,
    ) -> None:
        self._board = board
        self._reviewer = reviewer
        self._lift = lift
        self._proof = proof

    def changes(self) -> AsyncIterator[Snapshot | Change]:
        """A snapshot first, then every change."""
        return self._board.changes(self._reviewer)

    async def snapshot(self) -> Snapshot:
        """The desk now."""
        return self._board.snapshot()

    async def take(self, call: Call) -> Answer:
        """Do what one call asks, in the name of whose decision it is."""
        board = self._board
        authority = await board.enrolment.admit(call, self._reviewer, board.shown)
        theirs = LocalDesk(board, authority.reviewer, lift=self._lift, proof=authority.proof)
        return await theirs._do(call)

    async def _do(self, call: Call) -> Answer:
        match call.verb:
            case Verb.SHOW:
                return self._board.whole(call.prefix)
            case Verb.REVIEW:
                return await self._review(call)
            case Verb.EXTEND:
                return self._extend(call)
            case Verb.STATUS:
                return self._board.status()
            case Verb.PAUSE:
                ticket = self._board.admission.pause(call.agent, self._reviewer.name)
                await on_disk(ticket, "everything is refused, but not over a restart")
            case Verb.RESUME:
                ticket = self._board.admission.resume(call.agent, self._reviewer.name)
                await on_disk(ticket, "the pause is over until a restart")
            case Verb.ACCEPT:
                self._accept(call.policy)
            case Verb.ERASE:
                await self._erase(call)
            case Verb.UNLOCK:
                self._unlock()
            case Verb.OFFER:
                return granted.offer(self._board.admission.granting, call)
            case Verb.GRANT:
                granting = self._board.admission.granting
                return self._board.view(await granted.grant(granting, call, self._reviewer, self._proof))
            case Verb.GRANTS:
                return granted.standing(self._board.admission.granting)
            case Verb.REVOKE:
                return await granted.revoke(self._board.admission.granting, call, self._reviewer)
            case Verb.SHEET:
                hold, text = await editing.sheet(self._board.admission, call.prefix)
                return Sheet(hold.id, hold.digest.hex(), text)
            case Verb.PREVIEW:
                return await self._preview(call)
            case Verb.EDIT:
                return await self._edit(call)
            case Verb.ROLL | Verb.ENROL | Verb.REGROUP | Verb.ROTATE_KEY | Verb.REVOKE_KEY:
                return self._board.enrolment.view()
            case Verb.RUN_GOODBYE | Verb.RUN_HELLO | Verb.CHANGES | Verb.SNAPSHOT:
                raise fail(f"{call.verb} cannot be asked here")
        self._board.status_changed()
        return self._board.status()

    async def _review(self, call: Call) -> HoldView:
        seen = None if call.digest is None else _digest(call.digest)
        hold = await self._board.admission.review(
            call.prefix,
            self._reviewer,
            approves=call.approves,
            reason=call.reason,
            seen=seen,
            proof=self._proof,
        )
        return self._board.view(hold)

    async def _preview(self, call: Call) -> HoldView:
        proposal = await editing.propose(
            self._board.admission,
            call.prefix,
            self._reviewer,
            seen=_digest(call.digest or ""),
            text=call.text,
        )
        return summary(proposal.outcome)

    async def _edit(self, call: Call) -> HoldView:
        hold = await editing.edit(
            self._board.admission,
            call.prefix,
            self._reviewer,
            seen=_digest(call.digest or ""),
            text=call.text,
            becomes=_digest(call.becomes),
            reason=call.reason,
            approves=self._proof is None,
        )
        return self._board.view(hold)

    def _extend(self, call: Call) -> HoldView:
        hold = self._board.admission.extend(call.prefix, self._reviewer, call.seconds)
        return self._board.view(hold)

    def _accept(self, policy: str | None) -> None:
        if self._board.reload is None:
            raise fail("this gate does not watch its policy", exit=Exit.NO)
        self._board.reload.accept(self._reviewer.name, policy or "")

    async def _erase(self, call: Call) -> None:
        if self._board.erase is None:
            raise fail("this gate keeps no payloads", exit=Exit.NO)
        await self._board.erase(call.prefix, call.reason, self._reviewer.name)

    def _unlock(self) -> None:
        if self._lift is None:
            raise fail(
                "only the console of sluice up can lift this",
                "an agent could have come this way",
                "press u in the terminal of sluice up, or start it again",
                exit=Exit.NO,
            )
        self._lift()


def _digest(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise fail(
            f"'{text[:70]}' is no digest", fix="give the 64 hex digits that holds show", exit=Exit.NO
        ) from None


def summary(hold: Hold) -> HoldView:
    """A hold for the queue: everything but headers and body."""
    action, verdict = hold.action, hold.verdict
    clean = redact(replace(action.request, body=b""))
    groups = sorted({name for demand in verdict.demands for name in demand.reviewers})
    return HoldView(
        id=hold.id,
        rule=verdict.rule,
        rules=verdict.rules,
        why=verdict.why,
        agent=action.request.agent or "unknown",
        method=action.method,
        url=clean.url,
        operation=records.operation(action),
        says=verdict.says,
        show=records.shown(action, verdict),
        digest=hold.digest.hex(),
        opened=hold.opened,
        deadline=hold.deadline,
        approvals_needed=hold.approvals_needed,
        reviews=_reviews(hold),
        attempts=hold.attempts,
        agent_waiting=hold.state is State.PENDING,
        state=str(hold.state),
        cause=hold.cause,
        by=hold.by,
        notices=hold.notices,
        differs=hold.differs,
        policy=verdict.policy,
        salt=hold.salt.hex(),
        window=hold.verdict.effect is Effect.WATCH,
        confirm=records.confirm(action, verdict),
        edited_by=hold.edit.by if hold.edit else (),
        difference=hold.edit.difference if hold.edit else (),
        tier=str(verdict.tier),
        reversible=verdict.reversible,
        unknown=verdict.unknown,
        reviewers=tuple(groups),
        blast=records.reach(action),
        first_seen=records.first_seen(action),
    )


def _moved_on(view: HoldView, hold: Hold) -> HoldView:
    """The view of a hold that was answered or has ended: what was shown stays shown."""
    return replace(
        view,
        state=str(hold.state),
        cause=hold.cause,
        by=hold.by,
        reviews=_reviews(hold),
        approvals_needed=hold.approvals_needed,
        deadline=hold.deadline,
        attempts=hold.attempts,
        agent_waiting=hold.state is State.PENDING,
    )


def _reviews(hold: Hold) -> tuple[ReviewView, ...]:
    return tuple(
        ReviewView(review.reviewer.name, review.approves, review.time, review.reason)
        for review in hold.reviews
    )


def whole(hold: Hold, view: HoldView) -> HoldView:
    """A hold with its headers and body, secrets removed."""
    request = hold.sends(hold.action.request)
    if request.body is None:
        return replace(view, body_note="the body is no longer kept: see the ledger")
    clean = records.readable(request)
    note = f"{len(request.body)} bytes"
    if clean.body_note:
        note += f"; {clean.body_note}"
    if clean.removed:
        note += f"; removed: {', '.join(clean.removed[:20])}"
    return replace(view, headers=tuple(clean.headers), body=clean.body_text, body_note=note)
