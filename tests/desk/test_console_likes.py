"""The like of a request is granted only as the rule that has been on the screen; critical ones are typed."""

import pytest
from memory_desk import hold_view
from reviewer import Reviewer

from proxy.console.keys import Key
from proxy.console.scene import ARMING, EXTENSION, Mode
from proxy.wire import Offer, Verb

RULE = "version: 1\nrules:\n" + "".join(f"  line {n}\n" for n in range(6))
LONG = "version: 1\nrules:\n" + "".join(f"  line {n}\n" for n in range(40))


def offered(rule=RULE, **changes):
    """A reviewer who has asked for the like of a hold, and was given a rule."""
    view = hold_view(1, **changes)
    reviewer = Reviewer(view, hold_view(2))
    reviewer.look()
    call = reviewer.press("l")
    assert (call.verb, call.prefix) == (Verb.OFFER, view.id)
    reviewer.scene.offered(Offer(view.id, view.digest, rule, "everything else in the body"))
    return reviewer


def test_the_rule_its_limits_and_what_it_leaves_open_are_shown_and_granted_as_seen():
    reviewer = offered()
    text = reviewer.look()
    assert "line 5" in text and "everything else in the body" in text and "for 10 minutes, 5 times" in text
    call = reviewer.press("a")
    assert (call.verb, call.rule, call.digest) == (Verb.GRANT, RULE, hold_view(1).digest)
    assert (call.seconds, call.uses) == (600, 5)
    assert reviewer.scene.mode is Mode.QUEUE


def test_other_limits_count_once_they_have_been_seen():
    reviewer = offered()
    reviewer.look()
    assert reviewer.press("t", "n", "a") is None
    assert "for 1 hour, 20 times" in reviewer.look()
    call = reviewer.press("a")
    assert (call.seconds, call.uses) == (3600, 20)


def test_a_rule_is_granted_only_once_all_of_it_has_been_on_the_screen():
    reviewer = offered(LONG)
    reviewer.look()
    assert reviewer.press("a") is None and "scroll" in reviewer.scene.message
    reviewer.press("G")
    reviewer.look()
    assert reviewer.press("a") is None
    for _ in range(3):
        reviewer.press("page up")
        reviewer.look()
    assert reviewer.press("a").verb is Verb.GRANT


def test_before_the_rule_has_come_nothing_is_granted():
    reviewer = Reviewer(hold_view(1))
    reviewer.look()
    reviewer.press("l")
    assert "reading what would be like it" in reviewer.look()
    assert reviewer.press("a") is None
    reviewer.scene.offered(Offer(hold_view(1).id, "f" * 64, RULE, ""))
    assert reviewer.press("a") is None and reviewer.scene.like.offer is None


def test_where_nothing_like_it_may_be_granted_that_is_said_and_the_screen_goes_back():
    reviewer = Reviewer(hold_view(1))
    reviewer.look()
    call = reviewer.press("l")
    reviewer.scene.answered(call, "the like of this request cannot be granted")
    assert reviewer.scene.mode is Mode.QUEUE and "cannot be granted" in reviewer.draw()


def test_a_hold_that_ends_under_the_rule_is_not_granted():
    reviewer = offered()
    reviewer.look()
    reviewer.happens("settled", hold_view(1, state="expired"))
    reviewer.look()
    assert reviewer.press("a") is None


# What names a critical request is typed

CRITICAL = {"tier": "critical", "confirm": ("amount", "4200")}


def test_a_critical_hold_is_approved_by_typing_what_names_it():
    reviewer = Reviewer(hold_view(1, **CRITICAL))
    assert "its amount is typed: 4200" in reviewer.look()
    assert reviewer.press("a") is None
    assert "to approve type the amount 4200:" in reviewer.draw()
    reviewer.type("4200")
    call = reviewer.press("enter")
    assert (call.verb, call.approves, call.digest) == (Verb.REVIEW, True, hold_view(1).digest)


@pytest.mark.parametrize("typed", ["", "420", "42000", "yes", "a"])
def test_anything_else_approves_nothing(typed):
    reviewer = Reviewer(hold_view(1, **CRITICAL))
    reviewer.look()
    reviewer.press("a")
    reviewer.type(typed)
    assert reviewer.press("enter") is None
    assert reviewer.scene.mode is Mode.QUEUE and "not approved" in reviewer.scene.message


