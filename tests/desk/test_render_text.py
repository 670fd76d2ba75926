"""Nothing that an agent wrote acts on a terminal, hides, or looks like something else."""

import io
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from memory_desk import hold_view
from rich.cells import cell_len
from rich.text import Text

from proxy.errors import Problem
from proxy.render import (
    CaseResult,
    Explanation,
    ascii_host,
    case_lines,
    emit,
    entry_line,
    explain_lines,
    hold_lines,
    holds_lines,
    in_full,
    in_short,
    is_punycode,
    plain_line,
    printer,
    problem_lines,
    safe,
    time_left,
    url_text,
    visible,
)
from proxy.wire import ReviewView

SHOWN = {
    "plain": ("Refund 100", "Refund 100"),
    "escape": ("\x1b[2J", "\\x1b[2J"),
    "C0": ("a\x00\x07\x08b", "a\\x00\\x07\\x08b"),
    "line feed": ("a\nb\r\tc", "a\\nb\\r\\tc"),
    "DEL": ("\x7f", "\\x7f"),
    "C1 CSI": ("\x9b31m", "\\x9b31m"),
    "right-to-left override": ("a\u202eb", "a\\u202eb"),
    "isolate": ("\u2066a\u2069", "\\u2066a\\u2069"),
    "zero width space": ("a\u200bb", "a\\u200bb"),
    "zero width joiner": ("\U0001f468\u200d\U0001f469", "\U0001f468\\u200d\U0001f469"),
    "byte order mark": ("\ufeffa", "\\ufeffa"),
    "soft hyphen": ("a\xadb", "a\\xadb"),
    "line separator": ("a\u2028b\u2029", "a\\u2028b\\u2029"),
    "no-break space": ("a\xa0b", "a\\xa0b"),
    "wide space": ("\u3000", "\\u3000"),
    "private use": ("\ue000\U000f0000", "\\ue000\\U000f0000"),
    "surrogate": ("\ud83d", "\\ud83d"),
    "unassigned": ("\u0378", "\\u0378"),
    "tag": ("\U000e0041", "\\U000e0041"),
    "variation selector": ("\u2764\ufe0f", "\u2764\\ufe0f"),
    "Hangul filler": ("\u3164\u115f\u1160\uffa0", "\\u3164\\u115f\\u1160\\uffa0"),
    "blank braille": ("\u2800", "\\u2800"),
    "Hebrew": ("\u05d0", "\\u05d0"),
    "Arabic": ("\u0627\u0661", "\\u0627\\u0661"),
    "flags": ("\U0001f1e9\U0001f1ea", "\\U0001f1e9\\U0001f1ea"),
    "skin tone": ("\U0001f44d\U0001f3fd", "\U0001f44d\\U0001f3fd"),
    "strike through": ("9\u03360", "9\\u03360"),
    "enclosing mark": ("a\u20dd", "a\\u20dd"),
    "a mark on nothing": ("\u0301", "\\u0301"),
    "a mark on an escape": ("\x1b\u0301", "\\x1b\\u0301"),
    "decomposed letter": ("e\u0301", "e\u0301"),
    "marks in a flood": ("e" + "\u0301" * 5, "e" + "\u0301" * 3 + "\\u0301" * 2),
    "Chinese and emoji": ("\u8bf7\u6c42\U0001f600", "\u8bf7\u6c42\U0001f600"),
}


@pytest.mark.parametrize(("text", "shown"), SHOWN.values(), ids=SHOWN.keys())
def test_what_could_act_or_hide_is_shown_as_its_code(text, shown):
    assert visible(text) == shown
    assert safe(text).plain == shown


@settings(max_examples=400)
@given(st.text(max_size=80))
@example("\x1b]0;title\x07")
@example("[red]markup[/red]")
def test_shown_text_has_no_character_that_acts_or_hides(text):
    shown = visible(text)
    for char in shown:
        assert unicodedata.category(char)[0] not in "C" and char.isprintable()
        assert unicodedata.bidirectional(char) not in ("R", "AL", "AN")
    assert visible(shown) == shown
    assert cell_len(shown) >= len(shown) - sum(unicodedata.category(char)[0] == "M" for char in shown)


@settings(max_examples=200)
@given(st.text(max_size=80))
def test_text_for_rich_says_the_same_and_is_never_markup(text):
    assert safe(text).plain == visible(text)


def test_escapes_stand_out_from_letters_that_look_like_them():
    assert safe("\x1b").spans != safe("\\x1b").spans


