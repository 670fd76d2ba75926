"""What has to be typed at the critical tier: something that a person sees and can type."""

import pytest
from asking import form, order, policy, read, request

from proxy.records import confirm

CRITICAL = """
version: 1
rules:
  - {name: r, why: w, match: {host: api.example.com}, then: hold, risk: {tier: critical}, show: [json.to]}
"""


def asked(wanted, rules=CRITICAL):
    action = read(wanted)
    return confirm(action, policy(rules).judge(action))


@pytest.mark.parametrize(
    ("wanted", "typed"),
    [
        (form({"amount": "4200", "charge": "ch_1"}), ("amount", "4200")),
        (form([("amount", "90"), ("fee[amount]", "1000")]), ("amount", "1000")),
        (order({"to": "ann@corp.com", "amount": 5}), ("amount", "5")),
        (order({"to": "ann@corp.com"}), ("recipient", "ann@corp.com")),
        (order({"to": ["ann@corp.com", "bob@corp.com"]}), ("recipient", "ann@corp.com")),
        (form({"channel": "C012"}), ("recipient", "C012")),
        (form({}, "/v1/projects/alpha"), ("last step of the path", "alpha")),
        (form({}, "/v1/projects/alpha/"), ("last step of the path", "alpha")),
        (order({"amount": "much"}, "/v1/pay"), ("last step of the path", "pay")),
        (order({"to": "‮gro.live"}, "/v1/send"), ("last step of the path", "send")),
        (order({"to": "sk_live_abcdefghijklmnop"}, "/v1/send"), ("last step of the path", "send")),
        (order({"to": "a" * 81}, "/v1/send"), ("last step of the path", "send")),
        (request("text/plain", b"", "/"), ("host", "api.example.com")),
    ],
)
def test_it_is_the_amount_or_the_recipient_or_else_what_is_acted_on(wanted, typed):
    assert asked(wanted) == typed


def test_below_the_critical_tier_nothing_has_to_be_typed():
    assert asked(form({"amount": "4200"}), CRITICAL.replace("critical", "high")) == ()
