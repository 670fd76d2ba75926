"""What the suite does is read from the machine's table, and goes through all of it."""

from collections import Counter

import pytest
from faults.batches import batch, batches
from faults.cases import Carrier, Fault, Moment
from faults.errand import ACTS as STEPS_TAKEN
from faults.errand import LATER
from faults.errands import CROWD, STEPS, Leg, stages
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
    assert [one.seed for one in batches(17, 60, 30, KNOWN, (Fault.KILL,))] == [31, 46]
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


def test_each_step_of_each_leg_is_taken_and_each_leg_goes_on_at_the_next_start() -> None:
    assert {leg: len(acts) for leg, acts in STEPS_TAKEN.items()} == {leg: len(STEPS[leg]) for leg in Leg}
    assert set(LATER) == set(Leg)


def test_ten_thousand_runs_strike_every_step_with_every_fault() -> None:
    struck: Counter[tuple[object, ...]] = Counter()
    many, enrolled, kept = 0, set(), set()
    for one in batches(1, 10_000, 72, KNOWN, FAULTS):
        enrolled.add((one.fault, one.staged, one.enrolled))
        kept.add(one.kept)
        for errand in one.errands:
            struck[errand.fault, errand.leg, errand.step] += 1
            many += errand.many == CROWD
    assert len(struck) == len(Fault) * sum(len(steps) for steps in STEPS.values())
    assert {errand for _, errand, _ in struck} == set(Leg)
    assert many >= 5
    assert len(enrolled) == 2 * len(Fault) + 4  # those that are killed or stopped also without a stage
    assert kept == {True, False}


def test_a_fault_strikes_before_each_step_in_it_and_after_the_last() -> None:
    for leg, steps in STEPS.items():
        assert len(set(stages(leg))) == len(stages(leg)) == 2 * len(steps) + 1


def test_no_mark_is_given_twice() -> None:
    found = batches(1, 5_000, 72, KNOWN, FAULTS)
    marks = [case.mark for one in found for case in (*one.cases, *one.errands)]
    assert len(marks) == len(set(marks))
