"""What an agent is told of a refusal, in the body and beside it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.decision import MAX_DETAIL, REFUSALS, By, Decision, Word


def headers(decision: Decision) -> dict[bytes, bytes]:
    return dict(decision.answer().headers)


def test_a_refusal_says_in_its_headers_what_an_sdk_may_hide_with_the_body() -> None:
    said = headers(Decision(Word.DENIED, By.REVIEWER, detail="amount too high", hold="7f3k2q"))
    assert said[b"sluice-decision"] == b"denied"
    assert said[b"sluice-detail"] == b"amount too high"
    assert said[b"sluice-hold"] == b"7f3k2q"
    assert said[b"link"] == b'<http://sluice.invalid/>; rel="help"'


def test_a_refusal_without_a_hold_names_none() -> None:
    assert b"sluice-hold" not in headers(Decision(Word.REFUSED, By.RULE))


@pytest.mark.parametrize(
    ("detail", "said"),
    [
        ("", b"Refused by a reviewer"),
        ("one\r\nsluice-decision: approved", b"one sluice-decision: approved"),
        ("\x00\x1b[2J", b"\\x00\\x1b[2J"),
        ("zu hoch: 5 €", b"zu hoch: 5 \\u20ac"),
        ("\udcff", b"\\udcff"),
        ("  tabs\t and\u2028lines  ", b"tabs and lines"),
    ],
)
def test_the_detail_is_one_line_of_printable_ascii(detail: str, said: bytes) -> None:
    assert headers(Decision(Word.DENIED, By.REVIEWER, detail=detail))[b"sluice-detail"] == said


def test_a_long_detail_is_cut_beside_the_body_and_whole_in_it() -> None:
    answer = Decision(Word.DENIED, By.REVIEWER, detail="no! " * 500).answer()
    said = dict(answer.headers)[b"sluice-detail"]
    assert (len(said) <= MAX_DETAIL, said.endswith(b"...")) == (True, True)
    assert json.loads(answer.body)["detail"] == "no! " * 500


@given(st.text(st.characters(exclude_categories=())))
def test_no_reason_can_break_out_of_a_header_or_of_the_body(reason: str) -> None:
    answer = Decision(Word.DENIED, By.REVIEWER, detail=reason).answer()
    said = dict(answer.headers)[b"sluice-detail"].decode("ascii")
    assert said.isprintable()
    assert said == said.strip()
    assert 0 < len(said) <= MAX_DETAIL
    assert json.loads(answer.body)["decision"] == "denied"


@pytest.mark.parametrize("word", [word for word in Word if not word.opens])
def test_every_word_that_does_not_open_has_an_answer(word: Word) -> None:
    assert REFUSALS[word].status >= 400
