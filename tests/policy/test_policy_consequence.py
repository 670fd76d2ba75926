"""A default that goes by the consequence: what it lets flow, what it holds, and what it says of that."""

from __future__ import annotations

import pytest

from proxy.policy import Policy, answer, load_texts, request
from proxy.policy.verdict import Effect


@pytest.fixture(scope="module")
def policy() -> Policy:
    effects = "read: allow, write: watch, payment: hold, message: hold, delete: hold, permission: hold"
    return load_texts({"default.yaml": f"version: 1\ndefault: {{{effects}}}\n"})


@pytest.mark.parametrize(
    ("line", "decision"),
    [
        ("GET /v1/customers", "allow"),
        ("POST /v1/customers/search", "allow"),
        ("POST /v1/customers", "watch"),
        ("DELETE /v1/customers/cus_12345", "hold"),
        ("POST /v1/payouts", "hold"),
        ("POST /v1/messages", "hold"),
        ("PUT /v1/teams/5/members/7", "hold"),
    ],
)
def test_an_unknown_api_is_neither_waved_through_nor_a_flood(
    policy: Policy, line: str, decision: str
) -> None:
    method, path = line.split()
    assert answer(policy, request(method, f"https://api.example.org{path}")).decision == decision


def test_a_hold_by_the_default_says_what_the_request_is_taken_for(policy: Policy) -> None:
    held = answer(policy, request("DELETE", "https://api.example.org/v1/customers/cus_12345")).verdict
    assert held is not None
    assert held.why == "no rule covers this"
    assert held.says == "DELETE of 'customers' at api.example.org: data is gone, or something in force ends"


def test_a_plain_write_that_is_held_is_shown_as_it_stands() -> None:
    cautious = load_texts({"default.yaml": "version: 1\ndefault: {read: allow, write: hold}\n"})
    held = answer(cautious, request("POST", "https://api.example.org/v1/customers")).verdict
    assert held is not None
    assert (held.effect, held.says) == (Effect.HOLD, "")


def test_an_upload_is_settled_on_its_headers_and_a_form_is_not(policy: Policy) -> None:
    def settled(kind: str) -> bool:
        headers = [("content-type", kind)]
        return answer(
            policy, request("POST", "https://api.example.org/files", headers, b"x=1")
        ).action.complete

    assert settled("application/octet-stream") is False  # answered on the headers: the body streams
    assert settled("application/x-www-form-urlencoded") is True
