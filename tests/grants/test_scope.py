"""What is like a request: never more than what the reviewer saw."""

from decimal import Decimal

import pytest
from asking import covered as is_covered
from asking import form, granted, judged, like, order, policy, read, request
from asking import standing as these
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.errors import Exit, SluiceError
from proxy.grant.scope import MAX_FIELDS, allows, free, load, quoted
from proxy.policy.fields import spell

REFUND = {"amount": "4200", "charge": "ch_1", "currency": "usd", "note": "thanks"}


def covers(reviewed, asked, rules=None, fields=()):
    return is_covered(these(granted(reviewed, rules, fields)), asked, rules=rules)


def test_the_request_under_review_is_like_itself():
    assert covers(form(REFUND), form(REFUND))


@pytest.mark.parametrize(
    ("changed", "covered"),
    [
        ({"amount": "4200.00"}, True),
        ({"amount": "11"}, True),
        ({"note": "something else"}, True),
        ({"extra": "field"}, True),
        ({"currency": "USD"}, True),
        ({"amount": "4200.000000000000000001"}, False),
        ({"amount": "4201"}, False),
        ({"amount": "-5000"}, False),
        ({"amount": "4e1"}, False),
        ({"amount": "42,00"}, False),
        ({"amount": ""}, False),
        ({"charge": "ch_2"}, False),
        ({"charge": "CH_1"}, False),
        ({"currency": "eur"}, False),
        ({"reason": "fraud"}, False),
        ({"total": "9000"}, False),
        ({"to": "a@b.org"}, False),
    ],
)
def test_what_may_differ_is_what_the_rule_leaves_open(changed, covered):
    assert covers(form(REFUND), form({**REFUND, **changed})) is covered


@pytest.mark.parametrize("missing", ["amount", "charge", "currency"])
def test_a_field_that_was_there_has_to_be_there(missing):
    left = {name: value for name, value in REFUND.items() if name != missing}
    assert not covers(form(REFUND), form(left))


@pytest.mark.parametrize(
    "changed",
    [
        {"agent": "uid:other"},
        {"agent": None},
        {"method": b"PUT"},
        {"scheme": "http", "port": 80},
        {"port": 8443},
        {"host": "api2.example.com"},
        {"host": "api.example.com.evil.org"},
        {"target": "/v1/refunds/"},
        {"target": "/v1/Refunds"},
        {"target": "/v1/refunds;a=b"},
        {"target": "/v1/refunds/ch_1"},
        {
            "headers": (
                (b"content-type", b"application/x-www-form-urlencoded"),
                (b"authorization", b"Bearer x"),
            )
        },
        {
            "headers": (
                (b"content-type", b"application/x-www-form-urlencoded"),
                (b"x-http-method-override", b"PUT"),
            )
        },
        {"headers": ((b"content-type", b"application/json"),)},
        {"headers": ((b"content-type", b"application/x-www-form-urlencoded"), (b"upgrade", b"x"))},
    ],
)
def test_agent_address_method_path_credential_and_kind_of_body_are_bound(changed):
    asked = form(REFUND)
    assert not covers(asked, form(REFUND, **{"target": "/v1/refunds", **changed}))


def test_a_second_value_under_a_bound_name_is_another_request():
    twice = form([*REFUND.items(), ("charge", "ch_1")])
    assert not covers(form(REFUND), twice)
    assert not covers(form(REFUND), form([*REFUND.items(), ("amount", "4200")]))
    assert not covers(form(REFUND), form([*REFUND.items(), ("fee[amount]", "4200")]))


def test_equal_values_under_one_name_are_bound_with_their_number():
    one = form([("charge", "ch_1"), ("charge", "ch_1"), ("amount", "50")])
    assert not like(one).whole and covers(one, one)
    assert not covers(one, form([("charge", "ch_1"), ("amount", "50")]))
    assert not covers(one, form([*[("charge", "ch_1")] * 3, ("amount", "50")]))


def test_an_amount_that_is_nothing_or_less_is_bound_exactly():
    free = order({"to": "a@b.org", "price": {"value": "0"}})
    assert covers(free, free)
    for other in ("1", "-1", "0.00"):
        assert not covers(free, order({"to": "a@b.org", "price": {"value": other}}))


