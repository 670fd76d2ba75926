"""
What is used of a budget, counted once more: from entries alone, without a line of the product. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

type Entry = Mapping[str, Any]

PER: Final = 24 * 3600
"""Seconds of the window of every budget here."""
_OPEN: Final = frozenset({"allowed", "approved", "watched"})


class Release:
    """One release that drew on a budget: who let it go, how much was used before it, and what it took."""

    def __init__(self, entry: Entry, time: float, amount: int, before: int) -> None:
        self.entry = entry
        self.time = time
        self.amount = amount
        self.before = before
        self.returned = False
        self.outcome: Entry | None = None


def releases(history: Iterable[Entry], rule: str) -> Iterator[Release]:
    """Every release on a rule's account, each as soon as it stands in the ledger; outcomes come later."""
    known: dict[str, Release] = {}
    now = 0.0
    for entry in history:
        now = max(now, seconds(entry))
        if entry["kind"] == "decided" and entry["decision"] in _OPEN:
            taken = [int(one["amount"]) for one in entry.get("budgets") or () if one["rule"] == rule]
            if taken:
                release = Release(entry, now, sum(taken), _used(known.values(), now))
                known[str(entry["id"])] = release
                yield release
        elif entry["kind"] in ("completed", "failed", "unknown") and (of := known.get(str(entry["id"]))):
            of.outcome = entry
            of.returned = of.returned or entry.get("budgets") == "returned"


def used(history: Iterable[Entry], rule: str, now: float) -> int:
    """What is used of a rule's budget at a Unix time."""
    history = list(history)
    latest = max((seconds(entry) for entry in history), default=0.0)
    return _used(list(releases(history, rule)), max(now, latest))


def _used(known: Iterable[Release], now: float) -> int:
    return sum(one.amount for one in known if not one.returned and one.time > now - PER)


def seconds(entry: Entry) -> float:
    """When an entry was written, in Unix seconds."""
    return datetime.fromisoformat(str(entry["time"])).timestamp()
