"""Risk in rules: how far it reaches, what is first seen, how sure the agent says it is."""

from __future__ import annotations

import pytest
from making_actions import policy, rule

from proxy.decode import Facts
from proxy.ledger.seen import Seen
from proxy.policy import answer, request

EUROS = "{blast.amount: {above: 8}, blast.currency: {is: EUR}}"
HOST = "https://api.example.com/v1/send"
UNSURE = rule("unsure", "hold", "{header.x-sluice-confidence: {below: 0.7}}")


def asked(*headers: tuple[str, str], body: str = "", kind: str = "application/json"):
    given = [*headers, *([("content-type", kind)] if body else [])]
    return request("POST", HOST, given, body.encode(), agent="uid:ann")


@pytest.mark.parametrize(
    ("given", "decision"),
    [
        (["0.9"], "allow"), (["1"], "allow"), (["1.0"], "allow"), (["0.7"], "allow"),
        (["0.69"], "hold"), (["0"], "hold"), ([".9"], "hold"),
        ([], "hold"), ([""], "hold"), (["high"], "hold"), (["7"], "hold"), (["1.1"], "hold"),
        (["-1"], "hold"),
        (["90%"], "hold"), (["0.9, 0.9"], "hold"), (["0.9", "0.9"], "hold"),
        (["0.9", "0.1"], "hold"),
        (["1e0"], "hold"), (["٠.٩"], "hold"), (["0.9999999999999999999"], "hold"),
    ],
)  # fmt: skip
def test_only_a_decimal_from_0_to_1_is_a_confidence_and_all_else_is_unknown(given, decision):
    headers = [("X-Sluice-Confidence", value) for value in given]
    assert answer(policy(UNSURE), asked(*headers)).decision == decision


@pytest.mark.parametrize("then", ["watch", "hold"])
def test_confidence_never_takes_the_place_of_a_stricter_default(then):
    sure = rule("sure", then, "{header.x-sluice-confidence: {above: 0.9}}")
    strict = policy(sure, default="{read: allow, write: deny}")
    for confidence in ("0.99", "0.1"):
        assert answer(strict, asked(("x-sluice-confidence", confidence))).decision == "deny"
    milder = policy(sure, default="{read: allow, write: allow}")
    assert answer(milder, asked(("x-sluice-confidence", "0.99"))).decision == then


def test_confidence_adds_to_what_other_rules_say():
    both = policy(UNSURE, rule("fine", "allow", match="host: api.example.com"), default="{write: deny}")
    assert answer(both, asked(("x-sluice-confidence", "0.99"))).decision == "allow"
    assert answer(both, asked(("x-sluice-confidence", "0.5"))).decision == "hold"
    found = answer(both, asked()).verdict
    assert (found.rules, found.unknown) == (("unsure",), ("unsure",))


@pytest.mark.parametrize(
    ("where", "body", "decision"),
    [
        ("{blast.recipients: {above: 2}}", '{"to": ["a@x.org", "b@x.org", "c@x.org"]}', "hold"),
        ("{blast.recipients: {above: 2}}", '{"to": ["a@x.org"]}', "allow"),
        ("{blast.records: {above: 1}}", '{"ids": [1, 2]}', "hold"),
        ("{blast.amount: {above: 5000}}", '{"amount": 9000, "currency": "usd"}', "hold"),
        ("{blast.amount: {above: 5000}}", '{"amount": "4999.99"}', "allow"),
        ("{blast.amount: {is: 90}}", '{"amount": "90.00"}', "hold"),
        ("{blast.amount: {above: 5000}}", '{"amount": "lots"}', "hold"),
        (EUROS, '{"amount": 9, "currency": "eur"}', "hold"),
        (EUROS, '{"amount": 9, "currency": "usd"}', "allow"),
    ],
)  # fmt: skip
def test_how_far_a_request_reaches_can_be_bounded(where, body, decision):
    found = answer(policy(rule("far", "hold", where)), asked(body=body))
    assert found.decision == decision


def test_a_first_recipient_can_turn_an_allow_into_a_hold():
    first = policy(rule("strangers", "hold", "{first_seen.recipient: {is: true}}"))
    body = '{"to": "ann@x.org"}'
    facts = Facts(Seen(), b"k" * 32)
    assert answer(first, asked(body=body), facts).decision == "hold"
    assert answer(first, asked(body=body)).decision == "allow"  # without a ledger nothing is first seen
