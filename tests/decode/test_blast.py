"""How far a request reaches, counted from what it says."""

from typing import Any

import pytest

from proxy.action import UNKNOWN

from .asking import FORM, asked, read

URL = "https://api.example.com/v1/x"


@pytest.mark.parametrize(
    ("body", "kind", "amounts", "currencies"),
    [
        (b"charge=ch_1&amount=9000&currency=eur", FORM, ("9000",), ("eur",)),
        (b"transfer_data[amount]=5&amount=7", FORM, ("5", "7"), ()),
        (
            {"purchase_units": [{"amount": {"value": "10.00", "currency_code": "EUR"}}]},
            "",
            ("10.00",),
            ("EUR",),
        ),
        ({"amount_money": {"amount": 1250, "currency": "USD"}}, "", ("1250",), ("USD",)),
        ({"instructedAmount": {"amount": "1.10", "currency": "EUR"}}, "", ("1.10",), ("EUR",)),
        ({"a": {"b": [{"amount": 1}, {"amount": 2}]}}, "", ("1", "2"), ()),
        ({"note": "amount 5"}, "", (), ()),
        ({"amount": 0.1}, "", ("0.1",), ()),
    ],
)
def test_amounts_are_texts_as_they_stand(body: Any, kind: str, amounts: Any, currencies: Any) -> None:
    got = asked("POST", URL, body, kind)
    assert sorted(read(got, "blast.amount")) == sorted(amounts)
    assert read(got, "blast.currency") == currencies


@pytest.mark.parametrize(
    ("url", "body", "kind", "count"),
    [
        (URL, {"ids": ["a", "b", "c"]}, "", "3"),
        (URL, [{"id": 1}, {"id": 2}], "", "2"),
        (URL, {"data": {"items": [1, 2]}}, "", "2"),
        ("https://dynamodb.us-east-1.amazonaws.com/", {"RequestItems": {"t": [1, 2], "u": [3]}}, "", "3"),
        ("https://ec2.us-east-1.amazonaws.com/", b"Action=X&InstanceId.1=a&InstanceId.2=b", FORM, "2"),
        (
            "https://b.s3.amazonaws.com/?delete",
            b"<Delete><Object/><Object/></Delete>",
            "application/xml",
            "2",
        ),
        (URL, b"ids[]=1&ids[]=2&x=3", FORM, "2"),
        (URL, {"name": "x"}, "", None),
    ],
)
def test_records_are_counted(url: str, body: Any, kind: str, count: str | None) -> None:
    assert read(asked("POST", url, body, kind), "blast.records") == ((count,) if count else ())


def test_recipients_are_counted_by_the_names_that_apis_use() -> None:
    assert read(asked("POST", URL, {"to": ["+1", "+2"], "cc": "a@b.c,d@e.f"}), "blast.recipients") == ("4",)
    assert read(asked("POST", URL, b"To=%2B1&Body=hi", FORM), "blast.recipients") == ("1",)
    assert read(asked("POST", URL, {"name": "x"}), "blast.recipients") == ()


@pytest.mark.parametrize("name", ["recipients", "records", "amount", "currency"])
def test_of_what_is_not_read_nothing_is_counted(name: str) -> None:
    assert read(asked("POST", URL, None, "application/json"), f"blast.{name}") is UNKNOWN
    assert read(asked("POST", URL, b"\0", "application/octet-stream"), f"blast.{name}") is UNKNOWN
    assert read(asked("GET", URL), f"blast.{name}") == ()


@pytest.mark.parametrize(
    "xml",
    [b"<!DOCTYPE d [<!ENTITY x 'y'>]><Delete><Object/></Delete>", b"<Delete>", b"<a>" * 30, b"x" * 2_000_000],
    ids=["doctype", "broken", "deep", "long"],
)
def test_xml_with_a_type_of_its_own_or_broken_is_unknown(xml: bytes) -> None:
    got = asked("POST", "https://b.s3.amazonaws.com/?delete", xml, "application/xml")
    assert read(got, "blast.records") is UNKNOWN
