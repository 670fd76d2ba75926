"""The story of one action, heard without a gate: judge, ask, write down, answer."""

import asyncio
import contextlib
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from proxy.admission import hearing as room
from proxy.decision import By, Happened, Outcome, Word
from proxy.desk import Board, LocalDesk
from proxy.errors import Exit, SluiceError
from proxy.hold import Reviewer
from proxy.ledger import UnavailableError, read
from proxy.ledger.verify import verify

from .conftest import POLICY, policy, request

ADA, BOB = Reviewer("uid:1", "ada"), Reviewer("uid:2", "bob")


async def decide(hall: Any, **asked: Any) -> Any:
    whole = request(**asked)
    hearing = await hall.admission.receive(replace(whole, body=None) if whole.body else whole)
    return hearing.decision or await hearing.judge(whole)


async def test_what_the_headers_settle_needs_no_body(hall: Any) -> None:
    h = await hall()
    for asked, word in (
        (request(target="/v1/events", body=None, content_type="application/json"), Word.ALLOWED),
        (request("DELETE", "/v1/things", None), Word.REFUSED),
        (request("GET", "/v1/things", b""), Word.ALLOWED),
        (request("GET", "/v1/list", b""), Word.WATCHED),
    ):
        hearing = await h.admission.receive(asked)
        assert hearing.decision is not None and hearing.decision.word is word


@pytest.mark.parametrize("target", ["/v1/refunds", "/v1/notes", "/v1/other"])
async def test_what_a_rule_needs_the_body_for_is_undecided_until_it_is_read(hall: Any, target: str) -> None:
    h = await hall()
    hearing = await h.admission.receive(request(target=target, body=None, content_type="application/json"))
    assert hearing.decision is None


async def test_a_held_request_is_released_by_a_person_and_written_before(hall: Any) -> None:
    h = await hall()
    waiting = asyncio.create_task(decide(h))
    hold = await h.pending()
    assert hold.verdict.says == "Refund 5"
    await h.admission.review(hold.id[:4], ADA, approves=True, reason="fine", seen=hold.digest)
    # review() returned: the decision is on disk already, whether or not the gate has run on
    decided = [one for one in await h.entries("decided") if one.get("hold")]
    assert [one["decision"] for one in decided] == ["approved"]
    assert decided[0]["reviewers"] == ["ada"]
    assert decided[0]["by"] == "reviewer"
    decision = await waiting
    assert (decision.word, decision.by, decision.reviewers) == (Word.APPROVED, By.REVIEWER, ("ada",))
    kinds = [one["kind"] for one in await h.entries("held", "reviewed", "decided")]
    assert kinds == ["held", "reviewed", "decided"]


async def test_a_denial_reaches_the_agent_with_its_reason(hall: Any) -> None:
    h = await hall()
    waiting = asyncio.create_task(decide(h))
    hold = await h.pending()
    await h.admission.review(hold.id, ADA, approves=False, reason="amount too high", seen=None)
    decision = await waiting
    answer = decision.answer()
    assert (decision.word, answer.status) == (Word.DENIED, 403)
    assert b'"detail": "amount too high"' in answer.body
    assert (b"sluice-decision", b"denied") in answer.headers


async def test_silence_refuses(hall: Any) -> None:
    h = await hall(POLICY.replace("timeout: 5s", "timeout: 1s"))
    decision = await decide(h)
    assert (decision.word, decision.by) == (Word.EXPIRED, By.DEADLINE)
    assert [one["decision"] for one in await h.entries("decided")] == ["expired"]


async def test_of_two_reviewers_one_wins_and_the_other_is_told(hall: Any) -> None:
    h = await hall()
    waiting = asyncio.create_task(decide(h))
    hold = await h.pending()
    answers = await asyncio.gather(
        h.admission.review(hold.id, ADA, approves=True, reason="", seen=None),
        h.admission.review(hold.id, BOB, approves=False, reason="no", seen=None),
        return_exceptions=True,
    )
    assert not isinstance(answers[0], Exception)
    assert isinstance(answers[1], SluiceError) and "approved by ada" in str(answers[1])
    assert (await waiting).word is Word.APPROVED
    assert len(await h.entries("reviewed")) == 1


