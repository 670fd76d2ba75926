"""
What a gate knows from its ledger when it starts: folds over the entries, one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from proxy.budget import Budgets
from proxy.chain import stamp
from proxy.grant import DAY, Grants
from proxy.ledger import paused, read
from proxy.ledger.past import Past, recent
from proxy.ledger.seen import Seen, fold
from proxy.ledger.spent import spent


@dataclass(frozen=True, slots=True)
class Known:
    """
    What agents have used, which grants stand, what is left of budgets, what was decided of late.

    `paused` are the agents of which everything is refused.
    """

    seen: Seen
    grants: Grants
    budgets: Budgets
    past: tuple[Past, ...]
    paused: frozenset[str] = frozenset()


def known(ledger: Path, now: float) -> Known:
    """The folds over the ledger at this path; `now` is Unix time in seconds."""
    return Known(_seen(ledger), _grants(ledger, now), spent(ledger), _past(ledger, now), _paused(ledger))


def _seen(ledger: Path) -> Seen:
    with read.reading(ledger) as connection:
        decided = read.entries(connection, read.Filter(kinds=frozenset({"decided"})))
        return fold(fields for _, fields in decided)


def _grants(ledger: Path, now: float) -> Grants:
    """The grants that stand; none does for longer than a day, so no earlier entry matters."""
    grants = Grants()
    with read.reading(ledger) as connection:
        since = stamp(int((now - 2 * DAY) * 1_000_000))
        given = read.entries(connection, read.Filter(kinds=frozenset({"granted"}), since=since))
        first = next((entry.seq for entry, _ in given), None)
        if first is not None:
            kinds = frozenset({"granted", "revoked", "decided", "rotated_key", "revoked_key", "regrouped"})
            for _, fields in read.entries(connection, read.Filter(kinds=kinds), after=first - 1):
                grants.take(fields)
    return grants


def _past(ledger: Path, now: float) -> tuple[Past, ...]:
    with read.reading(ledger) as connection:
        return recent(connection, now)


def _paused(ledger: Path) -> frozenset[str]:
    with read.reading(ledger) as connection:
        found = read.entries(connection, read.Filter(kinds=paused.KINDS))
        return frozenset(paused.standing(fields for _, fields in found))
