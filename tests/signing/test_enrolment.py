"""From the first enrolment on, what is not signed by a reviewer decides nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxy.decision import Word
from proxy.errors import Exit, SluiceError
from proxy.ledger import Draft
from proxy.ledger.enrolled import roll_of
from proxy.ledger.verify import verify
from proxy.signing.statement import Proof
from proxy.wire import Call, Change, RollView, Snapshot, Verb

from .desks import ADA, BOB, Office, enrol, office
from .making_keys import Key, ed25519, proof, sk_ed25519, statement


@pytest.fixture
async def free(tmp_path: Path) -> AsyncIterator[Office]:
    """An office in which nobody is enrolled."""
    async with office(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def ada() -> Key:
    return ed25519()


@pytest.fixture(scope="module")
def bob() -> Key:
    return sk_ed25519()


@pytest.fixture
async def book(free: Office, ada: Key) -> Office:
    """An office in which ada is enrolled."""
    await enrol(free.desk(ADA, ada, "ada"), ada)
    return free


async def refused(awaitable: Any, part: str = "") -> str:
    with pytest.raises(SluiceError) as caught:
        await awaitable
    assert caught.value.exit is Exit.NO
    problem = caught.value.problems[0]
    assert part in f"{problem.what} {problem.why} {problem.fix}", problem
    return problem.what


# While nobody is enrolled


async def test_while_nobody_is_enrolled_everything_is_as_it_was(free: Office, ada: Key) -> None:
    asked = await free.asked()
    await free.desk(ADA).review(free.hold.id, approves=True)
    assert (await asked).word is Word.APPROVED
    [review] = free.entries("reviewed")
    assert "statement" not in review
    assert await free.desk(ADA).roll() == RollView(free.board.enrolment.roll.ledger)


async def test_a_key_is_not_asked_for_then(free: Office) -> None:
    await free.asked()
    assert (await free.desk(ADA).review(free.hold.id, approves=False)).state == "denied"


@pytest.mark.parametrize("why", ["an agent runs (sluice run)", "an agent is connected"])
async def test_nobody_is_the_first_while_an_agent_could_be(free: Office, ada: Key, why: str) -> None:
    free.busy = why
    assert why in await refused(enrol(free.desk(ADA, ada, "ada"), ada), "could enrol itself")
    assert not free.board.enrolment.roll.required and not free.entries("enrolled")


async def test_the_first_is_whoever_asks_and_signs_for_itself(free: Office, ada: Key, bob: Key) -> None:
    await refused(enrol(free.desk(BOB, ada, "ada"), ada), "whoever asks")
    await refused(enrol(free.desk(ADA, bob, "ada"), ada), "signs for itself")
    await refused(enrol(free.desk(ADA), ada), "none of your keys")
    await refused(free.desk(ADA).plain.take(Call(Verb.ENROL, reviewer="ada", uid=ADA, key=ada.line)))
    await enrol(free.desk(ADA, ada, "ada"), ada)
    [entry] = free.entries("enrolled")
    assert (entry["reviewer"], entry["uid"], entry["by"]) == ("ada", ADA, "ada")


# From then on


async def test_an_unsigned_decision_is_refused_with_what_why_and_fix(book: Office) -> None:
    asked = await book.asked()
    plain = book.desk(ADA).plain
    for call in (
        Call(Verb.REVIEW, prefix=book.hold.id, approves=True, digest=book.hold.digest),
        Call(Verb.REVIEW, prefix=book.hold.id, approves=False),
        Call(Verb.RESUME),
        Call(Verb.ACCEPT, policy="ab"),
        Call(Verb.ERASE, prefix="x", reason="r"),
        Call(Verb.EXTEND, prefix=book.hold.id, seconds=60),
        Call(Verb.GRANT, prefix=book.hold.id),
        Call(Verb.REVOKE),
        Call(Verb.UNLOCK),
        Call(Verb.ENROL, reviewer="eve", uid=ADA, key=ed25519().line),
        Call(Verb.REGROUP, reviewer="ada"),
    ):
        assert "not signed" in await refused(plain.take(call), "an agent of this account")
    assert not asked.done() and len(book.entries("reviewed")) == 0


async def test_whoever_is_not_enrolled_can_look_and_pause(book: Office) -> None:
    await book.asked()
    stranger = book.desk(4711).plain
    assert (await stranger.show(book.hold.id)).says == "Refund 5"
    assert len((await stranger.snapshot()).holds) == 1
    assert [one.name for one in (await stranger.roll()).reviewers] == ["ada"]
    assert (await stranger.pause()).paused == ("*",)


async def test_what_a_reviewer_signs_counts_and_is_kept(book: Office, ada: Key) -> None:
    asked = await book.asked()
    view = await book.desk(ADA, ada, "ada").review(book.hold.id[:10], approves=True, reason="fine")
    assert view.state == "approved" and (await asked).word is Word.APPROVED
    [held], [review], [decided] = (book.entries(kind) for kind in ("held", "reviewed", "decided"))
    said, key = Proof(str(review["statement"]), str(review["signature"])).opened()
    assert key == ada.public and said.about["reason"] == "fine"
    assert said.about["request"] == review["request"] == held["request"] == decided["request"]
    assert (review["reviewer"], review["person"]) == ("ada", f"uid:{ADA}")


async def test_a_denial_is_signed_too(book: Office, ada: Key) -> None:
    asked = await book.asked()
    await book.desk(ADA, ada, "ada").review(book.hold.id, approves=False, reason="too much")
    assert (await asked).detail == "too much"
    [review] = book.entries("reviewed")
    assert '"act":"deny"' in str(review["statement"])


async def test_orders_are_signed_and_written_down_before_they_are_carried_out(book: Office, ada: Key) -> None:
    desk = book.desk(ADA, ada, "ada")
    await desk.pause()
    await desk.resume()
    await book.settled()
    kinds = [entry["kind"] for entry in book.entries("paused", "ordered", "resumed")]
    assert kinds == ["paused", "ordered", "resumed"]
    [order] = book.entries("ordered")
    assert (order["act"], order["by"]) == ("resume", "ada")


async def test_what_cannot_be_written_down_is_not_done(book: Office, ada: Key) -> None:
    desk, bob = book.desk(ADA, ada, "ada"), ed25519()
    await desk.pause()
    book.ledger.trouble = "the disk is full"
    assert "nothing was done" in await refused(desk.resume())
    assert "nothing was done" in await refused(enrol(desk, bob, "bob", BOB))
    book.ledger.trouble = ""
    assert (await desk.status()).paused == ("*",)
    assert list(book.board.enrolment.roll.people) == ["ada"]


# What an agent could try that can read all that a reviewer's client sends


async def test_a_statement_does_not_count_twice(book: Office, ada: Key) -> None:
    desk = book.desk(ADA, ada, "ada")
    await desk.resume()
    await desk.pause()
    [replayed] = desk.sent
    assert "counted already" in await refused(desk.plain.take(replayed))


async def test_a_statement_does_not_count_for_another_hold(book: Office, ada: Key) -> None:
    first, desk = await book.asked(), book.desk(ADA, ada, "ada")
    await desk.review(book.hold.id, approves=False)
    await first
    second = await book.asked(body=b"amount=6")
    [replayed] = desk.sent
    forged = replace(replayed, prefix=book.hold.id, digest=book.hold.digest)
    assert "another hold" in await refused(desk.plain.take(forged))
    # The very same request, asked again in another hold, is another hold too.
    assert "deny, not to approve" in await refused(desk.plain.take(replace(forged, approves=True)))
    assert not second.done()


async def test_a_statement_does_not_count_from_another_account(book: Office, ada: Key) -> None:
    await book.asked()
    desk = book.desk(BOB, ada, "ada")
    await refused(desk.review(book.hold.id, approves=True), "from its own account alone")


async def test_a_statement_does_not_count_for_another_reason_or_with_more(book: Office, ada: Key) -> None:
    await book.asked()
    desk = book.desk(ADA, ada, "ada")
    call = Call(Verb.REVIEW, prefix=book.hold.id, approves=True, digest=book.hold.digest)
    signer = await desk.ready()
    roll = await desk.roll()
    signed = replace(call, proof=await desk._signed(call, book.hold, signer, roll))
    assert "another reason" in await refused(desk.plain.take(replace(signed, reason="as she said")))
    granting = replace(signed, verb=Verb.GRANT, seconds=600, uses=5)
    assert "another 'more'" in await refused(desk.plain.take(granting))
    assert (await desk.plain.take(signed)).state == "approved"  # type: ignore[union-attr]


async def test_a_signed_answer_names_its_hold_and_request_whole(book: Office, ada: Key) -> None:
    await book.asked()
    desk, view = book.desk(ADA, ada, "ada"), book.hold
    call = Call(Verb.REVIEW, prefix=view.id, approves=True, digest=view.digest)
    proof = await desk._signed(call, view, await desk.ready(), await desk.roll())
    for changed in ({"prefix": view.id[:20]}, {"digest": None}, {"digest": "00" * 32}):
        await refused(desk.plain.take(replace(call, proof=proof, **changed)), "whole")  # type: ignore[arg-type]
    await refused(desk.accept(""), "no changed policy waits")
    assert (await desk.plain.take(replace(call, proof=proof))).state == "approved"  # type: ignore[union-attr]


async def test_a_statement_of_yesterday_or_tomorrow_does_not_count(book: Office, ada: Key) -> None:
    await book.asked()
    for late in (-301.0, 301.0):
        book.late = late
        await refused(book.desk(ADA, ada, "ada").review(book.hold.id, approves=True), "five minutes")


async def test_a_clock_that_is_set_between_judging_and_writing_breaks_no_ledger(
    book: Office, ada: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer counts by the clock of its entry: else whoever verifies it would find it stale."""
    await book.asked()
    monkeypatch.setattr(book.board.admission, "clock", lambda: time.time() + 40 * 86_400)
    await refused(book.desk(ADA, ada, "ada").review(book.hold.id, approves=True), "five minutes")
    assert not book.hold.reviews


