"""
What a ledger leaves used of the budgets.

No cache of it is kept: SQLite passes over what does not speak of budgets without handing it out,
so that 100,000 entries take less than a second.
"""

from __future__ import annotations

from pathlib import Path

from proxy.budget import Budgets, fold
from proxy.chain import moment
from proxy.ledger.read import naming, reading


def spent(ledger: Path) -> Budgets:
    """The accounts as a ledger's entries leave them; what has no outcome there will never be given back."""
    with reading(ledger) as connection:
        return fold((fields, moment(fields.get("time")) or 0) for _, fields in naming(connection, "budgets"))
