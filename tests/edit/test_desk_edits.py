"""An edit at the desk: judged again, confirmed by its digest, written down, and then sent as it is."""

import asyncio
import json
import sqlite3
import time
from dataclasses import replace
from typing import Any

import pytest
from admission.conftest import POLICY, policy, request

from proxy.action import Request, digest
from proxy.decision import Decision, Happened, Outcome, Word
from proxy.desk import Board, LocalDesk
from proxy.errors import SluiceError
from proxy.hold import Reviewer
from proxy.ledger import UnavailableError
from proxy.ledger.verify import verify
from proxy.wire import HoldView

ADA = Reviewer("uid:1", "ada", ("finance",))
BOB = Reviewer("uid:2", "bob", ("finance",))
EVE = Reviewer("uid:3", "eve", ("interns",))
CEO = Reviewer("uid:4", "ceo", ("board",))
RULES = (
    POLICY.replace("hold: {timeout: 5s}", "hold: {timeout: 5s, rejoin: 5s, reviewers: [finance]}")
    + """
  - name: large-refunds-ask-the-board
    why: A large refund is the board's to decide.
    match: {host: api.example.com, path: /v1/refunds, where: {form.amount: {above: 1000}}}
    then: hold
    risk: {tier: critical}
    hold: {timeout: 5s, reviewers: [board]}
  - name: no-refunds-to-eve
    why: Eve has been refunded already.
    match: {host: api.example.com, path: /v1/refunds, where: {form.to: {is: eve}}}
    then: deny
"""
)
TWO = RULES.replace("rejoin: 5s,", "rejoin: 5s, approvals: 2,")
KEY = "sk_live_AbCdEf0123456789"


class Attempt:
    """One connection of the agent."""

    def __init__(self, h: Any, hearing: Any, asked: Request) -> None:
        self.hearing = hearing
        self.waiting: asyncio.Task[Decision] = asyncio.create_task(hearing.judge(asked))

    async def leave(self) -> Decision:
        self.hearing.leave("the agent hung up")
        return await self.ends()

    async def ends(self) -> Decision:
        return await asyncio.wait_for(self.waiting, 10)


async def ask(h: Any, asked: Request | None = None) -> Attempt:
    asked = asked or request(body=b"amount=500&to=bob", authorization=f"Bearer {KEY}")
    hearing = await h.admission.receive(replace(asked, body=None))
    one = Attempt(h, hearing, asked)
    await h.pending()
    return one


def desk(h: Any, who: Reviewer = ADA, board: Board | None = None) -> LocalDesk:
    return LocalDesk(board or Board(h.admission, proxy="http://127.0.0.1:1"), who)


async def edit(at: LocalDesk, hold: Any, *swaps: tuple[str, str], reason: str = "") -> HoldView:
    """As a reviewer does: take the sheet, change it, look at the preview, confirm it."""
    sheet = await at.sheet(hold.id)
    text = sheet.text
    for old, new in swaps:
        assert old in text
        text = text.replace(old, new)
    view = await at.preview(sheet, text)
    return await at.edit(sheet, text, becomes=view.digest, reason=reason)


async def test_the_edited_request_is_what_leaves_and_its_edit_is_the_editors_approval(hall: Any) -> None:
    h = await hall(RULES)
    one = await ask(h)
    hold = await h.pending()
    view = await edit(desk(h), hold, ("amount=500", "amount=40"), reason="less will do")
    decision = await one.ends()
    assert (decision.word, decision.reviewers) == (Word.APPROVED, ("ada",))
    assert decision.sends is not None
    assert decision.sends.body == b"amount=40&to=bob"
    assert decision.sends.header(b"authorization") == [f"Bearer {KEY}".encode()]
    assert digest(decision.sends) == decision.digest != hold.digest
    assert (view.state, view.edited_by) == ("approved", ("ada",))
    assert view.difference[-2:] == ("-amount=500&to=bob", "+amount=40&to=bob")
    assert view.show == {"form.amount": ("40",)}
    kinds = [entry["kind"] for entry in await h.entries("held", "edited", "reviewed", "decided")]
    assert kinds == ["held", "edited", "reviewed", "decided"]


