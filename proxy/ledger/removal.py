"""
What a ledger has let go of, and says so: erased payloads, and entries pruned from its beginning.

Which entries say what, and what a verifier may therefore miss.

    erased   `entries` lists them, or `before` means all that lies beside entries below it
    pruned   entries 1 to `before` - 1 are gone; `head` is the hash of the last of them, `frontier`
             the tree over them and `genesis` the hash of the one that stays
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from proxy.chain import Head
from proxy.errors import SluiceError
from proxy.ledger import Draft, Fields
from proxy.ledger.files import TABLES
from proxy.ledger.read import entries, latest
from proxy.merkle import Tree

REMOVALS: Final = frozenset({"erased", "pruned"})
LISTED: Final = 2_000
"""Entries that one `erased` entry lists at most."""
_HEX: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(slots=True)
class Erased:
    """Beside which entries nothing has to lie any more, and nothing may."""

    before: int = 0
    seqs: set[int] = field(default_factory=set)

    def __contains__(self, seq: int) -> bool:
        return 0 < seq < self.before or seq in self.seqs

    def take(self, at: int, fields: Fields) -> bool:
        """Learn from an `erased` entry with number `at`; False where it is not as one must be."""
        before, listed = fields.get("before", 0), fields.get("entries", [])
        if type(before) is not int or not 0 <= before <= at or not isinstance(listed, list):
            return False
        if any(type(one) is not int or not 0 < one < at for one in listed) or not (before or listed):
            return False
        self.before = max(self.before, before)
        self.seqs.update(listed)
        return True


@dataclass(frozen=True, slots=True)
class Pruned:
    """
    Where a ledger begins again after its genesis: at entry `before`, after the entry of `head`.

    `roll` is who was enrolled there, as the entry has it (`proxy.ledger.roll`).
    """

    before: int
    head: Head
    genesis: bytes
    frontier: tuple[bytes, ...]
    roll: object = None

    @property
    def tree(self) -> Tree:
        """The tree over all that is gone."""
        return Tree(self.before, self.frontier)

    @property
    def fields(self) -> dict[str, object]:
        """As the entry says it."""
        return {
            "before": self.before,
            "frontier": [one.hex() for one in self.frontier],
            "genesis": self.genesis.hex(),
            "head": self.head.hash.hex(),
        }

    @classmethod
    def parse(cls, fields: Fields) -> Pruned | None:
        """What the fields of a `pruned` entry mean; None where they are not as they must be."""
        before, frontier = fields.get("before"), fields.get("frontier")
        if type(before) is not int or before < 1 or not isinstance(frontier, list) or len(frontier) > 64:
            return None
        texts = [*frontier, fields.get("genesis"), fields.get("head")]
        if any(type(one) is not str or not _HEX.fullmatch(one) for one in texts):
            return None
        *peaks, genesis, head = (bytes.fromhex(str(one)) for one in texts)
        if len(peaks) != before.bit_count():
            return None
        return cls(before, Head(before - 1, head), genesis, tuple(peaks), fields.get("roll"))


def erasures(listed: Iterable[int], *, reason: str, by: str, hold: str | None = None) -> list[Draft]:
    """The entries that erase what lies beside those listed."""
    seqs = sorted(set(listed))
    more: dict[str, object] = {"hold": hold} if hold is not None else {}
    return [
        Draft("erased", {"entries": seqs[at : at + LISTED], "reason": reason, "by": by, **more})
        for at in range(0, len(seqs), LISTED)
    ]


def pruned_in(connection: sqlite3.Connection) -> Pruned | None:
    """
    Where a ledger begins again, None where nothing was pruned.

    Unverified: that the entry is genuine is for whoever verifies all entries.
    """
    if connection.execute("SELECT 1 FROM entry WHERE seq = 1").fetchone() is not None:
        return None
    try:
        at = latest(connection, "pruned")
        found = next((fields for _, fields in entries(connection, after=at - 1, last=at)), None)
    except SluiceError:
        return None
    return Pruned.parse(found) if found is not None and at > 0 else None


def carry_out(connection: sqlite3.Connection, kind: str, fields: Fields) -> None:
    """
    Remove what an `erased` or `pruned` entry says is gone, in the transaction that writes it.

    The triggers that keep everything are lifted for that and put back.
    """
    before = fields.get("before", 0)
    tables = ("payload",) if kind == "erased" else ("payload", "entry")
    for table in tables:
        trigger = f"CREATE TRIGGER {table}_kept "
        connection.execute(f"DROP TRIGGER {table}_kept")
        # The name of the table is one of the two above.
        connection.execute(f"DELETE FROM {table} WHERE seq > 0 AND seq < ?", (before,))  # noqa: S608
        if kind == "erased":
            for seq in fields.get("entries", ()):  # type: ignore[attr-defined]
                connection.execute("DELETE FROM payload WHERE seq = ?", (seq,))
        connection.execute(next(text for text in TABLES if text.startswith(trigger)))
