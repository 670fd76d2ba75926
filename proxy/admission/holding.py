"""
One attempt's way through a hold: found again or opened, waited on, and written down.

Whoever waits on a hold when it ends writes down how it ended; of a hold that ends while nobody
waits, admission does. So every hold ends in exactly one `decided`.
"""

from __future__ import annotations

import asyncio
import logging
import re
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from proxy import about, records
from proxy.action import Action, Request
from proxy.admission.recall import Denial
from proxy.decision import By, Decision, Happened, Outcome, Word
from proxy.errors import SluiceError
from proxy.hold import Hold, State, open_hold
from proxy.policy.verdict import Effect, Verdict

if TYPE_CHECKING:
    from proxy.admission import Admission

log = logging.getLogger("sluice")

MAX_ATTEMPTS: Final = 1_000
"""How often one hold is joined: each time is written down, and what is written needs a bound."""


CANNOT_WRITE: Final = "the ledger cannot be written"
_TORN_DOWN: Final = "the connection was torn down"
_WAIT: Final = re.compile(rb"wait=([0-9]{1,4})")
# What stands in quotes is a value: no preference, whatever it reads like.
_QUOTED: Final = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|$)')


class Holding:
    """
    An attempt that waits. `id` is its hold's, from `begin` on; `left` says why its agent has gone.
    """

    def __init__(self, admission: Admission, request: Request, verdict: Verdict) -> None:
        self._admission = admission
        self._request = request
        self._verdict = verdict
        self._prefers = _prefers_async(request)
        self._held: asyncio.Future[int] | None = None
        self._turn: asyncio.Future[Hold]
        self._joined = False
        self._written: Decision | None = None
        self.id = ""
        self.left = ""

    def leave(self, why: str) -> None:
        """The agent has gone."""
        self.left = self.left or why
        if self.id and not self._turn.done():  # else it is another attempt that waits now
            self._admission.approvals.leave(self.id, why)

    # -- the way ---------------------------------------------------------------------

    def begin(self, id: str, action: Action, asked: bytes) -> None:
        """Wait on the hold that this request has already, or on a new one of this id."""
        self._joined = self._found(action, asked)
        if not self._joined:
            self._open(id, action, asked)

    async def decide(self) -> Decision:
        """To the disk; whatever goes wrong, the hold ends and is told so. What was parsed is let go of."""
        try:
            return await self._waited()
        except asyncio.CancelledError:
            self._torn_down()
            raise
        except Exception as bug:
            say(bug)
            return self._failed()

    def _open(self, id: str, action: Action, asked: bytes) -> None:
        admission = self._admission
        admission.counts.held += 1
        hold = open_hold(id, action, self._verdict, admission.clock(), asked)
        recall = admission.recall
        hold = replace(
            hold,
            notices=recall.notices(hold, admission.approvals.twin(asked)),
            differs=recall.differences(hold),
            salt=admission.draw(16),
        )
        admission.expect_record(id)
        try:
            admission.approvals.begin(hold, self._patience())
            self.id, self._turn = id, admission.approvals.turn(id)
            self._held = admission.write_held(hold)
            admission.budgeting.reserve(admission.approvals.get(id))
        except Exception:
            admission.approvals.cut(id, "internal error")  # it was never written down, nor will be
            admission.recorded(id, Word.UNAVAILABLE)
            raise

    def _found(self, action: Action, asked: bytes) -> bool:
        """Whether this request has a hold already that can still be waited on or spent."""
        approvals = self._admission.approvals
        hold = approvals.alone(asked)
        if hold is None or hold.attempts >= MAX_ATTEMPTS:
            return False
        same = self._verdict.demands_as(hold.verdict)
        if hold.state is State.SPENDABLE:
            if not same:
                approvals.lapse(hold.id, "its rules have changed since it was approved")
                return False
            self._turn = asyncio.get_running_loop().create_future()
            self._turn.set_result(approvals.spend(hold.id))
            self.id = hold.id
            return True
        approvals.rejoin(hold.id, action, self._patience())
        self.id, self._turn = hold.id, approvals.turn(hold.id)
        if not same:
            approvals.demand(hold.id, self._verdict, action)
        self._admission.budgeting.reserve(approvals.get(hold.id))
        return True

    def _patience(self) -> float | None:
        """How long this attempt waits until it is told to ask again; None: as its rules say."""
        wait = self._verdict.patience.wait
        return None if wait is None or self._prefers is None else min(wait, self._prefers)

    async def _waited(self) -> Decision:
        admission = self._admission
        if self.left:
            self.leave(self.left)
        if admission.policy.digest != self._verdict.policy and not self._turn.done():
            admission.judge_again(admission.approvals.get(self.id))
        hold = await asyncio.shield(self._turn)
        if hold.settled:
            return await self._end(hold)
        if hold.state is State.DEFERRED and not self.left:
            return self._pending(hold)
        return decision_of(hold, self.left or _TORN_DOWN)

    async def _end(self, hold: Hold) -> Decision:
        """Write down how it ended; what opens has been written when this returns."""
        admission, request = self._admission, self._request
        decision = decision_of(hold, self.left)
        # What settles a hold in the ledger names one that was opened there.
        written = await self._was_written()
        if decision.word.opens and (not written or admission.answers_lost(self.id)):
            decision = unwritten(decision)
        decision = admission.budgeting.allows(hold.verdict, decision)  # from here on nothing waits
        sends = hold.sends(request)
        if sends is not request and decision.word.opens:
            decision = replace(decision, sends=sends)
        named = decision if written else replace(decision, hold=None)
        action = admission.understood(sends) if decision.word.opens else hold.action
        draft = records.decided(self.id, action, hold.verdict, named, hold.verdict.policy)
        self._written = decision
        if decision.word.opens:
            decision = await admission.opened(decision, draft, wait=True)
        else:
            decision = await admission.refused(decision, draft)
        if decision.word.opens:
            admission.recall.sent(hold)
        admission.recorded(self.id, decision.word)
        return decision

    async def _was_written(self) -> bool:
        """Whether the hold's opening is on disk; an attempt that joined one found it there, or cut off."""
        if self._joined or self._held is None:
            return self._joined
        try:
            await asyncio.shield(self._held)
        except SluiceError:
            return False
        return True

    def _pending(self, hold: Hold) -> Decision:
        return Decision(
            Word.PENDING,
            By.RULE,
            rule=hold.verdict.rule,
            rules=hold.verdict.rules,
            why=hold.verdict.why,
            detail=_PENDING,
            hold=hold.id,
            status=202 if self._prefers is not None else None,
            retry_after=about.ASK_AGAIN,
            follow=about.URL + "holds/" + hold.id,
        )

    def _torn_down(self) -> None:
        """Cancelled: nobody is there to be answered, and what had been decided is not carried out."""
        admission = self._admission
        if self._written is not None:
            if self._written.word.opens:
                nothing = Outcome(Happened.FAILED, why=f"{_TORN_DOWN}: nothing was sent")
                admission.concluded(self.id, self._written, nothing)
            admission.recorded(self.id, Word.ABANDONED)
            return
        self.leave(_TORN_DOWN)  # admission writes down how it ends, unless it does at once
        if self._turn.result().settled:
            self._note(self._turn.result(), decision_of(self._turn.result(), _TORN_DOWN))

    def _failed(self) -> Decision:
        """A bug: nothing leaves, the hold ends, and that is written down where it was not yet."""
        admission = self._admission
        if not self._turn.done():
            admission.approvals.cut(self.id, "internal error")
        hold = self._turn.result()
        ended = decision_of(hold, self.left)
        decision = replace(ended, word=Word.UNAVAILABLE, by=By.FAULT, why="internal error", detail="")
        if self._written is not None:
            admission.recorded(self.id, Word.UNAVAILABLE)
        elif hold.settled:
            self._note(hold, decision)
        return decision

    def _note(self, hold: Hold, decision: Decision) -> None:
        admission = self._admission
        draft = records.decided(self.id, hold.action, hold.verdict, decision, hold.verdict.policy)
        admission.ledger.note(draft)
        admission.recorded(self.id, decision.word)