def test_hosts_are_shown_as_the_name_system_knows_them():
    assert ascii_host("\u0430\u0440\u0440\u04cf\u0435.com") == "xn--80ak6aa92e.com"
    assert ascii_host("api.stripe.com") == "api.stripe.com"


def test_punycode_is_marked_before_the_host_that_it_hides():
    for url in ("https://xn--80ak6aa92e.com/", "https://\u0430\u0440\u0440\u04cf\u0435.com/"):
        assert url_text(url).plain == "[punycode host] https://xn--80ak6aa92e.com/"
    assert not is_punycode("api.stripe.com")


def test_the_line_of_a_punycode_host_says_so_even_if_the_rule_has_words_of_its_own():
    view = hold_view(url="https://XN--80ak6aa92e.com/pay", says="Pay apple.com")
    assert plain_line(view).plain == "[punycode host] Pay apple.com"


@settings(max_examples=200)
@given(st.text(max_size=40))
def test_no_url_breaks_the_line(text):
    assert visible(url_text("https://" + text).plain) == url_text("https://" + text).plain


def test_a_hold_without_words_of_its_rule_has_a_plain_sentence():
    view = hold_view(says="", url="https://api.stripe.com:8443/v1/refunds?key=1")
    assert plain_line(view).plain == "POST to api.stripe.com:8443/v1/refunds?…"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0 s"),
        (0.9, "0 s"),
        (45, "45 s"),
        (60, "1:00"),
        (245.5, "4:05"),
        (7500, "2 h 05 m"),
        (3e5, "3 days"),
    ],
)
def test_time_left_is_said_as_people_say_it(seconds, words):
    assert time_left(seconds) == words


def rows(view, now=None):
    pairs = in_short(view, view.opened if now is None else now)
    return [(label, text.plain) for label, text in pairs]


def test_in_short_has_everything_that_a_decision_needs():
    view = hold_view(
        rules=("refunds-wait", "big-money"), tier="high", reversible=False, unknown=("big-money",),
        approvals_needed=2, reviewers=("finance",), attempts=3,
        reviews=(ReviewView("bob", True, 0.0, "fine"),),
    )  # fmt: skip
    text = "\n".join(f"{label} {line}" for label, line in rows(view))
    for part in (
        "wants Refund 100 of charge ch_1",
        "rule refunds-wait and big-money  high, cannot be undone",
        "why A refund moves money",
        "note held because a field of rule big-money could not be read",
        "answers 2 more needed of finance; approved by bob",
        "time left 10:00",
        "form.amount  100",
        "request POST https://api.stripe.com/v1/refunds",
        "agent uid:agent, attempt 3",
    ):
        assert part in text


def test_agent_text_never_pushes_rule_and_why_down():
    view = hold_view(says="x" * 100_000, show={"form.a": ("y" * 100_000,)}, url="https://h/" + "z" * 100_000)
    labels = [label for label, _ in rows(view)]
    assert labels.index("why") < labels.index("request")
    assert all(len(line) < 600 for _, line in rows(view))
    assert dict(rows(view))["wants"].endswith("[99,600 characters more]")


def test_a_hold_that_ended_says_how():
    view = hold_view(state="abandoned", cause="the agent left")
    assert ("", "ended: abandoned: the agent left") in rows(view)
    assert ("time left", "over") in rows(view)
    assert ("answers", "none") in rows(view)


def test_a_hold_that_was_answered_says_by_whom_and_asks_for_nothing_more():
    reviews = (ReviewView("ada", True, 0.0, ""), ReviewView("bob", False, 0.0, "no"))
    confirm = ("amount", "100")
    view = hold_view(state="denied", by=("bob",), reviews=reviews, tier="critical", confirm=confirm)
    assert ("answers", "approved by ada; denied by bob") in rows(view)
    assert not any("is typed" in line for _, line in rows(view))
    asking = hold_view(tier="critical", confirm=confirm)
    assert ("", "to approve it, its amount is typed: 100") in rows(asking)


def test_the_whole_request_is_shown_and_what_is_not_is_said():
    view = hold_view(body="a" * 300_000, body_note="binary", headers=(("x", "1\x1b[2J"),))
    text = [line.plain for line in hold_lines(view, view.opened)]
    assert "x: 1\\x1b[2J" in text
    assert "a" * 300_000 in text and "[binary]" in text


def test_of_a_body_that_is_cut_the_rest_is_counted():
    text = [line.plain for line in in_full(hold_view(body="a" * 300), 100)]
    assert text[-1] == "[200 characters more: sluice show 0001kk]"


def printed(lines, **environ):
    file = io.StringIO()
    emit(printer(file, environ), list(lines))
    return file.getvalue()


