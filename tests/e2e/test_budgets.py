"""Budgets: as many leave as there is room for, however many ask at once, and a crash forgets nothing."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from proxy.demo.authority import Authority

from .clients import Told, with_requests
from .conftest import HOST, Started
from .product import PATIENCE, Gate, policy, until, up
from .upstream import Answer, Upstream

RULES = f"""\
version: 1
default: {{read: allow, write: hold}}
rules:
  - name: few
    why: A few at a time are routine.
    match: {{host: {HOST}, method: POST, path: /few/**}}
    then: allow
    budget: {{requests: 20 per 1h, by: agent, over: deny}}
  - name: small
    why: Small payments are routine.
    match: {{host: {HOST}, method: POST, path: [/pay, /broke]}}
    then: allow
    budget: {{field: json.amount, unit: json.currency, limit: 200, per: 24h, by: agent, over: hold}}
"""


@pytest.fixture
def api(authority: Authority) -> Iterator[Upstream]:
    answers = {("POST", "/broke"): Answer(402, b'{"error": "no money"}')}
    with Upstream(authority, [HOST], answers) as upstream:
        yield upstream


@pytest.fixture
def flags(tmp_path: Path, api: Upstream, upstream_ca: str) -> list[str]:
    return [f"--policy={policy(tmp_path, RULES)}", *api.flags, upstream_ca]


def pay(gate: Gate, amount: str, currency: str = "eur", path: str = "/pay") -> Told:
    body = f'{{"amount": {amount}, "currency": "{currency}"}}'.encode()
    return with_requests(gate, "POST", f"https://{HOST}{path}", body)


def used(gate: Gate) -> dict[str, str]:
    """What is used, by unit, as the command lists it."""
    return {line["unit"]: line["used"] for line in gate.sluice("budgets", "--json").lines}


async def many(gate: Gate, count: int) -> Counter[int]:
    tls = ssl.create_default_context(cafile=gate.ca)
    limits = httpx.Limits(max_connections=count)
    async with httpx.AsyncClient(proxy=gate.proxy, verify=tls, timeout=60, limits=limits) as client:
        asked = (client.post(f"https://{HOST}/few/{at}", json={"at": at}) for at in range(count))
        answers = await asyncio.gather(*asked)
    refused = [answer.json() for answer in answers if answer.status_code == 403]
    assert {one["decision"] for one in refused} == {"refused"}
    assert {one["detail"] for one in refused} == {"20 of 20 in 1h are used, and this takes 1"}
    return Counter(answer.status_code for answer in answers)


def test_of_two_hundred_requests_at_once_exactly_twenty_leave(
    tmp_path: Path, flags: list[str], api: Upstream
) -> None:
    with up(tmp_path, *flags) as gate:
        assert asyncio.run(many(gate, 200)) == {200: 20, 403: 180}
        assert len(api.got("/few/")) == 20
        assert gate.stop(signal.SIGKILL) != 0
    with up(tmp_path, *flags) as gate:
        assert asyncio.run(many(gate, 5)) == {403: 5}
        assert len(api.got("/few/")) == 20
        assert gate.sluice("ledger", "verify").status == 0


def test_money_is_counted_by_currency_given_back_on_a_refusal_and_kept_over_a_kill(
    tmp_path: Path, flags: list[str], api: Upstream, started: Started
) -> None:
    with up(tmp_path, *flags) as gate:
        assert pay(gate, "90.00").status == 200
        assert pay(gate, "90.00").status == 200
        assert pay(gate, "200", "USD").status == 200
        assert pay(gate, "20.00", path="/broke").status == 402
        until(lambda: gate.entries(kind="completed", budgets="returned"))
        assert used(gate) == {"EUR": "180.00", "USD": "200"}
        gate.stop(signal.SIGKILL)
    with up(tmp_path, *flags) as gate:
        assert used(gate) == {"EUR": "180.00", "USD": "200"}
        waiting = started(pay, gate, "20.01")
        hold = gate.held("/pay")
        assert hold.why == "180.00 of 200.00 EUR in 24h are used, and this takes 20.01"
        gate.answer(hold, approves=True)
        assert waiting.result(PATIENCE).status == 200
        assert used(gate)["EUR"] == "200.01"
    amounts = [json.loads(one.body)["amount"] for one in api.got("/pay")]
    assert amounts == [90, 90, 200, 20.01]
