"""
What admission writes down, and who waits for that.

Two promises are kept here: what opens is written before it leaves, and every hold ends in exactly
one entry, whoever waits on it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from proxy import records
from proxy.admission.budgeting import Budgeting
from proxy.admission.holding import CANNOT_WRITE, decision_of, unwritten
from proxy.admission.recall import Recall
from proxy.approvals import Approvals
from proxy.decision import Decision, Outcome, Word
from proxy.errors import Exit, SluiceError, fail
from proxy.hold import Hold, State
from proxy.ledger import Draft, Fields, Ledger, UnavailableError

log = logging.getLogger("sluice")


@dataclass(slots=True)
class Counts:
    """How many requests were let through, held and refused since the start."""

    allowed: int = 0
    held: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Rules:
    """
    How this gate admits: `shadow` lets everything flow, `strict` waits for every entry, `counts`
    writes allowed reads down as numbers.
    """

    shadow: bool = False
    strict: bool = False
    body_limit: int = 10 * 1024 * 1024
    counts: bool = False


PLAIN: Final = Rules()


class Writing:
    """The part of an admission that writes: `_recorded` are the holds whose end somebody waits for."""

    approvals: Approvals
    ledger: Ledger
    rules: Rules
    recall: Recall
    budgeting: Budgeting
    released: Callable[[Fields], None]
    counts: Counts
    _recorded: dict[str, asyncio.Future[Word]]
    _answers: dict[str, list[asyncio.Future[int]]]

    def write_held(self, hold: Hold) -> asyncio.Future[int] | None:
        """
        Write down that a hold has opened; None where that cannot be.

        A hold that is not written down is cut off: nobody may decide what leaves no trace.
        """
        try:
            ticket = self.ledger.queue(records.held(hold), patient=True)
        except SluiceError:
            self.approvals.cut(hold.id, CANNOT_WRITE)
            return None
        id = hold.id  # and not the hold: it carries all that was parsed
        ticket.add_done_callback(lambda done: self._written(id, done))
        return ticket

    def _ordered(self, draft: Draft) -> asyncio.Future[int]:
        """
        Write down what has taken effect already, for whoever waits until it holds over a restart.

        Where the disk fails it is written once it can be; the future raises UnavailableError.
        """
        try:
            ticket = self.ledger.queue(draft, patient=True)
        except UnavailableError as error:
            ticket = asyncio.get_running_loop().create_future()
            ticket.set_exception(error)
        ticket.add_done_callback(lambda done: self._note_again(draft, done))
        return ticket

    def _note_again(self, draft: Draft, done: asyncio.Future[int]) -> None:
        if not done.cancelled() and done.exception() is not None:
            self.ledger.note(draft)

    def _on_hold(self, what: str, hold: Hold) -> None:
        """Write down what happens to a hold on which nobody waits who would."""
        if what == "moved":
            draft = records.moved(hold)
            if draft is not None:
                self.ledger.note(draft)
        if what in ("moved", "settled"):
            self.recall.ended(hold)
        if hold.state is not State.PENDING:
            self.budgeting.release(hold.id)
        if what == "settled" and not self.approvals.attended(hold.id):
            self._write_end(hold)

    def _write_end(self, hold: Hold) -> None:
        decision = decision_of(hold, "")
        self.counts.refused += 1
        draft = records.decided(hold.id, hold.action, hold.verdict, decision, hold.verdict.policy)
        try:
            ticket = self.ledger.queue(draft)
        except SluiceError:
            self.ledger.note(draft)  # nothing leaves by it, and it has happened
            self.recorded(hold.id, Word.UNAVAILABLE)
            return
        ticket.add_done_callback(lambda done: self._end_written(hold.id, decision.word, done))

    def _end_written(self, id: str, word: Word, ticket: asyncio.Future[int]) -> None:
        failed = ticket.cancelled() or ticket.exception() is not None
        self.recorded(id, Word.UNAVAILABLE if failed else word)

    def _written(self, id: str, ticket: asyncio.Future[int]) -> None:
        """What could not be written about a hold that is open ends it."""
        if ticket.cancelled() or ticket.exception() is not None:
            self.approvals.cut(id, CANNOT_WRITE)

    def answers_lost(self, id: str) -> bool:
        """
        Whether an answer to this hold could not be written: then a release may not be written either.

        Answers that are not on disk yet come before it there, and if they fail, so does it.
        """
        answers = self._answers.get(id, ())
        return any(one.done() and (one.cancelled() or one.exception() is not None) for one in answers)

    async def refused(self, decision: Decision, draft: Draft) -> Decision:
        """A refusal is enforced whether or not it can be written; it is written if it can."""
        self.counts.refused += 1
        try:
            ticket = self.ledger.queue(draft)
        except SluiceError:
            log.warning("a refusal could not be written down at once: %s", decision.word)
            self._note_end(draft)
            return decision
        try:
            await ticket
        except SluiceError:
            log.warning("a refusal could not be written down: %s", decision.word)
        return decision

    async def opened(self, decision: Decision, draft: Draft, *, wait: bool) -> Decision:
        """
        Written before released: returns the decision once its entry is queued, and on disk
        where `wait` says so; returns `unavailable` instead where that fails.

        What it takes of budgets is taken before anything waits, and is on disk before it leaves.
        """
        waits = self.budgeting.take(draft.fields) or wait or self.rules.strict
        instead = unwritten(decision)
        try:
            ticket = self.ledger.queue(draft, patient=waits)
        except SluiceError:
            ended = {"decision": str(instead.word), "by": str(instead.by), "why": instead.why}
            self._note_end(replace(draft, fields={**draft.fields, **ended, "budgets": []}))
            self.counts.refused += 1
            self.budgeting.release(str(draft.fields["id"]))
            return instead
        try:
            if waits:
                await ticket
            else:
                ticket.add_done_callback(_look_at)
        except SluiceError:
            self.counts.refused += 1
            self.budgeting.release(str(draft.fields["id"]))
            return instead
        self.counts.allowed += 1
        self.released(draft.fields)
        return decision

    def _note_end(self, draft: Draft) -> None:
        """
        What the ledger did not take: the end of a hold is written later, where it still can be.

        Only of holds: they are bounded, and refusals without one are not.
        """
        if draft.fields.get("hold"):
            with suppress(SluiceError):  # an entry that does not fit will never fit
                self.ledger.note(draft)

    def concluded(self, id: str, decision: Decision, outcome: Outcome) -> None:
        """What happened to a request that was let through: written down, and its budgets settled."""
        returned = self.budgeting.settle(id, outcome)
        self.ledger.note(records.outcome(id, decision, outcome, returned=returned))

    def expect_record(self, id: str) -> None:
        """Let whoever answers this hold wait until its decision is on disk."""
        recorded: asyncio.Future[Word] = asyncio.get_running_loop().create_future()
        recorded.add_done_callback(_look_at)
        self._recorded[id] = recorded

    def recorded(self, id: str, word: Word) -> None:
        """Tell whoever answered this hold how it ended, now that it is on disk."""
        self.recall.decided(id, word)
        self._answers.pop(id, None)
        recorded = self._recorded.pop(id, None)
        if recorded is None or recorded.done():
            return
        if word is Word.UNAVAILABLE:
            recorded.set_exception(UnavailableError())
        else:
            recorded.set_result(word)


def _look_at(ticket: asyncio.Future[int] | asyncio.Future[Word]) -> None:
    """Take note of a failure that nobody waits for: the ledger has said so itself."""
    if not ticket.cancelled():
        ticket.exception()


async def on_disk(ticket: asyncio.Future[int], otherwise: str) -> None:
    """Wait until what has taken effect is on disk; SluiceError (exit 1), which says what is `otherwise`."""
    try:
        await ticket
    except UnavailableError:
        why = "the ledger cannot be written"
        raise fail(otherwise, why, "see the console of sluice up", exit=Exit.NO) from None