AT_ONCE = POLICY.replace("hold: {timeout: 5s}", "hold: {timeout: 5s, rejoin: 0}")


async def test_an_agent_that_leaves_ends_its_hold_as_abandoned(hall: Any) -> None:
    h = await hall(AT_ONCE)
    hearing = await h.admission.receive(request(body=None))
    waiting = asyncio.create_task(hearing.judge(request()))
    hold = await h.pending()
    hearing.leave("the agent hung up")
    assert h.admission.approvals.pending == ()
    with pytest.raises(SluiceError, match="abandoned"):
        await h.admission.review(hold.id, ADA, approves=True, reason="", seen=None)
    decision = await waiting
    assert (decision.word, decision.by) == (Word.ABANDONED, By.AGENT)
    assert [one["decision"] for one in await h.entries("decided")] == ["abandoned"]


async def test_an_agent_that_left_before_the_body_was_judged_opens_no_hold_for_anyone(hall: Any) -> None:
    h = await hall()
    hearing = await h.admission.receive(request(body=None))
    hearing.leave("the agent hung up")
    assert (await hearing.judge(request())).word is Word.ABANDONED


async def test_an_agent_that_leaves_while_its_approval_is_written_gets_nothing_sent(hall: Any) -> None:
    h = await hall()
    hearing = await h.admission.receive(request(body=None))
    waiting = asyncio.create_task(hearing.judge(request()))
    hold = await h.pending()
    review = asyncio.create_task(h.admission.review(hold.id, ADA, approves=True, reason="", seen=None))
    await asyncio.sleep(0)
    hearing.leave("the agent hung up")
    decision = await waiting
    told = (await asyncio.gather(review, return_exceptions=True))[0]
    if decision.word.opens:  # it left after the decision: the gate is the one to notice
        assert not isinstance(told, Exception)
    else:
        assert decision.word is Word.ABANDONED
        assert isinstance(told, SluiceError) and "nothing was sent" in str(told)


async def test_a_torn_down_connection_leaves_a_decided_entry(hall: Any) -> None:
    h = await hall(AT_ONCE)
    waiting = asyncio.create_task(decide(h))
    await h.pending()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert [one["decision"] for one in await h.entries("decided")] == ["abandoned"]
    assert h.admission.approvals.pending == ()


async def test_an_unwritable_ledger_refuses_everything_as_unavailable(hall: Any, monkeypatch: Any) -> None:
    h = await hall()

    def full(draft: object, **_: object) -> None:
        raise UnavailableError()

    monkeypatch.setattr(h.ledger, "queue", full)
    for asked in ({"method": "GET", "target": "/", "body": b""}, {"target": "/v1/events"}, {}):
        decision = await decide(h, **asked)
        assert decision.word is Word.UNAVAILABLE, asked
        assert decision.answer().status == 503
    assert (await decide(h, method="DELETE", body=b"")).word is Word.REFUSED


async def test_a_decision_that_cannot_be_written_releases_nothing_and_says_so(
    hall: Any, monkeypatch: Any
) -> None:
    h = await hall()
    waiting = asyncio.create_task(decide(h))
    hold = await h.pending()
    honest = h.ledger.queue

    def fails(draft: Any, **_: Any) -> Any:
        if draft.kind == "decided":
            ticket: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            ticket.set_exception(UnavailableError())
            return ticket
        return honest(draft)

    monkeypatch.setattr(h.ledger, "queue", fails)
    with pytest.raises(SluiceError, match="could not be written down, so nothing was sent"):
        await h.admission.review(hold.id, ADA, approves=True, reason="", seen=None)
    assert (await waiting).word is Word.UNAVAILABLE