async def test_both_digests_and_the_difference_are_written_down_without_secrets(hall: Any) -> None:
    h = await hall(RULES)
    one = await ask(h)
    hold = await h.pending()
    await edit(desk(h), hold, ("amount=500", "amount=40"))
    decision = await one.ends()
    [entry] = await h.entries("edited")
    assert (entry["by"], entry["person"], entry["hold"]) == ("ada", "uid:1", hold.id)
    [held], [reviewed] = await h.entries("held"), await h.entries("reviewed")
    assert (entry["before"], entry["request"]) == (held["request"], reviewed["request"])
    assert entry["before"] != entry["request"]
    with sqlite3.connect(h.path) as connection:
        rows = connection.execute("SELECT data FROM payload WHERE seq = ?", (entry["seq"],)).fetchall()
        everything = b"".join(row[0] or b"" for row in connection.execute("SELECT data FROM payload"))
    kept = json.loads(rows[0][0])
    assert kept["before"] == hold.digest.hex()
    assert kept["after"] == decision.digest.hex()
    assert "+amount=40&to=bob" in kept["difference"]
    assert KEY.encode() not in everything
    one.hearing.conclude(Outcome(Happened.COMPLETED, 200))
    await h.entries()
    assert verify(h.path, time.time()).findings == ()


async def test_what_a_rule_denies_is_not_edited_in_and_the_hold_waits_on(hall: Any) -> None:
    h = await hall(RULES)
    one = await ask(h)
    hold = await h.pending()
    with pytest.raises(SluiceError, match="rule 'no-refunds-to-eve' denies the edited request"):
        await edit(desk(h), hold, ("to=bob", "to=eve"))
    assert (await h.pending()).digest == hold.digest
    await h.admission.review(hold.id, ADA, approves=True, reason="", seen=hold.digest)
    assert (await one.ends()).sends is None
    assert await h.entries("edited") == []


async def test_what_other_rules_hold_waits_for_their_reviewers(hall: Any) -> None:
    h = await hall(RULES)
    board = Board(h.admission, proxy="")
    one = await ask(h)
    hold = await h.pending()
    view = await edit(desk(h, board=board), hold, ("amount=500", "amount=5000"))
    assert (view.state, view.rule) == ("pending", "large-refunds-ask-the-board")
    assert view.reviewers == ("board", "finance")
    waits = await h.pending()
    assert [review.reviewer.name for review in waits.reviews] == ["ada"]
    with pytest.raises(SluiceError, match="not for the request that you saw"):
        await h.admission.review(hold.id, CEO, approves=True, reason="", seen=hold.digest)
    seen = (await desk(h, CEO, board).show(hold.id)).digest
    await desk(h, CEO, board).review(hold.id, approves=True, digest=seen)
    decision = await one.ends()
    assert decision.sends is not None
    assert decision.sends.body == b"amount=5000&to=bob"
    assert set(decision.reviewers) == {"ada", "ceo"}


async def test_with_two_needed_the_other_approves_the_edited_request(hall: Any) -> None:
    h = await hall(TWO)
    board = Board(h.admission, proxy="")
    one = await ask(h)
    hold = await h.pending()
    await h.admission.review(hold.id, BOB, approves=True, reason="", seen=hold.digest)
    view = await edit(desk(h, board=board), hold, ("amount=500", "amount=40"))
    assert (view.approvals_needed, [review.reviewer for review in view.reviews]) == (1, ["ada"])
    whole = await desk(h, BOB, board).show(hold.id)
    assert (whole.edited_by, whole.body) == (("ada",), "amount=40&to=bob")
    await desk(h, BOB, board).review(hold.id, approves=True, digest=whole.digest)
    assert (await one.ends()).word is Word.APPROVED


async def test_an_edit_that_nothing_holds_any_more_still_needs_the_reviewers_of_the_hold(hall: Any) -> None:
    h = await hall(TWO)
    one = await ask(h)
    view = await edit(desk(h), await h.pending(), ("/v1/refunds", "/v1/events"))
    assert (view.approvals_needed, view.says) == (1, "")
    hold = await h.pending()
    await h.admission.review(hold.id, BOB, approves=True, reason="", seen=hold.digest)
    decision = await one.ends()
    assert decision.sends is not None
    assert decision.sends.target == b"/v1/events"
    [decided] = await h.entries("decided")
    assert decided["url"] == "https://api.example.com/v1/events"


async def test_whoever_may_not_answer_a_hold_may_not_edit_it(hall: Any) -> None:
    h = await hall(RULES)
    one = await ask(h)
    hold = await h.pending()
    with pytest.raises(SluiceError, match="needs a reviewer of finance"):
        await edit(desk(h, EVE), hold, ("amount=500", "amount=40"))
    await h.admission.review(hold.id, ADA, approves=False, reason="", seen=hold.digest)
    assert (await one.ends()).word is Word.DENIED


