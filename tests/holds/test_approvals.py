"""Asking people and waiting."""

import asyncio
import time
from dataclasses import replace

import pytest

from proxy.action import Request, digest
from proxy.admission.holding import decision_of
from proxy.approvals import Approvals
from proxy.approvals.kept import Limits
from proxy.decode import decode
from proxy.errors import SluiceError
from proxy.hold import GoneError, Hold, Review, Reviewer, State
from proxy.policy.verdict import UNSAID, Demand, Effect, Patience, Verdict

REQUEST = Request("uid:me", b"POST", "https", "api.example.com", 443, b"/v1/refunds", (), b"x" * 1000)
ADA, BOB = Reviewer("uid:1", "ada"), Reviewer("uid:2", "bob")


def opened(
    approvals: Approvals,
    id: str = "aaaa1",
    timeout: float = 600.0,
    needed: int = 1,
    patience: Patience = UNSAID,
    **more: object,
) -> Hold:
    demand = Demand("r", approvals=needed)
    verdict = Verdict(Effect.HOLD, "r", ("r",), "why", "0" * 64, demands=(demand,), timeout=timeout)
    verdict = replace(verdict, patience=patience, **more)
    return approvals.open(id, decode(REQUEST), verdict)


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


async def test_who_answered_in_time_is_not_called_nobody() -> None:
    approvals = Approvals(time.time)
    alone, half = (opened(approvals, id, timeout=0.05, needed=2) for id in ("aaaa1", "bbbb2"))
    approvals.review(half.id, yes(ADA))
    ended = [await asyncio.wait_for(approvals.settled(hold.id), 2) for hold in (alone, half)]
    assert [hold.state for hold in ended] == [State.EXPIRED] * 2
    more = "not enough answers in time: 1 more had to approve"
    assert [hold.cause for hold in ended] == ["nobody answered in time", more]
    told = [decision_of(hold, "").answer().body for hold in ended]
    assert b"no person decided" in told[0] and more.encode() in told[1]


async def test_an_agent_that_left_may_come_back_and_until_then_nothing_is_approved() -> None:
    approvals = Approvals(time.time)
    hold = opened(approvals)
    waiter = asyncio.create_task(approvals.answered(hold.id))
    await asyncio.sleep(0)
    approvals.leave(hold.id, "the agent hung up")
    approvals.leave(hold.id, "again")
    assert (await waiter).state is State.UNATTENDED and approvals.pending == ()
    assert approvals.alone(hold.asked).id == hold.id and not approvals.attended(hold.id)
    with pytest.raises(GoneError, match="cannot be approved now"):
        approvals.review(hold.id, yes(ADA))
    assert approvals.rejoin(hold.id, decode(REQUEST)).attempts == 2
    assert approvals.alone(hold.asked) is None and approvals.twin(hold.asked).id == hold.id
    waiter = asyncio.create_task(approvals.answered(hold.id))
    await asyncio.sleep(0)
    approvals.review(hold.id, yes(ADA))
    assert (await waiter).state is State.APPROVED


async def test_an_agent_that_does_not_come_back_has_abandoned_its_hold() -> None:
    approvals = Approvals(time.time)
    hold = opened(approvals, patience=Patience(rejoin=0.02))
    approvals.leave(hold.id, "the agent hung up")
    assert (await asyncio.wait_for(approvals.settled(hold.id), 2)).state is State.ABANDONED
    with pytest.raises(GoneError, match="abandoned: the agent hung up"):
        approvals.review(hold.id, yes(ADA))
    at_once = opened(approvals, "b", patience=Patience(rejoin=0.0))
    approvals.leave(at_once.id, "the agent hung up")
    assert approvals.get("b").state is State.ABANDONED


async def test_reviews_of_the_same_request_outlive_a_rejoin() -> None:
    approvals = Approvals(time.time)
    hold = opened(approvals, needed=2)
    approvals.review(hold.id, yes(ADA))
    approvals.leave(hold.id, "timeout")
    approvals.rejoin(hold.id, decode(REQUEST))
    assert approvals.review(hold.id, yes(BOB)).by == ("ada", "bob")


async def test_a_deferred_hold_is_spent_once_by_whoever_asks_again() -> None:
    approvals = Approvals(time.time)
    hold = opened(approvals, patience=Patience(wait=0.02))
    assert (await asyncio.wait_for(approvals.answered(hold.id), 2)).state is State.DEFERRED
    assert [one.id for one in approvals.pending] == [hold.id]
    assert approvals.review(hold.id, yes(ADA)).state is State.SPENDABLE
    assert approvals.spend(hold.id).state is State.APPROVED
    with pytest.raises(GoneError):
        approvals.spend(hold.id)


async def test_an_approval_that_nobody_comes_for_ends_unspent() -> None:
    approvals = Approvals(time.time)
    hold = opened(approvals, patience=Patience(wait=60.0, remember=0.02))
    approvals.leave(hold.id, "timeout")
    approvals.review(hold.id, yes(ADA))
    ended = await asyncio.wait_for(approvals.settled(hold.id), 2)
    assert ended.state is State.UNSPENT and ended.by == ("ada",)


async def test_what_is_watched_in_a_window_proceeds_unless_it_is_stopped() -> None:
    approvals = Approvals(time.time)
    window = {"effect": Effect.WATCH, "window": 0.02, "demands": ()}
    hold = opened(approvals, "a", **window)
    assert (await asyncio.wait_for(approvals.settled(hold.id), 2)).state is State.PROCEEDED
    stopped = opened(approvals, "b", **window)
    no = Review(ADA, False, "stop", digest(REQUEST), 0.0)
    assert approvals.review(stopped.id, no).state is State.DENIED


