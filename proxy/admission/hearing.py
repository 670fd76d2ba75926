"""
One request on its way from its headers to a decision on disk.

`Hearing._decide` reads from top to bottom, and two promises are the order of its lines: what
refuses comes before what opens, and what is released has been written down before.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from proxy import records
from proxy.action import Action, Request, digest
from proxy.decision import By, Decision, Outcome, Word
from proxy.decode import decode
from proxy.errors import SluiceError
from proxy.hold import Hold, State
from proxy.ledger import Draft
from proxy.policy.verdict import Effect, Keepalive, Verdict

if TYPE_CHECKING:
    from proxy.admission import Admission

log = logging.getLogger("sluice")


class Hearing:
    """One request on its way; see `proxy.gate.Hearing` for what the gate may ask of it."""

    def __init__(self, admission: Admission, request: Request) -> None:
        self._admission = admission
        self._policy = admission.policy
        self._request = request
        self._action: Action
        self._id = admission.new_id()
        self._hold: str | None = None
        self._held: asyncio.Future[int] | None = None
        self._left = ""
        self._concluded = False
        self.decision: Decision | None = None
        self.keepalive: Keepalive | None = None

    async def begin(self) -> None:
        """
        The decision on the headers, where they settle it.

        Never a hold, even where there is no body: it would wait in here, where the gate has no
        hearing yet to say that the agent has gone.
        """
        try:
            self.decision = await self._decide(may_hold=False)
        except Exception as bug:
            self.decision = await self._fault(bug)

    async def judge(self, request: Request) -> Decision:
        """The decision on the whole request; waits for people on a hold."""
        self._request = request
        try:
            decision = await self._decide(may_hold=True)
            if decision is None:
                raise RuntimeError("a whole request was not decided")
            self.decision = decision
        except Exception as bug:
            self.decision = await self._fault(bug)
        return self.decision

    async def refuse(self, word: Word, why: str, *, status: int | None = None, by: By = By.FAULT) -> Decision:
        """The gate's own refusal."""
        self._action = decode(replace(self._request, body=None))
        self.decision = await self._refuse(Decision(word, by, why=why, detail=why, status=status))
        return self.decision

    def leave(self, why: str) -> None:
        """The agent has gone."""
        self._left = self._left or why
        if self._hold is not None:
            self._admission.approvals.leave(self._hold, why)

    def conclude(self, outcome: Outcome) -> None:
        """What happened upstream, once."""
        if self._concluded or self.decision is None or not self.decision.word.opens:
            return
        self._concluded = True
        self._admission.ledger.note(records.outcome(self._id, self.decision, outcome))

    # -- the way from top to bottom --------------------------------------------------

    async def _decide(self, *, may_hold: bool) -> Decision | None:
        self._action = decode(self._request, self._admission.facts)
        closed = self._closed()
        if closed is not None:
            return await self._refuse(closed)
        verdict = self._policy.judge(self._action)
        if not self._action.complete and not self._settled(verdict):
            return None
        if self._admission.rules.shadow:
            return await self._open(verdict, Word.WATCHED)
        match verdict.effect:
            case Effect.DENY:
                return await self._refuse(_by_rule(Word.REFUSED, verdict), verdict)
            case Effect.HOLD:
                return await self._ask(verdict) if may_hold else None
            case Effect.WATCH:
                return await self._open(verdict, Word.WATCHED)
            case Effect.ALLOW:
                return await self._open(verdict, Word.ALLOWED)

    def _closed(self) -> Decision | None:
        """What refuses before any rule is asked."""
        unreadable = self._action.unreadable
        if self._admission.closing:
            return Decision(Word.UNAVAILABLE, By.FAULT, why="the gate is stopping")
        if unreadable is not None:
            return Decision(Word.UNREADABLE, By.FAULT, why=unreadable, detail=unreadable)
        if self._admission.is_paused(self._request.agent):
            why = "everything is paused"
            return Decision(Word.REFUSED, By.REVIEWER, why=why, detail=why)
        return None

    def _settled(self, verdict: Verdict) -> bool:
        """Whether the headers are enough; a hold shows the body, so it is never without one."""
        if self._admission.rules.shadow and self._over_limit():
            return True
        return verdict.settled and verdict.effect is not Effect.HOLD

    def _over_limit(self) -> bool:
        told = self._request.header(b"content-length")
        return bool(told) and told[0].isdigit() and int(told[0]) > self._admission.rules.body_limit

    async def _ask(self, verdict: Verdict) -> Decision:
        """A hold, from its opening to the disk; whatever goes wrong, it ends and is told so."""
        admission, id = self._admission, self._id
        admission.counts.held += 1
        admission.expect_record(id)
        word = Word.UNAVAILABLE
        try:
            self._begin_hold(verdict)
            hold = await self._wait()
            decision = await self._write(hold)
            word = decision.word
            return decision
        except asyncio.CancelledError:
            word = Word.ABANDONED
            admission.approvals.leave(id, "the connection was torn down")
            decision = _of(admission.approvals.get(id), "the connection was torn down")
            admission.ledger.note(self._draft(verdict, decision))
            raise
        finally:
            admission.approvals.cut(id, "internal error")  # does nothing to a hold that has ended
            admission.recorded(id, word)

    def _begin_hold(self, verdict: Verdict) -> None:
        """Open it, write that down, and let go of what was parsed: it may wait for long."""
        hold = self._admission.approvals.open(self._id, self._action, verdict, digest(self._request))
        self._held = self._admission.write_held(hold)
        self.keepalive = verdict.patience.keepalive
        self._action = self._action.bare()

    async def _wait(self) -> Hold:
        """Wait for people, the deadline, or the agent to leave."""
        admission, id = self._admission, self._id
        self._hold = id
        try:
            if self._left:
                admission.approvals.leave(id, self._left)
            if admission.policy is not self._policy:
                admission.judge_again(admission.approvals.get(id))
            return await admission.approvals.settled(id)
        finally:
            self._hold = None

    async def _write(self, hold: Hold) -> Decision:
        decision = _of(hold, self._left)
        # What settles a hold in the ledger names one that was opened there.
        named = decision if await self._was_written() else replace(decision, hold=None)
        if decision.word.opens:
            # In full again: whom it reaches is learned from what was released.
            self._action = decode(self._request, self._admission.facts)
            return await self._admission.opened(decision, self._draft(hold.verdict, named), wait=True)
        return await self._admission.refused(decision, self._draft(hold.verdict, named))

    async def _was_written(self) -> bool:
        if self._held is None:
            return False
        try:
            await asyncio.shield(self._held)
        except SluiceError:
            return False
        return True

    async def _open(self, verdict: Verdict, word: Word) -> Decision:
        decision = _by_rule(word, verdict)
        return await self._admission.opened(decision, self._draft(verdict, decision), wait=False)

    async def _refuse(self, decision: Decision, verdict: Verdict | None = None) -> Decision:
        return await self._admission.refused(decision, self._draft(verdict, decision))

    async def _fault(self, bug: Exception) -> Decision:
        """A bug refuses."""
        say(bug)
        why = f"internal error ({type(bug).__name__})"
        decision = Decision(Word.UNAVAILABLE, By.FAULT, why=why)
        return await self._admission.refused(decision, records.fault(self._id, self._request.agent, decision))

    def _draft(self, verdict: Verdict | None, decision: Decision) -> Draft:
        shadow = self._admission.rules.shadow
        return records.decided(self._id, self._action, verdict, decision, self._policy.digest, shadow=shadow)


