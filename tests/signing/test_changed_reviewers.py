"""What a reviewer approved before their key or their groups were taken counts no more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.decision import Word
from proxy.errors import SluiceError
from proxy.hold import State
from proxy.known import known
from proxy.ledger.verify import verify
from proxy.wire import Call, Verb

from .desks import ADA, BOB, Office, enrol, office
from .desks import POLICY as RULES
from .making_keys import Key, ed25519

EVE = 1002
POLICY = (
    RULES
    + """\
  - name: transfers-are-deferred
    why: A transfer is a matter for two.
    match: {host: api.example.com, method: POST, path: /v1/transfers}
    then: hold
    hold: {reviewers: [finance], approvals: 2, timeout: 30s, wait: 1s}
  - name: refusals-need-two
    why: One person alone stops nothing here.
    match: {host: api.example.com, method: POST, path: /v1/wages}
    then: hold
    hold: {reviewers: [finance], denials: 2, timeout: 30s}
"""
)


@pytest.fixture(scope="module")
def keys() -> dict[str, Key]:
    return {name: ed25519() for name in ("ada", "bob", "eve", "new")}


@pytest.fixture
async def book(tmp_path: Path, keys: dict[str, Key]) -> AsyncIterator[Office]:
    """An office in which three are enrolled, all of finance."""
    async with office(tmp_path, policy=POLICY) as made:
        await enrol(made.desk(ADA, keys["ada"], "ada"), keys["ada"])
        for name, uid in (("bob", BOB), ("eve", EVE)):
            await enrol(made.desk(ADA, keys["ada"], "ada"), keys[name], name, uid)
        yield made


def revoked(name: str, keys: dict[str, Key]) -> Call:
    return Call(Verb.REVOKE_KEY, reviewer=name, key=keys[name].line, reason="lost")


def rotated(name: str, keys: dict[str, Key]) -> Call:
    return Call(Verb.ROTATE_KEY, reviewer=name, old=keys[name].line, key=keys["new"].line)


def regrouped(name: str, keys: dict[str, Key]) -> Call:
    return Call(Verb.REGROUP, reviewer=name, groups=("sales",))


@pytest.mark.parametrize("change", [revoked, rotated, regrouped])
async def test_an_approval_counts_no_more_once_its_reviewer_may_not_give_it(
    book: Office, keys: dict[str, Key], change: object
) -> None:
    asked = await book.asked("/v1/payouts")
    id = book.hold.id
    assert (await book.desk(BOB, keys["bob"], "bob").review(id, approves=True)).approvals_needed == 1
    await book.desk(ADA, keys["ada"], "ada").take(change("bob", keys))  # type: ignore[operator]
    assert (book.hold.approvals_needed, book.hold.reviews) == (2, ())
    view = await book.desk(ADA, keys["ada"], "ada").review(id, approves=True)
    assert (view.state, view.approvals_needed) == ("pending", 1)
    view = await book.desk(EVE, keys["eve"], "eve").review(id, approves=True)
    assert (view.state, set(view.by)) == ("approved", {"ada", "eve"})
    assert (await asked).reviewers == ("ada", "eve")
    report = verify(book.path, time.time())
    assert report.ok, report.findings


async def test_whoever_has_another_key_now_may_approve_again(book: Office, keys: dict[str, Key]) -> None:
    asked = await book.asked("/v1/payouts")
    await book.desk(BOB, keys["bob"], "bob").review(book.hold.id, approves=True)
    await book.desk(ADA, keys["ada"], "ada").take(rotated("bob", keys))
    await book.desk(BOB, keys["new"], "bob").review(book.hold.id, approves=True)
    await book.desk(EVE, keys["eve"], "eve").review(book.hold.id, approves=True)
    assert (await asked).word is Word.APPROVED


async def test_a_change_of_another_reviewer_takes_nothing_away(book: Office, keys: dict[str, Key]) -> None:
    await book.asked("/v1/payouts")
    await book.desk(BOB, keys["bob"], "bob").review(book.hold.id, approves=True)
    await book.desk(ADA, keys["ada"], "ada").take(revoked("eve", keys))
    regroup = Call(Verb.REGROUP, reviewer="bob", groups=("finance", "sales"))
    await book.desk(ADA, keys["ada"], "ada").take(regroup)
    assert book.hold.approvals_needed == 1


async def test_what_was_approved_and_is_not_yet_spent_lapses(book: Office, keys: dict[str, Key]) -> None:
    asked = await book.asked("/v1/transfers")
    assert (await asked).word is Word.PENDING
    hold = book.hold
    for uid, name in ((BOB, "bob"), (EVE, "eve")):
        view = await book.desk(uid, keys[name], name).review(hold.id, approves=True)
    assert view.state == "spendable"
    await book.desk(ADA, keys["ada"], "ada").take(revoked("bob", keys))
    assert book.board.admission.approvals.get(hold.id).state is State.UNSPENT
    again = await book.asked("/v1/transfers")
    assert book.hold.id != hold.id
    assert (await again).word is Word.PENDING


async def test_a_denial_stays_whoever_gave_it(book: Office, keys: dict[str, Key]) -> None:
    asked = await book.asked("/v1/wages")
    await book.desk(BOB, keys["bob"], "bob").review(book.hold.id, approves=False, reason="no")
    await book.desk(ADA, keys["ada"], "ada").take(revoked("bob", keys))
    await book.desk(EVE, keys["eve"], "eve").review(book.hold.id, approves=False, reason="no")
    assert (await asked).word is Word.DENIED


async def test_an_answer_waits_for_a_change_that_is_on_its_way_to_the_disk(
    book: Office, keys: dict[str, Key]
) -> None:
    asked = await book.asked("/v1/payouts")
    id, bob = book.hold.id, book.desk(BOB, keys["bob"], "bob")
    done = await asyncio.gather(
        book.desk(ADA, keys["ada"], "ada").take(revoked("bob", keys)),
        bob.review(id, approves=True),
        return_exceptions=True,
    )
    await book.settled()
    kinds = [one["kind"] for one in book.entries("revoked_key", "reviewed")]
    assert isinstance(done[1], SluiceError) or kinds == ["reviewed", "revoked_key"]
    assert book.hold.approvals_needed == 2
    report = verify(book.path, time.time())
    assert not [one for one in report.findings if one.code.startswith("review_")], report.findings
    asked.cancel()
    await asyncio.wait([asked])


async def test_whoever_looks_and_cannot_decide_is_nobody(book: Office, keys: dict[str, Key]) -> None:
    looking = [book.desk(uid).changes() for uid in (BOB, EVE, 4711)]
    for one in looking:
        await anext(one)
    admission = book.board.admission
    assert {one.name for one in admission.present()} == {"bob", "eve"}
    desk = book.desk(ADA, keys["ada"], "ada")
    await desk.take(revoked("bob", keys))
    await desk.take(regrouped("eve", keys))
    assert [(one.name, one.groups) for one in admission.present()] == [("eve", ("sales",))]
    for one in looking:
        await one.aclose()  # type: ignore[attr-defined]
    assert admission.present() == ()


async def granted(book: Office, keys: dict[str, Key]) -> None:
    asked, desk = await book.asked(), book.desk(BOB, keys["bob"], "bob")
    await desk.grant(await desk.offer(book.hold.id), seconds=600, uses=5)
    assert (await asked).word is Word.APPROVED


@pytest.mark.parametrize("change", [revoked, rotated, regrouped])
async def test_a_grant_ends_with_what_it_was_given_by(
    book: Office, keys: dict[str, Key], change: object
) -> None:
    await granted(book, keys)
    assert len((await book.desk(ADA).grants()).grants) == 1
    await book.desk(ADA, keys["ada"], "ada").take(change("bob", keys))  # type: ignore[operator]
    assert (await book.desk(ADA).grants()).grants == ()
    await book.settled()
    [entry] = book.entries("revoked")
    assert (entry["by"], "another key or other groups" in str(entry["why"])) == ("", True)
    assert known(book.path, time.time()).grants.standing(time.time()) == ()
    another = await book.asked(body=b"amount=4")
    assert not another.done(), "its like is asked about again"
    another.cancel()
    await asyncio.wait([another])


async def test_a_grant_stays_when_others_change(book: Office, keys: dict[str, Key]) -> None:
    await granted(book, keys)
    await book.desk(ADA, keys["ada"], "ada").take(revoked("eve", keys))
    assert len(known(book.path, time.time()).grants.standing(time.time())) == 1
    [grant] = (await book.desk(ADA).grants()).grants
    assert grant.by == "bob"
