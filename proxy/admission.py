"""
The story of one action: judge, ask, write down, answer.

`_Hearing.judge` reads from top to bottom, and two promises are the order of its lines:
what refuses comes before what opens, and what is released has been written down before.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from proxy import records
from proxy.action import Action, Request, digest
from proxy.approvals import Approvals
from proxy.decision import By, Decision, Outcome, Word
from proxy.decode import Facts, decode
from proxy.errors import Exit, fail
from proxy.hold import Hold, Review, Reviewer, State
from proxy.ledger import Draft, Fields, Ledger, UnavailableError
from proxy.policy import Policy
from proxy.policy.verdict import Effect, Verdict

log = logging.getLogger("sluice")

_CANNOT_WRITE: Final = "the ledger cannot be written"


@dataclass(slots=True)
class Counts:
    """How many requests were let through, held and refused since the start."""

    allowed: int = 0
    held: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Rules:
    """How this gate admits: `shadow` lets everything flow, `strict` waits for every entry."""

    shadow: bool = False
    strict: bool = False
    body_limit: int = 10 * 1024 * 1024


class Admission:
    """
    Hears requests; owns the policy in force and who is paused.

    Implements `proxy.gate.Door`. `clock` gives Unix time in seconds, `new_id` 128 bits as text;
    `released` is told of every decision that opened (for first-seen markers).
    """

    def __init__(
        self,
        policy: Policy,
        approvals: Approvals,
        ledger: Ledger,
        *,
        facts: Facts,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        rules: Rules = Rules(),
        released: Callable[[Fields], None] = lambda fields: None,
    ) -> None:
        self.policy = policy
        self.approvals = approvals
        self.ledger = ledger
        self.facts = facts
        self.clock = clock
        self.new_id = new_id
        self.rules = rules
        self.released = released
        self.counts = Counts()
        self.paused: set[str] = set()
        self.closing = False
        self._recorded: dict[str, asyncio.Future[Word]] = {}

    # -- the gate's side -----------------------------------------------------------

    async def receive(self, request: Request) -> Hearing:
        """Hear a request of which the headers have been read."""
        hearing = Hearing(self, request)
        await hearing.begin()
        return hearing

    async def malformed(
        self,
        agent: str | None,
        what: str,
        *,
        request: Request | None = None,
        word: Word = Word.UNREADABLE,
        status: int | None = None,
    ) -> Decision:
        """Refuse what is never judged, and write that down."""
        decision = Decision(word, By.FAULT, why=what, detail=what, status=status)
        id = self.new_id()
        try:
            if request is None:
                draft = records.fault(id, agent, decision)
            else:
                draft = records.decided(id, decode(request), None, decision, self.policy.digest)
            return await self.refused(decision, draft)
        except Exception as bug:
            _say(bug)
            return decision

    # -- the reviewers' side -------------------------------------------------------

    async def review(
        self, prefix: str, reviewer: Reviewer, *, approves: bool, reason: str, seen: bytes | None
    ) -> Hold:
        """
        One person's answer; returns once it is on disk, and so is what it decided.

        Raises SluiceError (exit 1) where the hold has ended, the answer is not this person's
        to give, or it could not be written down.
        """
        hold = self.approvals.find(prefix)
        review = Review(reviewer, approves, reason, seen or hold.digest, self.clock())
        hold.reviewed(review)  # raises here, before anything is written, where it does not count
        try:
            ticket = self.ledger.queue(records.reviewed(hold, review))
            settled = self.approvals.review(hold.id, review).settled
            recorded = self._recorded.get(hold.id) if settled else None
            if recorded is None:
                await ticket
                return self.approvals.get(hold.id)
            ticket.add_done_callback(_look_at)
            word = await asyncio.shield(recorded)
        except UnavailableError:
            raise fail(
                f"your answer to hold {hold.id[:6]} could not be written down, so nothing was sent",
                _CANNOT_WRITE,
                "see the console of sluice up",
                exit=Exit.NO,
            ) from None
        if approves and not word.opens:
            raise fail(
                f"hold {hold.id[:6]} ended as {word} at the same moment: nothing was sent", exit=Exit.NO
            )
        return self.approvals.get(hold.id)

    def pause(self, agent: str | None, by: str) -> None:
        """Refuse everything (of one agent) from now on, also what waits."""
        self.paused.add(agent or "*")
        for hold in self.approvals.pending:
            if self.is_paused(hold.action.request.agent):
                self.approvals.refuse(hold.id, "everything is paused")
        self._note(records.paused(agent, True, by))

    def resume(self, agent: str | None, by: str) -> None:
        """End a pause; without an agent every pause."""
        if agent is None:
            self.paused.clear()
        else:
            self.paused.discard(agent)
        self._note(records.paused(agent, False, by))

    def is_paused(self, agent: str | None) -> bool:
        """Whether this agent's requests are refused for now."""
        return bool(self.paused) and ("*" in self.paused or (agent or "") in self.paused)

    def change_policy(self, policy: Policy, by: str, difference: str) -> None:
        """
        Put another policy in force and judge every open hold again.

        Stricter demands replace those before, a denial refuses; what has become looser
        still waits for a person.
        """
        before, self.policy = self.policy, policy
        self._note(records.policy_changed(before.digest, policy.digest, by, difference))
        for hold in self.approvals.pending:
            self.judge_again(hold)

    def judge_again(self, hold: Hold) -> None:
        """What the policy in force says of a hold that was opened under another."""
        verdict = self.policy.judge(hold.action)
        if verdict.effect is Effect.DENY:
            self.approvals.refuse(hold.id, verdict.why)
        elif verdict.effect is Effect.HOLD and replace(verdict, policy=hold.verdict.policy) != hold.verdict:
            self.approvals.demand(hold.id, verdict)

    async def close(self, within: float) -> None:
        """
        From now on everything is refused; whoever waits is told that nobody decided.

        Returns once that is written down, or after so many seconds.
        """
        self.closing = True
        for hold in self.approvals.pending:
            self.approvals.cut(hold.id, "the gate is stopping")
        if waiting := list(self._recorded.values()):
            await asyncio.wait(waiting, timeout=within)

    # -- writing down --------------------------------------------------------------

    def write_held(self, hold: Hold) -> None:
        """A hold that cannot be written down is cut off: nobody may decide what leaves no trace."""
        try:
            ticket = self.ledger.queue(records.held(hold))
        except UnavailableError:
            self.approvals.cut(hold.id, _CANNOT_WRITE)
            return

        def written(done: asyncio.Future[int]) -> None:
            if done.cancelled() or done.exception() is not None:
                self.approvals.cut(hold.id, _CANNOT_WRITE)

        ticket.add_done_callback(written)

    def _note(self, draft: Draft) -> None:
        self.ledger.note(draft)

    async def refused(self, decision: Decision, draft: Draft) -> Decision:
        """A refusal is enforced whether or not it can be written; it is written if it can."""
        self.counts.refused += 1
        try:
            await self.ledger.queue(draft)
        except UnavailableError:
            log.warning("a refusal could not be written down: %s", decision.word)
        return decision

    async def opened(self, decision: Decision, draft: Draft, *, wait: bool) -> Decision:
        """
        Written before released: returns the decision once its entry is queued, and on disk
        where `wait` says so; returns `unavailable` instead where that fails.
        """
        try:
            ticket = self.ledger.queue(draft)
            if wait or self.rules.strict:
                await ticket
            else:
                ticket.add_done_callback(_look_at)
        except UnavailableError:
            self.counts.refused += 1
            return replace(decision, word=Word.UNAVAILABLE, by=By.FAULT, why=_CANNOT_WRITE, detail="")
        self.counts.allowed += 1
        self.released(draft.fields)
        return decision

    def expect_record(self, id: str) -> None:
        """Let whoever answers this hold wait until its decision is on disk."""
        recorded: asyncio.Future[Word] = asyncio.get_running_loop().create_future()
        recorded.add_done_callback(_look_at)
        self._recorded[id] = recorded

    def recorded(self, id: str, word: Word) -> None:
        """Tell whoever answered this hold how it ended, now that it is on disk."""
        recorded = self._recorded.pop(id, None)
        if recorded is None or recorded.done():
            return
        if word is Word.UNAVAILABLE:
            recorded.set_exception(UnavailableError())
        else:
            recorded.set_result(word)


