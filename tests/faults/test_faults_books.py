"""The books find what is wrong: one thing of each kind at a time, put into an account that was right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from faults.batches import Batch
from faults.books import brought_about, findings
from faults.cases import Carrier, Case, Fault, Moment
from faults.findings import Wrong
from faults.journal import Answer, Arrival, Attempt, Call, Found, Journal
from faults.ways import Way

from proxy.hold import Event, State

HOLD = "h" * 26
URL = "http://api.faults.test/b1/plain/ok/m1x0"
WAY = Way((), State.PENDING, Event.APPROVE, State.APPROVED)


def case(fault: Fault = Fault.NONE, way: Way = WAY) -> Case:
    return Case(
        mark="m1x0",
        way=way,
        fault=fault,
        moment=Moment.BEFORE,
        carrier=Carrier.PLAIN,
        behaviour="ok",
        needs=frozenset(),
        lead=0.0,
        size=0,
        http2_upstream=False,
        twin=False,
        onward=False,
        late=False,
        again=False,
        revived=False,
        seed=1,
    )


def approved(fault: Fault = Fault.NONE) -> Found:
    """A request that was held, approved by ada at 2, and sent at 3."""
    asked = Attempt(1, asked=1.0, answered=4.0, answer=Answer(200))
    said = Call(HOLD, "1", "ada", True, "yes", sent=2.0, state="approved")
    journal = Journal(case(fault), attempts=[asked], calls=[said])
    return Found(
        Batch(1, fault, False, (journal.case,)),
        [journal],
        [Arrival("m1x0", 1, 3.0, 1)],
        [
            {"kind": "held", "hold": HOLD, "url": URL},
            {"kind": "reviewed", "hold": HOLD, "reviewer": "ada", "person": "uid:1", "answer": "approve"},
            {
                "kind": "decided",
                "hold": HOLD,
                "url": URL,
                "decision": "approved",
                "by": "reviewer",
                "reviewers": ["ada"],
            },
        ],
    )


def told(found: Found, word: str, *, detail: str = "", retry: bool = False, hold: str = HOLD) -> None:
    """Have the agent be told this instead, and nothing leave."""
    found.journals[0].attempts[0].answer = Answer(403, word, retry, hold, detail)
    found.journals[0].calls.clear()
    found.arrivals.clear()
    end = {"kind": "decided", "hold": HOLD, "url": URL, "decision": word, "by": "fault", "reviewers": []}
    found.entries[1:] = [end]


def wrongs(found: Found) -> set[Wrong]:
    return {finding.wrong for finding in findings(found)}


def test_an_account_that_is_right_has_nothing_wrong() -> None:
    assert findings(approved()) == []
    assert brought_about(approved()) == {WAY}


def left_before(found: Found) -> None:
    found.journals[0].attempts[0] = Attempt(1, asked=1.0, left=1.9)


def not_on_disk(found: Found) -> None:
    found.arrivals[0] = replace(found.arrivals[0], approved=0)


def nobody_approved(found: Found) -> None:
    found.journals[0].calls.clear()


def one_of_two(found: Found) -> None:
    journal, said = found.journals[0], found.journals[0].calls[0]
    journal.case = replace(journal.case, needs=frozenset({"pair"}))
    journal.calls.append(replace(said, name="ada-at-night", state=""))


def forgotten(found: Found) -> None:
    found.entries[-1]["decision"] = "cut_off"


def stranger(found: Found) -> None:
    found.arrivals.append(Arrival("m9x9", 1, 3.0, 1))


def twice(found: Found) -> None:
    found.arrivals.append(replace(found.arrivals[0], time=3.5))


def told_denied(found: Found) -> None:
    told(found, "denied", detail="no")


def told_expired_too_soon(found: Found) -> None:
    told(found, "expired")


def told_refused_by_no_rule(found: Found) -> None:
    told(found, "refused")


def told_otherwise_than_written(found: Found) -> None:
    told(found, "failed")
    found.entries[-1]["decision"] = "denied"


def told_that_nothing_was_sent(found: Found) -> None:
    found.journals[0].attempts[0].answer = Answer(502, "failed", True, HOLD)


def told_to_repeat(found: Found) -> None:
    found.journals[0].attempts[0].answer = Answer(502, "unknown", True, HOLD)


def answered_by_nobody(found: Found) -> None:
    found.arrivals.clear()


def reviewed_and_not_written(found: Found) -> None:
    del found.entries[1]


def no_end(found: Found) -> None:
    told(found, "unavailable", retry=True)
    found.entries.pop()


def two_ends(found: Found) -> None:
    found.entries.append(found.entries[-1])


def left_open(found: Found) -> None:
    told(found, "unavailable", retry=True)
    found.entries[-1]["decision"] = "cut_off"


def hung_up_on(found: Found) -> None:
    told(found, "unavailable")
    found.journals[0].attempts[0].answer = None
    found.journals[0].attempts[0].heard = True


def told_to_ask_again(found: Found) -> None:
    told(found, "pending", retry=True)
    found.entries[-1]["decision"] = "unavailable"


def earlier_attempt_sent(found: Found) -> None:
    found.journals[0].attempts.append(Attempt(2, asked=1.5, left=9.0))


def sent_after_a_restart(found: Found) -> None:
    found.journals[0].attempts[0].revived = True


def written_as_somebody_elses(found: Found) -> None:
    found.entries[-1]["reviewers"] = ["bob"]


def written_as_a_deadlines(found: Found) -> None:
    found.entries[-1]["by"] = "deadline"


def denied_and_sent(found: Found) -> None:
    found.journals[0].calls.append(Call(HOLD, "2", "bob", False, "no", sent=1.5, state="denied"))


def asked_while_paused(found: Found) -> None:
    found.paused = (0.5, 1.5)


def held_while_paused(found: Found) -> None:
    told(found, "unavailable", retry=True)
    found.paused = (0.5, 9.0)


def approved_while_paused(found: Found) -> None:
    found.paused = (1.5, 2.5)


def broken(found: Found) -> None:
    found.verified = "entry 3: hash"


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (left_before, Wrong.GHOST),
        (not_on_disk, Wrong.GHOST),
        (nobody_approved, Wrong.GHOST),
        (one_of_two, Wrong.GHOST),
        (forgotten, Wrong.GHOST),
        (stranger, Wrong.GHOST),
        (twice, Wrong.DOUBLE),
        (told_denied, Wrong.LIE),
        (told_expired_too_soon, Wrong.LIE),
        (told_refused_by_no_rule, Wrong.LIE),
        (told_otherwise_than_written, Wrong.LIE),
        (told_that_nothing_was_sent, Wrong.LIE),
        (told_to_repeat, Wrong.LIE),
        (answered_by_nobody, Wrong.LIE),
        (reviewed_and_not_written, Wrong.LIE),
        (no_end, Wrong.END),
        (two_ends, Wrong.END),
        (left_open, Wrong.END),
        (hung_up_on, Wrong.SILENT),
        (told_to_ask_again, Wrong.LIE),
        (denied_and_sent, Wrong.GHOST),
        (earlier_attempt_sent, Wrong.GHOST),
        (sent_after_a_restart, Wrong.GHOST),
        (written_as_somebody_elses, Wrong.LIE),
        (written_as_a_deadlines, Wrong.LIE),
        (asked_while_paused, Wrong.GHOST),
        (held_while_paused, Wrong.LIE),
        (approved_while_paused, Wrong.LIE),
        (broken, Wrong.CHAIN),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_what_is_wrong_is_found(harm: Callable[[Found], Any], expected: Wrong) -> None:
    found = approved()
    harm(found)
    assert expected in wrongs(found)


def test_an_agent_that_leaves_as_the_approval_is_given_is_no_ghost() -> None:
    found = approved(Fault.FIN)
    found.journals[0].attempts[0] = Attempt(1, asked=1.0, left=2.1)
    assert findings(found) == []


def test_a_gate_that_was_killed_owes_no_answer_but_an_end() -> None:
    found = approved(Fault.KILL)
    hung_up_on(found)
    found.entries[-1]["decision"] = "cut_off"
    assert findings(found) == []


def test_a_denial_that_could_not_be_written_is_a_denial_all_the_same() -> None:
    found = approved(Fault.LOCKED)
    told(found, "denied", detail="no")
    found.journals[0].calls.append(
        Call(HOLD, "2", "bob", False, "no", sent=2.0, refusal="error: your answer could not be written down")
    )
    found.entries[-1] |= {"by": "reviewer", "reviewers": ["bob"]}
    assert findings(found) == []


def test_a_denial_of_the_same_request_under_another_hold_is_a_persons_too() -> None:
    found = approved()
    told(found, "denied", detail="no")
    found.journals[0].calls.append(Call("other", "2", "bob", False, "no", sent=2.0, refusal="error: gone"))
    found.entries[-1] |= {"by": "reviewer", "reviewers": ["bob"], "again": "other"}
    assert "denied' by bob" in str(findings(found))
    found.journals[0].calls[0].refusal = ""
    assert findings(found) == []


def test_a_fault_on_the_way_brings_nothing_about() -> None:
    assert brought_about(approved(Fault.FIN)) == set()