def test_an_amount_in_json_has_an_upper_bound_too():
    asked = order({"to": "a@b.org", "price": {"value": 12.5, "currency_code": "EUR"}, "note": "x"})
    assert covers(asked, order({"to": "a@b.org", "price": {"value": "12.49", "currency_code": "EUR"}}))
    assert not covers(asked, order({"to": "a@b.org", "price": {"value": 12.51, "currency_code": "EUR"}}))
    assert not covers(asked, order({"to": "x@b.org", "price": {"value": 1, "currency_code": "EUR"}}))


@pytest.mark.parametrize(
    "asked",
    [
        request("application/octet-stream", b"\0\1", "/v1/files/a"),  # no field of it is looked at
        order({"to": ["a@b.org", "c@d.org"]}),  # several values under one name
        order({"to": "a" * 1_001}),  # longer than a rule may say
        order({"to": "sk_live_abcdefghijklmnop"}),  # a secret
        order([1, 2, 3]),  # nothing that is looked at is there
    ],
    ids=["opaque", "several", "long", "secret", "list"],
)
def test_what_no_rule_can_say_makes_only_the_very_same_request_like_it(asked):
    found = like(asked)
    assert found.whole and "very same request" in free(found.whole)
    assert covers(asked, asked)
    assert not covers(asked, request("application/octet-stream", b"\0\2", "/v1/files/a"))
    assert not covers(asked, order({"to": ["a@b.org"]}))
    assert "sk_live" not in found.text


def test_a_secret_in_a_path_is_in_no_rule():
    hook = order({}, "/v1/files/sk_live_abcdefghijklmnop")
    found = like(hook)
    assert found.whole and "sk_live" not in found.text
    assert covers(hook, hook) and not covers(hook, order({}, "/v1/files/sk_live_bbbbbbbbbbbbbbbb"))


def test_a_star_in_a_path_is_no_pattern():
    starred = request("application/x-www-form-urlencoded", b"", "/v1/files/*")
    assert covers(starred, starred)
    assert not covers(starred, request("application/x-www-form-urlencoded", b"", "/v1/files/a"))


def test_more_fields_than_a_rule_may_have_make_only_the_very_same_request_like_it():
    shown = ", ".join(f"json.f{number}" for number in range(MAX_FIELDS + 1))
    rules = policy(
        "version: 1\nrules:\n  - {name: r, why: w, match: {host: api.example.com}, then: hold, "
        f"show: [{shown}]}}"
    )
    assert like(order({"f1": "x"}), rules).whole


def test_a_request_that_another_rule_holds_too_is_not_covered():
    asked = form({"amount": "50", "charge": "ch_bad"})
    reviewed = form({"amount": "50", "charge": "ch_1"})
    assert set(judged(asked)[1].rules) == {"refunds-wait", "fraud-waits"}
    rule = load(like(reviewed).text.replace("ch_1", "ch_bad"))
    assert allows(rule, read(asked))
    grant = granted(reviewed, text=like(reviewed).text.replace("ch_1", "ch_bad"))
    assert not is_covered(these(grant), asked)


def test_fields_may_be_chosen_in_place_of_the_rules():
    asked = form(REFUND)
    assert covers(asked, form({**REFUND, "charge": "ch_2"}), fields=["form.note"])
    assert not covers(asked, form({**REFUND, "note": "other"}), fields=["form.note"])
    assert not covers(asked, form({**REFUND, "amount": "4201"}), fields=["form.note"])


@pytest.mark.parametrize(
    "name",
    [
        "header.authorization ",
        "form.password",
        "json.x",
        "form.absent",
        "first_seen.host",
        "header.x-confidence",
        "nonsense",
        "",
    ],
)
def test_a_chosen_field_that_cannot_be_bound_is_refused(name):
    with pytest.raises(SluiceError) as refused:
        like(form({**REFUND, "password": "hunter22"}), fields=[name])
    assert refused.value.exit is Exit.NO and "hunter22" not in str(refused.value)


@pytest.mark.parametrize(
    ("then", "why"),
    [
        ("hold: {always_ask: true}", "always asked"),
        ("risk: {tier: critical}", "critical"),
        ("hold: {approvals: 2}", "more than one approval"),
    ],
)
def test_some_holds_are_never_granted(then, why):
    rules = policy(
        "version: 1\nrules:\n  - name: r\n    why: w\n    match: {host: api.example.com}\n    then: hold\n"
        f"    {then}\n  - name: s\n    why: w\n    match: {{host: api.example.com}}\n    then: hold\n"
    )
    with pytest.raises(SluiceError, match=why):
        like(form(REFUND), rules)


