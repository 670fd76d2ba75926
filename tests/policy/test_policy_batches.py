"""A container is judged by the strictest of itself and of what it carries."""

import json
from dataclasses import replace
from typing import Any

import pytest

from proxy.decode import decode
from proxy.policy import Policy, load_texts, request
from proxy.policy.asked import answer
from proxy.policy.verdict import Effect, Verdict, strictest

RULES = """
version: 1
default: {read: allow, write: hold, delete: hold}
rules:
  - name: notes-are-free
    why: Notes reach nobody.
    match: {host: graph.microsoft.com, path: "/v1.0/me/notes/**", method: POST}
    then: allow
  - name: mails-wait
    why: A mail cannot be called back.
    match: {host: graph.microsoft.com, path: "/*/me/sendMail"}
    then: hold
    says: "Send {json.subject}"
    show: [json.subject]
    hold: {reviewers: [desk], timeout: 5m}
  - name: users-stay
    why: Users are deleted by people.
    match: {host: graph.microsoft.com, method: DELETE, path: "/*/users/*"}
    then: deny
  - name: deletes-wait
    why: What is deleted is gone.
    match: {host: graph.microsoft.com, method: DELETE}
    then: hold
    risk: {tier: high, reversible: false}
    hold: {reviewers: [ops], timeout: 1m, always_ask: true}
  - name: batches-are-free
    why: A batch is what it carries.
    match: {host: graph.microsoft.com, path: "/v1.0/%24batch"}
    then: allow
"""
URL = "https://graph.microsoft.com/v1.0/%24batch"


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_texts({"batches.yaml": RULES})


def batch(*items: tuple[str, str], **more: Any) -> bytes:
    made = [{"id": str(at), "method": method, "url": url} for at, (method, url) in enumerate(items)]
    return json.dumps({"requests": made} | more).encode()


def asked(policy: Policy, body: bytes, kind: str = "application/json") -> Any:
    return answer(policy, request("POST", URL, [("content-type", kind)], body))


def test_a_batch_of_what_is_allowed_is_allowed(policy: Policy) -> None:
    got = asked(policy, batch(("GET", "/me"), ("POST", "/me/notes/a")))
    assert got.decision == "allow"


def test_no_rule_that_allows_the_container_opens_it_for_its_members(policy: Policy) -> None:
    got = asked(policy, batch(("GET", "/me"), ("POST", "/me/sendMail")))
    assert (got.decision, got.rule) == ("hold", "mails-wait")
    assert asked(policy, batch(("GET", "/me"), ("POST", "/me/other"))).decision == "hold"
    assert asked(policy, batch(("POST", "/me/sendMail"), ("DELETE", "/users/7"))).decision == "deny"


def test_all_rules_of_the_strictest_effect_speak(policy: Policy) -> None:
    got = asked(policy, batch(("POST", "/me/sendMail"), ("DELETE", "/me/events/1"))).verdict
    assert got.effect is Effect.HOLD
    assert set(got.rules) == {"mails-wait", "deletes-wait"}
    assert got.rule == "deletes-wait"  # the higher tier
    assert {demand.rule for demand in got.demands} == {"mails-wait", "deletes-wait"}
    assert got.timeout == 60 and got.always_ask and got.reversible is False
    assert ("json", "subject") in got.show


def test_what_cannot_be_opened_counts_as_anything_that_a_rule_speaks_of(policy: Policy) -> None:
    got = asked(policy, batch(("GET", "/me"), also=1))
    assert got.decision == "deny" and got.rule == "users-stay"
    assert got.verdict.unknown == ("users-stay",)


def test_the_headers_of_a_container_settle_nothing(policy: Policy) -> None:
    head = decode(replace(request("POST", URL, [("content-type", "application/json")]), body=None))
    verdict = policy.judge(head)
    assert not (verdict.settled and verdict.effect is Effect.ALLOW)


def test_it_is_settled_where_a_settled_one_is_as_strict_as_any() -> None:
    def verdict(effect: Effect, *, settled: bool) -> Verdict:
        return Verdict(effect, "r", ("r",), "why", "digest", settled=settled)

    hold, unsettled = verdict(Effect.HOLD, settled=True), verdict(Effect.HOLD, settled=False)
    allow = verdict(Effect.ALLOW, settled=True)
    assert strictest([hold, unsettled]).settled
    assert not strictest([allow, unsettled]).settled
    assert strictest([allow, verdict(Effect.DENY, settled=True), unsettled]).settled


def test_a_deny_of_the_container_itself_stands(policy: Policy) -> None:
    rules = RULES.replace(
        'path: "/v1.0/%24batch"}\n    then: allow', 'path: "/v1.0/%24batch"}\n    then: deny'
    )
    assert asked(load_texts({"b.yaml": rules}), batch(("GET", "/me"))).decision == "deny"


def test_calls_in_a_batch_are_judged_one_by_one() -> None:
    policy = load_texts(
        {
            "mcp.yaml": """
version: 1
default: {read: allow, write: hold}
rules:
  - name: only-dry
    why: Dry runs change nothing.
    match:
      host: mcp.example.com
      where: {mcp.argument.dry_run: {is: "true"}}
    then: allow
"""
        }
    )

    def call(arguments: dict[str, object]) -> dict[str, object]:
        params = {"name": "delete", "arguments": arguments}
        return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}

    def told(*calls: dict[str, object]) -> str:
        body = json.dumps(list(calls)).encode()
        kind = [("content-type", "application/json")]
        return answer(policy, request("POST", "https://mcp.example.com/mcp", kind, body)).decision

    assert told(call({"dry_run": True})) == "allow"
    # Together they name the argument once, and all its values are right.
    assert told(call({"dry_run": True}), call({})) == "hold"
