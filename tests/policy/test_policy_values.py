"""Single values: numbers, regular expressions, addresses."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest

from proxy.policy.rule import Line, Operator
from proxy.policy.values import MAX_MATCHED, number, outside, regex
from proxy.policy.values import test as value_test


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5000", Decimal(5000)),
        ("-0.25", Decimal("-0.25")),
        ("0123", Decimal(123)),
        ("9" * 18, Decimal("9" * 18)),
        ("9" * 19, None),
        ("1." + "1" * 19, None),
        ("", None),
        ("+5", None),
        ("1e3", None),
        (".5", None),
        ("5.", None),
        (" 5", None),
        ("5\n", None),
        ("١٢", None),
        ("0x10", None),
        ("NaN", None),
        ("Infinity", None),
        ("1_000", None),
        ("9" * 1_000_000, None),
    ],
)
def test_only_plain_decimals_are_numbers(text, value):
    assert number(text) == value


@pytest.mark.parametrize(
    ("operands", "value", "says"),
    [
        ((Decimal(5000),), "5000", True),
        ((Decimal(5000),), "5000.00", True),
        ((Decimal(5000),), "05000", True),
        ((Decimal(5000),), "5001", False),
        ((Decimal(5000),), "5e3", None),
        (("5000",), "5000", True),
        (("5000",), "5000.00", False),
        (("true",), "true", True),
        (("True",), "true", False),
        (("x", Decimal(5)), "x", True),
        (("x", Decimal(5)), "y", None),
    ],
)
def test_an_unquoted_number_compares_by_value_and_everything_else_as_text(operands, value, says):
    assert value_test(Line(("json", "a"), Operator.IN, operands), wide=True)(value) is says


@pytest.mark.parametrize(
    ("field", "operator", "operand", "value", "tightening", "loosening"),
    [
        (("host",), Operator.IS, "api.example.com", "api.example.com", True, True),
        (("header", "host"), Operator.IS, "api.example.com", "API.example.com", True, True),
        (("body", "type"), Operator.IS, "application/JSON", "application/json", True, True),
        (
            ("header", "content-type"),
            Operator.LIKE,
            "Multipart/*",
            "multipart/form-data; boundary=X",
            True,
            True,
        ),
        (("email", "to"), Operator.LIKE, "*@Corp.com", "Bob@CORP.COM", True, True),
        (("email", "to"), Operator.IS, "bob@corp.com", "Bob@corp.com", False, False),
        (("json", "to"), Operator.IS, "bob@corp.com", "bob@CORP.com", True, False),
        (("json", "a"), Operator.IS, "x", "X", False, False),
        (("host",), Operator.MATCHES, "API[.].*", "api.example.com", True, True),
        (("path",), Operator.MATCHES, "/v1/.*", "/V1/x", True, False),
        (("json", "a"), Operator.MATCHES, ".*delete.*", "x\ndelete\n", True, False),
        (("json", "a"), Operator.MATCHES, "a|b", "ab", False, False),
    ],
)
def test_only_what_the_language_names_is_compared_without_case(
    field, operator, operand, value, tightening, loosening
):
    line = Line(field, operator, (operand,))
    assert value_test(line, wide=True)(value) is tightening
    assert value_test(line, wide=False)(value) is loosening


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("a@corp.com", False),
        ("a@CORP.com", False),
        ("a@mail.corp.com", False),
        ("Ann Lee <a@corp.com>", False),
        ("x@b.org", False),
        ("x@B.ORG", False),
        ("y@b.org", True),
        ("X@b.org", True),
        ("a@notcorp.com", True),
        ("a@corp.com.evil.org", True),
        ("corp.com", False),
        ("corp.com.", False),
        ("files.corp.com", False),
        ("evil.org", True),
        ("https://files.corp.com/x?y#z", False),
        ("https://evil.org/corp.com", True),
        ("https://corp.com:8443/", False),
        # Two readers could take these for different people or places.
        ("https://corp.com@evil.org/", None),
        ("https://evil.org\\@corp.com/", None),
        ("a@corp.com, b@evil.org", None),
        ("a@evil.org <a@corp.com>", None),
        ("<a@corp.com", None),
        ("a@corp.com>", None),
        ("a@evil.org@corp.com", None),
        ("a@corp.com\nBcc: b@evil.org", None),
        ("a@cörp.com", None),
        ("", None),
        ("x" * 5_000, None),
    ],
)
def test_outside_is_certain_only_of_what_has_one_reading(value, says):
    assert outside(["corp.com", "x@b.org"])(value) is says


def test_a_regular_expression_takes_linear_time_and_no_endless_value():
    catastrophic = regex("(a|aa|a*)*b", wide=True)
    began = time.process_time()
    assert catastrophic("a" * 100_000) is False
    assert time.process_time() - began < 1
    assert catastrophic("a" * (MAX_MATCHED + 1)) is None


def test_half_a_surrogate_pair_is_compared_and_breaks_nothing():
    assert regex("a.*", wide=True)("b\ud800") is False