async def test_a_denial_that_cannot_be_written_refuses_all_the_same_and_its_reviewer_is_told(
    hall: Any, monkeypatch: Any
) -> None:
    h = await hall()
    waiting = asyncio.create_task(decide(h))
    hold = await h.pending()

    def fails(draft: Any, **_: Any) -> Any:
        ticket: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.01, ticket.set_exception, UnavailableError())
        return ticket

    monkeypatch.setattr(h.ledger, "queue", fails)
    with pytest.raises(SluiceError, match="could not be written down, so nothing was sent"):
        await h.admission.review(hold.id, ADA, approves=False, reason="no", seen=None)
    assert (await waiting).word is Word.DENIED


@pytest.mark.parametrize("stays", [True, False], ids=["its reviewer waits", "its reviewer has gone"])
async def test_an_approval_that_could_not_be_written_does_not_count_for_the_next(
    hall: Any, monkeypatch: Any, stays: bool
) -> None:
    h = await hall(POLICY.replace("hold: {timeout: 5s}", "hold: {approvals: 2}"))
    waiting = asyncio.create_task(decide(h))
    hold = await h.pending()
    lost: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(h.ledger, "queue", lambda draft, **_: lost)
    first = asyncio.create_task(h.admission.review(hold.id, ADA, approves=True, reason="", seen=None))
    await asyncio.sleep(0)
    if not stays:
        first.cancel()
        await asyncio.wait({first})
    monkeypatch.undo()
    lost.set_exception(UnavailableError())
    if stays:
        with pytest.raises(SluiceError, match="could not be written down, so nothing was sent"):
            await first
    await asyncio.sleep(0)
    with pytest.raises(SluiceError, match="is gone"):
        await h.admission.review(hold.id, BOB, approves=True, reason="", seen=None)
    assert (await waiting).word is Word.UNAVAILABLE


@pytest.mark.parametrize(("approves", "end"), [(True, "unavailable"), (False, "denied")])
async def test_a_hold_that_ends_while_the_disk_is_late_has_an_end_all_the_same(
    hall: Any, monkeypatch: Any, approves: bool, end: str
) -> None:
    h = await hall()
    waiting = asyncio.create_task(decide(h))
    hold = await h.pending()
    honest = h.ledger.queue

    def late(draft: Any, **_: Any) -> Any:
        if draft.kind == "decided":
            raise UnavailableError()  # as for a queue that is full; a note is still taken
        return honest(draft, **_)

    monkeypatch.setattr(h.ledger, "queue", late)
    with contextlib.suppress(SluiceError):
        await h.admission.review(hold.id, ADA, approves=approves, reason="", seen=None)
    assert (await waiting).word == end
    monkeypatch.undo()
    (decided,) = await h.entries("decided")
    assert (decided["hold"], decided["decision"]) == (hold.id, end)
    assert verify(h.path, time.time()).ok


@pytest.mark.parametrize("broken", ["decode", "digest", "records"])
async def test_a_bug_anywhere_on_the_way_refuses(hall: Any, monkeypatch: Any, broken: str) -> None:
    h = await hall()

    def bug(*_: object, **__: object) -> None:
        raise ZeroDivisionError("planted, with a secret in it")

    if broken == "records":
        monkeypatch.setattr(room.records, "held", bug)
    else:
        monkeypatch.setattr(room, broken, bug)
    decision = await decide(h)
    assert decision.word is Word.UNAVAILABLE
    assert b"secret" not in decision.answer().body
    monkeypatch.undo()
    assert h.admission.approvals.pending == ()
    decided = await h.entries("decided")
    assert [one["decision"] for one in decided] == ["unavailable"]
    assert "secret" not in str(decided)


async def test_a_bug_in_the_policy_refuses(hall: Any) -> None:
    h = await hall()

    class Broken:
        digest = "0" * 64

        def judge(self, action: object) -> None:
            raise RecursionError

    h.admission.policy = Broken()
    assert (await decide(h, method="GET", target="/", body=b"")).word is Word.UNAVAILABLE


