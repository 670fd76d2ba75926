"""Budgets in the story of an action: asked, taken, given back, and asked again when a person answers."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from proxy.decision import By, Happened, Outcome, Word
from proxy.errors import SluiceError
from proxy.hold import Reviewer, State
from proxy.ledger import UnavailableError
from proxy.ledger.spent import spent

from .conftest import POLICY, policy, request

ADA = Reviewer("uid:1", "ada")
FIN = Reviewer("uid:2", "fin", ("finance",))
REFUSED = Outcome(Happened.COMPLETED, 402)
DONE = Outcome(Happened.COMPLETED, 200)


def rules(budget: str, then: str = "allow", more: str = "", where: str = "") -> str:
    return f"""
version: 1
default: {{read: allow, write: hold}}
rules:
  - name: small
    why: Small payments are routine.
    match: {{host: api.example.com, method: POST, path: /v1/pay{where}}}
    then: {then}
    budget: {budget}
{more}"""


COUNT = "{count: 20, per: 1h, over: hold}"
MONEY = "{field: form.amount, limit: 100, per: 24h, by: agent, over: deny}"
HOLD = """
  - name: looked-at
    why: Someone looks at all of them.
    match: {host: api.example.com, path: /v1/pay}
    then: hold
"""
FINANCE = "    hold: {reviewers: [finance]}\n"


async def ask(h: Any, body: bytes = b"amount=5", target: str = "/v1/pay") -> Any:
    """A hearing and its decision, as the gate asks for them."""
    whole = request(target=target, body=body)
    hearing = await h.admission.receive(replace(whole, body=None))
    return hearing, hearing.decision or await hearing.judge(whole)


async def word(h: Any, body: bytes = b"amount=5") -> Word:
    return (await ask(h, body))[1].word


async def waiting(h: Any, count: int) -> None:
    async with asyncio.timeout(5):
        while len(h.admission.approvals.pending) < count:
            await asyncio.sleep(0.001)


async def test_of_two_hundred_at_once_only_as_many_leave_as_there_is_room_for(hall: Any) -> None:
    h = await hall(rules(COUNT))
    asked = [asyncio.create_task(ask(h, b"amount=%d" % at)) for at in range(200)]
    await waiting(h, 180)
    async with asyncio.timeout(5):
        while len(gone := [one for one in asked if one.done()]) < 20:
            await asyncio.sleep(0.001)
    assert {one.result()[1].word for one in gone} == {Word.ALLOWED}
    held = h.admission.approvals.pending
    assert {hold.verdict.why for hold in held} == {"20 of 20 in 1h are used, and this takes 1"}
    assert {hold.verdict.rule for hold in held} == {"small"}
    await h.admission.close(5)
    await asyncio.gather(*asked)
    taken = [one for one in await h.entries("decided") if one.get("budgets")]
    assert len(taken) == 20
    assert {one["decision"] for one in taken} == {"allowed"}


async def test_a_refusal_gives_back_and_nothing_else_does(hall: Any) -> None:
    h = await hall(rules("{count: 1, per: 1h, over: deny}"))
    for outcome, after in (
        (REFUSED, Word.ALLOWED),
        (Outcome(Happened.FAILED, why="nobody listens"), Word.ALLOWED),
        (Outcome(Happened.COMPLETED, 500), Word.REFUSED),
    ):
        hearing, decision = await ask(h)
        assert decision.word is Word.ALLOWED
        assert await word(h) is Word.REFUSED
        hearing.conclude(outcome)
        hearing.conclude(REFUSED)  # does nothing: it is concluded
        if after is Word.REFUSED:
            assert await word(h) is Word.REFUSED
    told = [one.get("budgets") for one in await h.entries("completed", "failed")]
    assert told == ["returned", "returned", None]
    used = spent(h.path).standings(int(time.time() * 1_000_000))
    assert [one.used for one in used] == [1]


async def test_what_is_refused_says_how_much_is_used(hall: Any) -> None:
    h = await hall(rules(MONEY))
    assert await word(h, b"amount=80.50") is Word.ALLOWED
    _, decision = await ask(h, b"amount=19.51")
    assert (decision.word, decision.by, decision.rule) == (Word.REFUSED, By.RULE, "small")
    assert decision.why == "80.50 of 100.00 in 24h are used, and this takes 19.51"
    assert b"80.50 of 100.00 in 24h are used" in decision.answer().body
    assert await word(h, b"amount=lots") is Word.REFUSED
    assert await word(h, b"amount=19.50") is Word.ALLOWED


async def test_it_is_on_disk_before_it_leaves(hall: Any) -> None:
    h = await hall(rules(COUNT))
    assert await word(h) is Word.ALLOWED
    [one] = spent(h.path).standings(int(time.time() * 1_000_000))
    assert one.used == 1


async def test_what_cannot_be_written_down_takes_nothing(hall: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    h = await hall(rules("{count: 1, per: 1h, over: deny}"))

    def full(draft: object, **_: object) -> object:
        raise UnavailableError

    with monkeypatch.context() as disk:
        disk.setattr(h.ledger, "queue", full)
        assert await word(h) is Word.UNAVAILABLE
    assert await word(h) is Word.ALLOWED


async def test_what_is_torn_down_before_it_leaves_gives_back(hall: Any) -> None:
    h = await hall(rules("{count: 1, per: 1h, over: deny}"))
    torn = asyncio.create_task(ask(h))
    async with asyncio.timeout(5):
        while await word(h) is not Word.REFUSED:
            await asyncio.sleep(0)
    if torn.cancel():
        with pytest.raises(asyncio.CancelledError):
            await torn
        assert await word(h) is Word.ALLOWED


# -- people --------------------------------------------------------------------------------


async def test_what_a_person_releases_over_the_budget_is_counted_too(hall: Any) -> None:
    h = await hall(rules("{field: form.amount, limit: 10, per: 1h, over: hold}", more=""))
    held = asyncio.create_task(ask(h, b"amount=15"))
    hold = await h.pending()
    await h.admission.review(hold.id, ADA, approves=True, reason="", seen=hold.digest)
    assert (await held)[1].word is Word.APPROVED
    [one] = spent(h.path).standings(int(time.time() * 1_000_000))
    assert one.used == 15
    again = asyncio.create_task(ask(h, b"amount=1"))
    hold = await h.pending()
    assert hold.verdict.why == "15 of 10 in 1h are used, and this takes 1"
    assert hold.verdict.always_ask
    await h.admission.close(5)
    await again


async def test_a_denied_request_takes_nothing(hall: Any) -> None:
    h = await hall(rules("{field: form.amount, limit: 10, per: 1h, over: hold}"))
    held = asyncio.create_task(ask(h, b"amount=15"))
    hold = await h.pending()
    await h.admission.review(hold.id, ADA, approves=False, reason="no", seen=hold.digest)
    assert (await held)[1].word is Word.DENIED
    assert await word(h, b"amount=10") is Word.ALLOWED


async def test_what_waited_for_another_rule_meets_the_budget_as_it_is_when_it_is_answered(hall: Any) -> None:
    other = "{field: form.amount, limit: 10, per: 1h, over: hold}"
    text = rules(other, more=FINANCE) + HOLD.replace(
        "path: /v1/pay", "path: /v1/pay, where: {form.ask: {is: yes}}"
    )
    h = await hall(text)
    held = asyncio.create_task(ask(h, b"amount=8&ask=yes"))
    hold = await h.pending()
    assert hold.verdict.rules == ("looked-at",)
    assert await word(h, b"amount=5") is Word.ALLOWED
    with pytest.raises(SluiceError, match="over a budget by now"):
        await h.admission.review(hold.id, ADA, approves=True, reason="", seen=hold.digest)
    now = await h.admission.review(hold.id, ADA, approves=True, reason="", seen=hold.digest)
    assert now.state is State.PENDING
    assert now.verdict.rules == ("looked-at", "small")
    assert "5 of 10 in 1h are used" in now.verdict.why
    await h.admission.review(hold.id, FIN, approves=True, reason="", seen=hold.digest)
    assert (await held)[1].word is Word.APPROVED


async def test_where_the_rule_denies_nobody_releases_what_is_over_by_now(hall: Any) -> None:
    text = rules(MONEY) + HOLD.replace("path: /v1/pay", "path: /v1/pay, where: {form.ask: {is: yes}}")
    h = await hall(text)
    held = asyncio.create_task(ask(h, b"amount=60&ask=yes"))
    hold = await h.pending()
    assert await word(h, b"amount=60") is Word.ALLOWED
    with pytest.raises(SluiceError, match="refused"):
        await h.admission.review(hold.id, ADA, approves=True, reason="", seen=hold.digest)
    decision = (await held)[1]
    assert decision.word is Word.REFUSED
    assert decision.why == "60 of 100 in 24h are used, and this takes 60"


async def test_of_two_that_are_approved_at_once_only_what_there_is_room_for_leaves(hall: Any) -> None:
    h = await hall(rules(MONEY) + HOLD)
    held = [asyncio.create_task(ask(h, b"amount=60&n=%d" % at)) for at in range(2)]
    await waiting(h, 2)
    answers = [
        h.admission.review(hold.id, ADA, approves=True, reason="", seen=hold.digest)
        for hold in h.admission.approvals.pending
    ]
    said = await asyncio.gather(*answers, return_exceptions=True)
    words = sorted(decision.word for _, decision in await asyncio.gather(*held))
    assert words == [Word.APPROVED, Word.REFUSED]
    assert len([one for one in said if isinstance(one, SluiceError)]) == 1


async def test_a_hold_that_comes_again_is_the_same_whatever_is_used_by_now(hall: Any) -> None:
    h = await hall(rules("{field: form.amount, limit: 10, per: 1h, over: hold}"))
    first = asyncio.create_task(ask(h, b"amount=15"))
    hold = await h.pending()
    first.cancel()
    await asyncio.wait([first])
    assert await word(h, b"amount=5") is Word.ALLOWED
    second = asyncio.create_task(ask(h, b"amount=15"))
    again = await h.pending()
    assert (again.id, again.attempts) == (hold.id, 2)
    await h.admission.review(hold.id, ADA, approves=True, reason="", seen=hold.digest)
    assert (await second)[1].word is Word.APPROVED


# -- windows and shadow --------------------------------------------------------------------


async def test_what_proceeds_by_itself_is_set_aside_while_it_can_be_stopped(hall: Any) -> None:
    h = await hall(rules("{count: 1, per: 1h, over: deny}", "watch", "    window: 1s\n"))
    first = asyncio.create_task(ask(h))
    hold = await h.pending()
    assert hold.verdict.window == 1
    assert await word(h, b"amount=6") is Word.REFUSED
    assert (await first)[1].word is Word.WATCHED
    assert await word(h, b"amount=7") is Word.REFUSED
    [one] = spent(h.path).standings(int(time.time() * 1_000_000))
    assert one.used == 1


async def test_who_leaves_in_a_window_gives_up_the_room_until_coming_back(hall: Any) -> None:
    h = await hall(rules("{count: 1, per: 1h, over: deny}", "watch", "    window: 30s\n"))
    first = asyncio.create_task(ask(h))
    hold = await h.pending()
    first.cancel()
    await asyncio.wait([first])
    again = asyncio.create_task(ask(h))
    assert (await h.pending()).id == hold.id
    assert await word(h, b"amount=6") is Word.REFUSED
    h.admission.change_policy(
        policy(rules("{count: 1, per: 2h, over: deny}", "watch", "    window: 30s\n")), "", ""
    )
    assert (await h.pending()).id == hold.id, "it does not stand in its own way"
    await h.admission.close(5)
    await again


async def test_what_is_stopped_in_its_window_leaves_the_room_to_others(hall: Any) -> None:
    h = await hall(rules("{count: 1, per: 1h, over: deny}", "watch", "    window: 30s\n"))
    first = asyncio.create_task(ask(h))
    hold = await h.pending()
    await h.admission.review(hold.id, ADA, approves=False, reason="no", seen=hold.digest)
    assert (await first)[1].word is Word.DENIED
    second = asyncio.create_task(ask(h, b"amount=6"))
    assert (await h.pending()).state is State.PENDING
    await h.admission.close(5)
    await second


async def test_in_shadow_all_flows_and_is_counted(hall: Any) -> None:
    h = await hall(rules("{count: 1, per: 1h, over: deny}"), shadow=True)
    assert [await word(h) for _ in range(3)] == [Word.WATCHED] * 3
    assert [one["effect"] for one in await h.entries("decided")] == ["allow", "deny", "deny"]
    [one] = spent(h.path).standings(int(time.time() * 1_000_000))
    assert one.used == 3


async def test_a_budget_that_comes_into_force_begins_empty_and_one_that_grows_remembers(hall: Any) -> None:
    h = await hall(POLICY)
    h.admission.change_policy(policy(rules("{count: 1, per: 1s, over: deny}")), "ada", "")
    assert await word(h) is Word.ALLOWED
    h.admission.change_policy(policy(rules("{count: 1, per: 31d, over: deny}")), "ada", "")
    assert await word(h) is Word.REFUSED
    h.admission.change_policy(policy(rules("{count: 2, per: 31d, over: deny}")), "ada", "")
    assert await word(h) is Word.ALLOWED


async def test_what_a_budget_let_through_is_said_first_when_the_same_comes_over_it(hall: Any) -> None:
    h = await hall(rules("{field: form.amount, limit: 100, per: 24h, by: agent, over: hold}"))
    first, decision = await ask(h, b"amount=60")
    assert decision.word is Word.ALLOWED
    again = asyncio.create_task(ask(h, b"amount=60"))
    await waiting(h, 1)
    (hold,) = h.admission.approvals.pending
    assert hold.notices[0].endswith("not yet answered")
    first.conclude(DONE)
    other = asyncio.create_task(ask(h, b"amount=60"))
    await waiting(h, 2)
    assert h.admission.approvals.pending[1].notices[0].endswith("answered 200")
    await h.admission.close(5)
    await asyncio.gather(again, other)
