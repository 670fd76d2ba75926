"""
One request on its way from its headers to a decision on disk.

`Hearing._decide` reads from top to bottom, and two promises are the order of its lines: what
refuses comes before what opens, and what is released has been written down before.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from proxy import records
from proxy.action import Action, Request, digest
from proxy.admission.counting import Key
from proxy.admission.holding import Holding, denied_again, say
from proxy.decision import By, Decision, Happened, Outcome, Word
from proxy.decode import decode
from proxy.grant import Grant
from proxy.hold import Hold, open_hold
from proxy.ledger import Draft
from proxy.policy.verdict import Effect, Keepalive, Nobody, Verdict

if TYPE_CHECKING:
    from proxy.admission import Admission


class Hearing:
    """One request on its way; see `proxy.gate.Hearing` for what the gate may ask of it."""

    def __init__(self, admission: Admission, request: Request) -> None:
        self._admission = admission
        self._policy = admission.policy
        self._request = request
        self._action: Action
        self._id = admission.new_id()
        self._holding: Holding | None = None
        self._asked = b""
        self._left = ""
        self._counted: Key | None = None
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
        if self._holding is not None:
            self._holding.leave(why)

    def conclude(self, outcome: Outcome) -> None:
        """What happened upstream, once."""
        if self._concluded or self.decision is None or not self.decision.word.opens:
            return
        self._concluded = True
        if self._counted is not None:
            self._admission.counting.concluded(self._counted, outcome)
            return
        self._admission.concluded(self._id, self.decision, outcome)
        if self._asked:
            self._admission.recall.concluded(self._asked, self._id, outcome)

    # -- the way from top to bottom --------------------------------------------------

    async def _decide(self, *, may_hold: bool) -> Decision | None:
        self._action = decode(self._request, self._admission.facts)
        closed = self._closed()
        if closed is not None:
            return await self._refuse(closed)
        verdict = self._admission.budgeting.weigh(self._policy.judge(self._action))
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
                if verdict.waits:
                    return await self._ask(verdict) if may_hold else None
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
        """Whether the headers are enough; what waits shows the body, so it is never without one."""
        if self._admission.rules.shadow and self._over_limit():
            return True
        return verdict.settled and not verdict.waits

    def _over_limit(self) -> bool:
        told = self._request.header(b"content-length")
        return bool(told) and told[0].isdigit() and int(told[0]) > self._admission.rules.body_limit

    async def _ask(self, verdict: Verdict) -> Decision:
        """Have people asked, unless what they said or who they are settles it at once."""
        admission, asked = self._admission, digest(self._request)
        denied = admission.recall.denial(asked, self._request, verdict)
        if denied is not None:
            return await self._refuse(denied_again(denied, verdict, asked), verdict)
        known = admission.approvals.alone(asked) is not None
        covered = None if known else self._covered(verdict, asked)
        if covered is not None:
            return await self._open_by(*covered)
        if (
            verdict.patience.nobody is Nobody.REFUSE
            and not known
            and not admission.attended(verdict, self._request.agent)
        ):
            return await self._refuse(_by_rule(Word.UNATTENDED, verdict), verdict)
        self.keepalive = verdict.patience.keepalive
        self._holding = holding = Holding(admission, self._request, verdict)
        holding.left = self._left
        holding.begin(self._id, self._action, asked)
        self._action = self._action.bare()
        decision = await holding.decide()
        self._id, self._asked = holding.id, asked
        return decision

    def _covered(self, verdict: Verdict, asked: bytes) -> tuple[Grant, Hold] | None:
        """A grant under which this may go, its use counted, and the hold that it would have been."""
        admission = self._admission
        if self._left or admission.policy is not self._policy or not admission.granting.standing:
            return None
        hold = open_hold(self._id, self._action, verdict, admission.clock(), asked)
        if admission.recall.in_doubt(hold):
            return None
        grant = admission.granting.spend(self._action, verdict)
        return None if grant is None else (grant, hold)

    async def _open_by(self, grant: Grant, hold: Hold) -> Decision:
        """Release what a person approved beforehand."""
        verdict = hold.verdict
        decision = Decision(
            Word.APPROVED,
            By.GRANT,
            rule=verdict.rule,
            rules=verdict.rules,
            why=f"{grant.by} approved the like of it with hold {grant.hold[:6]}",
            reviewers=(grant.by,),
            digest=hold.digest,
            grant=grant.id,
            sends=hold.sends(self._request) if hold.added else None,
        )
        decision = await self._opened(decision, verdict, wait=True)
        if decision.word.opens:
            self._sent(hold)
        return decision

    async def _open(self, verdict: Verdict, word: Word) -> Decision:
        decision = _by_rule(word, verdict)
        self._counted = self._admission.counting.take(self._action, verdict)
        if self._counted:
            return decision
        decision = await self._opened(decision, verdict, wait=False)
        if decision.word.opens and verdict.budgets and self._action.complete:
            # What a budget lets through now, it holds once it is used up: people are told of this one then.
            self._sent(open_hold(self._id, self._action, verdict, self._admission.clock()))
        return decision

    def _sent(self, hold: Hold) -> None:
        """What leaves now is remembered, and what becomes of it."""
        self._asked = hold.asked
        self._admission.recall.sent(hold)

    async def _opened(self, decision: Decision, verdict: Verdict, *, wait: bool) -> Decision:
        try:
            return await self._admission.opened(decision, self._draft(verdict, decision), wait=wait)
        except asyncio.CancelledError:
            nothing = Outcome(Happened.FAILED, why="the connection was torn down: nothing was sent")
            self._admission.concluded(self._id, decision, nothing)
            raise

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
