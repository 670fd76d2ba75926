"""Attacks on holds: interleavings by which an agent, or chance, could get more than was decided."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from proxy.approvals import Approvals
from proxy.approvals.kept import Limits
from proxy.decision import By, Happened, Outcome, Word
from proxy.errors import SluiceError
from proxy.hold import State
from proxy.ledger import Draft, UnavailableError
from proxy.ledger.verify import verify

from .conftest import POLICY, policy, request
from .test_waiting import ADA, BOB, DEFERRED, Attempt, approve, attempt, deny

DONE = Outcome(Happened.COMPLETED, 200)
LOST = Outcome(Happened.FAILED, why="nobody listens")
PAY = """
version: 1
default: {read: allow, write: hold}
rules:
  - name: payments
    why: Someone looks at all of them.
    match: {host: api.example.com, method: POST, path: /v1/pay}
    then: hold
    hold: {wait: 1s, timeout: 30s, remember: 60s}
  - name: large
    why: Finance looks at what is over a budget.
    match: {host: api.example.com, method: POST, path: [/v1/pay, /v1/other]}
    then: allow
    budget: {count: 1, per: 1h, over: hold}
    hold: {reviewers: [finance], wait: 1s, timeout: 30s, remember: 60s}
"""
WINDOW = POLICY.replace("then: watch", "then: watch\n    window: 2s")


class SlowDisk:
    """What stands before a ledger: tickets of a kind come late, or fail, as the disk says."""

    def __init__(self, h: Any, kind: str) -> None:
        self.h, self.kind = h, kind
        self.tickets: list[asyncio.Future[int]] = []
        self._queue: Callable[..., asyncio.Future[int]] = h.ledger.queue
        h.ledger.queue = self

    def __call__(self, draft: Draft, **how: bool) -> asyncio.Future[int]:
        written = self._queue(draft, **how)
        if draft.kind != self.kind:
            return written
        ticket: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.tickets.append(ticket)
        return ticket

    async def reached(self) -> None:
        async with asyncio.timeout(5):
            while not self.tickets:
                await asyncio.sleep(0.001)

    def answer(self) -> None:
        self.h.ledger.queue = self._queue
        for ticket in self.tickets:
            if not ticket.done():
                ticket.set_result(1)


async def pending(h: Any, count: int) -> Any:
    async with asyncio.timeout(5):
        while len(h.admission.approvals.pending) < count:
            await asyncio.sleep(0.001)
    return h.admission.approvals.pending


async def torn_down(one: Attempt) -> None:
    one.waiting.cancel()
    await asyncio.wait([one.waiting], timeout=5)


# -- who may approve, and what for ---------------------------------------------------------


async def test_an_approval_does_not_outlive_the_budget_that_it_was_given_under(hall: Any) -> None:
    h = await hall(PAY)
    asked = request(target="/v1/pay")
    assert (await (await attempt(h, asked)).ends()).word is Word.PENDING
    (hold,) = await pending(h, 1)
    assert (await approve(h, hold)).state is State.SPENDABLE
    other = await attempt(h, request(target="/v1/other"))
    assert other.hearing.decision is None or other.hearing.decision.word is Word.ALLOWED
    await other.ends()
    with pytest.raises(SluiceError):
        await approve(h, hold, BOB)
    again = await attempt(h, asked)
    await asyncio.wait([again.waiting], timeout=0.2)
    if again.waiting.done():
        decision = again.waiting.result()
        assert not decision.word.opens, f"released by {decision.reviewers}"
    await again.leave()


async def test_no_digest_at_all_is_not_the_digest_of_this_request(hall: Any) -> None:
    h = await hall()
    one = await attempt(h)
    hold = await h.pending()
    for seen in (b"", b"x", hold.digest[:-1], hold.digest + b"x"):
        with pytest.raises(SluiceError, match="not for the request that you saw"):
            await h.admission.review(hold.id, ADA, approves=True, reason="", seen=seen)
    await one.leave()


async def test_the_deferred_may_not_be_more_than_so_many(hall: Any) -> None:
    approvals = Approvals(time.time, Limits(holds=3))
    h = await hall(DEFERRED)
    h.admission.approvals = approvals
    approvals.watch(h.admission._on_hold)
    for at in range(10):
        one = await attempt(h, request("POST", f"/v1/refunds?at={at}", b""))
        await one.leave()
    assert len(approvals.open_holds) <= 4


async def test_headers_count_as_what_a_deferred_hold_keeps(hall: Any) -> None:
    h = await hall(DEFERRED)
    approvals = h.admission.approvals = Approvals(time.time, Limits(size=100_000))
    approvals.watch(h.admission._on_hold)
    for at in range(5):
        one = await attempt(h, request("POST", f"/v1/refunds?at={at}", b"", x_a="a" * 50_000))
        await one.leave()
    assert len(approvals.open_holds) <= 2


async def test_twins_that_are_left_count_one_by_one(hall: Any) -> None:
    h = await hall()
    approvals = h.admission.approvals = Approvals(time.time, Limits(holds=3))
    approvals.watch(h.admission._on_hold)
    many = [await attempt(h) for _ in range(10)]
    for one in many:
        await one.leave()
    assert len(approvals.open_holds) <= 4


async def test_of_twins_the_approved_one_is_spent_whichever_left_last(hall: Any) -> None:
    h = await hall(DEFERRED)
    first, second = await attempt(h), await attempt(h)
    one, two = await pending(h, 2)
    await first.leave()
    await approve(h, one)
    await second.leave()
    third = await attempt(h)
    assert (await third.ends()).word is Word.APPROVED
    assert h.admission.approvals.get(two.id).state is State.DEFERRED


async def test_twins_that_are_left_are_each_found_again(hall: Any) -> None:
    h = await hall()
    both = [await attempt(h), await attempt(h)]
    held = {hold.id for hold in await pending(h, 2)}
    for one in both:
        await one.leave()
    again = [await attempt(h), await attempt(h)]
    assert {hold.id for hold in await pending(h, 2)} == held
    for one in again:
        await one.leave()


async def test_nobody_can_say_who_asks_so_nobody_can_come_back(hall: Any) -> None:
    h = await hall(DEFERRED)
    unknown = replace(request(), agent=None)
    await (await attempt(h, unknown)).leave()
    (hold,) = await pending(h, 1)
    await approve(h, hold)
    other = await attempt(h, unknown)
    await asyncio.wait([other.waiting], timeout=0.2)
    assert not other.waiting.done()
    await other.leave()


# -- windows -------------------------------------------------------------------------------


async def test_a_window_does_not_pass_while_the_agent_is_away(hall: Any) -> None:
    h = await hall(WINDOW)
    asked = request("POST", "/v1/list", b"a=1")
    first = await attempt(h, asked)
    await pending(h, 1)
    await first.leave()
    await asyncio.sleep(1.5)
    began = time.monotonic()
    second = await attempt(h, asked)
    assert (await second.ends()).word is Word.WATCHED
    assert time.monotonic() - began > 1.5, "people could not see it for as long as the rule says"


# -- one attempt's end, another's beginning ------------------------------------------------


async def test_a_connection_that_is_torn_down_late_does_not_send_the_next_one_away(hall: Any) -> None:
    h = await hall()
    first = await attempt(h)
    hold = await h.pending()
    first.hearing.leave("the agent hung up")
    hearing = await h.admission.receive(replace(request(), body=None))
    second = Attempt(h, hearing, request())
    await asyncio.sleep(0)
    await torn_down(first)
    first.hearing.leave("once more")
    assert h.admission.approvals.get(hold.id).state is State.PENDING
    await approve(h, await h.pending())
    assert (await second.ends()).word is Word.APPROVED


async def test_who_was_told_to_ask_again_does_not_take_the_next_one_along(hall: Any) -> None:
    h = await hall(DEFERRED)
    first = await attempt(h)
    assert (await first.ends()).word is Word.PENDING
    second = await attempt(h)
    hold = await h.pending()
    first.hearing.leave("the connection closed after the answer")
    assert h.admission.approvals.get(hold.id).state is State.PENDING
    await second.leave()


async def test_what_left_too_late_and_is_torn_down_has_no_outcome(hall: Any) -> None:
    h = await hall()
    one = await attempt(h)
    hold = await h.pending()
    disk = SlowDisk(h, "decided")
    answer = asyncio.create_task(approve(h, hold))
    await asyncio.sleep(0)
    one.hearing.leave("the agent hung up")
    await disk.reached()
    await torn_down(one)
    disk.answer()
    await asyncio.wait([answer], timeout=5)
    (decided,) = await h.entries("decided")
    assert decided["decision"] == "abandoned"
    assert await h.entries("failed") == []
    assert verify(h.path, time.time()).ok


async def test_what_a_grant_let_go_and_is_torn_down_was_not_sent(hall: Any) -> None:
    from proxy.grant import Limits as GrantLimits

    h = await hall()
    first = await attempt(h)
    hold = await h.pending()
    await h.admission.granting.grant(hold.id, ADA, reason="", seen=hold.digest, limits=GrantLimits(60, 3))
    await first.ends()
    first.hearing.conclude(DONE)
    disk = SlowDisk(h, "decided")
    second = await attempt(h)
    await disk.reached()
    await torn_down(second)
    disk.answer()
    assert [one["id"] for one in await h.entries("failed")] == [second.hearing._id]


async def test_a_no_that_comes_while_a_grant_is_written_ends_it(hall: Any) -> None:
    from proxy.grant import Limits as GrantLimits

    h = await hall()
    first = await attempt(h, request(body=b"amount=5&note=a"))
    hold = await h.pending()
    disk = SlowDisk(h, "granted")
    like = h.admission.granting.grant(hold.id, ADA, reason="", seen=hold.digest, limits=GrantLimits(60, 3))
    granting = asyncio.create_task(like)
    await disk.reached()
    await first.ends()
    second = await attempt(h, request(body=b"amount=5&note=b"))
    await deny(h, await h.pending(), "enough")
    await second.ends()
    disk.answer()
    await granting
    assert h.admission.granting.standing == ()
    third = await attempt(h, request(body=b"amount=5&note=c"))
    await h.pending()
    await third.leave()


async def test_an_opening_that_was_not_written_lets_nothing_leave(hall: Any) -> None:
    h = await hall()
    disk = SlowDisk(h, "held")
    one = await attempt(h)
    hold = await h.pending()
    answer = asyncio.create_task(approve(h, hold))
    await asyncio.sleep(0.05)
    (ticket,) = disk.tickets
    ticket.set_exception(UnavailableError())
    assert not (await one.ends()).word.opens
    await asyncio.wait([answer], timeout=5)
    assert answer.exception() is not None


async def test_an_answer_that_got_lost_lets_nothing_leave_though_the_disk_is_well_again(hall: Any) -> None:
    h = await hall()
    one = await attempt(h)
    hold = await h.pending()
    await h.entries()
    queue = h.ledger.queue

    def lost(draft: Draft, **how: bool) -> asyncio.Future[int]:
        ticket: asyncio.Future[int] = queue(draft, **how)
        if draft.kind == "reviewed":
            ticket = asyncio.get_running_loop().create_future()
            ticket.set_exception(UnavailableError())
        return ticket

    h.ledger.queue = lost
    answer = asyncio.create_task(approve(h, hold))
    assert (await one.ends()).word is Word.UNAVAILABLE
    await asyncio.wait([answer], timeout=5)
    assert "nothing was sent" in str(answer.exception())


async def test_what_ends_by_being_torn_down_is_written_down_once(hall: Any) -> None:
    h = await hall(DEFERRED)
    approvals = h.admission.approvals = Approvals(time.time, Limits(holds=0))
    approvals.watch(h.admission._on_hold)
    one = await attempt(h)
    hold = await h.pending()
    await torn_down(one)
    assert approvals.get(hold.id).state is State.CUT_OFF
    (decided,) = await h.entries("decided")
    assert (decided["decision"], decided["hold"]) == ("unavailable", hold.id)
    assert h.admission._recorded == {}


async def test_many_are_answered_at_once_and_each_answer_arrives(hall: Any) -> None:
    h = await hall()
    many = [await attempt(h, request(body=b"amount=%d" % at)) for at in range(600)]
    holds = await pending(h, 600)
    answers = await asyncio.gather(*(approve(h, hold) for hold in holds), return_exceptions=True)
    assert [one for one in answers if isinstance(one, BaseException)] == []
    assert {(await one.ends()).word for one in many} == {Word.APPROVED}


# -- what is told --------------------------------------------------------------------------


async def test_a_rule_that_refuses_is_not_said_to_be_a_reviewer(hall: Any) -> None:
    h = await hall()
    one = await attempt(h)
    await h.pending()
    never = POLICY.replace("then: hold\n    risk", "then: deny\n    risk").replace(
        "    hold: {timeout: 5s}\n", ""
    )
    h.admission.change_policy(policy(never), "ada", "")
    decision = await one.ends()
    assert (decision.word, decision.by) == (Word.REFUSED, By.RULE)


async def test_one_that_failed_does_not_hide_that_the_same_was_sent(hall: Any) -> None:
    h = await hall()
    both = [await attempt(h), await attempt(h)]
    for hold in await pending(h, 2):
        await approve(h, hold)
    for one in both:
        await one.ends()
    both[0].hearing.conclude(LOST)
    both[1].hearing.conclude(DONE)
    third = await attempt(h)
    (hold,) = await pending(h, 1)
    assert [notice for notice in hold.notices if notice.endswith("answered 200")]
    await third.leave()


async def test_what_the_last_one_failed_to_do_the_one_before_had_done(hall: Any) -> None:
    h = await hall()
    both = [await attempt(h), await attempt(h)]
    for hold in await pending(h, 2):
        await approve(h, hold)
    for one in both:
        await one.ends()
    both[0].hearing.conclude(DONE)
    both[1].hearing.conclude(LOST)
    third = await attempt(h)
    (hold,) = await pending(h, 1)
    assert [notice for notice in hold.notices if notice.endswith("answered 200")]
    await third.leave()


async def test_one_key_is_sent_and_it_is_the_one_that_was_reviewed(hall: Any) -> None:
    h = await hall(POLICY.replace("hold: {timeout: 5s}", "hold: {idempotency: Idempotency-Key}"))
    first = await attempt(h)
    hold = await h.pending()
    await first.leave()
    second = await attempt(h, request(idempotency_key="the agent's own"))
    await approve(h, await h.pending())
    sends = (await second.ends()).sends
    assert sends is not None
    assert sends.header(b"idempotency-key") == [value for _, value in hold.added]


async def test_a_window_that_was_not_written_down_takes_nothing_out_of_a_budget(hall: Any) -> None:
    text = WINDOW.replace("window: 2s", "window: 2s\n    budget: {count: 1, per: 1h, over: deny}")
    h = await hall(text)
    queue = h.ledger.queue

    def full(draft: Draft, **_: Any) -> Any:
        if draft.kind == "held":
            raise UnavailableError()
        return queue(draft)

    h.ledger.queue = full
    asked = request("POST", "/v1/list", b"a=1")
    assert (await (await attempt(h, asked)).ends()).word is Word.UNAVAILABLE
    h.ledger.queue = queue
    assert (await (await attempt(h, asked)).ends()).word is Word.WATCHED
