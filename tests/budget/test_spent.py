"""The accounts as a real ledger leaves them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from proxy.budget import RETURNED, entered
from proxy.errors import SluiceError
from proxy.ledger import Draft
from proxy.ledger.read import naming, reading
from proxy.ledger.retention import prune
from proxy.ledger.seal import KEY
from proxy.ledger.spent import spent
from proxy.ledger.sqlite import SqliteLedger
from proxy.policy.verdict import Account, Claim, Effect, Verdict

HOUR = 3_600
START = 1_700_000_000.0
OVER = Verdict(Effect.HOLD, "small", ("small",), "", "")
ADA = Account("small", "uid:ada", "EUR")


def released(id: str, amount: str, **more: object) -> Draft:
    claim = Claim(ADA, Decimal(amount), Decimal(10), HOUR, OVER)
    fields = {"id": id, "decision": "allowed", "by": "rule", "budgets": entered([claim]), **more}
    return Draft("decided", fields)


async def write(path: Path, at: float, *drafts: Draft) -> None:
    ledger, _ = await SqliteLedger.open(path, clock=lambda: at)
    for draft in drafts:
        await ledger.queue(draft)
    await ledger.close("done")


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path / "ledger.db"


def used(path: Path, at: float) -> Decimal | None:
    return spent(path).used(ADA, HOUR, int(at * 1_000_000))


async def test_what_was_released_stays_used_over_runs_and_what_came_back_does_not(ledger: Path) -> None:
    given_back = Draft("completed", {"id": "b", "status": 402, "budgets": RETURNED})
    await write(ledger, START, released("a", "4.50"), released("b", "3"), given_back)
    await write(ledger, START + 60, released("c", "1"))
    assert used(ledger, START + 60) == Decimal("5.50")
    assert used(ledger, START + HOUR) == 1
    assert used(ledger, START + HOUR + 60) == 0


async def test_a_run_that_was_cut_off_leaves_used_what_it_released(ledger: Path) -> None:
    first, _ = await SqliteLedger.open(ledger, clock=lambda: START)
    await first.queue(released("a", "4"))
    first._lock.release()  # as the system does for a process that was killed
    await write(ledger, START + 1)
    assert used(ledger, START + 1) == 4
    await first.close()


async def test_a_clock_set_back_between_runs_frees_nothing(ledger: Path) -> None:
    await write(ledger, START, released("a", "4"))
    await write(ledger, START - 2 * HOUR, released("b", "1"))
    assert used(ledger, START - HOUR) == 5
    assert used(ledger, START + HOUR) == 0


async def test_only_what_has_the_field_is_read(ledger: Path) -> None:
    told = 'https://h.example/?q="budgets":[{"rule":"small"}]'
    plain = Draft("decided", {"id": "x", "decision": "allowed", "by": "rule", "url": told})
    nested = Draft("decided", {"id": "y", "decision": "allowed", "by": "rule", "show": {"budgets": []}})
    await write(ledger, START, plain, nested, released("a", "4"))
    with reading(ledger) as connection:
        assert [fields["id"] for _, fields in naming(connection, "budgets")] == ["a"]


async def test_what_still_counts_cannot_be_pruned(ledger: Path, tmp_path: Path) -> None:
    await write(ledger, START, released("a", "4"))
    await write(ledger, START + 60, released("b", "1"))
    key, archive = tmp_path / KEY, tmp_path / "archive.jsonl"

    async def pruned(before: int, at: float) -> None:
        await prune(ledger, before, archive, key=key, clock=lambda: at)

    with reading(ledger) as connection:
        first, second = (entry.seq for entry, _ in naming(connection, "budgets"))
    with pytest.raises(SluiceError, match=f"entry {first} still counts against a budget"):
        await pruned(second, START + HOUR - 1)
    assert used(ledger, START + HOUR - 1) == 5
    await pruned(second, START + HOUR)
    assert used(ledger, START + HOUR) == 1
