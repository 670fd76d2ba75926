"""Risk on the way of real requests: first recipients, confidence, and what rules would have said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from .conftest import HOST, Started
from .product import PATIENCE, Gate, policy, until, up
from .upstream import Upstream

RULES = f"""\
version: 1
default: {{read: allow, write: hold, new_host: allow}}
rules:
  - name: mail-flows
    why: People who have had mail from here expect it.
    match: {{host: {HOST}, method: POST, path: /mail/**}}
    then: allow
  - name: strangers-wait
    why: Somebody new gets mail.
    match: {{host: {HOST}, path: /mail/**, where: {{first_seen.recipient: {{is: true}}}}}}
    then: hold
  - name: the-unsure-wait
    why: The agent doubts what it does.
    match: {{host: {HOST}, path: /mail/**, where: {{header.x-sluice-confidence: {{below: 0.7}}}}}}
    then: hold
"""


@pytest.fixture(scope="module")
def gate(home: Path, upstream: Upstream, upstream_ca: str) -> Iterator[Gate]:
    with up(home, "--policy", policy(home, RULES), *upstream.flags, upstream_ca) as running:
        yield running


def mail(gate: Gate, mark: str, to: str, confidence: str = "0.9") -> int:
    answer = requests.post(
        f"https://{HOST}/mail/{mark}",
        json={"to": to, "subject": "hello"},
        headers={"X-Sluice-Confidence": confidence} if confidence else {},
        proxies={"https": gate.proxy},
        verify=gate.ca,
        timeout=PATIENCE,
    )
    return answer.status_code


def test_a_recipient_waits_until_mail_to_them_was_released(gate: Gate, mark: str, started: Started) -> None:
    first = started(mail, gate, f"{mark}a", "ann@example.org")
    hold = gate.held(f"{mark}a")
    assert (hold.rules, hold.blast) == (("strangers-wait",), {"recipients": ("1",)})
    assert "recipient" in hold.first_seen
    gate.answer(hold, approves=False)
    assert first.result() == 403
    again = started(mail, gate, f"{mark}b", "ann@example.org")  # what was refused has taught nothing
    gate.answer(gate.held(f"{mark}b"), approves=True)
    assert again.result() == 200
    assert mail(gate, f"{mark}c", "Ann <ANN@example.org>") == 200
    (entry,) = until(lambda: [one for one in gate.entries(kind="decided") if one["url"].endswith(f"{mark}c")])
    assert entry["decision"] == "allowed"
    assert "ann" not in str(entry["recipients"]).lower()


@pytest.mark.parametrize("confidence", ["0.5", "", "very", "7"])
def test_an_agent_that_does_not_say_that_it_is_sure_waits(
    gate: Gate, upstream: Upstream, mark: str, started: Started, confidence: str
) -> None:
    known = started(mail, gate, f"{mark}a", "bob@example.org")
    gate.answer(gate.held(f"{mark}a"), approves=True) if confidence == "0.5" else None
    assert known.result() == 200
    waits = started(mail, gate, f"{mark}b", "bob@example.org", confidence)
    hold = gate.held(f"{mark}b")
    assert hold.rules == ("the-unsure-wait",)
    gate.answer(hold, approves=True)
    assert waits.result() == 200
    arrived = [one for one in upstream.arrivals if mark in one.target]
    assert len(arrived) == 2
    assert not any(one.header("x-sluice-confidence") for one in arrived)


def test_a_living_ledger_can_be_replayed_and_drafted_from(gate: Gate, mark: str, started: Started) -> None:
    waits = started(mail, gate, mark, f"{mark}@example.org")
    hold = gate.held(mark)
    gate.answer(hold, approves=True)
    assert waits.result() == 200
    same = gate.sluice("policy", "replay", gate.ledger, "--policy", gate.home / "policy.yaml", "--json")
    assert same.lines[0]["unknown"] == same.lines[0]["added"] == same.lines[0]["removed"] == 0
    draft = gate.sluice("policy", "new", "--ledger", gate.ledger, hold.id[:12])
    assert draft.status == 0
    assert f"path: /mail/{'*' if len(mark) > 3 else mark}" in draft.out.replace('"', "")
