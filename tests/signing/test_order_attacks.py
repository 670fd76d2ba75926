"""What a reviewer ordered happened, once, and nothing else did: whatever the log's key can sign."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.ledger.retention import erase_in
from proxy.ledger.reviews import _Order
from proxy.ledger.verify import verify

from .desks import ADA, BOB, Office, enrol, office
from .making_keys import Key, ed25519
from .test_review_attacks import bodies, of, rewritten

type Entries = list[dict[str, Any]]

LONG = "asked for, " * 400
"""More than is kept of a reason, and more than is signed of one in its own words."""


async def edited(made: Office, key: Key, hold: str) -> None:
    desk = made.desk(ADA, key, "ada")
    sheet = await desk.sheet(hold)
    text = sheet.text.replace("amount=5", "amount=4")
    preview = await desk.preview(sheet, text)
    await desk.edit(sheet, text, becomes=preview.digest, reason="four")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of each order that is carried out, of two reviewers; the last two of them at the same moment."""
    folder = tmp_path_factory.mktemp("kept")

    async def write() -> None:
        ada, bob = ed25519(), ed25519()
        async with office(folder) as made:
            made.board.erase = lambda hold, reason, by: erase_in(made.path, made.ledger, hold, reason, by)
            desk, other = made.desk(ADA, ada, "ada"), made.desk(BOB, bob, "bob")
            await enrol(desk, ada)
            await enrol(desk, bob, "bob", BOB)
            asked = await made.asked()
            first = made.hold.id
            await edited(made, ada, first)
            await asked
            await desk.erase(first, "art. 17")
            await desk.pause()
            await desk.resume()
            waiting = [await made.asked(body=body) for body in (b"amount=6", b"amount=7")]
            one, two = (hold.id for hold in made.board.snapshot().holds[-2:])
            await asyncio.gather(desk.extend(one, 60), other.extend(two, 60))
            for hold in (one, two):
                await desk.review(hold, approves=False)
            await asyncio.gather(*waiting)
            await made.settled()
            await desk.erase(one, LONG[:3_000])
            await other.erase(two, LONG)

    asyncio.run(write())
    return folder


def test_orders_that_were_carried_out_verify_also_those_of_one_moment(ledger: Path) -> None:
    report = verify(ledger, time.time())
    assert report.ok, report.findings
    kinds = [one["kind"] for one in bodies(ledger)]
    assert kinds.count("erased") == 3
    at = kinds.index("extended")
    assert kinds[at - 2 : at + 2] == ["ordered", "ordered", "extended", "extended"]


def edit(kind: str, **changes: Any) -> Callable[[Entries], None]:
    return lambda entries: of(entries, kind).update(changes)


def again(kind: str) -> Callable[[Entries], None]:
    def attack(entries: Entries) -> None:
        one = of(entries, kind)
        entries.append({**one, "was": one["seq"], "time": entries[-1]["time"]})

    return attack


def extended_instead(entries: Entries) -> None:
    """The time that was given to one hold given to the other as well."""
    one, two = of(entries, "extended", 0), of(entries, "extended", 1)
    two["hold"] = one["hold"]


def as_another_act(entries: Entries) -> None:
    """What was ordered in a signed statement, under another word."""
    of(entries, "ordered", act="resume")["act"] = "erase"


ATTACKS: dict[str, Callable[[Entries], None]] = {
    "another hold erased": edit("erased", hold="z" * 26),
    "erased for another reason": edit("erased", reason="spring cleaning"),
    "erased by another reviewer": edit("erased", by="bob"),
    "more time for another hold": edit("extended", hold="z" * 26),
    "more time for the wrong hold": extended_instead,
    "more time in another name": edit("extended", by="bob"),
    "more time once more": again("extended"),
    "one agent's pause ended for all": edit("resumed", agent="uid:other"),
    "a pause ended in another name": edit("resumed", by="bob"),
    "a pause ended once more": again("resumed"),
    "another hold edited": edit("edited", hold="z" * 26),
    "an edit in another name": edit("edited", by="bob"),
    "an order under another word": as_another_act,
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_whoever_holds_the_logs_key_cannot_have_ordered_something_else(
    ledger: Path, attack: Callable[[Entries], None]
) -> None:
    entries = bodies(ledger)
    assert rewritten(ledger, bodies(ledger)).ok, "the attack alone changes nothing"
    attack(entries)
    report = rewritten(ledger, entries)
    assert {"review_unsigned", "review_act"} & {finding.code for finding in report.findings}, report.findings


@pytest.mark.parametrize(
    ("by", "policy", "signed", "covered"),
    [
        ("ada", "a" * 64, "a" * 64, True),
        ("ada", "b" * 64, "a" * 64, False),
        ("bob", "a" * 64, "a" * 64, False),
        ("ada", "a" * 64, None, True),  # as earlier versions signed it: whichever waited
    ],
)
def test_a_policy_that_was_taken_is_the_one_that_was_signed(
    by: str, policy: str, signed: str | None, covered: bool
) -> None:
    order = _Order("accept", "ada", {"policy": signed})
    assert order.covers("policy_changed", {"by": by, "policy": policy}) == covered
    assert not order.covers("resumed", {"by": by, "agent": "*"})