async def test_a_statement_for_another_ledger_does_not_count(book: Office, ada: Key, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    async with office(tmp_path / "other") as other:
        desk = other.desk(ADA, ada, "ada")
        await enrol(desk, ada)
        await desk.resume()
        assert "another ledger" in await refused(book.desk(ADA).plain.take(desk.sent[-1]))


async def test_a_key_that_is_not_enrolled_or_forged_does_not_count(book: Office, ada: Key) -> None:
    await book.asked()
    eve = ed25519()
    await refused(book.desk(ADA, eve, "ada").review(book.hold.id, approves=True), "not enrolled")
    said = statement("resume", reviewer="ada", key=ada.id, about={"agent": None})
    forged = replace(proof(eve, said), statement=said.data.decode())
    await refused(book.desk(ADA).plain.take(Call(Verb.RESUME, proof=forged)), "does not belong")


async def test_what_has_changed_since_it_was_shown_is_not_decided(book: Office, ada: Key) -> None:
    asked, desk = await book.asked(), book.desk(ADA, ada, "ada")
    changes = desk.changes()
    snapshot = await anext(changes)
    assert isinstance(snapshot, Snapshot)
    book.board._waiting[book.hold.id] = replace(book.hold, why="Another reason.")
    call = Call(Verb.REVIEW, prefix=book.hold.id, approves=True, digest=book.hold.digest)
    await refused(desk.take(call), "something else than is shown now")
    book.board.tell(Change("reviewed", hold=book.hold))
    await anext(changes)
    await changes.aclose()  # type: ignore[attr-defined]
    await desk.take(call)
    assert (await asked).word is Word.APPROVED


async def test_a_reviewer_with_a_new_key_or_name_is_the_same_person(book: Office, ada: Key) -> None:
    await book.asked("/v1/payouts")
    desk, second, third = book.desk(ADA, ada, "ada"), ed25519(), ed25519()
    await enrol(desk, second, "ada-on-call")
    await enrol(desk, third)
    await desk.review(book.hold.id, approves=True)
    for key, name in ((second, "ada-on-call"), (third, "ada")):
        await refused(book.desk(ADA, key, name).review(book.hold.id, approves=True), "already approved")
    bob = ed25519()
    await enrol(desk, bob, "bob", BOB)
    view = await book.desk(BOB, bob, "bob").review(book.hold.id, approves=True)
    assert view.state == "approved" and set(view.by) == {"ada", "bob"}


async def test_groups_are_those_of_the_roll(book: Office, ada: Key, bob: Key) -> None:
    await book.asked("/v1/payouts")
    await enrol(book.desk(ADA, ada, "ada"), bob, "bob", BOB, ())
    asks = book.desk(BOB, bob, "bob").review(book.hold.id, approves=True)
    await refused(asks, "finance")
    await book.desk(ADA, ada, "ada").take(Call(Verb.REGROUP, reviewer="bob", groups=("finance",)))
    assert (await book.desk(BOB, bob, "bob").review(book.hold.id, approves=True)).approvals_needed == 1


async def test_a_revoked_key_counts_no_more(book: Office, ada: Key, bob: Key) -> None:
    await book.asked()
    await enrol(book.desk(ADA, ada, "ada"), bob, "bob", BOB)
    await book.desk(BOB, bob, "bob").take(Call(Verb.REVOKE_KEY, reviewer="ada", key=ada.line, reason="lost"))
    await refused(book.desk(ADA, ada, "ada").review(book.hold.id, approves=True), "revoked")
    assert (await book.desk(BOB, bob, "bob").review(book.hold.id, approves=True)).state == "approved"


async def test_of_two_changes_at_once_both_or_one_are_made(book: Office, ada: Key) -> None:
    desk, key = book.desk(ADA, ada, "ada"), ed25519()
    done = await asyncio.gather(
        enrol(desk, key, "bob", BOB), enrol(desk, key, "eve", BOB), return_exceptions=True
    )
    assert sum(isinstance(one, SluiceError) for one in done) == 1
    assert len(book.board.enrolment.roll.people) == len(book.entries("enrolled")) == 2


# After a restart


async def test_the_roll_survives_a_restart_and_a_forged_entry_stops_the_gate(
    tmp_path: Path, ada: Key
) -> None:
    async with office(tmp_path) as made:
        await enrol(made.desk(ADA, ada, "ada"), ada)
        desk = made.desk(ADA, ada, "ada")
        await desk.resume()
        replayed = desk.sent[-1]
    async with office(tmp_path) as made:
        assert made.board.enrolment.roll.people["ada"].keys == (ada.public,)
        await refused(made.desk(ADA).plain.take(Call(Verb.RESUME)), "not signed")
        await refused(made.desk(ADA).plain.take(replayed), "counted already")
        eve = {"reviewer": "eve", "uid": 0, "groups": [], "key": ed25519().line, "by": "ada"}
        await made.ledger.queue(Draft("enrolled", eve))
    with pytest.raises(SluiceError, match="for certain"):
        roll_of(tmp_path / "ledger.db")


async def test_a_file_of_reviewers_proposes_where_somebody_is_enrolled(tmp_path: Path, ada: Key) -> None:
    file = {"version": 1, "reviewers": [{"name": "ada", "uid": ADA}, {"name": "bob", "uid": BOB}]}
    async with office(tmp_path, file) as made:
        await refused(asyncio.to_thread(made.desk, 4711), "is no reviewer")
        await enrol(made.desk(ADA, ada, "ada"), ada)
        proposed = (await made.desk(4711).roll()).proposals
        assert "give 'ada' the groups none; enrolled with finance" in proposed
        assert "enrol 'bob' (uid:1001, groups none)" in proposed


# What others build upon: grants, and edits


async def test_a_grant_is_signed_as_the_approval_that_it_is(book: Office, ada: Key) -> None:
    asked, desk = await book.asked(), book.desk(ADA, ada, "ada")
    offer = await desk.offer(book.hold.id)
    await desk.grant(offer, seconds=600, uses=2, reason="and the like")
    assert (await asked).word is Word.APPROVED
    [review], [grant] = book.entries("reviewed"), book.entries("granted")
    said, _ = Proof(str(review["statement"]), str(review["signature"])).opened()
    assert said.act == "approve" and said.about["more"]["uses"] == 2  # type: ignore[index]
    assert (grant["hold"], grant["reviewer"], grant["uses"]) == (review["hold"], "ada", 2)
    report = verify(book.path, time.time())
    assert report.ok, report.findings


async def test_an_edit_is_ordered_and_what_it_became_is_approved(book: Office, ada: Key) -> None:
    asked, desk = await book.asked(), book.desk(ADA, ada, "ada")
    sheet = await desk.sheet(book.hold.id)
    text = sheet.text.replace("amount=5", "amount=4")
    preview = await desk.preview(sheet, text)
    view = await desk.edit(sheet, text, becomes=preview.digest, reason="four is enough")
    assert view.state == "approved" and (await asked).word is Word.APPROVED
    kinds = [entry["kind"] for entry in book.entries("ordered", "edited", "reviewed", "decided")]
    assert kinds == ["ordered", "edited", "reviewed", "decided"]
    report = verify(book.path, time.time())
    assert report.ok, report.findings
    assert report.reviews["signed"] == {"ada": 1}