async def test_unreadable_bytes_are_refused_and_recorded(hall: Any) -> None:
    h = await hall()
    assert (await decide(h, target="/v1/../refunds")).word is Word.UNREADABLE
    bad = await decide(h, target="/v1/notes", body=b'{"size":1,"size":2}', content_type="application/json")
    assert (bad.word, bad.answer().status) == (Word.UNREADABLE, 400)
    assert [one["decision"] for one in await h.entries("decided")] == ["unreadable", "unreadable"]


async def test_paused_refuses_everything_also_what_waits(hall: Any) -> None:
    h = await hall()
    waiting = asyncio.create_task(decide(h))
    await h.pending()
    h.admission.pause("uid:other", "ada")
    assert h.admission.approvals.pending
    h.admission.pause("uid:me", "ada")
    assert (await waiting).word is Word.REFUSED
    assert (await decide(h, method="GET", target="/", body=b"")).word is Word.REFUSED
    h.admission.resume("uid:me", "ada")
    assert (await decide(h, method="GET", target="/", body=b"")).word is Word.ALLOWED
    assert len(await h.entries("paused")) == 2


async def test_a_pause_is_told_once_it_is_on_disk(hall: Any) -> None:
    h = await hall()
    desk = LocalDesk(Board(h.admission, proxy="http://127.0.0.1:1"), Reviewer("uid:1", "ada"))
    await desk.pause()
    with read.reading(h.path) as connection:  # whatever becomes of the gate now
        assert [fields["kind"] for _, fields in read.entries(connection)][-1] == "paused"
    await desk.resume()
    with read.reading(h.path) as connection:
        assert [fields["kind"] for _, fields in read.entries(connection)][-1] == "resumed"