def test_what_is_held_because_it_could_not_be_read_is_never_granted():
    opaque = request("application/x-protobuf", b"\x08\x96\x01", "/v1/refunds")
    with pytest.raises(SluiceError, match="could not be read"):
        like(opaque)


def test_a_batch_is_never_granted_and_an_agent_that_nobody_knows_neither():
    with pytest.raises(SluiceError, match="which agent"):
        like(form(REFUND, agent=None))
    batch = order({"batch": [{"method": "POST", "relative_url": "v1/x", "body": "a=b"}]}, "/v1/orders")
    action, _ = judged(batch)
    if action.members:
        with pytest.raises(SluiceError, match="several requests"):
            like(batch)


# -- the model: whatever is covered is equal in all that is bound, and no more than the bound ------

VALUES = st.sampled_from(
    ["ch_1", "ch_2", "", "CH_1", "true", "null", "12", "*", "a b", 'q"', "\\", "é", "0x1f", "~"]
)
AMOUNTS = st.sampled_from(["11", "50", "50.00", "50.01", "4200", "-50", "0", "5e1", "050", "1" * 19, "x"])
REFUNDS = st.fixed_dictionaries(
    {"amount": AMOUNTS},
    optional={
        "charge": VALUES,
        "reason": VALUES,
        "currency": st.sampled_from(["usd", "eur"]),
        "note": VALUES,
        "fee[amount]": AMOUNTS,
    },
)


def number(text):
    try:
        return Decimal(text)
    except ArithmeticError:
        return None


def same_or_less(reviewed, asked, name):
    before, after = reviewed.get(name), asked.get(name)
    if before == after:
        return True
    least, most = number(after or "x"), number(before or "x")
    return least is not None and most is not None and 0 < least <= most


@settings(deadline=None)
@given(reviewed=REFUNDS, asked=REFUNDS)
@example(reviewed={"amount": "50", "charge": "ch_1"}, asked={"amount": "50", "charge": "ch_1", "note": "x"})
def test_what_is_covered_is_equal_in_all_bound_fields_and_at_most_the_bound(reviewed, asked):
    try:
        found = like(form(reviewed))
    except SluiceError:
        return  # not held for certain
    assert covers(form(reviewed), form(reviewed))
    if not covers(form(reviewed), form(asked)):
        return
    if found.whole:
        assert reviewed == asked
    for name in ("charge", "reason", "currency"):
        assert reviewed.get(name) == asked.get(name)
    assert same_or_less(reviewed, asked, "amount")
    if asked.get("fee[amount]") != reviewed.get("fee[amount]"):
        assert same_or_less(reviewed, asked, "fee[amount]")


TREES = st.recursive(
    st.sampled_from(["a@b.org", "c@d.org", "", None, True, 1, 5, 5.5, "5"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["to", "price", "value", "note", "amount"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(reviewed=TREES, asked=TREES)
@example(reviewed={"to": "a@b.org", "price": {"value": 5}}, asked={"to": "a@b.org", "price": {"value": 1}})
def test_of_any_json_only_what_reads_the_same_or_lower_is_covered(reviewed, asked):
    before, after = read(order(reviewed)), read(order(asked))
    assert covers(order(reviewed), order(reviewed))
    if not covers(order(reviewed), order(asked)):
        return
    if like(order(reviewed)).whole:
        assert before.request == after.request
    assert before.read(("json", "to")) == after.read(("json", "to"))
    for name in (
        ("json", "price", "value"),
        ("blast", "amount"),
        ("blast", "recipients"),
        ("blast", "records"),
    ):
        old, new = before.read(name).items, after.read(name).items
        assert len(old) == len(new)
        assert all(low == high or 0 < number(low) <= number(high) for low, high in zip(new, old, strict=True))


@settings(deadline=None)
@given(st.text(max_size=50))
@example('\x00\t\n\x85\u2028\ufeff\U0001f600"\\')
@example("0123")
def test_a_value_in_a_rule_is_read_back_as_it_is(text):
    field = spell(("json", text or "x"))
    rule = (
        "version: 1\nrules:\n  - name: r\n    why: w\n    then: allow\n"
        f"    match: {{where: {{{quoted('form.a')}: {{is: {quoted(text)}}}}}}}\n"
    )
    (line,) = (line for line in load(rule).rules[0].match if not line.implied)
    assert line.operands == (text,)
    assert quoted(field).isascii() and "\n" not in quoted(text)