async def test_an_edit_counts_for_the_request_that_was_taken_and_the_one_that_was_confirmed(
    hall: Any,
) -> None:
    h = await hall(RULES)
    one = await ask(h)
    hold = await h.pending()
    at = desk(h)
    sheet = await at.sheet(hold.id)
    text = sheet.text.replace("amount=500", "amount=40")
    with pytest.raises(SluiceError, match="not for the request that you saw"):
        await at.preview(replace(sheet, digest="0" * 64), text)
    with pytest.raises(SluiceError, match="would not become the request that you confirmed"):
        await at.edit(sheet, text, becomes="0" * 64)
    for digest_ in ("", "zz"):
        with pytest.raises(SluiceError, match=r"confirmed|is no digest"):
            await at.edit(sheet, text, becomes=digest_)
    with pytest.raises(SluiceError, match="changes nothing"):
        await at.preview(sheet, sheet.text)
    assert (await h.pending()).digest == hold.digest
    one.hearing.leave("over")
    await one.ends()


async def test_of_two_who_edit_at_once_one_is_told_that_it_is_another_request_now(hall: Any) -> None:
    h = await hall(TWO)
    one = await ask(h)
    hold = await h.pending()
    ended = await asyncio.gather(
        edit(desk(h, ADA), hold, ("amount=500", "amount=40")),
        edit(desk(h, BOB), hold, ("amount=500", "amount=50")),
        return_exceptions=True,
    )
    assert sum(isinstance(one, SluiceError) for one in ended) == 1
    assert len(await h.entries("edited")) == 1
    one.hearing.leave("over")
    await one.ends()


async def test_a_second_edit_starts_from_the_first_and_its_difference_from_the_agents(hall: Any) -> None:
    h = await hall(TWO)
    one = await ask(h)
    hold = await h.pending()
    await edit(desk(h, ADA), hold, ("amount=500", "amount=40"))
    view = await edit(desk(h, BOB), hold, ("to=bob", "to=ana"))
    assert view.edited_by == ("ada", "bob")
    assert view.difference[-2:] == ("-amount=500&to=bob", "+amount=40&to=ana")
    assert [review.reviewer for review in view.reviews] == ["bob"]
    one.hearing.leave("over")
    await one.ends()


async def test_an_agent_that_leaves_and_comes_again_finds_its_own_request_held(hall: Any) -> None:
    h = await hall(TWO)
    board = Board(h.admission, proxy="")
    one = await ask(h)
    hold = await h.pending()
    await edit(desk(h, board=board), hold, ("amount=500", "amount=40"))
    assert (await one.leave()).word is Word.ABANDONED
    gone = await desk(h, board=board).show(hold.id)
    assert (gone.digest, gone.edited_by, gone.body) == (hold.digest.hex(), (), "amount=500&to=bob")
    assert gone.show == {"form.amount": ("500",)}
    with pytest.raises(SluiceError, match="cannot be edited while its agent is not there"):
        await desk(h).sheet(hold.id)
    again = await ask(h)
    view = (await desk(h, board=board).snapshot()).holds[0]
    assert (view.id, view.attempts, view.reviews, view.approvals_needed) == (hold.id, 2, (), 2)
    assert any("ada had edited it" in notice for notice in view.notices)
    for who in (ADA, BOB):
        await h.admission.review(hold.id, who, approves=True, reason="", seen=hold.digest)
    assert (await again.ends()).sends is None


async def test_a_policy_that_changes_while_an_edit_is_confirmed_is_the_one_that_counts(hall: Any) -> None:
    h = await hall(RULES)
    one = await ask(h)
    at = desk(h)
    sheet = await at.sheet((await h.pending()).id)
    text = sheet.text.replace("amount=500", "amount=40")
    view = await at.preview(sheet, text)
    stricter = RULES.replace("above: 1000", "above: 10")
    h.admission.change_policy(policy(stricter), "ada", "")
    edited = await at.edit(sheet, text, becomes=view.digest)
    assert (edited.state, edited.rule) == ("pending", "large-refunds-ask-the-board")
    one.hearing.leave("over")
    await one.ends()


async def test_an_edited_hold_is_judged_as_edited_when_the_policy_changes(hall: Any) -> None:
    h = await hall(TWO)
    one = await ask(h)
    edited = await edit(desk(h), await h.pending(), ("amount=500", "amount=40"))
    h.admission.change_policy(policy(TWO.replace("above: 1000", "above: 100")), "ada", "")
    hold = await h.pending()
    assert (hold.digest.hex(), hold.verdict.rule) == (edited.digest, "refunds-wait")
    h.admission.change_policy(policy(TWO.replace("above: 1000", "above: 10")), "ada", "")
    hold = await h.pending()
    assert (hold.digest.hex(), hold.verdict.rule) == (edited.digest, "large-refunds-ask-the-board")
    one.hearing.leave("over")
    await one.ends()