def say(bug: Exception) -> None:
    """Log a bug by its kind and place: its text may hold what the agent sent."""
    frame = traceback.extract_tb(bug.__traceback__)[-1]
    log.error("refused: %s in %s:%s", type(bug).__name__, frame.filename, frame.lineno)


_PENDING: Final = (
    "A person has to decide this, and nobody has yet. Nothing was sent. Send the very same request again "
    "after retry-after seconds: that is how an approval is used."
)

_ENDS: Final[dict[State, tuple[Word, By]]] = {
    State.APPROVED: (Word.APPROVED, By.REVIEWER),
    State.PROCEEDED: (Word.WATCHED, By.DEADLINE),
    State.DENIED: (Word.DENIED, By.REVIEWER),
    State.EXPIRED: (Word.EXPIRED, By.DEADLINE),
    State.ABANDONED: (Word.ABANDONED, By.AGENT),
    State.UNSPENT: (Word.UNSPENT, By.AGENT),
    State.REFUSED: (Word.REFUSED, By.REVIEWER),  # unless a rule does, which its verdict then says
    State.CUT_OFF: (Word.UNAVAILABLE, By.FAULT),
    # Not ends: whoever waited has gone, and is told nothing.
    State.UNATTENDED: (Word.ABANDONED, By.AGENT),
    State.DEFERRED: (Word.ABANDONED, By.AGENT),
}