def test_output_that_is_no_terminal_is_plain_and_not_wrapped():
    text = printed(holds_lines([hold_view(says="word " * 60)], 0))
    assert "\x1b" not in text and text.count("\n") == 1


def test_no_color_takes_the_colours_off_a_terminal():
    class Tty(io.StringIO):
        def isatty(self):
            return True

    outputs = []
    for environ in ({"TERM": "xterm-256color"}, {"TERM": "xterm-256color", "NO_COLOR": "1"}):
        file = Tty()
        emit(printer(file, environ), [Text("red", "red")])
        outputs.append(file.getvalue())
    assert outputs == ["\x1b[31mred\x1b[0m\n", "red\n"]


def test_nothing_waiting_is_said():
    assert printed(holds_lines([], 0)) == "nothing is waiting\n"


HOSTILE = "x\x1b[2J\n[bold]y[/]\u202e"
SAFE = "x\\x1b[2J\\n[bold]y[/]\\u202e"


def test_problems_are_three_lines_whatever_is_in_them():
    text = printed(problem_lines(Problem(HOSTILE, HOSTILE, HOSTILE, "a.yaml:1:2")))
    assert text == f"sluice: error: a.yaml:1:2: {SAFE}\nsluice: why: {SAFE}\nsluice: fix: {SAFE}\n"


def test_an_entry_is_one_line():
    entry = {
        "seq": 12, "time": "2026-11-22T08:25:09Z", "kind": "decided", "prev": "ab", "decision": "approved",
        "by": "reviewer", "reviewers": ["ada"], "method": "POST", "url": "https://h/" + HOSTILE, "rule": "r",
        "why": HOSTILE, "none": None, "hold": "7f3k2qabcdef",
    }  # fmt: skip
    text = printed([entry_line(entry)])
    assert text == (
        f"    12  2026-11-22 08:25:09  7f3k2q  approved    POST https://h/{SAFE}"
        f"  r; by reviewer ada; {SAFE}\n"
    )


def test_who_approved_before_the_time_was_over_did_not_decide():
    entry = {
        "seq": 12, "time": "2026-11-22T08:25:09Z", "kind": "decided", "hold": "7f3k2q", "decision": "expired",
        "rule": "r", "by": "deadline", "reviewers": ["ada"], "why": "no answer",
    }  # fmt: skip
    assert "r; by deadline, approved so far by ada; no answer" in printed([entry_line(entry)])


def test_counted_reads_are_one_line_that_names_those_with_the_most():
    def reads(agent, count):
        return {"agent": agent, "host": "h", "rule": "r", "requests": count, "completed": {"2xx": count}}

    entry = {
        "seq": 14, "time": "2026-11-22T08:25:09Z", "kind": "counted", "since": "2026-11-22T08:24:09Z",
        "until": "2026-11-22T08:25:09Z", "policy": "ab", "requests": 9,
        "reads": [reads("uid:a", 1), reads(HOSTILE, 5), reads("uid:b", 2), reads("uid:c", 1)],
    }  # fmt: skip
    assert printed([entry_line(entry)]) == (
        f"    14  2026-11-22 08:25:09          counted      9 reads: {SAFE} at h by r: 5, answered 2xx 5;"
        " uid:b at h by r: 2, answered 2xx 2; uid:a at h by r: 1, answered 2xx 1; and 1 more"
        "  since=2026-11-22T08:24:09Z\n"
    )


def test_an_outcome_says_which_request_what_answer_and_how_long():
    entry = {
        "seq": 13, "time": "2026-11-22T08:25:09Z", "kind": "completed", "id": "7f3k2qaaaa",
        "status": 200, "microseconds": 15_383, "received": 3,
    }  # fmt: skip
    assert printed([entry_line(entry)]) == (
        "    13  2026-11-22 08:25:09  7f3k2q  completed   200 in 0.015 s  received=3\n"
    )


def test_cases_name_those_that_failed_and_count_the_rest():
    results = [CaseResult("a", True), CaseResult("b", False, "c.yaml:3:1", "expected hold, got allow")]
    assert printed(case_lines(results)) == (
        "failed c.yaml:3:1: b\n       expected hold, got allow\n1 of 2 cases passed\n"
    )


def test_an_explanation_has_decision_rule_why_and_steps():
    text = printed(explain_lines(Explanation("hold", "r", ("r", "s"), "because", "op", ["step one"])))
    assert [line.split() for line in text.splitlines()] == [
        ["hold"], ["rule", "r,", "s"], ["why", "because"], ["operation", "op"], ["step", "one"],
    ]  # fmt: skip
