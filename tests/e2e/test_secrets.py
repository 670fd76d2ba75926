"""What proves who an agent is goes upstream untouched, and is written and shown nowhere."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from proxy.demo.authority import Authority

from .conftest import HOST, RULES, Started
from .product import PATIENCE, Gate, policy, up
from .upstream import Upstream

TELEGRAM, SLACK, DISCORD = "api.telegram.org", "hooks.slack.com", "discord.com"


@dataclass(frozen=True)
class Case:
    """A secret where clients put it; `parts` must be nowhere, `sends` is what upstream must get."""

    name: str
    parts: tuple[str, ...]
    path: str = "/books/{mark}"
    host: str = HOST
    headers: dict[str, str] = field(default_factory=dict)
    body: str = '{"amount": 250}'
    type: str = "application/json"


def _key(seed: int, length: int = 32) -> str:
    """Letters and digits that look random and stay the same."""
    alphabet = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"
    state, text = seed * 7919 + 17, ""
    for _ in range(length):
        state = (state * 1103515245 + 12345) % 2**31
        text += alphabet[(state >> 8) % len(alphabet)]
    return text


def _in_header(seed: int, name: str, form: str = "{}") -> Case:
    return Case(name, (_key(seed),), headers={name: form.format(_key(seed))})


def _in_query(seed: int, name: str) -> Case:
    return Case(f"?{name}", (_key(seed),), path=f"/books/{{mark}}?page=2&{name}={_key(seed)}")


def _in_body(seed: int, name: str) -> Case:
    return Case(f"json {name}", (_key(seed),), body=json.dumps({"amount": 250, name: _key(seed)}))


BASIC = base64.b64encode(f"ana:{_key(2)}".encode()).decode()
SIGNED = (
    "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260101/us-east-1/s3/aws4_request, "
    "SignedHeaders=host, Signature={}"
)
DIGITS = "".join(str(ord(letter) % 10) for letter in _key(20, 10))
PRESIGNED = (
    "/books/{mark}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2Fscope"
    f"&X-Amz-Signature={_key(23, 64)}&X-Amz-Security-Token={_key(24)}"
)

CASES = [
    _in_header(1, "authorization", "Bearer {}"),
    Case("basic", (_key(2), BASIC), headers={"authorization": f"Basic {BASIC}"}),
    _in_header(3, "authorization", SIGNED),
    _in_header(4, "cookie", "theme=dark; session={}"),
    _in_header(5, "x-api-key"),
    _in_header(6, "x-goog-api-key"),
    _in_header(7, "api-key"),
    _in_header(8, "private-token"),
    _in_header(9, "x-vault-token"),
    _in_header(10, "x-amz-security-token"),
    _in_query(11, "api_key"),
    _in_query(12, "access_token"),
    _in_query(13, "key"),
    _in_query(14, "sig"),
    _in_query(15, "X-Goog-Signature"),
    Case("presigned", (_key(23, 64), _key(24)), path=PRESIGNED),
    Case("telegram", (_key(20, 35),), f"/bot{DIGITS}:{_key(20, 35)}/sendMessage?{{mark}}", TELEGRAM),
    Case("slack", (_key(21, 24),), f"/services/T0001/B0001/{_key(21, 24)}?{{mark}}", SLACK),
    Case("discord", (_key(22, 68),), f"/api/webhooks/112233445566778899/{_key(22, 68)}?{{mark}}", DISCORD),
    _in_body(30, "password"),
    _in_body(31, "client_secret"),
    _in_body(32, "api_key"),
    _in_body(33, "refresh_token"),
    Case(
        "form",
        (_key(34),),
        body=f"grant_type=client_credentials&client_secret={_key(34)}",
        type="application/x-www-form-urlencoded",
    ),
]


@pytest.fixture(scope="module")
def upstream(authority: Authority) -> Iterator[Upstream]:
    with Upstream(authority, [HOST, TELEGRAM, SLACK, DISCORD]) as api:
        yield api


@pytest.fixture(scope="module")
def gate(home: Path, upstream: Upstream, upstream_ca: str) -> Iterator[Gate]:
    with up(home, "--policy", policy(home, RULES), *upstream.flags, upstream_ca) as running:
        yield running


def ask(gate: Gate, method: str, case: Case, mark: str) -> requests.Response:
    # A GET that sends is no read (`docs/consequence.md`).
    path = case.path.replace("sendMessage", "getMe") if method == "GET" else case.path
    with requests.Session() as session:
        session.trust_env = False  # a netrc would send a password of its own
        return session.request(
            method,
            f"https://{case.host}{path.format(mark=mark)}",
            data=None if method == "GET" else case.body,
            headers={"content-type": case.type, **case.headers},
            proxies={"https": gate.proxy},
            verify=gate.ca,
            timeout=PATIENCE,
        )


def shown(gate: Gate, *ids: str) -> dict[str, str]:
    """Everything that the product wrote, showed and said, by where."""
    said = {"stderr": gate.talk}
    for words in (
        ("holds",),
        ("holds", "--json"),
        *(("show", id) for id in ids),
        *(("show", id, "--json") for id in ids),
        ("ledger", "show"),
        ("ledger", "show", "--json"),
        ("ledger", "export"),
        ("ledger", "export", "--format", "csv"),
    ):
        done = gate.sluice(*words)
        said[" ".join(words)] = done.out + done.err
    for file in gate.state.iterdir():
        if file.is_file():
            said[file.name] = file.read_bytes().decode("latin-1")
    return said


def test_secrets_go_upstream_and_are_written_and_shown_nowhere(
    gate: Gate, upstream: Upstream, mark: str, started: Started
) -> None:
    """Each is sent with a read that is allowed and with a write that is held, looked at and approved."""
    for case in CASES:
        assert ask(gate, "GET", case, f"{mark}-read").status_code == 200
    asking = [started(ask, gate, "POST", case, f"{mark}-write") for case in CASES]
    gate.held("", len(CASES))
    holds = gate.holds()
    before = shown(gate, *(hold.id for hold in holds[::6]))
    for hold in holds:
        gate.answer(hold, True)
    assert [one.result(PATIENCE).status_code for one in asking] == [200] * len(CASES)
    after = shown(gate, holds[0].id)

    arrived = "\n".join(
        f"{one.target} {one.headers} {one.body.decode()}" for one in upstream.arrivals if mark in one.target
    )
    for case in CASES:
        assert all(arrived.count(part) >= 1 for part in case.parts[-1:]), f"{case.name} did not arrive"
    leaks = {
        f"{case.name}: {where}"
        for said in (before, after)
        for where, text in said.items()
        for case in CASES
        for part in case.parts
        if part in text
    }
    assert leaks == set()
    assert mark in after["ledger show"]  # what is no secret is there


def test_a_password_for_the_proxy_is_not_passed_on_and_not_kept(
    gate: Gate, upstream: Upstream, mark: str
) -> None:
    secret = _key(40)
    with requests.Session() as session:
        session.trust_env = False
        address = gate.proxy.removeprefix("http://")
        answer = session.get(
            f"https://{HOST}/books/{mark}",
            proxies={"https": f"http://agent:{secret}@{address}"},
            verify=gate.ca,
            timeout=PATIENCE,
        )
    assert answer.status_code == 200
    [arrival] = upstream.got(mark)
    assert "proxy-authorization" not in dict(arrival.headers)
    basic = base64.b64encode(f"agent:{secret}".encode()).decode()
    assert [where for where, text in shown(gate).items() if secret in text or basic in text] == []


def test_the_ledger_says_that_something_was_removed(gate: Gate, mark: str) -> None:
    [case] = [case for case in CASES if case.name == "?api_key"]
    assert ask(gate, "GET", case, mark).status_code == 200
    [entry] = [entry for entry in gate.entries(kind="decided") if mark in entry["url"]]
    assert "api_key" in entry["url"]
    assert "page=2" in entry["url"]
    assert entry["url"].partition("api_key=")[2] not in ("", case.parts[0])
