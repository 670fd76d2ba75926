"""What the suite does is read from the machine's table, and goes through all of it."""

from collections import Counter

import pytest
from faults.cases import Carrier, Fault, Moment, batch, batches
from faults.run import ACTS
from faults.ways import NoWayError, onward, ways

from proxy.hold import TRANSITIONS, Event, State

KNOWN = ways(TRANSITIONS, ACTS)
FAULTS = tuple(Fault)


def test_there_is_a_way_to_every_transition() -> None:
    assert {(way.state, way.event): way.target for way in KNOWN} == dict(TRANSITIONS)


def test_every_way_leads_from_a_new_hold_to_its_state() -> None:
    for way in KNOWN:
        state = State.PENDING
        for event in way.path:
            state = TRANSITIONS[state, event]
        assert state is way.state


@pytest.mark.parametrize("event", sorted({event for _, event in TRANSITIONS}))
def test_an_event_that_nothing_brings_about_fails_the_suite(event: Event) -> None:
    with pytest.raises(NoWayError, match=f"--{event}->"):
        ways(TRANSITIONS, set(ACTS) - {event})


def test_a_state_that_nothing_leads_to_fails_the_suite() -> None:
    alone = {**TRANSITIONS, (State.DENIED, Event.APPROVE): State.APPROVED}
    island = {key: target for key, target in alone.items() if target is not State.DENIED}
    with pytest.raises(NoWayError, match="denied --approve-> approved"):
        ways(island, ACTS)


@pytest.mark.parametrize("state", sorted(State))
def test_a_way_on_leads_what_is_open_to_its_release_and_what_is_settled_nowhere(state: State) -> None:
    events = onward(TRANSITIONS, ACTS, state)
    settled = not any(begin is state for begin, _ in TRANSITIONS)
    assert settled == (not events)
    for event in events:
        state = TRANSITIONS[state, event]
    assert settled or state is State.APPROVED


def test_a_batch_is_drawn_from_its_seed_alone() -> None:
    assert batch(17, 30, KNOWN) == batch(17, 30, KNOWN)
    assert [one.seed for one in batches(17, 90, 30, KNOWN, FAULTS)] == [17, 18, 19]
    assert [one.seed for one in batches(17, 60, 30, KNOWN, (Fault.KILL,))] == [29, 43]
    assert next(batches(17, 1, 30, KNOWN, FAULTS)) == batch(17, 30, KNOWN)


def test_ten_thousand_runs_strike_every_transition_with_every_fault_at_every_moment() -> None:
    struck: Counter[tuple[object, ...]] = Counter()
    carriers = set()
    for one in batches(1, 10_000, 72, KNOWN, FAULTS):
        for case in one.cases:
            struck[case.fault, case.way, case.moment] += 1
            carriers.add((case.fault, case.carrier))
    assert len(struck) == len(Fault) * len(KNOWN) * len(Moment)
    assert min(struck.values()) >= 5
    assert len(carriers) == len(Fault) * len(Carrier) - 2  # only HTTP/2 has streams to cancel


def test_no_mark_is_given_twice() -> None:
    marks = [case.mark for one in batches(1, 5_000, 72, KNOWN, FAULTS) for case in one.cases]
    assert len(marks) == len(set(marks))
