"""Asking people and waiting."""

import asyncio
import time

import pytest

from proxy.action import Request, digest
from proxy.approvals import Approvals
from proxy.decode import decode
from proxy.errors import SluiceError
from proxy.hold import GoneError, Hold, Review, Reviewer, State
from proxy.policy.verdict import Demand, Effect, Verdict

REQUEST = Request("uid:me", b"POST", "https", "api.example.com", 443, b"/v1/refunds", (), b"x" * 1000)
ADA, BOB = Reviewer("uid:1", "ada"), Reviewer("uid:2", "bob")


def opened(approvals: Approvals, id: str = "aaaa1", timeout: float = 600.0, needed: int = 1) -> Hold:
    demand = Demand("r", approvals=needed)
    verdict = Verdict(Effect.HOLD, "r", ("r",), "why", "0" * 64, demands=(demand,), timeout=timeout)
    return approvals.open(id, decode(REQUEST), verdict, digest(REQUEST))


def yes(who: Reviewer) -> Review:
    return Review(who, True, "", digest(REQUEST), time.time())


async def test_of_two_answers_at_the_same_moment_one_wins_and_the_other_is_told() -> None:
    approvals = Approvals(time.time)
    hold = opened(approvals)
    waiter = asyncio.create_task(approvals.settled(hold.id))
    assert approvals.review(hold.id, yes(ADA)).state is State.APPROVED
    with pytest.raises(GoneError, match="approved by ada"):
        approvals.review(hold.id, Review(BOB, False, "", digest(REQUEST), 0.0))
    assert (await waiter).by == ("ada",)


async def test_silence_refuses() -> None:
    approvals = Approvals(time.time)
    hold = opened(approvals, timeout=0.02)
    assert (await asyncio.wait_for(approvals.settled(hold.id), 2)).state is State.EXPIRED
    with pytest.raises(GoneError, match="expired"):
        approvals.review(hold.id, yes(ADA))


async def test_an_agent_that_left_can_no_longer_be_answered() -> None:
    approvals = Approvals(time.time)
    hold = opened(approvals)
    approvals.leave(hold.id, "the agent hung up")
    approvals.leave(hold.id, "again")
    assert approvals.get(hold.id).state is State.ABANDONED
    with pytest.raises(GoneError, match="abandoned: the agent hung up"):
        approvals.review(hold.id, yes(ADA))


async def test_ended_holds_are_found_for_a_while_without_their_bodies() -> None:
    approvals = Approvals(time.time)
    for number in range(600):
        hold = opened(approvals, f"{number:05}")
        approvals.cut(hold.id, "stopping")
    assert approvals.pending == ()
    assert approvals.find("00599").action.request.body is None
    with pytest.raises(SluiceError, match="no hold"):
        approvals.find("00000")


async def test_a_prefix_must_be_unique() -> None:
    approvals = Approvals(time.time)
    opened(approvals, "ab1")
    opened(approvals, "ab2")
    assert approvals.find("ab1").id == "ab1"
    with pytest.raises(SluiceError, match="beginning of 2 holds"):
        approvals.find("ab")
    for prefix in ("", "x"):
        with pytest.raises(SluiceError, match="no hold"):
            approvals.find(prefix)


async def test_watchers_hear_of_every_step_in_order() -> None:
    approvals = Approvals(time.time)
    heard: list[tuple[str, State]] = []
    end = approvals.watch(lambda what, hold: heard.append((what, hold.state)))
    hold = opened(approvals, needed=2)
    approvals.review(hold.id, yes(ADA))
    approvals.review(hold.id, yes(BOB))
    end()
    opened(approvals, "other")
    assert heard == [("opened", State.PENDING), ("reviewed", State.PENDING), ("settled", State.APPROVED)]


async def test_new_demands_let_earlier_approvals_lapse() -> None:
    approvals = Approvals(time.time)
    hold = opened(approvals, needed=2)
    approvals.review(hold.id, yes(ADA))
    stricter = Verdict(
        Effect.HOLD, "s", ("s",), "why", "1" * 64, demands=(Demand("s", approvals=2),), timeout=5
    )
    approvals.demand(hold.id, stricter, hold.action)
    changed = approvals.get(hold.id)
    assert changed.reviews == () and changed.verdict.rule == "s"
    assert changed.deadline <= hold.deadline
    assert approvals.review(hold.id, yes(ADA)).state is State.PENDING
    assert approvals.review(hold.id, yes(BOB)).state is State.APPROVED


async def test_a_waiter_that_is_cancelled_takes_nobody_else_with_it() -> None:
    approvals = Approvals(time.time)
    hold = opened(approvals)
    first = asyncio.create_task(approvals.settled(hold.id))
    second = asyncio.create_task(approvals.settled(hold.id))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    approvals.review(hold.id, yes(ADA))
    assert (await second).state is State.APPROVED
