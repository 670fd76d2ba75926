"""`sluice budgets`, and what the policy commands say of budgets."""

from __future__ import annotations

import asyncio
import sys
import time
from decimal import Decimal
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "cli"))
from commands import sluice

from proxy.budget import entered
from proxy.ledger import Draft
from proxy.ledger.sqlite import SqliteLedger
from proxy.policy.verdict import Account, Claim, Effect, Verdict

POLICY = """version: 1
default: {write: hold}
rules:
  - name: small
    why: Small payments are routine.
    match: {host: api.example.com, method: POST, path: /pay}
    then: allow
    budget: {field: form.amount, unit: form.currency, limit: 200, per: 24h, by: agent}
"""
FORM = ("-H", "content-type: application/x-www-form-urlencoded", "-d")
PAY = ("POST", "https://api.example.com/pay", *FORM)
OVER = Verdict(Effect.HOLD, "small", ("small",), "", "")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    (tmp_path / "p.yaml").write_text(POLICY)
    return tmp_path


async def write(path: Path, amounts: list[str], at: float) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=lambda: at)
    for number, amount in enumerate(amounts):
        claim = Claim(Account("small", "uid:ada", "EUR"), Decimal(amount), Decimal(200), 86_400, OVER)
        fields = {"id": f"id{number}", "decision": "allowed", "by": "rule", "budgets": entered([claim])}
        await ledger.queue(Draft("decided", fields))
    await ledger.close()


def test_nothing_is_used_of_an_empty_ledger(here: Path) -> None:
    asyncio.run(write(here / "ledger.db", [], time.time()))
    done = sluice("budgets", "--state", here, at=here)
    assert (done.status, done.out, done.err) == (0, "", "sluice: nothing is used of any budget\n")


def test_accounts_are_listed_with_their_limit_and_when_there_is_room(here: Path) -> None:
    begun = time.time()
    asyncio.run(write(here / "ledger.db", ["90.00", "90.00"], begun))
    done = sluice("budgets", "--state", here, at=here)
    assert done.out == "small  uid:ada  180.00 of 200.00 EUR in 24h are used\n"
    (line,) = sluice("budgets", here / "ledger.db", "--json", at=here).lines
    assert line == {
        "rule": "small", "owner": "uid:ada", "unit": "EUR", "used": "180.00", "limit": "200", "per": 86_400,
        "room_at": None,
    }  # fmt: skip
    asyncio.run(write(here / "ledger.db", ["20"], begun))
    assert (
        "200.00 of 200.00 EUR in 24h are used; room again at 20"
        in sluice("budgets", here / "ledger.db", at=here).out
    )


def test_no_ledger_is_no_answer(here: Path) -> None:
    done = sluice("budgets", "--state", here, at=here)
    assert (done.status, done.out) == (2, "")
    assert "cannot be opened" in done.err


def test_explain_shows_what_is_drawn_on_unused_or_as_a_ledger_leaves_it(here: Path) -> None:
    ask = ("policy", "explain", "--policy", "p.yaml", "--agent", "uid:ada", *PAY, "amount=30&currency=eur")
    done = sluice(*ask, at=here)
    assert done.out.splitlines()[0] == "allow"
    assert (
        "budget     small of uid:ada: 0 of 200 EUR in 24h are used, and this takes 30: there is room"
        in done.out
    )
    asyncio.run(write(here / "ledger.db", ["90", "90"], time.time()))
    done = sluice(*ask, "--ledger", here / "ledger.db", at=here)
    assert done.out.splitlines()[0] == "hold"
    assert "why        180 of 200 EUR in 24h are used, and this takes 30" in done.out
    (line,) = sluice(*ask, "--ledger", here / "ledger.db", "--json", at=here).lines
    assert line["budgets"] == [
        {
            "rule": "small", "owner": "uid:ada", "unit": "EUR", "amount": "30", "used": "180", "limit": "200",
            "per": 86_400, "over": "180 of 200 EUR in 24h are used, and this takes 30",
        }
    ]  # fmt: skip


def test_explain_says_why_an_amount_is_over(here: Path) -> None:
    done = sluice("policy", "explain", "--policy", "p.yaml", *PAY, "amount=30", at=here)
    assert done.out.splitlines()[0] == "hold"
    assert "budget     small of unknown: form.currency is absent: it counts as over the budget" in done.out


def test_no_case_is_a_failure_and_no_wrong_usage(here: Path) -> None:
    done = sluice("policy", "test", "p.yaml", at=here)
    assert (done.status, done.out) == (1, "")
    assert "no case" in done.err
