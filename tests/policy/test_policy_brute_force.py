"""
Evaluation against brute force: each unknown replaced by every possible value.

The reference below is slow and naive on purpose and shares no code with the evaluation. Two
kinds of unknown are replaced: what was not read (by every reading of a small world), and what
the language calls unknown even when it is read (a number that is none, `above` of nothing),
by both yes and no.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making_actions import action

from proxy.action import ABSENT, UNKNOWN, Reading, Values
from proxy.policy.evaluate import Policy
from proxy.policy.rule import Default, Line, Operator, Rule
from proxy.policy.truth import Look, rule_says
from proxy.policy.verdict import Effect

FIELDS = (("json", "a"), ("json", "b"), ("query", "c"))
VALUES = ("0", "1", "3", "x", "zz")
WORDS = ("read", "write", "payment", "message", "delete", "permission")

# Every full reading of a small world: nothing, each value, and some pairs.
FULL = [(), *((value,) for value in VALUES), ("1", "zz"), ("x", "1"), ("3", "0"), ("x", "x")]


class Atom(NamedTuple):
    """One line: a field, an operator, operands."""

    field: tuple[str, ...]
    operator: str
    operands: tuple[str | int, ...]


class Law(NamedTuple):
    """One rule: match AND NOT any of unless."""

    name: str
    then: Effect
    match: tuple[Atom, ...]
    unless: tuple[tuple[Atom, ...], ...]


# -- the reference ---------------------------------------------------------------------------


def readings_of(reading: Reading) -> list[tuple[str, ...]]:
    """Every full reading that one with holes may turn out to be."""
    if not isinstance(reading, Values):
        return list(FULL)
    return list(itertools.product(*([value] if value is not None else VALUES for value in reading.items)))


def value_may_be(atom: Atom, value: str) -> set[bool]:
    """What an operator may say of one value."""
    number = value.lstrip("-").replace(".", "", 1).isdigit()
    match atom.operator:
        case "above":
            return {float(value) > atom.operands[0]} if number else {True, False}
        case "below":
            return {float(value) < atom.operands[0]} if number else {True, False}
        case "like":
            return {value.startswith(str(atom.operands[0])[:-1])}
        case "outside":
            return {value not in atom.operands}
        case "is" | "in":
            if value in [one for one in atom.operands if isinstance(one, str)]:
                return {True}
            wanted = [one for one in atom.operands if isinstance(one, int)]
            if not wanted:
                return {False}
            return {float(value) in wanted} if number else {True, False}
    raise AssertionError(atom.operator)


def atom_may_be(atom: Atom, values: Sequence[str], *, tightens: bool) -> set[bool]:
    """What a line may say of a field that has been read whole."""
    if atom.operator == "exists":
        return {bool(values) == (atom.operands[0] == "true")}
    if not values:
        return {True, False} if atom.operator in ("above", "below", "count_above", "outside") else {False}
    if atom.operator == "count_above":
        return {len(values) > atom.operands[0]}
    combine = any if tightens else all
    return {combine(truths) for truths in itertools.product(*(value_may_be(atom, value) for value in values))}


def all_may_be(truths: Sequence[set[bool]]) -> set[bool]:
    """AND over lines that each may be one or the other."""
    return {all(choice) for choice in itertools.product(*truths)}


def law_may_be(law: Law, world: dict[tuple[str, ...], tuple[str, ...]]) -> set[bool]:
    """What a rule may say in one world, in which every field is read whole."""
    loosens = law.then is Effect.ALLOW
    match = [atom_may_be(atom, world[atom.field], tightens=not loosens) for atom in law.match]
    unless = [
        [atom_may_be(atom, world[atom.field], tightens=loosens) for atom in item] for item in law.unless
    ]
    ors = {any(choice) for choice in itertools.product(*map(all_may_be, unless))}
    return {holds and not excepted for holds in all_may_be(match) for excepted in ors}


def worlds(readings: dict[tuple[str, ...], Reading]) -> Iterator[dict[tuple[str, ...], tuple[str, ...]]]:
    """Every world that the readings may turn out to be."""
    for choice in itertools.product(*(readings_of(reading) for reading in readings.values())):
        yield dict(zip(readings, choice, strict=True))


def effects(
    laws: Sequence[Law], readings: dict[tuple[str, ...], Reading], defaults: Sequence[Effect]
) -> set[Effect]:
    """Every effect that the policy may have, over all worlds."""
    found: set[Effect] = set()
    combinations = {tuple(frozenset(law_may_be(law, world)) for law in laws) for world in worlds(readings)}
    for truths in combinations:
        for choice in itertools.product(*truths):
            applying = [law.then for law, applies in zip(laws, choice, strict=True) if applies]
            found |= {max(applying)} if applying else set(defaults)
    return found


# -- the real thing --------------------------------------------------------------------------


def as_line(atom: Atom) -> Line:
    operands = tuple(Decimal(one) if isinstance(one, int) else one for one in atom.operands)
    return Line(atom.field, Operator(atom.operator), operands)


def as_rule(law: Law) -> Rule:
    unless = tuple(tuple(map(as_line, item)) for item in law.unless)
    return Rule(law.name, "because", law.then, tuple(map(as_line, law.match)), unless)


# -- strategies ------------------------------------------------------------------------------

ATOMS = st.one_of(
    st.builds(Atom, st.sampled_from(FIELDS), st.just("is"), st.sampled_from([("x",), (1,)])),
    st.builds(Atom, st.sampled_from(FIELDS), st.just("in"), st.sampled_from([("x", 1), ("x", "zz")])),
    st.builds(Atom, st.sampled_from(FIELDS), st.just("like"), st.sampled_from([("x*",), ("z*",)])),
    st.builds(
        Atom, st.sampled_from(FIELDS), st.sampled_from(["above", "below"]), st.sampled_from([(1,), (2,)])
    ),
    st.builds(Atom, st.sampled_from(FIELDS), st.just("count_above"), st.sampled_from([(0,), (1,)])),
    st.builds(Atom, st.sampled_from(FIELDS), st.just("exists"), st.sampled_from([("true",), ("false",)])),
    st.builds(Atom, st.sampled_from(FIELDS), st.just("outside"), st.just(("x",))),
)
ITEMS = st.lists(ATOMS, min_size=1, max_size=2).map(tuple)
LAWS = st.lists(
    st.builds(Law, st.just(""), st.sampled_from(list(Effect)), ITEMS, st.lists(ITEMS, max_size=2).map(tuple)),
    min_size=1,
    max_size=3,
).map(lambda laws: [law._replace(name=f"rule-{at}") for at, law in enumerate(laws)])
ONE = st.one_of(
    st.just(UNKNOWN),
    st.just(ABSENT),
    st.lists(st.sampled_from([*VALUES, None]), min_size=1, max_size=2).map(
        lambda items: Values(tuple(items))
    ),
)
READINGS = st.tuples(*([ONE] * len(FIELDS))).map(lambda found: dict(zip(FIELDS, found, strict=True)))
DEFAULTS = st.fixed_dictionaries({word: st.sampled_from(list(Effect)) for word in WORDS})


def fields_used(law: Law) -> list[tuple[str, ...]]:
    return [atom.field for atom in (*law.match, *itertools.chain(*law.unless))]


# -- what is proven --------------------------------------------------------------------------


@given(laws=LAWS, readings=READINGS)
@settings(max_examples=300, deadline=None)
def test_a_rule_that_is_certain_is_so_in_every_world_and_an_unknown_one_can_go_both_ways(laws, readings):
    look = Look(action(readings))
    for law in laws:
        said = rule_says(as_rule(law))(look)
        possible = set().union(*(law_may_be(law, world) for world in worlds(readings)))
        if said is not None:
            assert possible == {said}
        elif len(set(fields_used(law))) == len(fields_used(law)):  # lines about different fields
            assert possible == {True, False}


@given(laws=LAWS, readings=READINGS, defaults=DEFAULTS, complete=st.booleans())
@settings(max_examples=400, deadline=None)
def test_a_verdict_is_never_laxer_than_the_worst_reading(laws, readings, defaults, complete):
    policy = Policy(map(as_rule, laws), Default(defaults))
    possible = effects(laws, readings, [defaults["write"]] if complete else list(defaults.values()))
    verdict = policy.judge(action(readings, complete=complete))

    assert verdict.effect >= max(possible)
    if verdict.settled:
        assert possible == {verdict.effect}


@given(laws=LAWS, readings=READINGS, defaults=DEFAULTS, complete=st.booleans())
@settings(max_examples=400, deadline=None)
def test_a_verdict_is_never_stricter_than_the_worst_reading_where_rules_ask_different_fields(
    laws, readings, defaults, complete
):
    used = [field for law in laws for field in fields_used(law)]
    kept = laws if len(set(used)) == len(used) else []
    for law in [] if kept else laws:
        mine = fields_used(law)
        before = [field for one in kept for field in fields_used(one)]
        if len(set(mine)) == len(mine) and set(mine).isdisjoint(before):
            kept = [*kept, law]
    policy = Policy(map(as_rule, kept), Default(defaults))
    possible = effects(kept, readings, [defaults["write"]] if complete else list(defaults.values()))
    verdict = policy.judge(action(readings, complete=complete))

    assert verdict.effect is max(possible)
    assert verdict.settled is (len(possible) == 1)


@given(laws=LAWS, readings=READINGS, defaults=DEFAULTS)
@settings(max_examples=300, deadline=None)
def test_what_the_headers_settle_stays_so_once_the_body_is_read(laws, readings, defaults):
    policy = Policy(map(as_rule, laws), Default(defaults))
    unread = {field: UNKNOWN if field[0] == "json" else reading for field, reading in readings.items()}
    early = policy.judge(action(unread, complete=False))
    for consequence in WORDS if early.settled else []:
        late = policy.judge(action(readings, consequence=consequence))
        # What is read may still hold values that nobody can read; these alone may not loosen.
        assert late.effect is early.effect


EVERY_ATOM = [
    Atom(FIELDS[0], operator, operands)
    for operator, choices in {
        "is": [("x",), (1,)],
        "in": [("x", 1), ("x", "zz")],
        "like": [("x*",)],
        "above": [(1,)],
        "below": [(2,)],
        "count_above": [(0,), (1,)],
        "exists": [("true",), ("false",)],
        "outside": [("x",)],
    }.items()
    for operands in choices
]
EVERY_READING = [
    UNKNOWN,
    *(Values(items) for size in range(3) for items in itertools.product([*VALUES, None], repeat=size)),
]


@pytest.mark.parametrize("then", list(Effect))
@pytest.mark.parametrize("excepted", [False, True])
def test_every_operator_on_every_small_reading_says_exactly_what_all_worlds_say(then, excepted):
    for atom, reading in itertools.product(EVERY_ATOM, EVERY_READING):
        law = Law("rule", then, () if excepted else (atom,), ((atom,),) if excepted else ())
        possible = set().union(*(law_may_be(law, world) for world in worlds({FIELDS[0]: reading})))
        said = rule_says(as_rule(law))(Look(action({FIELDS[0]: reading})))
        assert said is (possible.pop() if len(possible) == 1 else None), (atom, reading)