def test_a_paste_is_not_typed():
    reviewer = Reviewer(hold_view(1, **CRITICAL))
    reviewer.look()
    reviewer.press("a")
    reviewer.scene.press(Key("paste", "4200"), reviewer.time)
    assert reviewer.scene.draft == "" and reviewer.press("enter") is None


def test_what_became_another_request_meanwhile_is_not_approved():
    reviewer = Reviewer(hold_view(1, **CRITICAL))
    reviewer.look()
    reviewer.press("a")
    reviewer.type("4200")
    reviewer.happens("reviewed", hold_view(1, digest="f" * 64, **CRITICAL))
    assert reviewer.press("enter") is None


def test_a_critical_hold_is_denied_as_any_other():
    reviewer = Reviewer(hold_view(1, **CRITICAL))
    reviewer.look()
    reviewer.press("d")
    assert reviewer.press("enter").approves is False


# Presence and time


def test_a_key_gives_ten_minutes_more():
    reviewer = Reviewer(hold_view(1))
    assert reviewer.press("x") is None
    reviewer.look()
    call = reviewer.press("x")
    assert (call.verb, call.seconds, EXTENSION) == (Verb.EXTEND, 600, 600)


def test_at_half_time_the_bell_rings_and_a_line_says_so():
    reviewer = Reviewer(hold_view(1))
    reviewer.scene.bell = False
    reviewer.happens("reminder", hold_view(1))
    assert reviewer.scene.bell and "half of the time of 0001kk" in reviewer.draw()


def test_a_hold_whose_agent_has_gone_leaves_the_queue_and_is_counted():
    reviewer = Reviewer(*(hold_view(n) for n in (1, 2, 3)))
    reviewer.happens("moved", hold_view(2, state="unattended", agent_waiting=False))
    text = reviewer.look()
    assert "1 more, its agent has gone: 0002kk" in text and "2 waiting" in text
    reviewer.happens("moved", hold_view(2, attempts=2))
    text = reviewer.look()
    assert "has gone" not in text and "attempt 2: Refund 200" in text


def test_an_approved_hold_whose_agent_has_yet_to_ask_again_is_not_told_as_gone():
    reviewer = Reviewer(*(hold_view(n) for n in (1, 2, 3)))
    reviewer.happens("moved", hold_view(2, state="unattended", agent_waiting=False))
    reviewer.happens("moved", hold_view(3, state="spendable", agent_waiting=False))
    text = reviewer.look()
    assert "1 more, its agent has gone: 0002kk" in text
    assert "1 more, approved, sent when its agent asks again: 0003kk" in text


def test_a_selected_hold_whose_agent_has_gone_stays_and_can_only_be_denied():
    reviewer = Reviewer(hold_view(1), hold_view(2))
    reviewer.look()
    reviewer.happens("moved", hold_view(1, state="unattended", agent_waiting=False))
    assert "its agent has gone" in reviewer.look()
    assert reviewer.press("a") is None and "nothing to send" in reviewer.scene.message
    assert reviewer.press("l") is None and reviewer.press("x") is None
    reviewer.press("d")
    assert reviewer.press("enter").approves is False


def test_what_came_first_is_said_first():
    notice = "the same was already sent 12:03:00 UTC, answered 200"
    text = Reviewer(hold_view(1, notices=(notice,), differs=("form.amount: 1 -> 2",))).look()
    assert text.index(notice) < text.index("Refund 100", text.index("hold 0001"))
    assert "form.amount: 1 -> 2" in text and "! Refund 100" in text


def test_deferred_and_windowed_holds_say_what_they_are():
    reviewer = Reviewer(hold_view(1, state="deferred", agent_waiting=False), hold_view(2, window=True))
    text = reviewer.look()
    assert "will ask again: Refund 100" in text and "goes unless stopped: Refund 200" in text
    assert reviewer.press("a").approves
    reviewer.press("j")
    assert "unless it is stopped: d stops it, a lets it go" in reviewer.look(ARMING)
