"""What has been forgotten is asked about again: it lets nothing through."""

from dataclasses import replace

from proxy.action import digest
from proxy.admission.recall import LIMIT, Recall
from proxy.decision import Happened, Outcome
from proxy.decode import decode
from proxy.hold import Hold, open_hold
from proxy.ledger.past import LIMIT as PAST
from proxy.ledger.past import Past
from proxy.policy.verdict import Effect, Patience, Verdict

from .conftest import request

NOW = 1_900_000_000.0
VERDICT = Verdict(Effect.HOLD, "r", ("r",), "why", "0" * 64, patience=Patience(remember=600.0))
ANSWERED = Outcome(Happened.COMPLETED, 200)


def hold(number: int = 0) -> Hold:
    one = open_hold(f"id{number}", decode(request()), VERDICT, NOW)
    return replace(one, asked=digest(request()) + str(number).encode())


def flooded(recall: Recall, outcome: Outcome | None) -> None:
    """As many sent as are remembered."""
    for number in range(1, LIMIT + 1):
        one = hold(number)
        recall.sent(one)
        if outcome is not None:
            recall.concluded(one.asked, one.id, outcome)


def test_an_agent_that_sends_much_does_not_make_its_lost_answer_forgotten() -> None:
    clock = [NOW]
    recall = Recall(lambda: clock[0])
    recall.sent(hold())
    recall.concluded(hold().asked, hold().id, Outcome(Happened.UNKNOWN))
    assert recall.in_doubt(hold()) and not recall.in_doubt(hold(-1))
    flooded(recall, ANSWERED)
    assert recall.in_doubt(hold())
    assert not recall.in_doubt(hold(LIMIT)), "this one was answered"
    clock[0] += 600.0
    assert not recall.in_doubt(hold())


def test_what_was_answered_may_be_forgotten() -> None:
    recall = Recall(lambda: NOW)
    recall.sent(hold())
    recall.concluded(hold().asked, hold().id, ANSWERED)
    flooded(recall, ANSWERED)
    assert not recall.in_doubt(hold()) and not recall.in_doubt(hold(-1))


def test_where_the_ledger_had_more_than_is_read_of_it_what_is_not_known_is_in_doubt() -> None:
    past = tuple(
        Past(f"p{number}", b"s" * 16, "0" * 64, "approved", ("r",), "", (), NOW - 60, "completed", 200)
        for number in range(PAST)
    )
    assert Recall(lambda: NOW, past).in_doubt(hold())
    assert not Recall(lambda: NOW, past[1:]).in_doubt(hold())
    assert not Recall(lambda: NOW + 600.0, past).in_doubt(hold())
