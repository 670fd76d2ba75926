"""The sentence that a reviewer reads: blanks, brackets, money."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from making_actions import action, policy, rule

from proxy.action import ABSENT, UNKNOWN, Values
from proxy.errors import SluiceError
from proxy.policy.money import PLACES, in_major_unit
from proxy.policy.says import compile_sentence, fields_of, fill, spelled

AMOUNT, CURRENCY, CHARGE = ("form", "amount"), ("form", "currency"), ("form", "charge")


def said(sentence: str, readings: dict) -> str:
    """The sentence as a reviewer gets it, through a policy."""
    held = policy(rule("r", "hold") + f"\nsays: {sentence!r}")
    return held.judge(action(readings)).says


def one(text: str) -> Values:
    return Values((text,))


@pytest.mark.parametrize(
    ("readings", "words"),
    [
        ({AMOUNT: one("9000"), CURRENCY: one("eur"), CHARGE: one("ch_1")}, "Refund 90.00 EUR of charge ch_1"),
        ({CHARGE: one("ch_1")}, "Refund all of charge ch_1"),
        ({}, "Refund all"),
        ({AMOUNT: one("9000"), CHARGE: UNKNOWN}, "Refund 9000 (in minor units) of charge ‹unknown›"),
        ({AMOUNT: UNKNOWN, CURRENCY: one("eur")}, "Refund ‹unknown›"),
        ({AMOUNT: one("9000"), CURRENCY: UNKNOWN}, "Refund 9000 ‹unknown› (in minor units)"),
        ({AMOUNT: one("9000"), CURRENCY: Values((None,))}, "Refund 9000 ‹unknown› (in minor units)"),
        ({AMOUNT: Values((None,)), CURRENCY: one("eur")}, "Refund ‹unknown› eur (in minor units)"),
        ({AMOUNT: one("90.5"), CURRENCY: one("eur")}, "Refund 90.5 eur (in minor units)"),
        ({AMOUNT: one("9000"), CURRENCY: one("clp")}, "Refund 9000 clp (in minor units)"),
        ({AMOUNT: one("9000"), CURRENCY: Values(("eur", "usd"))}, "Refund 9000 eur, usd (in minor units)"),
        ({AMOUNT: Values(("1", "250")), CURRENCY: one("EUR")}, "Refund 0.01 EUR, 2.50 EUR"),
    ],
)
def test_money_reads_as_people_write_it_or_says_its_unit(readings, words):
    sentence = 'Refund {minor(form.amount, form.currency)|"all"}[ of charge {form.charge}]'.replace('"', "'")
    parts = compile_sentence(sentence)
    read = lambda field: readings.get(field, ABSENT)  # noqa: E731
    assert fill(parts, read) == words
    assert fields_of(parts) == [AMOUNT, CURRENCY, CHARGE]


@pytest.mark.parametrize(
    ("amount", "currency", "words"),
    [
        ("9000", "EUR", "90.00 EUR"), ("5", "usd", "0.05 USD"), ("0", "usd", "0.00 USD"),
        ("-150", "GBP", "-1.50 GBP"),
        ("9000", "jpy", "9000 JPY"), ("1234567", "KRW", "1234567 KRW"), ("9000", "KWD", "9.000 KWD"),
        ("999999999999999999", "eur", "9999999999999999.99 EUR"), ("1e3", "eur", None), ("1.0", "eur", None),
        ("٣", "eur", None), ("", "eur", None), ("5", "", None), ("5", "xyz", None),
        ("5", "ISK", None), ("5", "UGX", None),
    ],
)  # fmt: skip
def test_minor_units_are_converted_where_everyone_agrees_what_they_are(amount, currency, words):
    assert in_major_unit(amount, currency) == words


@given(st.integers(-(10**17), 10**17), st.sampled_from(sorted(PLACES)))
def test_no_digit_of_an_amount_is_ever_lost(amount, currency):
    words = in_major_unit(str(amount), currency)
    assert words is not None
    number, code = words.split(" ")
    assert (int(number.replace(".", "")), code) == (amount, currency)
    assert len(number.partition(".")[2]) == PLACES[currency]


def test_the_first_choice_that_is_there_is_taken():
    sentence = "Post to {json.channel|form.channel|query.channel}"
    json, form, query = ("json", "channel"), ("form", "channel"), ("query", "channel")
    assert said(sentence, {json: one("a"), form: UNKNOWN, query: one("c")}) == "Post to a"
    assert said(sentence, {json: UNKNOWN, form: one("b"), query: one("c")}) == "Post to b"
    assert said(sentence, {json: UNKNOWN, form: ABSENT, query: one("c")}) == "Post to c"
    assert said(sentence, {}) == "Post to ‹none›"


def test_a_body_that_nobody_can_read_stays_unknown_whatever_the_address_says():
    unread = {("json", "a"): UNKNOWN, ("form", "a"): UNKNOWN, ("query", "a"): one("shown")}
    assert said("Pay {json.a|form.a|query.a}", unread) == "Pay ‹unknown›"


def test_agents_cannot_write_our_marks_nor_close_a_bracket():
    assert said("[to {form.charge}]", {CHARGE: one("‹none›] [x")}) == "to <none>] [x"


@pytest.mark.parametrize(
    ("says", "what", "fix"),
    [
        ("a [b", "a lonely '['", "close it with ]"),
        ("a ]b", "a lonely ']'", "write ]] for a bracket"),
        ("a [b]", "a bracket without a field", "write [[ for a bracket"),
        ("[a {path} [b {path}]]", "a bracket in a bracket", "close the first one"),
        ("a {path", "a lonely '{'", "write {{ for a brace"),
        ("{}", "an empty blank", "name a field"),
        ("{path|}", "an empty blank", "name a field"),
        ("{minor(form.a)}", "'minor(form.a)'", "write minor(AMOUNT, CURRENCY)"),
        ("{money(form.a, form.b)}", "'money(form.a, form.b)'", "write minor(AMOUNT, CURRENCY)"),
        ("{minor(from.a, form.b)}", "unknown field 'from.a'", "did you mean 'form.a'?"),
        ("{path|query.token}", "query.token is secret", "leave it out"),
        ("[{minor(form.a, header.authorization)}]", "header.authorization is secret", "leave it out"),
    ],
)  # fmt: skip
def test_a_sentence_that_cannot_be_meant_is_a_mistake_with_its_place(says, what, fix):
    with pytest.raises(SluiceError) as caught:
        policy(rule("r", "hold") + f"\nsays: {says!r}")
    (problem,) = caught.value.problems
    assert what in problem.what
    assert fix in problem.fix
    assert problem.where == "policy.yaml:8:11"


@pytest.mark.parametrize(
    "text", ["a {{b}} [[c]]", "Refund {minor(form.a, form.b)|'all'}[ of {form.c|query.c}]", r"{json.a\.b}"]
)
def test_a_sentence_is_spelled_as_it_was_written(text):
    assert spelled(compile_sentence(text)) == text
    assert compile_sentence(spelled(compile_sentence(text))) == compile_sentence(text)


def test_doubled_braces_and_brackets_stand_for_themselves():
    assert said("a {{b}} [[c]] {path}", {}) == "a {b} [c] /v1/items"