def decision_of(hold: Hold, left: str) -> Decision:
    """What is enforced on a hold that has ended; an approval comes too late for an agent that left."""
    word, by = _ENDS[hold.state]
    cause = hold.cause
    if hold.state is State.REFUSED and hold.verdict.effect is Effect.DENY:
        by = By.RULE
    if left and word.opens:
        word, by, cause = Word.ABANDONED, By.AGENT, left
    told = word in (Word.DENIED, Word.REFUSED) or (word is Word.EXPIRED and hold.reviews)
    detail = cause if told else ""
    verdict = hold.verdict
    return Decision(
        word,
        by,
        rule=verdict.rule,
        rules=verdict.rules,
        why=cause or verdict.why,
        detail=detail,
        hold=hold.id,
        reviewers=hold.by,
        digest=hold.digest,
        salt=hold.salt,
        again=hold.again,
    )


def unwritten(decision: Decision) -> Decision:
    """What becomes of a decision that could not be written down: nobody decided anything."""
    return replace(decision, word=Word.UNAVAILABLE, by=By.FAULT, why=CANNOT_WRITE, detail="")


def denied_again(denial: Denial, verdict: Verdict, asked: bytes) -> Decision:
    """A denial answers every same request for a while: the same person, the same reason."""
    return Decision(
        Word.DENIED,
        By.REVIEWER,
        rule=verdict.rule,
        rules=verdict.rules,
        why=denial.reason or verdict.why,
        detail=denial.reason,
        reviewers=denial.reviewers,
        digest=asked,
        again=denial.hold,
    )


def _prefers_async(request: Request) -> float | None:
    """How long an agent prefers to wait that asked for `respond-async` (RFC 7240, 4.1 and 4.3), else None."""
    prefers = _QUOTED.sub(b"", b",".join(request.header(b"prefer"))[:1_000])
    words = [word.partition(b";")[0].strip().lower() for word in prefers.split(b",")]
    if b"respond-async" not in words:
        return None
    said = [found for word in words if (found := _WAIT.fullmatch(word))]
    return float(said[0][1]) if said else 0.0