async def test_an_edit_that_cannot_be_written_down_sends_nothing(hall: Any) -> None:
    h = await hall(RULES)
    one = await ask(h)
    at = desk(h)
    sheet = await at.sheet((await h.pending()).id)
    text = sheet.text.replace("amount=500", "amount=40")
    view = await at.preview(sheet, text)
    await h.ledger.close()
    with pytest.raises(SluiceError, match="could not be written down"):
        await at.edit(sheet, text, becomes=view.digest)
    one.hearing.leave("over")
    assert not (await one.ends()).word.opens


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (request(authorization="AWS4-HMAC-SHA256 Credential=a, Signature=b"), "is signed"),
        (request(x_hub_signature="sha1=00"), "is signed"),
    ],
)
async def test_a_signed_request_says_why_it_is_not_edited(hall: Any, asked: Request, why: str) -> None:
    h = await hall(RULES)
    one = await ask(h, asked)
    with pytest.raises(SluiceError, match=why):
        await desk(h).sheet((await h.pending()).id)
    one.hearing.leave("over")
    await one.ends()


async def test_a_hold_that_has_ended_is_not_edited(hall: Any) -> None:
    h = await hall(RULES)
    one = await ask(h)
    hold = await h.pending()
    sheet = await desk(h).sheet(hold.id)
    await h.admission.review(hold.id, ADA, approves=False, reason="no", seen=hold.digest)
    await one.ends()
    for attempt in (desk(h).sheet(hold.id), desk(h).preview(sheet, sheet.text)):
        with pytest.raises(SluiceError, match="is gone: denied by ada"):
            await attempt


async def test_the_same_request_again_is_told_that_it_was_sent_as_edited(hall: Any) -> None:
    h = await hall(RULES)
    one = await ask(h)
    await edit(desk(h), await h.pending(), ("amount=500", "amount=40"))
    one.hearing.decision = await one.ends()
    one.hearing.conclude(Outcome(Happened.COMPLETED, 200))
    again = await ask(h)
    [notice] = (await h.pending()).notices
    assert "sent" in notice
    assert notice.endswith("as ada had edited it, answered 200")
    again.hearing.leave("over")
    await again.ends()


async def test_a_later_request_is_compared_with_what_the_agent_had_asked(hall: Any) -> None:
    h = await hall(TWO)
    one = await ask(h)
    hold = await h.pending()
    await edit(desk(h), hold, ("amount=500", "amount=40"))
    now = await h.pending()
    await h.admission.review(now.id, BOB, approves=False, reason="no", seen=now.digest)
    assert (await one.ends()).word is Word.DENIED
    other = await ask(h, request(body=b"amount=600&to=bob", authorization=f"Bearer {KEY}"))
    assert "form.amount: 500 -> 600" in (await h.pending()).differs
    other.hearing.leave("over")
    await other.ends()


async def test_at_the_critical_tier_a_preview_says_what_has_to_be_typed(hall: Any) -> None:
    h = await hall(RULES)
    one = await ask(h)
    at = desk(h)
    sheet = await at.sheet((await h.pending()).id)
    view = await at.preview(sheet, sheet.text.replace("amount=500", "amount=5000"))
    assert (view.tier, view.confirm) == ("critical", ("amount", "5000"))
    one.hearing.leave("over")
    await one.ends()


async def test_an_edit_that_gets_lost_on_its_way_to_the_disk_cuts_the_hold_off(
    hall: Any, monkeypatch: Any
) -> None:
    """Also where it is for others to approve, so that nothing more is written at the moment."""
    h = await hall(RULES)
    one = await ask(h)
    at = desk(h)
    sheet = await at.sheet((await h.pending()).id)
    text = sheet.text.replace("amount=500", "amount=5000")
    view = await at.preview(sheet, text)
    honest, lost = h.ledger.queue, asyncio.get_running_loop().create_future()
    monkeypatch.setattr(
        h.ledger, "queue", lambda draft, **_: lost if draft.kind == "edited" else honest(draft)
    )
    editing = asyncio.create_task(at.edit(sheet, text, becomes=view.digest))
    while not h.admission.approvals.pending[0].edit:
        await asyncio.sleep(0)
    await h.entries()
    assert not editing.done()
    assert h.admission.approvals.pending[0].reviews == ()
    lost.set_exception(UnavailableError())
    with pytest.raises(SluiceError, match="could not be written down, so nothing was sent"):
        await editing
    assert (await one.ends()).word is Word.UNAVAILABLE
