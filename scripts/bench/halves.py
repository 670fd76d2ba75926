"""The two halves of the page, of which each can be measured alone."""

from __future__ import annotations

from bench.ledger_report import TITLE


def page(before: str, gate: str | None, ledger: str | None) -> str:
    """The page as it was, with what was measured in place of what it said of that."""
    old_gate, _, old_ledger = before.partition(TITLE)
    first = old_gate if gate is None else f"{gate}\n"
    return first + (TITLE + old_ledger if ledger is None and old_ledger else ledger or "")
