"""The books of the errands find what is wrong: one thing at a time, put into a story that was right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from faults.batches import Batch
from faults.books import findings
from faults.cases import Carrier, Fault, Moment
from faults.errands import AMOUNT, Errand, Leg
from faults.findings import Wrong
from faults.funds import releases, used
from faults.journal import Answer, Arrival, Attempt, Call, Found, Walk
from faults.rules import EVE
from faults.settled import walked

HOLD, OTHER = "h" * 26, "i" * 26
MARK = "m15y0"


def errand(leg: Leg, **more: Any) -> Errand:
    drawn = Errand(
        mark=MARK,
        leg=leg,
        step=0,
        moment=Moment.BEFORE,
        fault=Fault.NONE,
        carrier=Carrier.PLAIN,
        behaviour="ok",
        lead=0.0,
        http2_upstream=False,
        many=3,
        uses=1,
        ending="",
        counts=False,
        over="deny",
        window=False,
        amount=20,
        people=1,
        revived=False,
        seed=1,
    )
    return replace(drawn, **more)


class Story:
    """A batch of one errand, told entry by entry; the clock goes on by a second each."""

    def __init__(self, leg: Leg, *, enrolled: bool = False, **more: Any) -> None:
        walk = Walk(errand(leg, **more), arrived=True)
        batch = Batch(15, Fault.NONE, True, (), (walk.case,), enrolled)
        self.found = Found(batch, [], walks=[walk])
        self.walk = walk

    def url(self, number: int) -> str:
        return f"http://api.faults.test/b15/leg/ok/{MARK}{f'?n={number}' if number else ''}"

    def entry(self, kind: str, **fields: Any) -> dict[str, Any]:
        seq = len(self.found.entries)
        entry = {"seq": seq, "kind": kind, "time": f"2026-11-22T12:00:{seq:02}.000000Z", **fields}
        self.found.entries.append(entry)
        return entry

    def ask(self, amount: int = AMOUNT, *, number: int = 0, at: float = 1.0) -> Attempt:
        attempt = Attempt(len(self.walk.attempts) + 1, asked=at, answered=at + 1)
        self.walk.attempts.append(attempt)
        self.walk.amounts[attempt.number] = amount
        attempt.answer = Answer(200)
        body = f'{{"amount": {amount}, "item": "x", "number": {number}}}'
        self.found.arrivals.append(Arrival(MARK, attempt.number, at + 0.5, 1, number, body))
        return attempt

    def refused(self, attempt: Attempt, word: str, hold: str = "") -> None:
        """The last that was asked came to nothing, and its agent was told so."""
        self.found.arrivals.pop()
        attempt.answer = Answer(403, word, False, hold)

    def held(self, hold: str = HOLD, number: int = 0) -> None:
        self.entry("held", hold=hold, url=self.url(number), request="asked")

    def says(self, name: str, person: str, approves: bool, request: str = "asked", hold: str = HOLD) -> None:
        self.walk.calls.append(Call(hold, person, name, approves, "r", 1.2, state="pending"))
        answer = "approve" if approves else "deny"
        self.entry(
            "reviewed", hold=hold, reviewer=name, person=f"uid:{person}", answer=answer, request=request
        )

    def decided(self, word: str, by: str, number: int = 0, **more: Any) -> dict[str, Any]:
        id = str(more.get("hold") or f"d{number}")
        return self.entry("decided", id=id, url=self.url(number), decision=word, by=by, **more)

    def approved(self, *names: str, number: int = 0, request: str = "asked") -> None:
        self.decided("approved", "reviewer", number, hold=HOLD, reviewers=list(names), request=request)


def granted() -> Story:
    """Ada approves one request and its like, once; that one goes by the grant, and a third one does not."""
    story = Story(Leg.GRANT)
    story.ask(number=1)
    story.held(number=1)
    story.says("ada", "1", True)
    story.approved("ada", number=1)
    until = "2026-11-22T12:10:00.000000Z"
    story.entry("granted", grant="g", hold=HOLD, reviewer="ada", until=until)
    story.ask(40, number=2, at=3.0)
    story.decided("approved", "grant", 2, grant="g", reviewers=["ada"])
    return story


def budgeted() -> Story:
    """Of 100, 60 go and 40 that upstream refuses; then there are 40 left, at the next start too."""
    story = Story(Leg.BUDGET)
    for number, amount, status in ((1, 60, 200), (2, 40, 402), (3, 40, 200)):
        story.ask(amount, number=number)
        taken = [{"rule": story.walk.case.rule, "amount": str(amount)}]
        story.decided("allowed", "rule", number, budgets=taken)
        back = {"budgets": "returned"} if status == 402 else {}
        story.entry("completed", id=f"d{number}", status=status, **back)
    story.walk.rooms[3] = True
    story.refused(story.ask(1, number=4), "refused")
    story.decided("refused", "rule", 4)
    story.walk.rooms[4] = False
    return story


def edited() -> Story:
    """Ada makes 20 of 50, and that goes."""
    story = Story(Leg.EDIT)
    story.ask()
    arrival = story.found.arrivals[0]
    story.found.arrivals[0] = replace(arrival, body=arrival.body.replace("50", "20"))
    story.held()
    story.entry("edited", hold=HOLD, url=story.url(0), request="edited", before="asked")
    story.says("ada", "1", True, "edited")
    story.approved("ada", request="edited")
    return story


def denied() -> Story:
    """Bob and ada deny what two have to deny; bob had tried to do it alone."""
    story = Story(Leg.DENIALS)
    story.refused(story.ask(), "denied", HOLD)
    story.held()
    story.says("bob", "2", False)
    story.walk.calls.append(Call(HOLD, "2", "bob", False, "r", 1.3, refusal="error: you have already denied"))
    story.says("ada", "1", False)
    story.walk.calls[-1].state = "denied"
    story.decided("denied", "reviewer", hold=HOLD, reviewers=["bob", "ada"])
    return story


def excluded() -> Story:
    """Eve may not approve it, ada does."""
    story = Story(Leg.EXCLUDED)
    story.ask()
    story.held()
    story.walk.calls.append(Call(HOLD, "3", "eve", True, "r", 1.1, refusal="error: you are excluded"))
    story.says("ada", "1", True)
    story.approved("ada")
    return story


def signed() -> Story:
    """What ada signs counts, and nothing that is forged in her name."""
    story = Story(Leg.SIGNED, enrolled=True)
    story.ask()
    story.held()
    story.walk.calls.append(Call(HOLD, "0", "forged: unsigned", True, "r", 1.1, refusal="error: not signed"))
    story.says("ada", "1", True)
    story.found.entries[-1]["signature"] = "s"
    story.approved("ada")
    return story


def unattended() -> Story:
    """Nobody is there at first; then somebody is, and approves the second."""
    story = Story(Leg.NOBODY)
    story.refused(story.ask(number=1), "unattended")
    story.walk.alone.add(1)
    story.decided("unattended", "rule", 1)
    story.ask(number=2)
    story.held(number=2)
    story.says("watch", "9", True)
    story.approved("watch", number=2)
    return story


STORIES = (granted, budgeted, edited, denied, excluded, signed, unattended)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_a_story_that_is_right_has_nothing_wrong_and_was_walked(story: Callable[[], Story]) -> None:
    told = story()
    assert findings(told.found) == []
    assert walked(told.found) == {told.walk.case.leg}


def used_twice(story: Story) -> None:
    story.ask(number=3)
    story.decided("approved", "grant", 3, grant="g", reviewers=["ada"])


def used_when_over(story: Story) -> None:
    story.found.entries[-2]["until"] = "2026-11-22T12:00:01.000000Z"


def asked_when_ended(story: Story) -> None:
    story.walk.ended = 2.5


def asked_for_more(story: Story) -> None:
    story.walk.amounts[2] = AMOUNT + 1


def by_another_grant(story: Story) -> None:
    story.found.entries[-1]["grant"] = "other"


def granted_by_somebody_else(story: Story) -> None:
    story.found.entries[-1]["reviewers"] = ["bob"]


def not_on_disk(story: Story) -> None:
    story.found.arrivals[-1] = replace(story.found.arrivals[-1], approved=0)


def sent_twice(story: Story) -> None:
    story.found.arrivals.append(replace(story.found.arrivals[-1], approved=2))


def overspent(story: Story) -> None:
    story.ask(1, number=5)
    taken = [{"rule": story.walk.case.rule, "amount": "1"}]
    story.decided("allowed", "rule", 5, budgets=taken)


def spent_unnoticed(story: Story) -> None:
    story.found.entries[0]["budgets"] = []


def kept_of_a_refusal(story: Story) -> None:
    story.found.entries[3].pop("budgets")


def given_back_of_what_went(story: Story) -> None:
    story.found.entries[1]["budgets"] = "returned"


def no_room_later(story: Story) -> None:
    story.walk.rooms[4] = True


def room_from_nowhere(story: Story) -> None:
    story.walk.rooms[3] = False


def original_went(story: Story) -> None:
    story.found.arrivals[0] = replace(story.found.arrivals[0], body='{"amount": 50, "item": "x"}')


def edit_without_both(story: Story) -> None:
    story.found.entries[1]["before"] = "edited"


def approved_before_the_edit(story: Story) -> None:
    story.found.entries[2]["request"] = "asked"


def approved_by_one_of_two(story: Story) -> None:
    story.walk.case = replace(story.walk.case, people=2)


def denied_by_one(story: Story) -> None:
    story.found.entries[2]["person"] = "uid:2"


def told_by_one(story: Story) -> None:
    story.walk.calls.pop()


def counted_twice(story: Story) -> None:
    story.found.entries[2] |= {"person": "uid:2", "reviewer": "bob"}


def eve_counts(story: Story) -> None:
    story.found.entries[1]["person"] = f"uid:{EVE.uid}"


def unsigned(story: Story) -> None:
    story.found.entries[1].pop("signature")


def forged(story: Story) -> None:
    story.walk.calls[0].state = "approved"


def nobody_said_so(story: Story) -> None:
    story.walk.calls.pop()


def somebody_was_nobody(story: Story) -> None:
    story.found.entries[0] |= {"by": "reviewer", "reviewers": ["ada"]}


def told_of_a_person(story: Story) -> None:
    story.walk.attempts[0].answer = Answer(403, "denied", False)


def held_for_nobody(story: Story) -> None:
    story.walk.alone.add(2)


def answered_by_nobody(story: Story) -> None:
    story.found.arrivals.pop()


@pytest.mark.parametrize(
    ("story", "harm", "expected"),
    [
        (granted, used_twice, Wrong.OVER),
        (granted, used_when_over, Wrong.GHOST),
        (granted, asked_when_ended, Wrong.GHOST),
        (granted, asked_for_more, Wrong.GHOST),
        (granted, by_another_grant, Wrong.GHOST),
        (granted, granted_by_somebody_else, Wrong.LIE),
        (granted, not_on_disk, Wrong.GHOST),
        (granted, sent_twice, Wrong.DOUBLE),
        (granted, answered_by_nobody, Wrong.LIE),
        (budgeted, overspent, Wrong.OVER),
        (budgeted, spent_unnoticed, Wrong.OVER),
        (budgeted, kept_of_a_refusal, Wrong.LIE),
        (budgeted, given_back_of_what_went, Wrong.LIE),
        (budgeted, no_room_later, Wrong.OVER),
        (budgeted, room_from_nowhere, Wrong.OVER),
        (edited, original_went, Wrong.GHOST),
        (edited, edit_without_both, Wrong.LIE),
        (edited, approved_before_the_edit, Wrong.GHOST),
        (edited, approved_by_one_of_two, Wrong.GHOST),
        (denied, denied_by_one, Wrong.LIE),
        (denied, told_by_one, Wrong.LIE),
        (denied, counted_twice, Wrong.LIE),
        (excluded, eve_counts, Wrong.GHOST),
        (excluded, nobody_said_so, Wrong.LIE),
        (signed, unsigned, Wrong.LIE),
        (signed, forged, Wrong.GHOST),
        (unattended, somebody_was_nobody, Wrong.LIE),
        (unattended, told_of_a_person, Wrong.LIE),
        (unattended, held_for_nobody, Wrong.LIE),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_what_is_wrong_is_found(
    story: Callable[[], Story], harm: Callable[[Story], None], expected: Wrong
) -> None:
    told = story()
    harm(told)
    assert expected in {finding.wrong for finding in findings(told.found)}


def test_a_use_after_the_revocation_is_found_and_one_before_it_is_not() -> None:
    story = granted()
    story.entry("revoked", grant="g", hold=HOLD)
    assert findings(story.found) == []
    story = granted()
    story.found.entries[-1]["seq"] = 7
    story.found.entries.append({**story.found.entries[-1], "seq": 6, "kind": "revoked"})
    assert Wrong.GHOST in {finding.wrong for finding in findings(story.found)}


def test_what_is_used_is_counted_in_a_window_that_a_clock_set_back_does_not_empty() -> None:
    taken = {"kind": "decided", "decision": "allowed", "by": "rule", "url": ""}
    taken["budgets"] = [{"rule": "r", "amount": "30"}]
    history = [
        {**taken, "id": "a", "time": "2026-11-22T12:00:00.000000Z"},
        {**taken, "id": "b", "time": "2026-11-22T10:00:00.000000Z"},
        {"kind": "failed", "id": "b", "budgets": "returned", "time": "2026-11-22T12:00:01.000000Z"},
        {**taken, "id": "c", "decision": "refused", "time": "2026-11-22T12:00:02.000000Z"},
    ]
    [first, second] = list(releases(history, "r"))
    assert (first.before, second.before, second.returned) == (0, 30, True)
    noon = 1_795_348_800.0
    assert [used(history, "r", noon + late) for late in (-7_200, 86_399, 86_400 + 2)] == [30, 30, 0]
    assert used(history, "other", noon) == 0
