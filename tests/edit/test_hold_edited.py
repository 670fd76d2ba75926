"""A hold whose request was edited: what is answered for, what is sent, and when the edit lapses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from proxy.action import digest
from proxy.approvals import Approvals, Limits
from proxy.decode import decode
from proxy.errors import SluiceError
from proxy.hold import Event, Hold, Review, Reviewer, State, open_hold
from proxy.policy.verdict import Demand, Effect, Patience, Verdict

from .test_round_trip import as_json

ADA, BOB = Reviewer("uid:1", "ada", ("finance",)), Reviewer("uid:2", "bob", ("finance",))
ASKED = as_json({"amount": 5000})
EDITED = as_json({"amount": 40})
WAITS = Verdict(Effect.HOLD, "r", ("r",), "why", "p" * 64, demands=(Demand("r", ("finance",)),))
TWO = replace(WAITS, demands=(Demand("r", ("finance",), approvals=2),))


def held(verdict: Verdict = WAITS) -> Hold:
    return open_hold("k" * 26, decode(ASKED), verdict, 1000.0)


def edited(hold: Hold, verdict: Verdict = WAITS, by: str = "ada") -> Hold:
    return hold.edited(decode(EDITED), verdict, by, ("-5000", "+40"))


def says(who: Reviewer, hold: Hold, approves: bool = True) -> Review:
    return Review(who, approves, "", hold.digest, 1001.0)


def test_what_is_answered_for_is_the_edited_request_and_what_is_matched_the_agents() -> None:
    hold = edited(held())
    assert (hold.digest, hold.asked) == (digest(EDITED), digest(ASKED))
    with pytest.raises(SluiceError, match="not for the request that you saw"):
        hold.reviewed(says(ADA, held()))
    approved = hold.reviewed(says(ADA, hold))
    assert approved.state is State.APPROVED
    assert approved.sends(ASKED) == EDITED


def test_answers_before_an_edit_lapse() -> None:
    hold = held(TWO)
    hold = edited(hold.reviewed(says(BOB, hold)), TWO)
    assert (hold.reviews, hold.approvals_needed) == ((), 2)
    hold = hold.reviewed(says(ADA, hold))
    assert hold.reviewed(says(BOB, hold)).state is State.APPROVED


@pytest.mark.parametrize("event", [Event.LEAVE, Event.DEFER])
def test_an_edit_lapses_with_its_answers_when_the_agent_goes(event: Event) -> None:
    hold = edited(edited(held(TWO), TWO), TWO, "bob")
    gone = hold.reviewed(says(ADA, hold)).on(event)
    assert (gone.digest, gone.action.request, gone.verdict) == (digest(ASKED), ASKED, TWO)
    assert (gone.edit, gone.reviews, gone.by) == (None, (), ())
    assert gone.notices == ("ada, bob had edited it, but the agent left: this is its own request again",)
    assert gone.on(Event.REJOIN).sends(ASKED) == ASKED


def test_the_idempotency_key_of_a_hold_is_sent_with_the_edited_request() -> None:
    verdict = replace(WAITS, idempotency=("Idempotency-Key",))
    hold = edited(held(verdict), verdict)
    assert hold.added == held(verdict).added != ()
    assert hold.sends(ASKED).headers == (*EDITED.headers, *hold.added)
    assert hold.digest not in (digest(EDITED), held(verdict).digest)


def test_a_changed_policy_leaves_an_edit_and_its_digest() -> None:
    hold = edited(held()).judged(decode(EDITED), TWO)
    assert (hold.digest, hold.sends(ASKED), hold.approvals_needed) == (digest(EDITED), EDITED, 2)


@pytest.fixture
async def approvals() -> AsyncIterator[Approvals]:
    yield Approvals(lambda: 1000.0)


async def test_a_deadline_comes_sooner_by_an_edit_and_never_later(approvals: Approvals) -> None:
    hold = approvals.begin(held())
    assert approvals.edit(hold.id, edited(hold, replace(WAITS, timeout=60.0))).deadline == 1060.0
    again = approvals.edit(hold.id, edited(hold, replace(WAITS, timeout=6000.0)))
    assert again.deadline == 1060.0
    approvals.cut(hold.id, "over")


async def test_an_edited_watch_window_that_now_waits_for_people_does_not_proceed(
    approvals: Approvals,
) -> None:
    window = Verdict(Effect.WATCH, "w", ("w",), "why", "p" * 64, window=0.05)
    hold = approvals.begin(held(window))
    approvals.edit(hold.id, edited(hold, replace(WAITS, timeout=0.1)))
    assert (await approvals.answered(hold.id)).state is State.EXPIRED


async def test_an_edited_hold_that_is_deferred_is_the_agents_own_again_and_can_be_spent(
    approvals: Approvals,
) -> None:
    verdict = replace(WAITS, patience=Patience(wait=0.05))
    hold = approvals.begin(held(verdict))
    approvals.edit(hold.id, edited(hold, verdict))
    deferred = await approvals.answered(hold.id)
    assert (deferred.state, deferred.digest) == (State.DEFERRED, digest(ASKED))
    with pytest.raises(SluiceError):
        approvals.edit(hold.id, edited(hold, verdict))
    approvals.review(hold.id, says(ADA, deferred))
    assert approvals.spend(hold.id).sends(ASKED) == ASKED


async def test_the_room_for_deferred_bodies_is_given_back_in_full() -> None:
    """An edit of another length than the agent's own request leaves nothing behind."""
    longer = as_json({"amount": 5000, "note": "a" * 1_000})
    verdict = replace(WAITS, patience=Patience(wait=0.01))
    approvals = Approvals(lambda: 1000.0, Limits(10_000, 1_500))
    for _ in range(6):
        hold = approvals.begin(held(verdict))
        approvals.edit(hold.id, hold.edited(decode(longer), verdict, "ada", ()))
        assert (await approvals.answered(hold.id)).state is State.DEFERRED
        approvals.rejoin(hold.id, decode(ASKED))
        approvals.cut(hold.id, "over")


async def test_a_denial_answers_no_same_request_that_a_reviewer_has_made_another(
    approvals: Approvals,
) -> None:
    denied, mine = approvals.begin(held()), approvals.begin(replace(held(), id="b" * 32))
    kept = approvals.edit(mine.id, edited(mine, WAITS))
    assert approvals.review(denied.id, says(ADA, denied, approves=False)).state is State.DENIED
    assert approvals.get(mine.id) == kept and kept.state is State.PENDING
    approvals.cut(mine.id, "over")
