"""
The budgets while the gate runs: asked before a release, taken from with it, settled by its outcome.

Between the asking and the taking nothing waits, so that of any number of requests only as many
leave as there is room for. What is taken is written down with the decision, in one entry.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from proxy.budget import Budgets, gives_back, takings
from proxy.decision import By, Decision, Outcome, Word
from proxy.errors import Exit, fail
from proxy.hold import Hold, State
from proxy.ledger import Fields
from proxy.policy.verdict import Effect, Verdict

if TYPE_CHECKING:
    from proxy.admission import Admission


class Budgeting:
    """The accounts, at the gate's own time."""

    def __init__(self, admission: Admission, budgets: Budgets) -> None:
        self._admission = admission
        self._budgets = budgets

    def weigh(self, verdict: Verdict) -> Verdict:
        """The verdict once its budgets are asked."""
        return self._budgets.ask(verdict, self._now()) if verdict.budgets else verdict

    def weigh_again(self, hold: Hold, verdict: Verdict) -> Verdict:
        """As `weigh`, of an open hold: what is set aside for it does not stand in its own way."""
        self.release(hold.id)
        found = self.weigh(verdict)
        self.reserve(hold)
        return found

    def allows(self, verdict: Verdict, decision: Decision) -> Decision:
        """
        The decision on what has waited, unless others have used the room meanwhile.

        A person may release what is over a budget, where its rule does not deny; what proceeds
        by itself may not be over one at all.
        """
        if not decision.word.opens:
            return decision
        now = self.weigh(verdict)
        if now.effect <= (Effect.HOLD if decision.word is Word.APPROVED else Effect.WATCH):
            return decision
        refused = replace(decision, word=Word.REFUSED, by=By.RULE, rule=now.rule, rules=now.rules)
        return replace(refused, why=now.why, detail=now.why)

    def again(self, hold: Hold) -> Hold:
        """
        An open hold as its budgets leave it now, before an approval counts.

        Where others have used the room, the rule that limits it speaks too: raises SluiceError
        (exit 1), because whoever approves has not seen that.
        """
        if hold.settled or not hold.verdict.budgets:
            return hold
        approvals, verdict = self._admission.approvals, self.weigh_again(hold, hold.verdict)
        if verdict.effect is Effect.DENY:
            approvals.refuse(hold.id, verdict.why, verdict)
        elif not set(verdict.demands) <= set(hold.verdict.demands) and hold.action.request.body is not None:
            approvals.demand(hold.id, verdict, self._admission.understood(hold.action.request))
            what = f"hold {hold.id[:6]} is over a budget by now: {verdict.why}"
            raise fail(what, "others have used it since you looked", "look at it again", exit=Exit.NO)
        return approvals.get(hold.id)

    def reserve(self, hold: Hold) -> None:
        """Set aside what a watched request takes that proceeds by itself, while its agent waits."""
        self.release(hold.id)
        if hold.verdict.effect is Effect.WATCH and hold.state is State.PENDING:
            self._budgets.take(hold.id, takings(hold.verdict.budgets), self._now())

    def release(self, id: str) -> None:
        """End what was set aside for what has ended, or could not be written; what leaves takes it anew."""
        self._budgets.give_back(id)

    def take(self, fields: Fields) -> bool:
        """Take what a `decided` entry says that a release takes; whether it takes anything."""
        if "budgets" not in fields:
            return False
        self._budgets.learn(fields, self._now())
        return True

    def settle(self, id: str, outcome: Outcome) -> bool:
        """What became of a release: whether what it took is given back."""
        if gives_back(outcome):
            return self._budgets.give_back(id)
        self._budgets.keep(id)
        return False

    def _now(self) -> int:
        return int(self._admission.clock() * 1_000_000)
