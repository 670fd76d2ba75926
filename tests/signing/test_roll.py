"""Who is enrolled: the first alone, every later change by one who is, and nobody twice."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.chain import stamp
from proxy.ledger.roll import ACTS, Roll, entry
from proxy.signing import ProofError
from proxy.signing.statement import FRESH, Proof

from .making_keys import LEDGER, NOW, Key, ed25519, proof, sk_ed25519, statement


class Book:
    """A roll, and the entries that it was folded from; time goes on by a second an act."""

    def __init__(self) -> None:
        self.roll = Roll(LEDGER)
        self.entries: list[dict[str, Any]] = []
        self.now = NOW

    def signed(self, signer: Key, by: str, act: str, /, **about: Any) -> Proof:
        self.now += 1_000_000
        return proof(signer, statement(act, self.now, reviewer=by, about=about))

    def act(self, signer: Key, by: str, act: str, /, **about: Any) -> None:
        given = self.signed(signer, by, act, **about)
        said, _ = self.roll.judge(given, act, about, self.now)
        self.roll.copy().apply(act, about)
        draft = entry(act, about, said, given)
        self.take({"kind": draft.kind, **draft.fields})

    def take(self, fields: dict[str, Any]) -> None:
        self.roll.take(fields, self.now)
        self.entries.append({"time": stamp(self.now), **fields})

    def refused(self, code: str, /, *given: Any, **about: Any) -> str:
        before = self.roll.said
        with pytest.raises(ProofError) as caught:
            self.act(*given, **about)
        assert caught.value.code == code, caught.value
        assert self.roll.said == before
        return str(caught.value)


@pytest.fixture
def ada() -> Key:
    return ed25519()


@pytest.fixture
def book(ada: Key) -> Book:
    made = Book()
    made.act(ada, "ada", "enrol", reviewer="ada", uid=1000, groups=["finance"], key=ada.line)
    return made


def test_nobody_has_to_sign_until_somebody_is_enrolled(book: Book) -> None:
    assert not Roll(LEDGER).required
    assert book.roll.required
    [one] = book.roll.named(1000)
    assert (one.name, one.groups, one.person) == ("ada", ("finance",), "uid:1000")


def test_the_first_signs_for_itself_and_nobody_else(ada: Key) -> None:
    fresh, other = Book(), ed25519()
    about = {"uid": 1000, "groups": [], "key": ada.line}
    fresh.refused("stranger", other, "ada", "enrol", reviewer="ada", **about)
    fresh.refused("stranger", ada, "eve", "enrol", reviewer="ada", **about)
    fresh.refused("stranger", ada, "ada", "resume", agent=None)
    fresh.act(ada, "ada", "enrol", reviewer="ada", **about)


def test_later_ones_are_enrolled_by_one_who_is(book: Book, ada: Key) -> None:
    bob, eve = ed25519(), ed25519()
    about = {"uid": 1001, "groups": ["it"], "key": bob.line}
    book.refused("stranger", bob, "bob", "enrol", reviewer="bob", **about)
    book.refused("stranger", eve, "ada", "enrol", reviewer="bob", **about)
    book.act(ada, "ada", "enrol", reviewer="bob", **about)
    book.act(bob, "bob", "regroup", reviewer="ada", groups=["it"])
    assert book.roll.people["ada"].groups == ("it",)


def test_a_key_is_enrolled_once_and_for_one_name(book: Book, ada: Key) -> None:
    book.refused("key", ada, "ada", "enrol", reviewer="ada-2", uid=1001, groups=[], key=ada.line)
    bob = ed25519()
    book.act(ada, "ada", "enrol", reviewer="bob", uid=1001, groups=[], key=bob.line)
    book.act(ada, "ada", "revoke-key", reviewer="bob", key=bob.line, reason="left")
    book.refused("key", ada, "ada", "enrol", reviewer="bob-2", uid=1002, groups=[], key=bob.line)


def test_a_name_stays_with_its_account(book: Book, ada: Key) -> None:
    second = ed25519().line
    book.refused("name", ada, "ada", "enrol", reviewer="ada", uid=1001, groups=["finance"], key=second)
    book.act(ada, "ada", "enrol", reviewer="ada", uid=1000, groups=["finance"], key=second)
    assert len(book.roll.people["ada"].keys) == 2


def test_a_rotated_key_counts_no_more_and_the_new_one_does(book: Book, ada: Key) -> None:
    new = sk_ed25519()
    book.act(ada, "ada", "rotate-key", reviewer="ada", old=ada.line, key=new.line)
    assert "revoked" in book.refused("revoked", ada, "ada", "regroup", reviewer="ada", groups=[])
    book.act(new, "ada", "regroup", reviewer="ada", groups=[])
    [one] = book.roll.named(1000)
    assert one.person == "uid:1000" and one.keys == (new.public,)


def test_a_revoked_reviewer_can_do_nothing_and_the_last_key_stays(book: Book, ada: Key) -> None:
    bob = ed25519()
    book.act(ada, "ada", "enrol", reviewer="bob", uid=1001, groups=[], key=bob.line)
    book.act(bob, "bob", "revoke-key", reviewer="ada", key=ada.line, reason="lost")
    book.refused("revoked", ada, "ada", "enrol", reviewer="eve", uid=1, groups=[], key=ed25519().line)
    book.refused("last", bob, "bob", "revoke-key", reviewer="bob", key=bob.line, reason="")


ABOUT: dict[str, dict[str, Any]] = {
    "a name that is none": {"reviewer": "Ada Lovelace"},
    "a uid that is none": {"uid": -1},
    "a uid that is a truth": {"uid": True},
    "a uid for nobody": {"uid": 2**32 - 1},
    "groups that are none": {"groups": "finance"},
    "a group with a comma": {"groups": ["a,b"]},
    "too many groups": {"groups": ["g"] * 21},
    "no key": {"key": ""},
    "a key with a comment": {"key": ed25519().line + " bob@home"},
}


@pytest.mark.parametrize("change", ABOUT.values(), ids=ABOUT.keys())
def test_an_enrolment_that_is_not_as_it_must_be_changes_nothing(
    book: Book, ada: Key, change: dict[str, Any]
) -> None:
    about = {"reviewer": "bob", "uid": 1001, "groups": [], "key": ed25519().line} | change
    before = book.roll.said
    with pytest.raises(ProofError):
        book.act(ada, "ada", "enrol", **about)
    assert book.roll.said == before


def judged(book: Book, given: Proof, act: str = "resume", at: int | None = None, **about: Any) -> str:
    try:
        book.roll.judge(given, act, about or {"agent": None}, book.now if at is None else at)
    except ProofError as error:
        return error.code
    return "counts"


def test_a_statement_counts_for_what_it_says_and_for_nothing_else(book: Book, ada: Key) -> None:
    given = book.signed(ada, "ada", "resume", agent=None)
    assert judged(book, given) == "counts"
    assert judged(book, given, "pause") == "act"
    assert judged(book, given, agent="uid:b") == "about"
    assert judged(book, given, agent=None, more=1) == "about"
    book.roll.ledger = "5f" * 16
    assert judged(book, given) == "ledger"


@pytest.mark.parametrize(("off", "code"), [(FRESH, "counts"), (-FRESH, "counts"), (FRESH + 1, "stale")])
def test_a_statement_counts_for_five_minutes(book: Book, ada: Key, off: int, code: str) -> None:
    given = book.signed(ada, "ada", "resume", agent=None)
    assert judged(book, given, at=book.now + off) == code
    assert judged(book, given, at=book.now - FRESH - 1) == "stale"


def test_a_statement_counts_once_also_after_a_restart(book: Book, ada: Key) -> None:
    earlier = book.signed(ada, "ada", "resume", agent=None)
    given = book.signed(ada, "ada", "resume", agent=None)
    said, _ = book.roll.judge(given, "resume", {"agent": None}, book.now)
    draft = entry("resume", {"agent": None}, said, given)
    assert draft.kind == "ordered"
    book.take({"kind": draft.kind, **draft.fields})
    assert judged(book, given) == "spent"
    assert judged(book, earlier) == "spent"
    again = Book()
    for fields in book.entries:
        again.roll.take(fields, NOW + 10_000_000)
    again.now = book.now
    assert judged(again, given) == "spent"
    assert judged(again, book.signed(ada, "ada", "resume", agent=None)) == "counts"


def test_answers_to_two_holds_may_come_in_any_order(book: Book, ada: Key) -> None:
    first = book.signed(ada, "ada", "approve", hold="one")
    second = book.signed(ada, "ada", "approve", hold="two")
    said, _ = book.roll.judge(second, "approve", {"hold": "two"}, book.now)
    book.roll.spend(said)
    assert judged(book, first, "approve", hold="one") == "counts"
    assert judged(book, second, "approve", hold="two") == "spent"


def test_what_is_remembered_of_statements_is_bounded(book: Book, ada: Key) -> None:
    for number in range(5_000):
        at = NOW + number * 1_000_000
        book.roll.spend(statement("approve", at, key=ada.id, about={"hold": str(number)}))
    assert len(book.roll._spent) < 4_200


def test_a_forged_entry_is_no_enrolment(book: Book, ada: Key) -> None:
    eve = ed25519()
    genuine = dict(book.entries[0])
    forged = [
        {**genuine, "key": eve.line, "reviewer": "eve"},
        {**genuine, "uid": 0},
        {name: value for name, value in genuine.items() if name != "signature"},
        {"kind": "enrolled", "reviewer": "eve", "uid": 0, "groups": [], "key": eve.line, "by": "ada"},
    ]
    for fields in forged:
        for roll in (Roll(LEDGER), book.roll.copy()):
            with pytest.raises(ProofError):
                roll.take(fields, NOW)
            assert "eve" not in roll.people


def test_an_enrolment_of_another_ledger_is_none_here(book: Book) -> None:
    with pytest.raises(ProofError, match="another ledger"):
        Roll("00" * 16).take(book.entries[0], NOW)


def test_what_a_pruning_keeps_of_the_roll_is_the_roll(book: Book, ada: Key) -> None:
    book.act(ada, "ada", "rotate-key", reviewer="ada", old=ada.line, key=(new := ed25519()).line)
    again = Roll(LEDGER)
    again.restore(book.roll.said)
    assert again.said == book.roll.said and again.required
    assert again.people["ada"].keys == (new.public,)
    for broken in ({"people": [["ada"]]}, {"people": 1, "owners": []}):
        with pytest.raises(ProofError):
            Roll(LEDGER).restore(broken)


def test_every_act_that_changes_the_roll_has_an_entry_of_its_own() -> None:
    assert len(set(ACTS.values())) == len(ACTS)
