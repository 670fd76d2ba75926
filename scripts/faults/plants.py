"""
Bugs to be found: each puts one into the gate of `faults.stage`, and the suite has to say so.

None of them is reachable from the product, and each names the promise that it breaks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final


def release_before_write() -> None:
    """Let a request leave as soon as its entry is queued (promise 2)."""
    from proxy.admission import Admission

    opened = Admission.opened

    async def hasty(self: Admission, decision: Any, draft: Any, *, wait: bool) -> Any:
        return await opened(self, decision, draft, wait=False)

    Admission.opened = hasty  # type: ignore[method-assign]


def no_disconnect_watch() -> None:
    """Never notice that an agent has gone while its request waits (promise 3)."""
    from proxy.gate.waiting import Waiting

    Waiting._leave = lambda self, why: None  # type: ignore[method-assign]


def one_reviewer_counts_twice() -> None:
    """Take two names of one account for two people (promise 1: four eyes)."""
    from proxy.admission import Admission

    review = Admission.review

    async def each_name(self: Admission, prefix: str, reviewer: Any, **said: Any) -> Any:
        return await review(self, prefix, replace(reviewer, person=f"name:{reviewer.name}"), **said)

    Admission.review = each_name  # type: ignore[method-assign]


def sent_again_when_the_answer_is_lost() -> None:
    """Send a request once more when upstream hangs up, as clients like to do (promise 3: once)."""
    from proxy.gate.exchange import Exchange

    lost = Exchange._lost

    def again(self: Any, why: str) -> Any:
        if self.permit is None or self.account.status is not None or hasattr(self, "sent_again"):
            yield from lost(self, why)
        else:
            self.sent_again = True
            yield from self._send(self.permit.body)

    Exchange._lost = again  # type: ignore[method-assign]


def silence_told_as_a_denial() -> None:
    """Tell an agent that a person denied what nobody has answered (promise 5)."""
    from proxy.admission import holding
    from proxy.decision import By, Word
    from proxy.hold import State

    holding._ENDS[State.EXPIRED] = (Word.DENIED, By.REVIEWER)


def end_not_written() -> None:
    """Leave a hold without an end in the ledger where nobody waits for it (promise 7)."""
    from proxy.admission import Admission
    from proxy.decision import Word

    Admission._write_end = lambda self, hold: self.recorded(hold.id, Word.UNAVAILABLE)  # type: ignore


def grant_without_end() -> None:
    """Never count the uses of a grant."""
    from proxy.grant import Grants

    Grants._use = lambda self, id: None  # type: ignore[method-assign]


def uses_forgotten_at_a_start() -> None:
    """Begin each start with grants as they were given, whatever was used of them."""
    from proxy.grant import Grants

    take = Grants.take

    def unused(self: Grants, fields: Any) -> None:
        if fields.get("kind") != "decided":
            take(self, fields)

    Grants.take = unused  # type: ignore[method-assign]


def revoked_in_words_alone() -> None:
    """Write down that a grant is taken back, and let it stand."""
    from proxy.grant import Grants

    Grants.revoke = lambda self, id: None  # type: ignore[method-assign]


def budget_taken_by_the_answer() -> None:
    """Take out of a budget once upstream has answered, and not when the request leaves."""
    from proxy.admission.budgeting import Budgeting

    settle = Budgeting.settle
    waiting: dict[str, Any] = {}

    def note(self: Budgeting, fields: Any) -> bool:
        waiting[fields["id"]] = fields
        return "budgets" in fields

    def late(self: Budgeting, id: str, outcome: Any) -> bool:
        if fields := waiting.pop(id, None):
            self._budgets.learn(fields, self._now())
        return settle(self, id, outcome)

    Budgeting.take = note  # type: ignore[method-assign]
    Budgeting.settle = late  # type: ignore[method-assign]


def budget_never_given_back() -> None:
    """Keep what was taken for a request that upstream refused, or that never left."""
    from proxy.admission import budgeting

    budgeting.gives_back = lambda outcome: False


def budgets_begin_anew() -> None:
    """Forget at each start what was used of budgets."""
    from proxy import known
    from proxy.budget import Budgets

    known.spent = lambda ledger: Budgets()


def original_sent_for_an_edit() -> None:
    """Send what the agent asked for where a reviewer has approved something else (promise 3)."""
    from proxy.hold import Hold

    Hold.sends = lambda self, request: request  # type: ignore[method-assign]


def one_denial_is_enough() -> None:
    """Deny by one person where a rule wants two."""
    from proxy.hold import Event, Hold

    Hold._denied = lambda self, review: self.on(Event.DENY, review.reason)  # type: ignore[method-assign]


def excluded_counts() -> None:
    """Let everyone approve, whomever a rule excludes."""
    from proxy import people

    people._barred = lambda demand, reviewer, agent: False


def unsigned_counts() -> None:
    """Take an unsigned answer for that of whoever the kernel says it is (promise 10)."""
    from proxy.enrolment import Authority, Enrolment

    admit = Enrolment.admit

    async def anyone(self: Enrolment, call: Any, asking: Any, shown: Any) -> Authority:
        return Authority(asking) if call.proof is None else await admit(self, call, asking, shown)

    Enrolment.admit = anyone  # type: ignore[method-assign]


def nobody_told_as_a_denial() -> None:
    """Say that a person denied what nobody was there to decide."""
    from proxy.admission import hearing
    from proxy.decision import By, Word

    by_rule = hearing._by_rule

    def somebody(word: Word, verdict: Any) -> Any:
        said = by_rule(word, verdict)
        return replace(said, word=Word.DENIED, by=By.REVIEWER) if word is Word.UNATTENDED else said

    hearing._by_rule = somebody


def pause_for_those_who_wait() -> None:
    """Refuse by a pause what waits already, and go on with what comes."""
    from proxy.admission import Admission

    pause = Admission.pause

    def once(self: Admission, agent: str | None, by: str) -> Any:
        written = pause(self, agent, by)
        self.paused.clear()
        return written

    Admission.pause = once  # type: ignore[method-assign]


PLANTS: Final[Mapping[str, Callable[[], None]]] = {
    "release-before-write": release_before_write,
    "no-disconnect-watch": no_disconnect_watch,
    "one-reviewer-counts-twice": one_reviewer_counts_twice,
    "sent-again-when-the-answer-is-lost": sent_again_when_the_answer_is_lost,
    "silence-told-as-a-denial": silence_told_as_a_denial,
    "end-not-written": end_not_written,
    "grant-without-end": grant_without_end,
    "uses-forgotten-at-a-start": uses_forgotten_at_a_start,
    "revoked-in-words-alone": revoked_in_words_alone,
    "budget-taken-by-the-answer": budget_taken_by_the_answer,
    "budget-never-given-back": budget_never_given_back,
    "budgets-begin-anew": budgets_begin_anew,
    "original-sent-for-an-edit": original_sent_for_an_edit,
    "one-denial-is-enough": one_denial_is_enough,
    "excluded-counts": excluded_counts,
    "unsigned-counts": unsigned_counts,
    "nobody-told-as-a-denial": nobody_told_as_a_denial,
    "pause-for-those-who-wait": pause_for_those_who_wait,
}
