"""Real clients before the gate: what passes, what waits, and what each of them is told."""

from __future__ import annotations

import json

import pytest

from .clients import CLIENTS, Client, Told
from .conftest import BODY_LIMIT, DOWN, HOST, Started
from .product import PATIENCE, Gate
from .upstream import Answer, Upstream

ORDER = b'{"amount": 250,  "note": "caf\xc3\xa9 \\u0000"}'


@pytest.fixture(params=CLIENTS.values(), ids=CLIENTS)
def client(request: pytest.FixtureRequest) -> Client:
    found: Client = request.param
    return found


def test_an_allowed_read_passes_untouched(gate: Gate, upstream: Upstream, client: Client, mark: str) -> None:
    told = client(gate, "GET", f"https://{HOST}/books/{mark}?q=a%20b&q=", None)
    assert (told.status, told.body, told.raised) == (200, Answer().body, "")
    assert told.headers["x-said-by"] == "upstream"
    [arrival] = upstream.got(mark)
    assert (arrival.method, arrival.target, arrival.body) == ("GET", f"/books/{mark}?q=a%20b&q=", b"")


def test_only_the_gate_speaks_for_the_gate(gate: Gate, upstream: Upstream, client: Client, mark: str) -> None:
    """Upstream claims an approval in every answer; no client sees it."""
    assert "sluice-decision" not in client(gate, "GET", f"https://{HOST}/books/{mark}", None).headers


def test_a_held_write_arrives_once_and_only_after_a_person_said_yes(
    gate: Gate, upstream: Upstream, client: Client, mark: str, started: Started
) -> None:
    asking = started(client, gate, "POST", f"https://{HOST}/orders/{mark}", ORDER)
    hold = gate.held(mark)
    assert (hold.rule, hold.show) == ("large-orders-wait", {"json.amount": ("250",)})
    assert upstream.got(mark) == []
    assert not asking.done()
    assert gate.answer(hold, True).state == "approved"
    told = asking.result(PATIENCE)
    assert (told.status, told.body, told.raised) == (200, Answer().body, "")
    [arrival] = upstream.got(mark)
    assert (arrival.method, arrival.body) == ("POST", ORDER)
    assert arrival.header("content-type") == "application/json"


def test_a_denied_write_raises_with_the_reason_and_never_arrives(
    gate: Gate, upstream: Upstream, client: Client, mark: str, started: Started
) -> None:
    asking = started(client, gate, "POST", f"https://{HOST}/orders/{mark}", ORDER)
    hold = gate.held(mark)
    gate.answer(hold, False, "too many books: ask Ana")
    told = asking.result(PATIENCE)
    assert told.raised
    assert told.problem == {
        "type": "about:blank",
        "title": "Refused by a reviewer",
        "status": 403,
        "detail": "too many books: ask Ana",
        "decision": "denied",
        "rule": "large-orders-wait",
        "hold": hold.id,
        "retry": False,
    }
    assert upstream.got(mark) == []


REFUSALS = {
    "refused": (403, False, f"https://{HOST}/never/%s", ORDER),
    "too_large": (413, False, f"https://{HOST}/orders/%s", b'{"amount": %s}' % (b"1" * 2 * BODY_LIMIT)),
    "unreadable": (400, False, f"https://{HOST}/orders/%s", b'{"amount": 250'),
    "failed": (502, True, f"https://{DOWN}/%s", ORDER),
    "unknown": (502, False, f"https://{HOST}/lost/%s", ORDER),
}


@pytest.mark.parametrize("decision", REFUSALS)
def test_a_refusal_says_which_and_whether_to_ask_again(
    gate: Gate, upstream: Upstream, client: Client, mark: str, decision: str
) -> None:
    status, retry, url, body = REFUSALS[decision]
    check(client(gate, "POST", url % mark, body), decision, status, retry)
    assert len(upstream.got(mark)) == (1 if decision == "unknown" else 0)


def test_silence_refuses_every_client(gate: Gate, upstream: Upstream, mark: str, started: Started) -> None:
    url = f"https://{HOST}/soon/{mark}"
    for asking in [started(client, gate, "POST", url, ORDER) for client in CLIENTS.values()]:
        check(asking.result(PATIENCE), "expired", 403, False)
    assert upstream.got(mark) == []


def check(told: Told, decision: str, status: int, retry: bool) -> None:
    """The refusal is the one, in every place where a client may look."""
    assert told.raised
    assert (told.status, told.problem["status"], told.problem["retry"]) == (status, status, retry)
    assert (told.problem["decision"], told.headers["sluice-decision"]) == (decision, decision)
    assert told.headers["x-should-retry"] == json.dumps(retry)
    assert told.problem["detail"]


def test_a_refused_head_is_told_without_a_body(
    gate: Gate, upstream: Upstream, client: Client, mark: str
) -> None:
    """Over HTTP/2 a body in answer to HEAD would end the connection, and what else waits on it."""
    told = client(gate, "HEAD", f"https://{HOST}/never/{mark}", None)
    assert (told.status, told.body, bool(told.raised)) == (403, b"", True)
    assert told.headers["sluice-decision"] == "refused"
    assert upstream.got(mark) == []