async def test_more_time_moves_the_deadline_and_people_are_reminded_at_half_of_it() -> None:
    approvals = Approvals(time.time)
    began = time.monotonic()
    heard: list[tuple[str, str, float]] = []
    approvals.watch(lambda what, hold: heard.append((hold.id, what, time.monotonic() - began)))
    opened(approvals, "plain", timeout=0.8)
    more = opened(approvals, "more", timeout=0.8)
    assert approvals.extend(more.id, 0.8).deadline == more.deadline + 0.8
    for id in ("plain", "more"):
        assert (await asyncio.wait_for(approvals.settled(id), 5)).state is State.EXPIRED
    for id, half in (("plain", 0.4), ("more", 0.8)):
        at = {what: seconds for one, what, seconds in heard if one == id}
        assert [what for one, what, _ in heard if one == id and what != "reviewed"] == [
            "opened", "reminder", "settled",
        ]  # fmt: skip
        assert half <= at["reminder"] < half + 0.3 < 2 * half <= at["settled"]
    with pytest.raises(GoneError):
        approvals.extend(more.id, 1)


async def test_nobody_is_reminded_of_what_somebody_has_answered() -> None:
    approvals = Approvals(time.time)
    heard: list[str] = []
    approvals.watch(lambda what, hold: heard.append(what))
    opened(approvals, "a", timeout=0.2)
    approvals.review("a", yes(ADA))
    opened(approvals, "b", timeout=0.2)
    approvals.leave("b", "gone")
    await asyncio.wait_for(approvals.settled("b"), 5)
    assert "reminder" not in heard


async def test_what_is_kept_of_holds_that_nobody_waits_for_is_bounded() -> None:
    limits = (Limits(holds=2), Limits(size=2_020))  # each request takes some 1,000 bytes
    for most in limits:
        for patience, over in ((Patience(), State.ABANDONED), (Patience(wait=60.0), State.CUT_OFF)):
            approvals = Approvals(time.time, most)
            for id in "abc":
                request = replace(REQUEST, target=b"/" + id.encode())
                approvals.open(id, decode(request), replace(hold_verdict(), patience=patience))
                approvals.leave(id, "gone")
            states = [approvals.get(id).state for id in "abc"]
            assert states[2] is over and over not in states[:2], most
            approvals.cut("a", "stopping")
            approvals.open("d", decode(REQUEST), replace(hold_verdict(), patience=patience))
            approvals.leave("d", "gone")
            assert not approvals.get("d").settled, "there is room again"


@pytest.mark.parametrize("share", [Limits(agent_holds=2), Limits(agent_size=2_030)])
async def test_an_agent_that_leaves_many_requests_behind_ends_its_own_and_nobody_elses(share: Limits) -> None:
    for patience, over in ((Patience(), State.ABANDONED), (Patience(wait=60.0), State.CUT_OFF)):
        approvals = Approvals(time.time, share)
        verdict = replace(hold_verdict(), patience=patience)
        approvals.open("mine", decode(replace(REQUEST, agent="uid:other")), verdict)
        approvals.leave("mine", "gone")
        for id in "abcd":
            approvals.open(id, decode(replace(REQUEST, target=b"/" + id.encode())), verdict)
            approvals.leave(id, "gone")
        assert [approvals.get(id).state is over for id in "abcd"] == [False, False, True, True]
        assert not approvals.get("mine").settled
        approvals.open("more", decode(replace(REQUEST, agent="uid:other")), verdict)
        approvals.leave("more", "gone")
        assert not approvals.get("more").settled, "there is room for the others"


async def test_agents_that_nobody_can_name_share_one_share() -> None:
    approvals = Approvals(time.time, Limits(agent_holds=2))
    for id in "abc":
        approvals.open(id, decode(replace(REQUEST, agent=None, target=b"/" + id.encode())), hold_verdict())
        approvals.leave(id, "gone")
    assert [approvals.get(id).settled for id in "abc"] == [False, False, True]


def hold_verdict() -> Verdict:
    return Verdict(Effect.HOLD, "r", ("r",), "why", "0" * 64, demands=(Demand("r"),))


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


@pytest.mark.parametrize(("lost", "left"), [("ada", State.SPENDABLE), ("bob", State.UNSPENT)])
async def test_what_was_approved_stands_while_those_who_are_left_would_be_enough(
    lost: str, left: State
) -> None:
    """Ada answers for one rule, Bob for both."""
    approvals = Approvals(time.time)
    demands = (Demand("money", reviewers=("finance",)), Demand("other", reviewers=("ops",)))
    hold = opened(approvals, patience=Patience(wait=0.02), demands=demands)
    await asyncio.wait_for(approvals.answered(hold.id), 2)
    ada, bob = replace(ADA, groups=("finance",)), replace(BOB, groups=("finance", "ops"))
    assert approvals.review(hold.id, yes(ada)).state is State.DEFERRED
    assert approvals.review(hold.id, yes(bob)).by == ("ada", "bob")
    before = approvals.get(hold.id)
    approvals.recount(lambda review: review.reviewer)
    assert approvals.get(hold.id) is before, "each still answers for what they answered for"
    approvals.recount(lambda review: None if review.reviewer.name == lost else review.reviewer)
    now = approvals.get(hold.id)
    assert (now.state, lost in now.by) == (left, False)
    approvals.cut(hold.id, "over")