def _say(bug: Exception) -> None:
    """Log a bug by its kind and place: its text may hold what the agent sent."""
    frame = traceback.extract_tb(bug.__traceback__)[-1]
    log.error("refused: %s in %s:%s", type(bug).__name__, frame.filename, frame.lineno)


def _look_at(ticket: asyncio.Future[int] | asyncio.Future[Word]) -> None:
    """Take note of a failure that nobody waits for: the ledger has said so itself."""
    if not ticket.cancelled():
        ticket.exception()


class Hearing:
    """One request on its way; see `proxy.gate.Hearing` for what the gate may ask of it."""

    def __init__(self, admission: Admission, request: Request) -> None:
        self._admission = admission
        self._policy = admission.policy
        self._request = request
        self._id = admission.new_id()
        self._hold: str | None = None
        self._left = ""
        self._concluded = False
        self.decision: Decision | None = None

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
        action = decode(replace(self._request, body=None))
        self.decision = await self._refuse(action, Decision(word, by, why=why, detail=why, status=status))
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
        action = decode(self._request, self._admission.facts)
        closed = self._closed(action)
        if closed is not None:
            return await self._refuse(action, closed)
        verdict = self._policy.judge(action)
        if not action.complete and not self._settled(verdict):
            return None
        if self._admission.rules.shadow:
            return await self._open(action, verdict, Word.WATCHED, By.RULE)
        match verdict.effect:
            case Effect.DENY:
                return await self._refuse(action, _by_rule(Word.REFUSED, verdict), verdict)
            case Effect.HOLD:
                return await self._ask(action, verdict) if may_hold else None
            case Effect.WATCH:
                return await self._open(action, verdict, Word.WATCHED, By.RULE)
            case Effect.ALLOW:
                return await self._open(action, verdict, Word.ALLOWED, By.RULE)

    def _closed(self, action: Action) -> Decision | None:
        """What refuses before any rule is asked."""
        if self._admission.closing:
            return Decision(Word.UNAVAILABLE, By.FAULT, why="the gate is stopping")
        if action.unreadable is not None:
            return Decision(Word.UNREADABLE, By.FAULT, why=action.unreadable, detail=action.unreadable)
        if self._admission.is_paused(action.request.agent):
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

    async def _ask(self, action: Action, verdict: Verdict) -> Decision:
        """A hold, from its opening to the disk; whatever goes wrong, it ends and is told so."""
        admission, id = self._admission, self._id
        admission.counts.held += 1
        hold = admission.approvals.open(id, action, verdict, digest(self._request))
        admission.expect_record(id)
        word = Word.UNAVAILABLE
        try:
            hold = await self._wait(hold)
            decision = await self._write(action, hold)
            word = decision.word
            return decision
        except asyncio.CancelledError:
            word = Word.ABANDONED
            admission.approvals.leave(id, "the connection was torn down")
            decision = _of(admission.approvals.get(id), "the connection was torn down")
            admission.ledger.note(self._draft(action, verdict, decision))
            raise
        finally:
            admission.approvals.cut(id, "internal error")  # does nothing to a hold that has ended
            admission.recorded(id, word)

    async def _wait(self, hold: Hold) -> Hold:
        """Wait for people, the deadline, or the agent to leave."""
        admission = self._admission
        self._hold = hold.id
        try:
            admission.write_held(hold)
            if self._left:
                admission.approvals.leave(hold.id, self._left)
            if admission.policy is not self._policy:
                admission.judge_again(hold)
            return await admission.approvals.settled(hold.id)
        finally:
            self._hold = None

    async def _write(self, action: Action, hold: Hold) -> Decision:
        decision = _of(hold, self._left)
        draft = self._draft(action, hold.verdict, decision)
        if decision.word.opens:
            return await self._admission.opened(decision, draft, wait=True)
        return await self._admission.refused(decision, draft)

    async def _open(self, action: Action, verdict: Verdict, word: Word, by: By) -> Decision:
        decision = replace(_by_rule(word, verdict), by=by)
        return await self._admission.opened(decision, self._draft(action, verdict, decision), wait=False)

    async def _refuse(self, action: Action, decision: Decision, verdict: Verdict | None = None) -> Decision:
        return await self._admission.refused(decision, self._draft(action, verdict, decision))

    async def _fault(self, bug: Exception) -> Decision:
        """A bug refuses."""
        _say(bug)
        why = f"internal error ({type(bug).__name__})"
        decision = Decision(Word.UNAVAILABLE, By.FAULT, why=why)
        return await self._admission.refused(decision, records.fault(self._id, self._request.agent, decision))

    def _draft(self, action: Action, verdict: Verdict | None, decision: Decision) -> Draft:
        shadow = self._admission.rules.shadow
        return records.decided(self._id, action, verdict, decision, self._policy.digest, shadow=shadow)


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
