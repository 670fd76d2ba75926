"""Clients that time out and retry, reviewers who are late, and a gate that is killed meanwhile."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import requests

from proxy.demo.authority import Authority
from proxy.wire import HoldView

from .conftest import HOST, Started
from .product import PATIENCE, Gate, policy, until, up
from .upstream import Upstream

RULES = f"""\
version: 1
default: {{read: allow, write: hold, new_host: allow}}
rules:
  - name: orders-wait
    why: An order cannot be taken back.
    match: {{host: {HOST}, path: /orders/**}}
    then: hold
    show: [json.amount]
    hold: {{rejoin: 30s, keepalive: none, idempotency: Idempotency-Key}}
  - name: posts-can-be-stopped
    why: Somebody may want to stop a post.
    match: {{host: {HOST}, path: /posts/**}}
    then: watch
    window: 2s
  - name: night-work-is-refused
    why: Nobody is there at night.
    match: {{host: {HOST}, path: /night/**}}
    then: hold
    hold: {{nobody: refuse}}
  - name: later-is-fine
    why: The agent can come back.
    match: {{host: {HOST}, path: /later/**}}
    then: hold
    hold: {{wait: 1s, timeout: 60s}}
  - name: soon-over
    why: Silence refuses.
    match: {{host: {HOST}, path: /soon/**}}
    then: hold
    hold: {{timeout: 2s}}
  - name: not-by-its-owner
    why: Whoever runs the agent does not approve it.
    match: {{host: {HOST}, path: /owners/**}}
    then: hold
    hold: {{not: [agent-owner]}}
"""


@pytest.fixture(scope="module")
def flags(home: Path, authority: Authority, upstream_ca: str) -> Iterator[tuple[Upstream, list[str]]]:
    with Upstream(authority, [HOST]) as upstream:
        yield upstream, ["--policy", policy(home, RULES), upstream_ca, *upstream.flags]


@pytest.fixture(scope="module")
def gate(home: Path, flags: tuple[Upstream, list[str]]) -> Iterator[Gate]:
    with up(home, *flags[1]) as running:
        yield running
        assert running.stop() == 0


def send(gate: Gate, path: str, timeout: float = PATIENCE, **body: object) -> requests.Response:
    """One attempt of a client that waits so many seconds for an answer, and does not retry by itself."""
    return requests.post(
        f"https://{HOST}/{path}",
        json=body or {"amount": 5},
        proxies={"https": gate.proxy},
        verify=gate.ca,
        timeout=(PATIENCE, timeout),
    )


def gives_up(gate: Gate, path: str, **body: object) -> HoldView:
    """An attempt that ends before anybody answered; its hold."""
    with pytest.raises(requests.ReadTimeout):
        send(gate, path, timeout=1.0, **body)
    (held,) = until(lambda: [one for one in gate.entries(kind="held") if one["url"].endswith(path)])
    until(lambda: gate.entries(kind="unattended", hold=held["hold"]))
    return gate.whole(held["hold"])


def kinds(gate: Gate, hold: str) -> list[str]:
    return [one["kind"] for one in gate.entries() if hold in (one.get("hold"), one.get("id"))]


def test_a_client_that_gave_up_and_retried_is_sent_once_as_its_last_attempt(
    gate: Gate, flags: tuple[Upstream, list[str]], mark: str, started: Started
) -> None:
    away = gives_up(gate, f"orders/{mark}")
    assert (away.state, away.agent_waiting) == ("unattended", False)
    assert away.id not in [hold.id for hold in gate.holds()]
    late = gate.sluice("approve", away.id)
    assert late.status == 1 and "when the same request comes again" in late.err
    again: Future[Any] = started(send, gate, f"orders/{mark}")
    hold = gate.held(mark)
    assert (hold.id, hold.attempts) == (away.id, 2)
    key = dict(gate.whole(hold.id).headers)["Idempotency-Key"]
    gate.answer(hold, True)
    assert again.result(PATIENCE).status_code == 200
    (sent,) = flags[0].got(mark)
    assert sent.header("idempotency-key") == key
    assert until(lambda: gate.entries(kind="completed", hold=hold.id))
    assert kinds(gate, hold.id) == ["held", "unattended", "rejoined", "reviewed", "decided", "completed"]


def test_another_amount_is_another_hold_that_shows_its_difference(
    gate: Gate, flags: tuple[Upstream, list[str]], mark: str, started: Started
) -> None:
    away = gives_up(gate, f"orders/{mark}", amount=5)
    other: Future[Any] = started(send, gate, f"orders/{mark}", amount=500)
    hold = gate.held(mark)
    assert hold.id != away.id
    assert hold.differs == (f"not the same as {away.id[:6]} (unattended):", "json.amount: 5 -> 500")
    gate.answer(hold, False, "too much")
    assert other.result(PATIENCE).json()["decision"] == "denied"
    refused = send(gate, f"orders/{mark}", amount=500)
    assert (refused.status_code, refused.json()["detail"]) == (403, "too much")
    assert flags[0].got(mark) == []


def test_what_was_sent_is_said_first_when_it_comes_again(gate: Gate, mark: str, started: Started) -> None:
    first: Future[Any] = started(send, gate, f"orders/{mark}")
    gate.answer(gate.held(mark), True)
    assert first.result(PATIENCE).status_code == 200
    second: Future[Any] = started(send, gate, f"orders/{mark}")
    hold = gate.held(mark)
    assert hold.notices[0].startswith("the same was already sent") and "answered 200" in hold.notices[0]
    assert "already sent" in gate.sluice("show", hold.id).out
    gate.answer(hold, False)
    assert second.result(PATIENCE).status_code == 403


def test_a_window_goes_by_itself_and_can_be_stopped(
    gate: Gate, flags: tuple[Upstream, list[str]], mark: str, started: Started
) -> None:
    flows: Future[Any] = started(send, gate, f"posts/{mark}-a")
    hold = gate.held(f"{mark}-a")
    assert hold.window and hold.approvals_needed == 0
    assert flows.result(PATIENCE).status_code == 200
    (decided,) = gate.entries(kind="decided", hold=hold.id)
    assert (decided["decision"], decided["by"], decided["reviewers"]) == ("watched", "deadline", [])
    stopped: Future[Any] = started(send, gate, f"posts/{mark}-b")
    gate.answer(gate.held(f"{mark}-b"), False, "not this one")
    assert stopped.result(PATIENCE).json()["decision"] == "denied"
    assert [one.target for one in flags[0].got(mark)] == [f"/posts/{mark}-a"]


def test_at_night_nobody_lets_an_agent_wait(gate: Gate, mark: str) -> None:
    answer = send(gate, f"night/{mark}")
    assert (answer.status_code, answer.json()["decision"]) == (403, "unattended")
    assert gate.entries(kind="held") == [
        one for one in gate.entries(kind="held") if "night" not in one["url"]
    ], "nothing was held"


def test_who_runs_the_agent_does_not_approve_it(gate: Gate, mark: str, started: Started) -> None:
    waiting: Future[Any] = started(send, gate, f"owners/{mark}")
    hold = gate.held(mark)
    own = gate.sluice("approve", hold.id)
    assert own.status == 1 and "may not be approved by you" in own.err
    assert gate.sluice("deny", hold.id).status == 0
    assert waiting.result(PATIENCE).status_code == 403


def test_a_reviewer_takes_more_time(gate: Gate, mark: str, started: Started) -> None:
    waiting: Future[Any] = started(send, gate, f"orders/{mark}")
    hold = gate.held(mark)
    assert gate.sluice("extend", hold.id, "10m").status == 0
    assert gate.whole(hold.id).deadline == pytest.approx(hold.deadline + 600, abs=1)
    gate.answer(hold, False)
    assert waiting.result(PATIENCE).status_code == 403
    assert [one["by"] for one in gate.entries(kind="extended", hold=hold.id)]


def test_at_half_time_a_gate_without_a_console_says_that_nobody_has_answered(gate: Gate, mark: str) -> None:
    answer = send(gate, f"soon/{mark}")
    assert (answer.status_code, answer.json()["decision"]) == (403, "expired")
    said = f"hold {answer.json()['hold'][:6]} waits, and half of its time has gone: sluice review"
    assert until(lambda: said in gate.talk)


def test_a_gate_that_is_killed_forgets_no_denial_and_no_hold_stays_open(
    tmp_path: Path, flags: tuple[Upstream, list[str]], mark: str, started: Started
) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    with up(home, *flags[1]) as gate:
        denied: Future[Any] = started(send, gate, f"orders/{mark}-no")
        gate.answer(gate.held(f"{mark}-no"), False, "never")
        assert denied.result(PATIENCE).status_code == 403
        away = gives_up(gate, f"orders/{mark}-away")
        deferred = send(gate, f"later/{mark}-later")
        assert (deferred.status_code, deferred.headers["retry-after"]) == (503, "5")
        spendable = deferred.json()["hold"]
        assert gate.sluice("approve", spendable).status == 0
        os.kill(gate.process.pid, signal.SIGKILL)
        gate.process.wait(PATIENCE)
    with up(home, *flags[1]) as gate:
        assert {one["decision"] for one in gate.entries(kind="decided") if one.get("hold")} == {
            "denied", "cut_off",
        }  # fmt: skip
        assert kinds(gate, away.id)[-1] == kinds(gate, spendable)[-1] == "decided"
        assert send(gate, f"orders/{mark}-no").json()["detail"] == "never"
        waiting: Future[Any] = started(send, gate, f"later/{mark}-later")
        hold = gate.held(f"{mark}-later")
        assert hold.id != spendable, "an approval does not outlive its gate"
        assert waiting.result(PATIENCE).status_code == 503
        assert gate.sluice("deny", hold.id).status == 0
        assert flags[0].got(mark) == []
        assert gate.sluice("ledger", "verify").status == 0
