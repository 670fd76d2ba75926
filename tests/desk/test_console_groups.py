"""Alike holds are decided together only where everything in which they differ has been seen."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_desk import hold_view
from reviewer import Reviewer

from proxy.console.groups import LARGEST, Group, alike
from proxy.console.scene import ARMING, Mode
from proxy.wire import Verb


def together(*views, size=(80, 24)):
    """A reviewer who has opened the group of the first hold, all of it read."""
    reviewer = Reviewer(*views, size=size)
    reviewer.look()
    asked = reviewer.calls("b")
    assert [call.verb for call in asked] == [Verb.SHOW] * len(asked)
    for view in views:
        reviewer.scene.took(view)
    return reviewer


def test_alike_are_same_rules_agent_operation_and_host():
    one = hold_view(1)
    others = [
        hold_view(2),
        hold_view(3, agent="uid:other"),
        hold_view(4, rules=("other",)),
        hold_view(5, operation="other"),
        hold_view(6, url="https://api.other.com/v1/refunds"),
        hold_view(7, state="unattended"),
        hold_view(8, confirm=("amount", "5")),
        hold_view(9, window=True),
    ]
    assert [view.id for view in alike(one, [one, *others])] == [one.id, others[0].id]
    assert len(alike(one, [hold_view(n) for n in range(1, 200)])) == LARGEST


def test_each_is_answered_by_its_own_digest():
    reviewer = together(*(hold_view(n) for n in (1, 2, 3)))
    text = reviewer.look()
    assert "3 alike" in text and "form.amount  200" in text and "form.charge  ch_3" in text
    calls = reviewer.calls("a")
    assert [(call.verb, call.prefix, call.digest, call.approves) for call in calls] == [
        (Verb.REVIEW, hold_view(n).id, hold_view(n).digest, True) for n in (1, 2, 3)
    ]
    assert reviewer.scene.mode is Mode.QUEUE


def test_of_one_request_that_waits_several_times_each_says_so():
    twins = (hold_view(1, digest="a" * 64), hold_view(1, id="b" * 26, digest="a" * 64), hold_view(3))
    reviewer = together(*twins)
    text = reviewer.look()
    assert "the same request as  bbbbbb" in text and f"the same request as  {twins[0].id[:6]}" in text
    assert text.count("the same request as") == 2
    group = Group(twins[:2])
    for view in twins[:2]:
        group.took(view)
    assert [group.alone(view.id) for view in twins[:2]] == ["", ""]


def test_what_is_said_first_of_one_is_said_of_it_in_a_group_too():
    sent = "the same was already sent 12:03:00 UTC, answered 200"
    assert sent in together(hold_view(1), hold_view(2, notices=(sent,))).look()


def test_a_refused_answer_is_not_hidden_by_those_that_were_taken():
    reviewer = together(*(hold_view(n) for n in (1, 2)))
    reviewer.look()
    first, second = reviewer.calls("a")
    reviewer.scene.answered(first, "hold 0001kk needs a reviewer of finance")
    reviewer.scene.answered(second, "approved: 0002kk")
    assert "approved: 0002kk; hold 0001kk needs a reviewer of finance" in reviewer.draw()
    reviewer.press("j")
    assert "approved" not in reviewer.draw()


def test_one_reason_denies_all_that_are_chosen():
    reviewer = together(*(hold_view(n) for n in (1, 2, 3)))
    reviewer.look()
    reviewer.press("j", " ")
    reviewer.look()
    reviewer.press("d")
    assert "deny 2 holds because" in reviewer.draw()
    reviewer.type("not today")
    calls = reviewer.calls("enter")
    assert [(call.prefix, call.approves, call.reason) for call in calls] == [
        (hold_view(n).id, False, "not today") for n in (1, 3)
    ]


def test_nothing_off_the_screen_is_decided_until_it_has_been_scrolled_to():
    reviewer = together(*(hold_view(n) for n in range(1, 21)))
    reviewer.look()
    assert reviewer.calls("a") == () and "have not been on the screen" in reviewer.scene.message
    reviewer.press("G")
    assert "0020kk" in reviewer.look()
    assert reviewer.calls("a") == ()
    reviewer.press("g")
    for _ in range(4):
        reviewer.press("page down")
        reviewer.look()
    assert len(reviewer.calls("a")) == 20


def test_what_was_scrolled_past_in_a_moment_was_not_read():
    reviewer = together(*(hold_view(n) for n in range(1, 21)))
    for _ in range(3):
        reviewer.look(ARMING / 5)
        reviewer.press("page down")
    reviewer.look()
    assert reviewer.calls("a") == ()


def test_the_whole_requests_are_compared_and_not_what_a_rule_shows():
    bodies = ["amount=1&note=hello", "amount=1&note=bye", "amount=1"]
    views = [
        hold_view(n, show={"form.amount": ("1",)}, says="", body=body) for n, body in enumerate(bodies, 1)
    ]
    text = together(*views).look()
    assert "form.note  hello" in text and "form.note  bye" in text and "form.note  (absent)" in text
    assert "in all  form.amount 1" in text and "  form.amount  1" not in text


@pytest.mark.parametrize(
    ("bodies", "why"),
    [
        (["amount=1&x=" + "a" * 300, "amount=1"], "too long"),
        (["&".join(f"a{n}=1" for n in range(20)), "amount=1"], "too many fields"),
        (["amount=1", "amount=1"], "cannot be shown"),
        (["x" * 70_000, "amount=1"], "too long"),
    ],
)
def test_a_difference_that_does_not_fit_is_decided_by_itself(bodies, why):
    views = [
        hold_view(n, says="", show={}, body=body, url="https://api.stripe.com/v1/refunds")
        for n, body in enumerate(bodies, 1)
    ]
    reviewer = together(*views)
    reviewer.look()
    assert reviewer.calls("a") == () and why in reviewer.scene.message


def test_a_group_is_fixed_when_it_is_opened_and_what_ended_is_left_alone():
    reviewer = together(*(hold_view(n) for n in (1, 2, 3)))
    reviewer.look()
    reviewer.happens("opened", hold_view(4))
    reviewer.happens("settled", hold_view(2, state="expired"))
    reviewer.happens("reviewed", hold_view(3, digest="f" * 64))
    reviewer.look()
    assert [call.prefix for call in reviewer.calls("a")] == [hold_view(1).id]


def test_another_request_than_was_listed_is_not_taken_for_it():
    reviewer = Reviewer(hold_view(1), hold_view(2))
    reviewer.look()
    reviewer.press("b")
    reviewer.scene.took(hold_view(1))
    reviewer.scene.took(hold_view(2, digest="f" * 64))
    assert "reading 1 of 2" in reviewer.look()
    assert reviewer.calls("a") == () and reviewer.calls("d") == ()


def test_one_that_has_ended_before_it_was_read_is_left_out():
    reviewer = Reviewer(hold_view(1), hold_view(2))
    reviewer.look()
    _, second = reviewer.calls("b")
    reviewer.scene.took(hold_view(1))
    reviewer.scene.answered(second, "no hold '0002'")
    assert "1 alike" in reviewer.look()
    assert [call.prefix for call in reviewer.calls("a")] == [hold_view(1).id]


def test_there_is_no_group_of_one_and_none_at_the_critical_tier():
    alone = Reviewer(hold_view(1), hold_view(2, agent="uid:other"))
    alone.look()
    assert alone.calls("b") == () and "no other hold is like" in alone.scene.message
    critical = Reviewer(*(hold_view(n, confirm=("amount", "5")) for n in (1, 2)))
    critical.look()
    assert critical.calls("b") == () and "critical" in critical.scene.message


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": "1"}),
        ({"a": 1.0}, {"a": 1.00001}),
        ({"a": [1, [2]]}, {"a": [1, 2]}),
        ({"a": None}, {"a": "null"}),
        ({"a": []}, {"a": {}}),
        ({"a": {"b": 1}}, {"a.b": 1, "c": {}}),
    ],
)
def test_different_json_differs_on_the_screen(one, other):
    kind = (("content-type", "application/json"),)
    views = [hold_view(n, headers=kind, show={}, body=json.dumps(body)) for n, body in ((1, one), (2, other))]
    group = Group(tuple(views))
    for view in views:
        group.took(view)
    assert all(group.rows(view.id) and not group.alone(view.id) for view in views)


PRESSES = st.lists(st.sampled_from(["j", "k", "G", "g", " ", "a", "look", "glance", "settle"]), max_size=25)


@settings(max_examples=150, deadline=None)
@given(PRESSES, st.integers(2, 12), st.integers(8, 30))
def test_whatever_is_pressed_only_what_was_read_in_full_is_approved(presses, count, height):
    views = [hold_view(n) for n in range(1, count + 1)]
    reviewer = together(*views, size=(80, height))
    read, ended = set(), set()
    for press in presses:
        if reviewer.scene.mode is not Mode.GROUP:
            return
        if press in ("look", "glance"):
            text = reviewer.look(ARMING if press == "look" else ARMING / 5)
            reviewer.draw()
            if press == "look":
                read |= {
                    n for n in range(1, count + 1) if f"form.charge  ch_{n} " in text.replace("\n", "  ")
                }
        elif press == "settle":
            ended.add(count)
            reviewer.happens("settled", hold_view(count, state="expired"))
        else:
            out = set(reviewer.scene.group.out)
            numbers = {int(call.prefix[:4]) for call in reviewer.calls(press)}
            if numbers:
                chosen = {n for n in range(1, count + 1) if hold_view(n).id not in out}
                assert press == "a" and numbers == chosen - ended and chosen <= read
