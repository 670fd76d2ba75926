"""Requests that a policy holds, read by the real decoder and judged by the real policy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import urlencode

from proxy.action import Action, Request, digest
from proxy.decode import Facts, decode
from proxy.grant import Grant, Grants, Scope, mark_of, scope
from proxy.grant.fold import contents
from proxy.policy import Policy, load_texts
from proxy.policy.verdict import Verdict

KEY = b"k" * 32
HOST = "api.example.com"
RULES = """
version: 1
default: {read: allow, write: hold}
rules:
  - name: refunds-wait
    why: A refund moves money.
    match:
      host: api.example.com
      method: POST
      path: /v1/refunds
      where: {form.amount: {above: 10}}
    then: hold
    show: [form.charge, form.reason]
  - name: orders-wait
    why: An order is sent at once.
    match: {host: api.example.com, method: POST, path: /v1/orders}
    then: hold
    show: [json.to, json.price.value, form.to]
  - name: fraud-waits
    why: This account was misused before.
    match: {host: api.example.com, method: POST, path: /v1/refunds, where: {form.charge: {is: ch_bad}}}
    then: hold
  - name: files-wait
    why: A file is opened to the world.
    match: {host: api.example.com, method: POST, path: "/v1/files/**"}
    then: hold
"""


def policy(text: str = RULES) -> Policy:
    return load_texts({"policy.yaml": text})


def form(
    pairs: dict[str, str] | Sequence[tuple[str, str]], target: str = "/v1/refunds", **changes: object
) -> Request:
    body = urlencode(pairs).encode()
    return request("application/x-www-form-urlencoded", body, target, **changes)


def order(value: object, target: str = "/v1/orders", **changes: object) -> Request:
    return request("application/json", json.dumps(value).encode(), target, **changes)


def request(kind: str, body: bytes, target: str, **changes: object) -> Request:
    given: dict[str, object] = {
        "agent": "uid:me",
        "method": b"POST",
        "scheme": "https",
        "host": HOST,
        "port": 443,
        "headers": ((b"content-type", kind.encode()),),
    }
    return Request(**{**given, **changes}, target=target.encode(), body=body)  # type: ignore[arg-type]


def read(asked: Request) -> Action:
    return decode(asked, Facts(key=KEY))


def judged(asked: Request, rules: Policy | None = None) -> tuple[Action, Verdict]:
    action = read(asked)
    return action, (rules or policy()).judge(action)


def like(asked: Request, rules: Policy | None = None, fields: Sequence[str] = ()) -> Scope:
    """What is like a request."""
    return scope(*judged(asked, rules), rules or policy(), "7f3k2q", fields)


def granted(
    asked: Request, rules: Policy | None = None, fields: Sequence[str] = (), **changes: object
) -> Grant:
    """A grant for the like of a request, until the year 2033."""
    rules = rules or policy()
    found = like(asked, rules, fields)
    given: dict[str, object] = {
        "id": "g1",
        "hold": "7f3k2q",
        "agent": asked.agent,
        "by": "ada",
        "person": "uid:0",
        "text": found.text,
        "mark": mark_of(digest(asked), KEY) if found.whole else "",
        "rules": contents(rules, rules.judge(read(asked)).rules),
        "uses": 5,
        "until": 2_000_000_000.0,
    }
    return Grant(**{**given, **changes})  # type: ignore[arg-type]


def covered(
    grants: Grants, asked: Request, now: float = 1_900_000_000.0, rules: Policy | None = None
) -> bool:
    """Whether a grant covers a request, without using it."""
    action, verdict = judged(asked, rules)
    return any(True for _ in grants.covering(action, verdict, mark_of(digest(asked), KEY), now))


def spent(grants: Grants, asked: Request, now: float = 1_900_000_000.0) -> Grant | None:
    """The grant that lets a request go, used once by it."""
    action, verdict = judged(asked)
    return grants.spend(action, verdict, mark_of(digest(asked), KEY), now)


def standing(*given: Grant) -> Grants:
    grants = Grants()
    for grant in given:
        grants.open(grant)
    return grants
