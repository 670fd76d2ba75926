"""The same request, open more than once: one denial answers all of them, one approval one."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from proxy.admission.recall import Recall
from proxy.decision import By, Happened, Outcome, Word
from proxy.errors import Problem, SluiceError
from proxy.hold import GoneError, State
from proxy.ledger import Draft, UnavailableError, read
from proxy.ledger.past import recent
from proxy.ledger.verify import verify

from .conftest import POLICY, policy, request
from .test_waiting import ADA, BOB, DEFERRED, approve, attempt, deny

WINDOW = (
    POLICY
    + """\
  - name: posts-can-be-stopped
    why: Someone may want to stop it.
    match: {host: api.example.com, method: POST, path: /v1/posts}
    then: watch
    window: 30s
"""
)
TWO_SAY_NO = POLICY.replace("hold: {timeout: 5s}", "hold: {timeout: 5s, denials: 2}")


async def pending(h: Any, count: int) -> Any:
    async with asyncio.timeout(5):
        while len(h.admission.approvals.pending) < count:
            await asyncio.sleep(0.001)
    return h.admission.approvals.pending


async def test_a_denial_answers_the_same_requests_that_wait_too(hall: Any) -> None:
    h = await hall()
    both = [await attempt(h), await attempt(h)]
    other = await attempt(h, request(body=b"amount=6"))
    first, second, third = await pending(h, 3)
    await deny(h, second, "too much")
    for one in both:
        decision = await one.ends()
        assert (decision.word, decision.by, decision.detail) == (Word.DENIED, By.REVIEWER, "too much")
        assert decision.reviewers == ("ada",)
    assert h.admission.approvals.pending == (h.admission.approvals.get(third.id),)
    with pytest.raises(GoneError, match="denied by ada: too much"):
        await approve(h, first, BOB)
    ended = {one["hold"]: one.get("again") for one in await h.entries("decided")}
    assert ended == {second.id: None, first.id: second.id}
    assert [one["hold"] for one in await h.entries("reviewed")] == [second.id], "one person, one answer"
    repeat = await (await attempt(h)).ends()
    assert (repeat.word, repeat.again) == (Word.DENIED, second.id)
    await other.leave()
    assert verify(h.path, time.time()).ok


async def test_after_a_restart_it_is_still_known_which_of_them_was_answered(hall: Any) -> None:
    h = await hall()
    both = [await attempt(h), await attempt(h)]
    first, second = await pending(h, 2)
    await deny(h, second)
    for one in both:
        await one.ends()
    with read.reading(h.path) as connection:
        past = recent(connection, time.time())
    assert {(one.hold, one.again) for one in past} == {(first.id, second.id), (second.id, "")}
    h.admission.recall = Recall(time.time, past)
    assert (await (await attempt(h)).ends()).again == second.id


@pytest.mark.parametrize("reason", ["", "too much"])
async def test_after_a_restart_nobody_is_given_a_reason_that_they_did_not_give(
    hall: Any, reason: str
) -> None:
    h = await hall()
    one = await attempt(h)
    (hold,) = await pending(h, 1)
    await deny(h, hold, reason)
    told = (await one.ends()).answer().body
    with read.reading(h.path) as connection:
        h.admission.recall = Recall(time.time, recent(connection, time.time()))
    assert (await (await attempt(h)).ends()).answer().body == told


@pytest.mark.parametrize("reason", ["", "too much"])
async def test_a_rule_that_says_why_in_other_words_since_gives_nobody_its_old_ones(
    hall: Any, reason: str
) -> None:
    h = await hall()
    both = [await attempt(h), await attempt(h)]
    first, _ = await pending(h, 2)
    await deny(h, first, reason)
    for one in both:
        await one.ends()
    with read.reading(h.path) as connection:
        h.admission.recall = Recall(time.time, recent(connection, time.time()))
    (why,) = {line for line in POLICY.splitlines() if line.strip() == f"why: {first.verdict.why}"}
    h.admission.change_policy(policy(POLICY.replace(why, "    why: In other words.")), "ada", "")
    decision = await (await attempt(h)).ends()
    assert (decision.word, decision.why) == (Word.DENIED, reason or "In other words.")
    assert decision.detail == reason


@pytest.mark.parametrize("reason", ["", "too much"])
async def test_a_denial_at_which_the_disk_failed_keeps_its_reason_over_a_restart(
    hall: Any, reason: str
) -> None:
    """The answer itself may be lost then; the decision is written once the disk is well."""
    h = await hall()
    one = await attempt(h)
    (hold,) = await pending(h, 1)
    queue, h.ledger.queue = h.ledger.queue, failing(h.ledger.queue, "reviewed")
    with pytest.raises(SluiceError, match="could not be written"):
        await deny(h, hold, reason)
    h.ledger.queue = queue
    told = (await one.ends()).answer().body
    assert not await h.entries("reviewed")
    with read.reading(h.path) as connection:
        h.admission.recall = Recall(time.time, recent(connection, time.time()))
    assert (await (await attempt(h)).ends()).answer().body == told


def failing(queue: Any, kind: str) -> Any:
    """A ledger whose disk fails at entries of one kind."""

    def asked(draft: Draft, *, patient: bool = False) -> Any:
        if draft.kind == kind:
            ticket = asyncio.get_running_loop().create_future()
            ticket.set_exception(UnavailableError(Problem("the disk failed")))
            return ticket
        return queue(draft, patient=patient)

    return asked


async def test_an_approval_is_for_one_of_them_alone(hall: Any) -> None:
    h = await hall()
    both = [await attempt(h), await attempt(h)]
    first, second = await pending(h, 2)
    await approve(h, first)
    assert (await both[0].ends()).word is Word.APPROVED
    both[0].hearing.conclude(Outcome(Happened.COMPLETED, 200))
    assert [one.id for one in h.admission.approvals.pending] == [second.id]
    await deny(h, second)
    assert (await both[1].ends()).word is Word.DENIED


async def test_a_denial_is_remembered_that_was_given_while_its_twin_was_on_its_way_out(hall: Any) -> None:
    h = await hall()
    both = [await attempt(h), await attempt(h)]
    first, second = await pending(h, 2)
    yes = asyncio.create_task(approve(h, first))
    async with asyncio.timeout(5):
        while len(h.admission.approvals.pending) > 1:
            await asyncio.sleep(0)
    no = await deny(h, second, "once is enough")
    await yes
    assert (no.state, (await both[0].ends()).word) == (State.DENIED, Word.APPROVED)
    assert (await both[1].ends()).word is Word.DENIED
    again = await (await attempt(h)).ends()
    assert (again.word, again.detail) == (Word.DENIED, "once is enough")


async def test_what_is_stopped_in_its_window_stops_its_twin(hall: Any) -> None:
    h = await hall(WINDOW)
    asked = request(target="/v1/posts", body=b"text=hi")
    both = [await attempt(h, asked), await attempt(h, asked)]
    first, second = await pending(h, 2)
    await deny(h, first)
    assert [(await one.ends()).word for one in both] == [Word.DENIED, Word.DENIED]
    assert h.admission.approvals.get(second.id).again == first.id


async def test_a_denial_ends_its_twins_that_are_deferred_approved_or_left(hall: Any) -> None:
    h = await hall(DEFERRED)
    many = [await attempt(h) for _ in range(3)]
    first, second, third = await pending(h, 3)
    await many[0].leave()
    await many[1].leave()
    await approve(h, second)
    assert h.admission.approvals.get(second.id).state is State.SPENDABLE
    await deny(h, third)
    states = [h.admission.approvals.get(one.id).state for one in (first, second, third)]
    assert states == [State.DENIED] * 3, "what people said last is what counts"
    assert (await (await attempt(h)).ends()).word is Word.DENIED
    ends = [one for one in await h.entries("decided") if "hold" in one]
    assert sorted(str(one["hold"]) for one in ends) == [first.id, second.id, third.id]
    assert {one.get("again") for one in ends} == {None, third.id}


async def test_an_unattended_twin_is_denied_too(hall: Any) -> None:
    h = await hall()
    both = [await attempt(h), await attempt(h)]
    first, second = await pending(h, 2)
    await both[0].leave()
    await deny(h, second)
    assert h.admission.approvals.get(first.id).state is State.DENIED


async def test_where_two_have_to_say_no_one_of_them_ends_nothing(hall: Any) -> None:
    h = await hall(TWO_SAY_NO)
    both = [await attempt(h), await attempt(h)]
    first, second = await pending(h, 2)
    await deny(h, first)
    assert len(h.admission.approvals.pending) == 2
    await h.admission.review(first.id, BOB, approves=False, reason="no", seen=first.digest)
    assert [(await one.ends()).word for one in both] == [Word.DENIED, Word.DENIED]
    assert h.admission.approvals.get(second.id).by == ("ada", "bob")


async def test_another_agents_same_request_is_not_answered_by_it(hall: Any) -> None:
    h = await hall()
    mine, theirs = await attempt(h), await attempt(h, replace(request(), agent="uid:other"))
    first, second = await pending(h, 2)
    await deny(h, first)
    assert (await mine.ends()).word is Word.DENIED
    assert h.admission.approvals.get(second.id).state is State.PENDING
    await theirs.leave()


async def test_whoever_denies_several_at_once_may_name_twins_among_them(hall: Any) -> None:
    h = await hall()
    both = [await attempt(h), await attempt(h)]
    first, second = await pending(h, 2)
    await deny(h, first, "not today")
    said = await deny(h, second, "not today")
    assert (said.state, said.again) == (State.DENIED, first.id)
    for one in both:
        await one.ends()
    assert len(await h.entries("reviewed")) == 1
    with pytest.raises(GoneError):
        await approve(h, second)


async def test_a_denial_that_was_said_already_is_told_once_it_is_on_disk(hall: Any) -> None:
    h = await hall()
    both = [await attempt(h), await attempt(h)]
    first, second = await pending(h, 2)
    saying = asyncio.create_task(deny(h, first))
    async with asyncio.timeout(5):
        while h.admission.approvals.pending:
            await asyncio.sleep(0)
    said = await deny(h, second)
    with read.reading(h.path) as connection:
        written = [(fields["kind"], fields.get("hold")) for _, fields in read.entries(connection)]
    assert said.again == first.id and {("reviewed", first.id), ("decided", second.id)} <= set(written)
    await saying
    for one in both:
        await one.ends()


async def test_two_reviewers_at_once_who_deny_each_a_twin_are_told_what_happened(hall: Any) -> None:
    h = await hall()
    both = [await attempt(h), await attempt(h)]
    first, second = await pending(h, 2)

    async def no(hold: Any, who: Any) -> object:
        return await h.admission.review(hold.id, who, approves=False, reason="no", seen=hold.digest)

    answers = await asyncio.gather(no(first, ADA), no(second, BOB), return_exceptions=True)
    assert not isinstance(answers[0], SluiceError)
    assert isinstance(answers[1], GoneError)
    assert [(await one.ends()).reviewers for one in both] == [("ada",), ("ada",)]
