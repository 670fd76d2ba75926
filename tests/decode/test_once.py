"""What is worked out on demand is worked out once, and a waiting request keeps nothing of it."""

import pytest

from proxy.action import UNKNOWN, Reading, Values
from proxy.decode.once import Once, Scalars

from .asking import asked


def test_a_value_is_made_by_the_first_who_asks_and_kept() -> None:
    calls: list[int] = []
    once = Once(lambda: calls.append(1) or len(calls))

    assert not calls
    assert once() == 1 and once() == 1


def test_a_reading_that_nobody_asks_for_is_never_made() -> None:
    def never() -> Reading:
        raise AssertionError("nobody asked")

    scalars = Scalars({"host": Values(("a",))}, {"consequence": never, "credential": lambda: UNKNOWN})

    assert scalars["host"] == Values(("a",)) and scalars["credential"] is UNKNOWN
    assert "consequence" in scalars and "else" not in scalars and len(scalars) == 3
    assert scalars.get("else") is None
    with pytest.raises(AssertionError):
        dict(scalars)


def test_an_action_without_its_body_says_the_same_of_every_field_and_keeps_nothing_of_it() -> None:
    got = asked("POST", "https://api.example.com/v1/refunds", {"amount": 5, "currency": "eur"})

    bare = got.bare()

    assert dict(bare.scalars) == dict(got.scalars) and bare.consequence == got.consequence == "payment"
    # Readings alone: what would make them later holds the parsed body.
    assert type(bare.scalars) is dict and not bare.documents and not bare.members


@pytest.mark.parametrize(
    ("body", "name", "expected"),
    [
        ({"amount": 1}, "json.amount", ("1",)),
        ({"amount": 1}, "json.other", ()),
        ({"amount": 1}, "json.Amount", (None,)),
        ({"amount": 1, "AMOUNT": 2}, "json.amount", (None, "1")),
        ({"amount": {"value": 1}}, "json.amount", (None,)),
        ({"amount": {"value": 1}}, "json.amount.value", ("1",)),
        ({"a": {"amount": 1}}, "json.amount", ()),
        ({"a": [[{"b": None}], {"b": True}]}, "json.a.b", ("null", "true")),
        ({"a": {"b": 1, "B": 2}}, "json.a.b", (None, "1")),
        ([{"a": 1}, {"A": 2}], "json.a", (None, "1")),
    ],
)
def test_a_name_at_the_top_is_read_as_one_anywhere(body: object, name: str, expected: tuple[object]) -> None:
    got = asked("POST", "https://api.example.com/v1/x", body).read(tuple(name.split(".")))

    assert isinstance(got, Values) and got.items == expected


def test_why_is_told_in_the_order_of_the_body() -> None:
    said = [
        asked("POST", "https://api.example.com/v1/x", dict(pairs)).read(("consequence_why",))
        for pairs in (
            [("is_admin", True), ("password", "x")],
            [("password", "x"), ("is_admin", True)],
        )
    ]

    assert [str(one).index("isadmin") < str(one).index("password") for one in said] == [True, False]


def test_a_long_name_of_a_field_says_no_less() -> None:
    got = asked(
        "POST",
        "https://api.example.com/v1/x",
        {"a" + "_" * 5_000 + "dmin\u00e9": 1, "is" + "_" * 90 + "admin": 1},
    )

    assert got.consequence == "permission"