async def test_a_pause_that_cannot_be_written_holds_until_a_restart_and_says_so(hall: Any) -> None:
    h = await hall()
    desk = LocalDesk(Board(h.admission, proxy="http://127.0.0.1:1"), Reviewer("uid:1", "ada"))
    with closing(sqlite3.connect(h.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(SluiceError, match="not over a restart") as refused:
            await desk.pause()
        assert refused.value.exit is Exit.NO
        assert (await decide(h, method="GET", target="/", body=b"")).word is Word.REFUSED
        other.execute("ROLLBACK")
    async with asyncio.timeout(10):
        while not h.ledger.takes:
            await asyncio.sleep(0.01)
    assert len(await h.entries("paused")) == 1  # it is written once that is possible


async def test_shadow_lets_everything_flow_and_records_what_would_have_been(hall: Any) -> None:
    h = await hall(shadow=True, body_limit=100)
    assert (await decide(h)).word is Word.WATCHED
    assert (await decide(h, method="DELETE", body=b"")).word is Word.WATCHED
    long = await h.admission.receive(request(body=None, content_length="101"))
    assert long.decision is not None and long.decision.word is Word.WATCHED
    decided = await h.entries("decided")
    assert [(one["effect"], one["shadow"]) for one in decided] == [
        ("hold", True),
        ("deny", True),
        ("hold", True),
    ]


async def test_stopping_answers_everyone_who_waits(hall: Any) -> None:
    h = await hall()
    waiting = [asyncio.create_task(decide(h)) for _ in range(50)]
    async with asyncio.timeout(5):
        while len(h.admission.approvals.pending) < 50:
            await asyncio.sleep(0.001)
    await h.admission.close(5)
    assert {decision.word for decision in await asyncio.gather(*waiting)} == {Word.UNAVAILABLE}
    assert (await decide(h, method="GET", target="/", body=b"")).word is Word.UNAVAILABLE
    assert len(await h.entries("decided")) == 51


async def test_a_changed_policy_judges_open_holds_again(hall: Any) -> None:
    h = await hall()
    waiting = asyncio.create_task(decide(h))
    hold = await h.pending()
    h.admission.change_policy(policy(POLICY.replace("why: A refund", "why: Any refund")), "ada", "")
    assert h.admission.approvals.get(hold.id).verdict.why == "Any refund moves money."
    stricter = POLICY.replace("hold: {timeout: 5s}", "hold: {approvals: 2}")
    h.admission.change_policy(policy(stricter), "ada", "")
    await h.admission.review(hold.id, ADA, approves=True, reason="", seen=None)
    assert h.admission.approvals.pending
    looser = POLICY.replace("then: hold\n    risk: {tier: high, reversible: false}", "then: allow")
    looser = looser.replace("    hold: {timeout: 5s}\n", "")
    h.admission.change_policy(policy(looser), "ada", "")
    assert h.admission.approvals.pending, "what became looser still waits for a person"
    h.admission.change_policy(
        policy(POLICY.replace("then: hold", "then: deny").replace("    hold: {timeout: 5s}\n", "")), "ada", ""
    )
    assert (await waiting).word is Word.REFUSED
    assert len(await h.entries("policy_changed")) == 4


async def test_an_outcome_is_written_once(hall: Any) -> None:
    h = await hall()
    hearing = await h.admission.receive(request("GET", "/", b""))
    hearing.conclude(Outcome(Happened.COMPLETED, status=200, received=5, seconds=0.25))
    hearing.conclude(Outcome(Happened.FAILED))
    ended = await h.entries("completed", "failed", "unknown")
    assert [(one["kind"], one["status"], one["microseconds"]) for one in ended] == [
        ("completed", 200, 250_000)
    ]
    (decided,) = await h.entries("decided")
    assert ended[0]["id"] == decided["id"]


async def test_a_refused_request_has_no_outcome(hall: Any) -> None:
    h = await hall()
    hearing = await h.admission.receive(request("DELETE", "/", b""))
    hearing.conclude(Outcome(Happened.COMPLETED, status=200))
    assert await h.entries("completed") == []


async def test_secrets_reach_no_entry(hall: Any) -> None:
    h = await hall()
    secret = "sk_live_4eC39HqLyjWDarjtT1zdp7dc"
    waiting = asyncio.create_task(
        decide(
            h,
            target=f"/v1/refunds?api_key={secret}",
            authorization=f"Bearer {secret}",
            body=b"amount=5&client_secret=" + secret.encode(),
        )
    )
    hold = await h.pending()
    await h.admission.review(hold.id, ADA, approves=True, reason="", seen=None)
    await waiting
    await h.entries()
    for path in h.path.parent.iterdir():
        assert secret.encode() not in path.read_bytes(), path


async def test_only_a_released_request_makes_a_host_known(hall: Any) -> None:
    h = await hall()
    other = replace(request("GET", "/", b""), host="new.example")
    first = await h.admission.receive(other)
    second = await h.admission.receive(other)
    assert (first.decision.word, second.decision.word) == (Word.WATCHED, Word.ALLOWED)


async def test_a_hold_that_was_never_written_is_never_named(hall: Any, monkeypatch: Any) -> None:
    h = await hall()
    honest = h.ledger.queue

    def fails(draft: Any, **_: Any) -> Any:
        if draft.kind == "held":
            raise UnavailableError()
        return honest(draft, **_)

    monkeypatch.setattr(h.ledger, "queue", fails)
    assert (await decide(h)).word is Word.UNAVAILABLE
    assert h.admission.approvals.pending == ()
    monkeypatch.undo()
    (decided,) = await h.entries("decided")
    assert "hold" not in decided
    assert verify(h.path, time.time()).ok


async def test_a_mail_to_thousands_still_makes_an_entry_that_fits(hall: Any) -> None:
    h = await hall(POLICY.replace("show: [form.amount]", "show: [form.to, form.amount]"))
    body = "&".join(f"to=someone{number}%40example.com%00%22" for number in range(5_000)).encode()
    waiting = asyncio.create_task(decide(h, body=body))
    hold = await h.pending()
    await h.admission.review(hold.id, ADA, approves=True, reason="", seen=None)
    assert (await waiting).word is Word.APPROVED
    (held,) = await h.entries("held")
    assert "someone0@example.com" in str(held["show"]) and "and 4980 more" in str(held["show"])
