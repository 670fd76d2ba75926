"""What a key means: only ever what the reviewer saw."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_desk import hold_view
from reviewer import STATUS, Reviewer
from rich.cells import cell_len

from proxy.console.frame import frame
from proxy.console.keys import Key
from proxy.console.scene import ARMING, Mode
from proxy.console.terminal import _encoded
from proxy.wire import Change, Snapshot, Status, Verb


def test_approving_answers_the_hold_on_the_screen_by_its_digest():
    reviewer = Reviewer(hold_view(1), hold_view(2))
    reviewer.look()
    call = reviewer.press("a")
    assert (call.verb, call.prefix, call.approves) == (Verb.REVIEW, hold_view(1).id, True)
    assert call.digest == hold_view(1).digest


@pytest.mark.parametrize("key", ["a", "d"])
def test_a_key_before_the_first_frame_decides_nothing(key):
    reviewer = Reviewer(hold_view(1))
    assert reviewer.press(key) is None and reviewer.scene.mode is Mode.QUEUE


@pytest.mark.parametrize("key", ["a", "d"])
def test_a_key_in_the_moment_a_hold_appears_decides_nothing(key):
    reviewer = Reviewer(hold_view(1))
    reviewer.look(ARMING - 0.01)
    assert reviewer.press(key) is None and reviewer.scene.mode is Mode.QUEUE
    assert "not decided" in reviewer.scene.message
    reviewer.look(0.02)
    reviewer.press(key)
    assert reviewer.scene.answering or reviewer.scene.mode is Mode.REASON


def test_keys_typed_in_one_go_decide_only_what_was_drawn():
    reviewer = Reviewer(hold_view(1), hold_view(2))
    reviewer.look()
    assert reviewer.press("j", "a") is None
    reviewer.look()
    assert reviewer.press("a").prefix == hold_view(2).id


def test_another_request_under_the_same_id_is_another_thing_to_see():
    reviewer = Reviewer(hold_view(1))
    reviewer.look()
    reviewer.happens("reviewed", hold_view(1, digest="f" * 64))
    assert reviewer.press("a") is None
    reviewer.look()
    assert reviewer.press("a").digest == "f" * 64


def test_while_a_frame_is_on_its_way_no_key_decides():
    reviewer = Reviewer(hold_view(1))
    reviewer.look()
    reviewer.scene.blank()
    assert reviewer.press("a") is None


def test_a_hold_that_ends_under_the_reviewer_stays_says_so_and_takes_no_key():
    reviewer = Reviewer(hold_view(1), hold_view(2))
    reviewer.look()
    reviewer.happens("settled", hold_view(1, state="abandoned", cause="the agent left"))
    assert reviewer.press("a") is None
    assert "ended: abandoned: the agent left" in reviewer.look()
    assert reviewer.press("a") is None and reviewer.press("d") is None
    assert reviewer.scene.selected == hold_view(1).id and reviewer.scene.mode is Mode.QUEUE


def test_holds_that_end_elsewhere_leave_and_the_selection_stays():
    reviewer = Reviewer(*(hold_view(n) for n in range(1, 6)))
    reviewer.press("j", "j")
    for number in (1, 2, 4):
        reviewer.happens("settled", hold_view(number, state="expired"))
    assert reviewer.scene.selected == hold_view(3).id
    assert list(reviewer.scene.rows) == [hold_view(3).id, hold_view(5).id]


def test_new_holds_never_move_the_selection():
    reviewer = Reviewer(hold_view(5))
    for number in (1, 9):
        reviewer.happens("opened", hold_view(number))
    assert reviewer.scene.selected == hold_view(5).id


def test_an_ended_hold_is_left_by_moving_and_then_is_gone():
    reviewer = Reviewer(hold_view(1), hold_view(2))
    reviewer.happens("settled", hold_view(1, state="expired"))
    reviewer.press("j")
    assert list(reviewer.scene.rows) == [reviewer.scene.selected] == [hold_view(2).id]
    reviewer.happens("settled", hold_view(2, state="expired"))
    reviewer.press("j")
    assert not reviewer.scene.rows and reviewer.scene.selected == ""


def test_the_last_of_the_list_can_be_left_downwards_too_once_it_ended():
    reviewer = Reviewer(hold_view(1), hold_view(2))
    reviewer.press("j")
    reviewer.happens("settled", hold_view(2, state="expired"))
    reviewer.press("j")
    assert reviewer.scene.selected == hold_view(1).id


def test_a_reason_is_typed_and_sent_with_enter():
    reviewer = Reviewer(hold_view(1))
    reviewer.look()
    reviewer.press("d", *"too muhc", "backspace", "backspace", *"ch")
    call = reviewer.press("enter")
    assert (call.approves, call.reason, call.digest) == (False, "too much", hold_view(1).digest)


def test_escape_takes_a_denial_back():
    reviewer = Reviewer(hold_view(1))
    reviewer.look()
    assert reviewer.press("d", "x", "escape") is None
    assert reviewer.scene.mode is Mode.QUEUE and "not denied" in reviewer.scene.message


def test_a_reason_goes_on_being_typed_when_the_hold_ends_meanwhile():
    reviewer = Reviewer(hold_view(1), hold_view(2))
    reviewer.look()
    reviewer.press("d", "n")
    reviewer.happens("settled", hold_view(1, state="expired"))
    assert "ended, nothing will be denied" in reviewer.look()
    assert reviewer.press(*"aad") is None and reviewer.scene.mode is Mode.REASON
    assert reviewer.press("enter") is None and reviewer.scene.mode is Mode.QUEUE


def test_a_reason_has_a_limit_and_no_control_characters():
    reviewer = Reviewer(hold_view(1))
    reviewer.look()
    reviewer.press("d")
    reviewer.scene.press(Key("paste", "a\x1b[2J\n" + "b" * 10_000), reviewer.time)
    assert reviewer.scene.draft.startswith("a[2Jbb") and len(reviewer.scene.draft) == 500


def test_a_paste_outside_a_reason_does_nothing():
    reviewer = Reviewer(hold_view(1))
    reviewer.look()
    assert reviewer.scene.press(Key("paste", "a"), reviewer.time) == ()


def test_an_answer_on_its_way_is_not_given_twice():
    reviewer = Reviewer(hold_view(1))
    reviewer.look()
    assert reviewer.press("a") is not None
    assert reviewer.press("a") is None and "on its way" in reviewer.scene.message


def test_the_whole_request_is_asked_for_and_can_be_answered_once_it_is_there():
    reviewer = Reviewer(hold_view(1))
    reviewer.look()
    assert reviewer.press("enter").verb is Verb.SHOW
    assert "reading the request" in reviewer.look()
    assert reviewer.press("a") is None
    reviewer.scene.took(hold_view(1))
    assert "amount=100&charge=ch_1" in reviewer.look()
    assert reviewer.press("a").prefix == hold_view(1).id


def test_a_whole_request_with_another_digest_is_not_shown_as_this_one():
    reviewer = Reviewer(hold_view(1))
    reviewer.press("enter")
    reviewer.scene.took(hold_view(1, digest="f" * 64))
    assert "reading the request" in reviewer.look()


def test_a_long_request_scrolls_and_not_beyond_its_end():
    reviewer = Reviewer(hold_view(1))
    reviewer.press("enter")
    reviewer.scene.took(hold_view(1, body="\n".join(f"line {n}" for n in range(100))))
    assert "line 5" in reviewer.draw() and "line 99" not in reviewer.draw()
    reviewer.press("G")
    assert "line 99" in reviewer.draw()
    reviewer.press("k")
    assert "line 99" not in reviewer.draw()
    reviewer.press("g")
    assert "POST https" in reviewer.draw()


def test_pausing_is_one_key_and_resuming_needs_the_pause_on_the_screen():
    reviewer = Reviewer()
    assert reviewer.press("p").verb is Verb.PAUSE
    reviewer.scene.apply(Change("status", status=Status("p", "q", paused=("*",))))
    assert reviewer.press("p") is None
    assert "PAUSED" in reviewer.look()
    assert reviewer.press("p").verb is Verb.RESUME


def test_the_lock_is_lifted_only_once_its_reason_was_on_the_screen():
    reviewer = Reviewer(status=Status("p", "q", locked="sluice run ended without goodbye"))
    assert reviewer.press("u") is None
    assert "sluice run ended without goodbye" in reviewer.look()
    assert reviewer.press("u").verb is Verb.UNLOCK


def test_a_changed_policy_is_shown_before_it_can_be_taken():
    status = Status("p", "q" * 64, policy_next="n" * 64, policy_change="-then: hold\n+then: deny")
    reviewer = Reviewer(status=status)
    reviewer.look()
    assert reviewer.press("y", "y") is None
    assert "+then: deny" in reviewer.look()
    call = reviewer.press("y")
    assert (call.verb, call.policy) == (Verb.ACCEPT, "n" * 64)


def test_a_policy_that_changed_again_is_not_taken_by_a_key_meant_for_the_one_before():
    reviewer = Reviewer(status=Status("p", "q", policy_next="n" * 64, policy_change="+a"))
    reviewer.press("y")
    reviewer.look()
    reviewer.scene.apply(Change("status", status=Status("p", "q", policy_next="m" * 64, policy_change="+b")))
    assert reviewer.press("y") is None
    assert "+b" in reviewer.look()
    assert reviewer.press("y").policy == "m" * 64


def test_quitting_asks_when_holds_wait():
    reviewer = Reviewer(hold_view(1))
    reviewer.press("q")
    assert "1 hold waits" in reviewer.draw() and not reviewer.scene.over
    reviewer.press("x")
    assert reviewer.scene.mode is Mode.QUEUE
    reviewer.press("q", "q")
    assert reviewer.scene.over


def test_who_quits_is_told_where_the_gate_stops_with_the_console():
    reviewer = Reviewer(hold_view(1))
    reviewer.press("q")
    assert "1 hold waits: quit all the same?" in reviewer.look()
    reviewer.scene.stops = True
    assert "1 hold waits, and the gate stops with this console: quit all the same?" in reviewer.look()


def test_quitting_asks_nothing_when_nothing_waits():
    reviewer = Reviewer()
    reviewer.press("q")
    assert reviewer.scene.over


def test_help_names_every_key_and_any_key_leaves_it():
    reviewer = Reviewer(hold_view(1))
    reviewer.look()
    reviewer.press("?")
    text = reviewer.look()
    assert all(f"{key}  " in text for key in "adlbxpyuq")
    assert reviewer.press("a") is None and reviewer.scene.mode is Mode.QUEUE


def test_after_a_gap_the_desk_is_taken_anew_and_what_was_selected_stays():
    reviewer = Reviewer(hold_view(1), hold_view(2))
    reviewer.scene.bell = False
    reviewer.scene.apply(Snapshot(STATUS, (hold_view(2), hold_view(3))))
    assert list(reviewer.scene.rows) == [hold_view(n).id for n in (1, 2, 3)]
    assert reviewer.scene.hold.state != "pending" and reviewer.scene.bell


def test_several_hundred_holds_are_paged():
    reviewer = Reviewer(*(hold_view(n) for n in range(1, 501)))
    assert "of 500" in reviewer.draw() and "Refund 50000" not in reviewer.draw()
    reviewer.press("G")
    assert "Refund 50000 of charge" in reviewer.draw()
    assert "▸ 0500kk" in reviewer.draw()


# Whatever happens and is typed, in whatever order

EVENTS = st.one_of(
    st.tuples(
        st.just("press"), st.sampled_from([*"adlxjkpyuqgG?", "enter", "escape", "up", "down", "interrupt"])
    ),
    st.tuples(st.just("open"), st.integers(1, 4)),
    st.tuples(st.just("settle"), st.integers(1, 4)),
    st.tuples(st.just("look"), st.sampled_from([0.0, 0.2, 0.6])),
    st.tuples(st.just("took"), st.integers(1, 4)),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(EVENTS, max_size=30))
def test_no_order_of_events_decides_what_was_not_seen_or_moves_the_selection(events):
    reviewer = Reviewer()
    seen, showed, showed_state = {}, "", {}
    for event, value in events:
        before = reviewer.scene.selected
        match event:
            case "open":
                if hold_view(value).id not in reviewer.scene.rows:
                    reviewer.happens("opened", hold_view(value))
            case "settle":
                reviewer.happens("settled", hold_view(value, state="expired"))
            case "took":
                reviewer.scene.took(hold_view(value))
            case "look":
                showed = reviewer.draw()
                for number in range(1, 5):
                    if f"{number:04d}kk" not in showed:
                        seen.pop(number, None) if hold_view(number).id not in reviewer.scene.rows else None
                    else:
                        seen.setdefault(number, reviewer.time)
                showed_state = {id: view.state for id, view in reviewer.scene.rows.items()}
                reviewer.time += value
            case "press":
                call = reviewer.press(value)
                if call is not None and call.verb is Verb.REVIEW:
                    number = int(call.prefix[:4])
                    assert seen[number] + ARMING <= reviewer.time
                    assert showed_state[call.prefix] == "pending" and call.digest == hold_view(number).digest
                    if call.approves:
                        assert f"▸ {call.prefix[:6]}" in showed
                    reviewer.scene.answered(call, "")
        if event != "press":
            assert before in ("", reviewer.scene.selected)


HOSTILE = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from(
            "\x1b\x9b\x07\r\n\t\u202e\u200b\u0301\u05d0\u0627\u4f60\U0001f600\U0001f1e9\ufe0f\u2028"
        ),
    ),
    max_size=120,
)


@settings(max_examples=150, deadline=None)
@given(HOSTILE, HOSTILE, st.integers(1, 120), st.integers(1, 40), st.booleans())
def test_a_frame_is_as_large_as_the_terminal_whatever_the_agent_wrote(text, more, width, height, whole):
    view = hold_view(
        1, says=text, url=f"https://h/{more}", show={more: (text, more)}, body=text + more, agent=text,
        headers=((more, text),),
    )  # fmt: skip
    reviewer = Reviewer(view, hold_view(2))
    if whole:
        reviewer.press("enter")
        reviewer.scene.took(view)
    lines = frame(reviewer.scene, time.time(), width, height).lines
    assert len(lines) == height
    for line in lines:
        assert cell_len(line.plain) <= width and line.plain.isprintable()
    encoded = "".join(_encoded(lines, width))
    assert "\x1b" not in encoded.replace("\x1b[", "") and "\n" not in encoded and "\x07" not in encoded
