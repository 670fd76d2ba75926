"""What a reviewer is told of risk: how far it reaches, and what is there for the first time."""

from __future__ import annotations

from proxy.action import digest
from proxy.decode import Facts, decode
from proxy.desk import summary
from proxy.hold import Hold
from proxy.ledger.seen import Seen
from proxy.policy import load_texts, request
from proxy.render.holds import in_short
from proxy.wire import HoldView, encode
from proxy.wire import decode as read_line

POLICY = load_texts({"p.yaml": "version: 1\n"})
HOST = {"agent": "uid:ann", "host": "a.example", "decision": "allowed"}


def view(body: str, kind: str = "application/json", seen: Seen | None = None) -> HoldView:
    asked = request(
        "POST", "https://a.example/send", [("content-type", kind)], body.encode(), agent="uid:ann"
    )
    action = decode(asked, Facts(seen or Seen(), b"k" * 32))
    return summary(Hold("h" * 26, action, POLICY.judge(action), digest(asked), 0.0, 600.0))


def rows(shown: HoldView) -> dict[str, str]:
    return {label: text.plain for label, text in in_short(shown, 0.0) if label}


def test_the_reach_of_a_request_is_shown_as_far_as_anything_says_so():
    shown = view('{"to": ["a@x.org", "b@x.org"], "amount": "90.00", "currency": "EUR"}')
    assert shown.blast == {"recipients": ("2",), "amount": ("90.00",), "currency": ("EUR",)}
    assert rows(shown)["reach"] == "2 recipients; amount 90.00 EUR"
    assert "reach" not in rows(view("{}"))


def test_a_body_that_nobody_can_read_has_an_unknown_reach():
    assert rows(view("x", "text/plain"))["reach"].startswith("‹unknown› recipients; ‹unknown› records")


def test_what_the_agent_does_for_the_first_time_is_shown_and_nothing_else():
    seen = Seen()
    seen.add(HOST)
    assert view('{"to": "a@x.org"}').first_seen == ("host", "operation", "recipient")
    shown = view('{"to": "a@x.org"}', seen=seen)
    assert shown.first_seen == ("operation", "recipient")
    assert rows(shown)["first"] == (
        "for the first time this agent does this here, reaches one of these recipients"
    )
    seen.add(HOST | {"operation": "POST /send"})
    assert "first" not in rows(view("{}", seen=seen))


def test_both_cross_the_control_socket():
    shown = view('{"to": ["a@x.org"]}')
    assert read_line(encode(shown)) == shown


def test_agent_text_in_an_amount_cannot_fake_a_row():
    shown = view('{"amount": "1\\u202e\\n first: x", "currency": "' + "E" * 5000 + '"}')
    reach = rows(shown)["reach"]
    assert "\n" not in reach
    assert "\u202e" not in reach
    assert len(reach) < 1000
