"""
The story of one action: judge, ask, write down, answer.

`Admission` owns the policy in force and who is paused; each request has a `Hearing` of its own,
which is the story, and what is decided is written down by `Writing`.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Sequence
from typing import Final

from proxy import about, records
from proxy.about import Standing, Terms
from proxy.action import Action, Request
from proxy.admission.budgeting import Budgeting
from proxy.admission.counting import Counting
from proxy.admission.granting import Granting
from proxy.admission.hearing import Hearing
from proxy.admission.holding import CANNOT_WRITE, say
from proxy.admission.recall import Recall
from proxy.admission.writing import PLAIN, Writing
from proxy.admission.writing import Counts as Counts
from proxy.admission.writing import Rules as Rules
from proxy.approvals import Approvals
from proxy.budget import Budgets
from proxy.decision import Answer, By, Decision, Word
from proxy.decode import Facts, decode
from proxy.errors import Exit, SluiceError, fail
from proxy.grant import Grants
from proxy.hold import Hold, Review, Reviewer, State
from proxy.ledger import Fields, Ledger, UnavailableError
from proxy.ledger.past import Past
from proxy.people import present
from proxy.policy import Policy
from proxy.policy.verdict import Effect, Verdict
from proxy.signing.statement import Proof, Statement

_AGENT: Final = re.compile(r"uid:[!-~]{1,200}")
LONGEST_EXTENSION: Final = 24 * 60 * 60
"""Seconds that a reviewer may add to a deadline at once."""


class Admission(Writing):
    """
    Hears requests; owns the policy in force and who is paused.

    Implements `proxy.gate.Door`. `clock` gives Unix time in seconds, `new_id` 128 bits as text;
    `released` is told of every decision that opened (for first-seen markers). `present` gives the
    reviewers who are at a console. `draw` gives so many random bytes.
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
        rules: Rules = PLAIN,
        released: Callable[[Fields], None] = lambda fields: None,
        budgets: Budgets | None = None,
        draw: Callable[[int], bytes] = os.urandom,
        grants: Grants | None = None,
        past: Sequence[Past] = (),
    ) -> None:
        self.policy = policy
        self.approvals = approvals
        self.ledger = ledger
        self.facts = facts
        self.clock = clock
        self.new_id = new_id
        self.rules = rules
        self.released = released
        self.draw = draw
        self.counts = Counts()
        self.paused: set[str] = set()
        self.closing = False
        self.recall = Recall(clock, past)
        self.counting = Counting(self)
        self.budgeting = Budgeting(self, Budgets() if budgets is None else budgets)
        self.granting = Granting(self, Grants() if grants is None else grants)
        self.granting.policy_changed(policy)
        self.present: Callable[[], tuple[Reviewer, ...]] = tuple
        self._recorded: dict[str, asyncio.Future[Word]] = {}
        self._answers: dict[str, list[asyncio.Future[int]]] = {}
        approvals.watch(self._on_hold)

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
            say(bug)
            return decision

    def about(self, request: Request) -> Answer:
        """What the agent may know of this gate, and of a hold of its own (`proxy.about`)."""
        return about.answer(request, lambda: Terms.of(self.policy, self.rules.body_limit), self._standing)

    def _standing(self, id: str, agent: str) -> Standing | None:
        try:
            hold = self.approvals.get(id)
        except KeyError:
            return None
        if hold.action.request.agent != agent:
            return None
        return Standing.of(hold, self.recall.decision(id))

    # -- the reviewers' side -------------------------------------------------------

    async def review(
        self,
        prefix: str,
        reviewer: Reviewer,
        *,
        approves: bool,
        reason: str,
        seen: bytes | None,
        proof: Proof | None = None,
    ) -> Hold:
        """
        One person's answer; returns once it is on disk, and so is what it decided.

        Raises SluiceError (exit 1) where the hold has ended, the answer is not this person's
        to give, or it could not be written down.
        """
        hold = self.approvals.find(prefix)
        if hold.again and not approves and reviewer.name in hold.by:
            return await self._said_already(hold)
        if approves:
            hold = self.budgeting.again(hold)
        review = Review(
            reviewer, approves, reason, hold.digest if seen is None else seen, self.clock(), proof
        )
        hold.reviewed(review)  # raises here, before anything is written, where it does not count
        if proof is not None:  # by the clock at which it is written: it may have been set since it was judged
            Statement.parse(proof.statement.encode()).check_fresh(int(self.clock() * 1_000_000))
        try:
            ticket = self.ledger.queue(records.reviewed(hold, review), patient=True)
            # Nobody's answer may count that is not on disk, whether or not its reviewer still waits.
            ticket.add_done_callback(lambda done: self._written(hold.id, done))
            self._answers.setdefault(hold.id, []).append(ticket)
            ended = self.approvals.review(hold.id, review)
            if ended.state is State.DENIED:
                self.granting.denied(hold, reviewer.name)
            settled = ended.settled
            recorded = self._recorded.get(hold.id) if settled else None
            if recorded is None:
                await asyncio.shield(ticket)
                return self.approvals.latest(ended)
            word = await asyncio.shield(recorded)
            await asyncio.shield(ticket)  # a denial is enforced unwritten, but nobody is told that it counts
        except UnavailableError:
            raise _not_written(hold) from None
        if approves and not word.opens:
            raise fail(
                f"hold {hold.id[:6]} ended as {word} at the same moment: nothing was sent", exit=Exit.NO
            )
        return self.approvals.latest(ended)

    async def _said_already(self, hold: Hold) -> Hold:
        """It was denied with another for the same request, by this very person: once both are on disk."""
        ended = self._recorded.get(hold.id)
        try:
            for waits in (*self._answers.get(hold.again, ()), *(() if ended is None else (ended,))):
                await asyncio.shield(waits)
        except UnavailableError:
            raise _not_written(hold) from None
        return hold

    def extend(self, prefix: str, reviewer: Reviewer, seconds: int) -> Hold:
        """
        Give a hold more time, in one reviewer's name.

        Raises SluiceError (exit 1) where it has ended, is not this person's to answer, or the
        time is not between a second and a day.
        """
        hold = self.approvals.find(prefix)
        if not 1 <= seconds <= LONGEST_EXTENSION:
            raise fail(f"{seconds} seconds cannot be added", fix="between 1s and 24h", exit=Exit.NO)
        hold.check_reviewer(reviewer)
        hold = self.approvals.extend(hold.id, seconds)
        self.ledger.note(records.extended(hold, reviewer.name))
        return hold

    def pause(self, agent: str | None, by: str) -> asyncio.Future[int]:
        """
        Refuse everything (of one agent) from now on, also what waits, and over restarts once it is on disk.

        Raises SluiceError (exit 1) for a name that no agent has: it would pause nobody.
        """
        if agent is not None and not _AGENT.fullmatch(agent):
            what = f"'{agent[:100]}' is the name of no agent, so nothing is paused"
            raise fail(what, fix="agents are named as holds name them: uid:NAME", exit=Exit.NO)
        self.paused.add(agent or "*")
        for hold in self.approvals.open_holds:
            if self.is_paused(hold.action.request.agent):
                self.approvals.refuse(hold.id, "everything is paused")
        return self._ordered(records.paused(agent, True, by))

    def resume(self, agent: str | None, by: str) -> asyncio.Future[int]:
        """End a pause; without an agent every pause."""
        if agent is None:
            self.paused.clear()
        else:
            self.paused.discard(agent)
        return self._ordered(records.paused(agent, False, by))

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
        self.ledger.note(records.policy_changed(before.digest, policy.digest, by, difference))
        self.granting.policy_changed(policy)
        for hold in self.approvals.open_holds:
            self.judge_again(hold)

    def judge_again(self, hold: Hold) -> None:
        """
        What the policy in force says of a hold that was opened under another.

        What was approved under a rule that has changed, and is not yet spent, lapses. A hold
        that nobody waits for may be without its body: it is judged when its agent comes again.
        """
        if hold.action.request.body is None:
            return
        action = self.understood(hold.action.request)
        verdict = self.budgeting.weigh_again(hold, self.policy.judge(action))
        if verdict.effect is Effect.DENY:
            self.approvals.refuse(hold.id, verdict.why, verdict)
        elif verdict.demands_as(hold.verdict):
            return
        elif hold.state is State.SPENDABLE:
            self.approvals.lapse(hold.id, "its rules have changed since it was approved")
        elif verdict.effect is Effect.HOLD:
            self.approvals.demand(hold.id, verdict, action)

    def reviewer_changed(self, name: str, known: Callable[[Review], Reviewer | None]) -> None:
        """
        A reviewer has lost a key or has other groups: what counted by that counts no more.

        `known` says who gave an answer as they are known from now on, None where it is nobody's who may.
        """
        self.approvals.recount(known)
        self.granting.reviewer_changed(name)

    def understood(self, request: Request) -> Action:
        """What a request does, as rules are judged on it."""
        return decode(request, self.facts)

    def attended(self, verdict: Verdict, agent: str | None) -> bool:
        """Whether people are there now who could release what this verdict holds."""
        return present(verdict.demands, self.present(), agent)

    async def close(self, within: float) -> None:
        """
        From now on everything is refused; whoever waits is told that nobody decided.

        Returns once that is written down, or after so many seconds.
        """
        self.closing = True
        for hold in self.approvals.open_holds:
            self.approvals.cut(hold.id, "the gate is stopping")
        if waiting := list(self._recorded.values()):
            await asyncio.wait(waiting, timeout=within)


def _not_written(hold: Hold) -> SluiceError:
    return fail(
        f"your answer to hold {hold.id[:6]} could not be written down, so nothing was sent",
        CANNOT_WRITE,
        "see the console of sluice up",
        exit=Exit.NO,
    )