def _by_rule(word: Word, verdict: Verdict) -> Decision:
    return Decision(
        word, By.RULE, rule=verdict.rule, rules=verdict.rules, why=verdict.why, detail=verdict.why
    )


_ENDS: Final[dict[State, tuple[Word, By]]] = {
    State.APPROVED: (Word.APPROVED, By.REVIEWER),
    State.DENIED: (Word.DENIED, By.REVIEWER),
    State.EXPIRED: (Word.EXPIRED, By.DEADLINE),
    State.ABANDONED: (Word.ABANDONED, By.AGENT),
    State.REFUSED: (Word.REFUSED, By.REVIEWER),
    State.CUT_OFF: (Word.UNAVAILABLE, By.FAULT),
}


def _of(hold: Hold, left: str) -> Decision:
    """What is enforced on a hold that has ended; an approval comes too late for an agent that left."""
    word, by = _ENDS[hold.state]
    cause = hold.cause
    if left and word.opens:
        word, by, cause = Word.ABANDONED, By.AGENT, left
    detail = cause if word in (Word.DENIED, Word.REFUSED) else ""
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
    )


def say(bug: Exception) -> None:
    """Log a bug by its kind and place: its text may hold what the agent sent."""
    frame = traceback.extract_tb(bug.__traceback__)[-1]
    log.error("refused: %s in %s:%s", type(bug).__name__, frame.filename, frame.lineno)
