"""What a change of policy loosens and tightens, in words."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making_actions import action, policy, rule

from proxy.action import Values
from proxy.policy import difference, load_texts
from proxy.policy.difference import MOST_LINES, Way, steps

A = ("json", "a")


def test_a_difference_names_what_was_added_removed_and_changed_what_loosens_first():
    old = policy(rule("a", "hold"), rule("b", "hold"), default="{read: allow, write: hold}")
    new = policy(
        rule("a", "deny", "{json.x: {is: y}}"),
        rule("c", "allow"),
        default="{read: allow, write: watch, new_host: hold}",
    )
    assert difference(old, new).split("\n") == [
        "looser: default: write, payment, message, delete, permission: hold -> watch",
        "looser: a: only where json.x is y",
        "looser: b: removed, said hold: because",
        "looser: c: added, says allow: because",
        "stricter: default: new_host: off -> hold",
        "stricter: a: then hold -> deny",
    ]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("", "30d", "looser: retention: payloads: for ever -> 30d"),
        ("30d", "7d", "looser: retention: payloads: 30d -> 7d"),
        ("7d", "30d", "stricter: retention: payloads: 7d -> 30d"),
        ("30d", "", "stricter: retention: payloads: 30d -> for ever"),
        ("720h", "30d", ""),
    ],
)
def test_evidence_that_is_erased_sooner_is_looser(before, after, words):
    old, new = (
        load_texts({"a.yaml": f"version: 1\n{f'retention: {{payloads: {kept}}}' if kept else ''}\n"})
        for kept in (before, after)
    )
    assert difference(old, new) == words


def test_policies_that_mean_the_same_do_not_differ():
    one = policy(rule("a", "hold"), rule("b", "deny"))
    assert difference(one, policy(rule("b", "deny"), rule("a", "hold"))) == ""


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("{json.a: {above: 5000}}", "{json.a: {above: 9000}}", "looser: r: json.a above 5000 -> 9000"),
        ("{json.a: {above: 9}}", "{json.a: {above: 5}}", "stricter: r: json.a above 9 -> 5"),
        ("{json.a: {below: 9}}", "{json.a: {below: 5}}", "looser: r: json.a below 9 -> 5"),
        ("{json.a: {count_above: 1}}", "{json.a: {count_above: 2}}", "looser: r: json.a count_above 1 -> 2"),
        ("{json.a: {in: [x, y]}}", "{json.a: {in: [x]}}", "looser: r: no longer json.a y"),
        ("{json.a: {is: x}}", "{json.a: {in: [x, y, z]}}", "stricter: r: also json.a y, z"),
        ("{json.a: {outside: [x]}}", "{json.a: {outside: [x, y]}}", "looser: r: also json.a outside y"),
        ("{json.a: {exists: true}}", "{json.a: {exists: false}}", "other: r: json.a exists true -> false"),
        ("{json.a: {is: x}}", "", "stricter: r: no longer only where json.a is x"),
    ],
)  # fmt: skip
def test_a_line_says_which_way_it_went(before, after, words):
    defaults = {"default": "{read: allow, write: hold}"}
    old, new = policy(rule("r", "hold", before), **defaults), policy(rule("r", "hold", after), **defaults)
    assert difference(old, new) == words


def test_in_a_rule_that_allows_the_same_change_goes_the_other_way():
    old = policy(rule("r", "allow", "{json.a: {above: 5}}"))
    assert difference(old, policy(rule("r", "allow", "{json.a: {above: 9}}"))).startswith("stricter: r: ")
    excepted = policy(rule("r", "allow", "{json.a: {above: 5}}", unless="[{method: GET}]"))
    assert difference(old, excepted) == "stricter: r: except where method in GET"
    assert difference(excepted, old) == "looser: r: no longer except where method in GET"


def test_a_rule_milder_than_the_default_may_loosen_and_says_so():
    nothing = policy(default="{read: allow, write: hold}")
    (step,) = steps(nothing, policy(rule("r", "watch"), default="{read: allow, write: hold}"))
    assert step.way is Way.BOTH


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("hold: {approvals: 2}", "hold: {approvals: 1}", "looser: r: approvals 2 -> 1"),
        ("hold: {reviewers: a}", "hold: {approvals: 1}", "looser: r: reviewers a -> anyone"),
        ("hold: {reviewers: a}", "hold: {reviewers: [a, b]}", "looser: r: reviewers a -> a, b"),
        ("hold: {reviewers: a}", "hold: {reviewers: b}", "looser or stricter: r: reviewers a -> b"),
        ("hold: {always_ask: true}", "hold: {approvals: 1}", "looser: r: no longer always asks"),
        ("hold: {timeout: 5m}", "hold: {timeout: 10m}", "other: r: timeout 300 s -> 600 s"),
        ("risk: {tier: low}", "risk: {tier: high}", "other: r: tier low -> high"),
        ("says: 'a {path}'", "says: 'b {path}'", "other: r: says a {path} -> b {path}"),
    ],
)
def test_demands_and_words_differ_too(before, after, words):
    assert (
        difference(policy(rule("r", "hold") + "\n" + before), policy(rule("r", "hold") + "\n" + after))
        == words
    )


def test_a_long_difference_is_cut_and_counted():
    new = policy(*(rule(f"r{at}", "hold") for at in range(MOST_LINES + 5)))
    lines = difference(policy(), new).split("\n")
    assert len(lines) == MOST_LINES + 1
    assert lines[-1] == "and 5 more: sluice policy diff"


# -- what is said is so: no request is looser than before where no step says so ----------------

WHERE = st.sampled_from(
    ["", "{json.a: {above: 5}}", "{json.a: {above: 7}}", "{json.a: {is: 6}}", "{json.a: {in: [6, 8]}}",
     "{json.a: {exists: true}}", "{json.a: {below: 7}}"]
)  # fmt: skip
UNLESS = st.sampled_from(["", "[{where: {json.a: {is: 6}}}]", "[{where: {json.a: {above: 7}}}]"])
RULES = st.lists(st.tuples(st.sampled_from(["allow", "watch", "hold", "deny"]), WHERE, UNLESS), max_size=2)
DEFAULTS = st.sampled_from(
    ["{read: allow, write: hold}", "{read: allow, write: allow}", "{write: watch}", "{write: deny}"]
)


@settings(max_examples=400, deadline=None)
@given(RULES, RULES, DEFAULTS, DEFAULTS)
def test_where_no_step_loosens_no_request_gets_a_milder_answer(before, after, was, now):
    def build(rules, default):
        written = [
            rule(f"r{at}", then, where, unless=unless) for at, (then, where, unless) in enumerate(rules)
        ]
        return policy(*written, default=default)

    old, new = build(before, was), build(after, now)
    ways = {step.way for step in steps(old, new)}
    for items in ((), ("6",), ("8",), ("6", "8"), (None,)):
        asked = action({A: Values(items)})
        if not ways & {Way.LOOSER, Way.BOTH, Way.OTHER}:
            assert new.judge(asked).effect >= old.judge(asked).effect
        if not ways & {Way.STRICTER, Way.BOTH, Way.OTHER}:
            assert new.judge(asked).effect <= old.judge(asked).effect
