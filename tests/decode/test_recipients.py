"""Whom a request reaches, known again by marks that name nobody."""

from __future__ import annotations

import json

import pytest

from proxy.action import ABSENT, UNKNOWN, Reading, Values
from proxy.decode import Facts, decode
from proxy.decode.recipients import MAX_MARKED
from proxy.ledger.seen import Seen
from proxy.policy import request

MARKS = ("first_seen", "recipient", "marks")
FIRST = ("first_seen", "recipient")
YES, NO = Values(("true",)), Values(("false",))


def post(
    body: object, *, url: str = "https://a.example/send", kind: str = "application/json", text: str = ""
):
    raw = text.encode() if text else json.dumps(body).encode()
    return request("POST", url, [("content-type", kind)], raw, agent="uid:ann")


def marks(body: object, **more: str) -> Reading:
    return decode(post(body, **more), Facts(key=b"k" * 32)).read(MARKS)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"to": "ann@x.org"}, {"to": "Ann <ANN@x.org>"}),
        ({"to": ["a@x.org", "b@x.org"]}, {"to": "a@x.org, b@x.org"}),
        ({"to": [{"email": "a@x.org", "name": "A"}]}, {"personalizations": [{"to": [{"email": "a@x.org"}]}]}),
        ({"To": "+15550001"}, {"to": "+15550001"}),
        ({"channel": "C1"}, {"channel": " c1 "}),
    ],
)
def test_the_same_recipients_have_the_same_marks(one, other):
    first, second = marks(one), marks(other)
    assert isinstance(first, Values)
    assert first.items
    assert first == second


def test_a_mark_names_nobody_and_depends_on_the_key():
    (mark,) = marks({"to": "ann@x.org"}).items
    assert "ann" not in mark
    assert len(mark) == 16
    assert decode(post({"to": "ann@x.org"}), Facts(key=b"j" * 32)).read(MARKS) != Values((mark,))


def test_what_reaches_nobody_has_no_marks_and_what_cannot_be_read_is_unknown():
    assert marks({"amount": 5}) == Values(())
    assert marks(None, text="to=ann@x.org", kind="text/plain") is UNKNOWN
    assert decode(request("GET", "https://a.example/")).read(MARKS) == ABSENT


def seen_by(*bodies: object) -> Facts:
    """What an agent may do for the first time no more, once these were released."""
    seen = Seen()
    for body in bodies:
        found = marks(body)
        assert isinstance(found, Values)
        seen.add({"decision": "approved", "agent": "uid:ann", "recipients": list(found.items)})
    return Facts(seen, b"k" * 32)


def test_a_recipient_is_first_seen_until_something_to_it_was_released():
    assert decode(post({"to": "ann@x.org"}), seen_by()).read(FIRST) == YES
    facts = seen_by({"to": "ann@x.org"})
    assert decode(post({"to": "Ann <ann@X.org>"}), facts).read(FIRST) == NO
    assert decode(post({"to": ["ann@x.org", "eve@x.org"]}), facts).read(FIRST) == YES
    assert decode(post({"amount": 5}), facts).read(FIRST) == NO
    assert decode(post(None, text="x", kind="text/plain"), facts).read(FIRST) is UNKNOWN


def test_more_recipients_than_can_be_marked_are_first_seen_for_ever():
    many = {"to": [f"a{number}@x.org" for number in range(MAX_MARKED + 1)]}
    assert decode(post(many), seen_by(many)).read(FIRST) == YES
    few = {"to": many["to"][:MAX_MARKED]}
    assert decode(post(few), seen_by(few)).read(FIRST) == NO


def test_what_was_refused_teaches_nothing():
    seen = Seen()
    (mark,) = marks({"to": "ann@x.org"}).items
    for decision in ("denied", "expired", "abandoned", "refused"):
        seen.add({"decision": decision, "agent": "uid:ann", "recipients": [mark]})
    assert seen.new_recipient("uid:ann", mark)
    seen.add({"decision": "allowed", "agent": "uid:ann", "recipients": [mark, 7, None]})
    assert not seen.new_recipient("uid:ann", mark)
    assert seen.new_recipient("uid:bob", mark)
