"""Agents that time out, come back, ask twice, and are told to ask again."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from proxy.action import Request, digest
from proxy.admission.recall import Recall
from proxy.decision import By, Decision, Happened, Outcome, Word
from proxy.errors import SluiceError
from proxy.hold import Reviewer, State
from proxy.ledger import Draft, UnavailableError, read
from proxy.ledger.past import recent
from proxy.ledger.verify import verify

from .conftest import POLICY, request

ADA, BOB = Reviewer("uid:1", "ada"), Reviewer("uid:2", "bob")
DEFERRED = POLICY.replace("hold: {timeout: 5s}", "hold: {timeout: 5s, wait: 1s, remember: 60s}")


class Attempt:
    """One connection of the agent, from its headers on."""

    def __init__(self, h: Any, hearing: Any, asked: Request) -> None:
        self.h, self.hearing = h, hearing
        self.waiting: asyncio.Task[Decision] = asyncio.create_task(hearing.judge(asked))

    async def leave(self) -> Decision:
        self.hearing.leave("the agent hung up")
        return await self.ends()

    async def ends(self) -> Decision:
        return await asyncio.wait_for(self.waiting, 10)


async def attempt(h: Any, asked: Request | None = None) -> Attempt:
    asked = asked or request()
    hearing = await h.admission.receive(replace(asked, body=None))
    one = Attempt(h, hearing, asked)
    await asyncio.sleep(0)
    return one


async def approve(h: Any, hold: Any, who: Reviewer = ADA) -> Any:
    return await h.admission.review(hold.id, who, approves=True, reason="", seen=hold.digest)


async def deny(h: Any, hold: Any, reason: str = "no") -> Any:
    return await h.admission.review(hold.id, ADA, approves=False, reason=reason, seen=hold.digest)


async def test_the_same_request_again_waits_on_under_the_same_hold(hall: Any) -> None:
    h = await hall()
    first = await attempt(h)
    hold = await h.pending()
    assert (await first.leave()).word is Word.ABANDONED
    assert h.admission.approvals.pending == ()
    second = await attempt(h)
    again = await h.pending()
    assert (again.id, again.attempts) == (hold.id, 2)
    await approve(h, again)
    decision = await second.ends()
    assert (decision.word, decision.hold) == (Word.APPROVED, hold.id)
    second.hearing.conclude(Outcome(Happened.COMPLETED, 200))
    kinds = [one["kind"] for one in await h.entries()]
    assert [kind for kind in kinds if kind not in ("genesis", "started", "probe")] == [
        "held", "unattended", "rejoined", "reviewed", "decided", "completed",
    ]  # fmt: skip
    (completed,) = await h.entries("completed")
    (decided,) = await h.entries("decided")
    assert completed["id"] == decided["id"] == decided["hold"] == hold.id
    assert verify(h.path, time.time()).ok


async def test_another_body_is_another_hold_and_its_difference_is_shown(hall: Any) -> None:
    h = await hall()
    first = await attempt(h, request(body=b"amount=5&charge=ch_1"))
    hold = await h.pending()
    await first.leave()
    second = await attempt(h, request(body=b"amount=7&charge=ch_1"))
    other = await h.pending()
    assert other.id != hold.id and other.attempts == 1
    assert other.differs == (f"not the same as {hold.id[:6]} (unattended):", "form.amount: 5 -> 7")
    await second.leave()


@pytest.mark.parametrize("state", [State.DEFERRED, State.SPENDABLE, State.DENIED, State.CUT_OFF])
async def test_another_body_shows_its_difference_wherever_the_earlier_one_stands(
    hall: Any, state: State
) -> None:
    """What comes in the shadow of an approval that is not spent yet most of all."""
    h = await hall(DEFERRED)
    await (await attempt(h)).leave()
    hold = await h.pending()
    match state:
        case State.SPENDABLE:
            await approve(h, hold)
        case State.DENIED:
            await deny(h, hold)
        case State.CUT_OFF:
            h.admission.approvals.cut(hold.id, "too many")
    assert h.admission.approvals.get(hold.id).state is state
    second = await attempt(h, request(body=b"amount=5000"))
    other = h.admission.approvals.pending[-1]
    stands = "approved, not yet sent" if state is State.SPENDABLE else state
    assert other.differs == (f"not the same as {hold.id[:6]} ({stands}):", "form.amount: 5 -> 5000")
    await second.leave()


async def test_another_agents_same_request_is_another_hold(hall: Any) -> None:
    h = await hall()
    first = await attempt(h)
    hold = await h.pending()
    await first.leave()
    second = await attempt(h, replace(request(), agent="uid:other"))
    assert (await h.pending()).id != hold.id
    await second.leave()


async def test_a_denial_answers_every_same_request_and_no_other(hall: Any) -> None:
    h = await hall()
    first = await attempt(h)
    hold = await h.pending()
    await deny(h, hold, "too much")
    assert (await first.ends()).word is Word.DENIED
    again = await (await attempt(h)).ends()
    assert (again.word, again.by, again.detail, again.reviewers) == (
        Word.DENIED, By.REVIEWER, "too much", ("ada",),
    )  # fmt: skip
    assert hold.id.encode() in again.answer().body
    assert h.admission.counts.held == 1
    other = await attempt(h, request(body=b"amount=6"))
    assert (await h.pending()).id != hold.id
    await other.leave()
    ends = [one for one in await h.entries("decided") if "hold" in one]
    assert len(ends) == 1, "a hold ends in exactly one entry"
    assert [one["again"] for one in await h.entries("decided") if "again" in one] == [hold.id]


async def test_a_restart_forgets_neither_who_said_no_nor_what_was_sent(hall: Any) -> None:
    h = await hall()
    await deny_one(h)
    sent = request(body=b"amount=7")
    other = await attempt(h, sent)
    await approve(h, await h.pending())
    await other.ends()
    other.hearing.conclude(Outcome(Happened.UNKNOWN))
    await h.entries()
    with read.reading(h.path) as connection:
        h.admission.recall = Recall(time.time, recent(connection, time.time()))
    again = await (await attempt(h)).ends()
    assert (again.word, again.detail, again.reviewers) == (Word.DENIED, "no", ("ada",))
    third = await attempt(h, sent)
    (notice,) = (await h.pending()).notices
    assert notice.startswith("the same was already sent") and notice.endswith("and its answer was lost")
    await third.leave()


async def test_a_denial_is_forgotten_in_time(hall: Any) -> None:
    h = await hall(POLICY.replace("hold: {timeout: 5s}", "hold: {remember: 1s}"))
    await deny_one(h)
    assert (await (await attempt(h)).ends()).word is Word.DENIED
    await asyncio.sleep(1.0)
    late = await attempt(h)
    await h.pending()
    await late.leave()


async def expires(h: Any, one: Attempt, hold: Any) -> Decision:
    return await one.ends()


async def leaves(h: Any, one: Attempt, hold: Any) -> Decision:
    left = await one.leave()
    assert h.admission.approvals.get(hold.id).state is State.ABANDONED
    return left


async def is_cut_off(h: Any, one: Attempt, hold: Any) -> Decision:
    h.admission.approvals.cut(hold.id, "too many requests wait")
    return await one.ends()


async def is_not_written(h: Any, one: Attempt, hold: Any) -> Decision:
    queue = h.ledger.queue

    def full(draft: Draft, **how: bool) -> Any:
        if draft.kind == "decided":
            raise UnavailableError()
        return queue(draft, **how)

    h.ledger.queue = full
    try:
        with pytest.raises(SluiceError, match="could not be written down"):
            await approve(h, hold)
        return await one.ends()
    finally:
        h.ledger.queue = queue


@pytest.mark.parametrize(
    ("ends", "word"),
    [
        (expires, Word.EXPIRED),
        (leaves, Word.ABANDONED),
        (is_cut_off, Word.UNAVAILABLE),
        (is_not_written, Word.UNAVAILABLE),
    ],
)
async def test_what_nobody_denied_is_asked_anew_also_after_a_restart(
    hall: Any, ends: Any, word: Word
) -> None:
    h = await hall(POLICY.replace("hold: {timeout: 5s}", "hold: {timeout: 1s, rejoin: 0, remember: 10m}"))
    one = await attempt(h)
    hold = await h.pending()
    assert (await ends(h, one, hold)).word is word
    second = await attempt(h)
    again = await h.pending()
    assert (again.id != hold.id, again.attempts, again.notices, again.state) == (True, 1, (), State.PENDING)
    await second.leave()
    await h.entries()
    with read.reading(h.path) as connection:
        h.admission.recall = Recall(time.time, recent(connection, time.time()))
    third = await attempt(h)
    assert (await h.pending()).id not in (hold.id, again.id)
    await approve(h, await h.pending())
    assert (await third.ends()).word is Word.APPROVED


async def deny_one(h: Any) -> None:
    first = await attempt(h)
    await deny(h, await h.pending())
    await first.ends()


async def test_what_was_already_sent_is_said_first(hall: Any) -> None:
    h = await hall()
    first = await attempt(h)
    await approve(h, await h.pending())
    await first.ends()
    first.hearing.conclude(Outcome(Happened.COMPLETED, 200))
    second = await attempt(h)
    (notice,) = (await h.pending()).notices
    assert notice.startswith("the same was already sent ") and notice.endswith("UTC, answered 200")
    third = await attempt(h)
    assert any("also waits as" in notice for notice in h.admission.approvals.pending[1].notices)
    await second.leave()
    await third.leave()


async def test_two_same_requests_at_once_are_two_holds_and_one_approval_is_one_request(hall: Any) -> None:
    h = await hall()
    both = [await attempt(h), await attempt(h)]
    first, second = h.admission.approvals.pending
    assert first.id != second.id and first.asked == second.asked
    await approve(h, first)
    assert (await both[0].ends()).word is Word.APPROVED
    assert not both[1].waiting.done()
    await both[1].leave()


@pytest.mark.parametrize("stranger", ["uid:other", None])
async def test_nobody_else_spends_what_was_approved(hall: Any, stranger: str | None) -> None:
    h = await hall(DEFERRED)
    await (await attempt(h)).leave()
    hold = await h.pending()
    assert (await approve(h, hold)).state is State.SPENDABLE
    other = await attempt(h, replace(request(), agent=stranger))
    assert [one.id for one in h.admission.approvals.pending] == [(await h.pending()).id] != [hold.id]
    assert not other.waiting.done() and h.admission.approvals.get(hold.id).state is State.SPENDABLE
    changed = await attempt(h, request(body=b"amount=5&more=1"))
    assert len(h.admission.approvals.pending) == 2 and not changed.waiting.done()
    assert (await (await attempt(h)).ends()).hold == hold.id
    await other.leave()
    await changed.leave()


async def test_a_client_that_cannot_wait_is_told_to_ask_again_and_spends_the_approval_once(hall: Any) -> None:
    h = await hall(DEFERRED)
    first = await attempt(h)
    pending = await first.ends()
    answer = pending.answer()
    assert pending.word is Word.PENDING and answer.status == 503
    assert (b"retry-after", b"5") in answer.headers and b"http://sluice.invalid/holds/" in answer.body
    hold = await h.pending()
    assert hold.state is State.DEFERRED
    assert (await approve(h, hold)).state is State.SPENDABLE
    second = await attempt(h)
    spent = await second.ends()
    assert (spent.word, spent.hold, spent.reviewers) == (Word.APPROVED, hold.id, ("ada",))
    third = await attempt(h)
    new = await h.pending()
    assert new.id != hold.id and "already sent" in new.notices[0]
    await third.leave()
    assert [one["decision"] for one in await h.entries("decided")] == ["approved"]


PREFERS = {
    "respond-async": 202,
    "Respond-Async": 202,
    "return=minimal, respond-async, wait=0": 202,
    "respond-async; foo=bar": 202,
    "": 503,
    "wait=1": 503,
    "return=minimal": 503,
    "respond-async=no": 503,
    "x-respond-async": 503,
    "handling=lenient; respond-async": 503,
    'note="a, respond-async, b"': 503,
    'note="a\\", respond-async, b"': 503,
    'note="a, respond-async': 503,
}


async def test_202_is_for_those_alone_that_prefer_it(hall: Any) -> None:
    h = await hall(DEFERRED)
    asked = [request(body=b"amount=%d" % at, prefer=prefer) for at, prefer in enumerate(PREFERS)]
    told = [await one.ends() for one in [await attempt(h, one) for one in asked]]
    assert {one.word for one in told} == {Word.PENDING}
    assert dict(zip(PREFERS, (one.answer().status for one in told), strict=True)) == PREFERS


async def test_a_preference_defers_nothing_that_its_rule_does_not(hall: Any) -> None:
    h = await hall()
    waits = await attempt(h, request(prefer="respond-async, wait=0"))
    hold = await h.pending()
    assert (hold.state, waits.waiting.done()) == (State.PENDING, False)
    await waits.leave()


async def test_an_approval_that_is_not_spent_ends_as_that(hall: Any) -> None:
    h = await hall(DEFERRED.replace("remember: 60s", "remember: 1s"))
    first = await attempt(h)
    hold = await h.pending()
    await first.leave()
    await approve(h, hold)
    await asyncio.wait_for(h.admission.approvals.settled(hold.id), 5)
    (decided,) = await h.entries("decided")
    assert (decided["decision"], decided["by"], decided["hold"]) == ("unspent", "agent", hold.id)


async def test_an_approval_under_a_rule_that_changed_lapses(hall: Any) -> None:
    from .conftest import policy

    h = await hall(DEFERRED)
    first = await attempt(h)
    hold = await h.pending()
    await first.leave()
    await approve(h, hold)
    h.admission.change_policy(policy(DEFERRED.replace("timeout: 5s", "timeout: 4s")), "ada", "")
    assert h.admission.approvals.get(hold.id).state is State.UNSPENT
    again = await attempt(h)
    assert (await h.pending()).id != hold.id
    await again.leave()


async def test_a_person_may_deny_what_no_agent_waits_for(hall: Any) -> None:
    h = await hall(DEFERRED)
    first = await attempt(h)
    hold = await h.pending()
    await first.leave()
    await deny(h, hold, "never")
    assert (await (await attempt(h)).ends()).detail == "never"
    assert [one["decision"] for one in await h.entries("decided")] == ["denied", "denied"]


async def test_a_watch_window_proceeds_and_nobody_is_said_to_have_approved_it(hall: Any) -> None:
    h = await hall(POLICY.replace("then: watch", "then: watch\n    window: 1s"))
    asked = request("POST", "/v1/list", b"a=1")
    first = await attempt(h, asked)
    assert (await h.pending()).verdict.window == 1.0
    decision = await first.ends()
    assert (decision.word, decision.by, decision.reviewers) == (Word.WATCHED, By.DEADLINE, ())
    stopped = await attempt(h, asked)
    await deny(h, await h.pending(), "stop")
    assert (await stopped.ends()).word is Word.DENIED


async def test_a_window_of_nothing_only_tells(hall: Any) -> None:
    h = await hall(POLICY.replace("then: watch", "then: watch\n    window: 0"))
    decision = await (await attempt(h, request("POST", "/v1/list", b"a=1"))).ends()
    assert (decision.word, decision.by, decision.reviewers) == (Word.WATCHED, By.RULE, ())
    assert h.admission.counts.held == 0 and await h.entries("held") == []
    (decided,) = await h.entries("decided")
    assert (decided["decision"], decided["by"]) == ("watched", "rule")


async def test_nobody_there_refuses_at_once_where_the_rule_says_so(hall: Any) -> None:
    h = await hall(POLICY.replace("hold: {timeout: 5s}", "hold: {nobody: refuse}"))
    alone = await (await attempt(h)).ends()
    assert (alone.word, alone.by, alone.answer().status) == (Word.UNATTENDED, By.RULE, 403)
    h.admission.present = lambda: (ADA,)
    attended = await attempt(h)
    await approve(h, await h.pending())
    assert (await attended.ends()).word is Word.APPROVED


async def test_an_idempotency_key_is_sent_and_reviewed(hall: Any) -> None:
    h = await hall(POLICY.replace("hold: {timeout: 5s}", "hold: {idempotency: Idempotency-Key}"))
    first = await attempt(h)
    hold = await h.pending()
    with pytest.raises(SluiceError, match="not for the request that you saw"):
        await h.admission.review(hold.id, ADA, approves=True, reason="", seen=digest(request()))
    await first.leave()
    second = await attempt(h, request(user_agent="second attempt"))
    await approve(h, await h.pending())
    sends = (await second.ends()).sends
    assert sends is not None and sends.headers[-1] == hold.added[0] and sends.header(b"user-agent")


async def test_a_gate_that_stops_ends_what_no_agent_waits_for(hall: Any) -> None:
    h = await hall()
    first = await attempt(h)
    await h.pending()
    await first.leave()
    await h.admission.close(5)
    assert h.admission.approvals.open_holds == ()
    (decided,) = await h.entries("decided")
    assert (decided["decision"], decided["by"]) == ("unavailable", "fault")


async def test_more_time_is_given_by_those_who_may_answer(hall: Any) -> None:
    h = await hall()
    first = await attempt(h)
    hold = await h.pending()
    assert h.admission.extend(hold.id, ADA, 60).deadline == hold.deadline + 60
    with pytest.raises(SluiceError, match="cannot be added"):
        h.admission.extend(hold.id, ADA, 0)
    await first.leave()
    assert [one["by"] for one in await h.entries("extended")] == ["ada"]
