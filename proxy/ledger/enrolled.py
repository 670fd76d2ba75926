"""
The roll of a ledger, read from its entries.

What was pruned is taken from the pruning's own word; everything after it is checked as it was
when it was written, so that whoever can write entries cannot enrol with them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from proxy.chain import UnfitError, moment, read
from proxy.errors import Exit, fail
from proxy.ledger.read import entries, head, latest, reading
from proxy.ledger.roll import SIGNED, Roll
from proxy.signing import ProofError

_ROWS: Final = "SELECT seq, body FROM entry NOT INDEXED WHERE seq <= ? AND instr(body, ?) ORDER BY seq"
_FOREVER: Final = 2**62


def roll_of(path: Path) -> Roll:
    """As `roll_in`, of a ledger in a file."""
    with reading(path) as connection:
        return roll_in(connection)


def roll_in(connection: sqlite3.Connection, before: int | None = None) -> Roll:
    """
    Who is enrolled at the end of a ledger, or `before` an entry.

    Raises SluiceError (exit 1) where an entry says so that no enrolled reviewer has signed.
    """
    genesis = next((fields for _, fields in entries(connection, last=0)), {})
    roll = Roll(str(genesis.get("ledger")))
    last = None if before is None else before - 1
    at = 0
    try:
        _begin(connection, roll)
        for seq, fields in _signed(connection, last):
            at = seq
            # A clock that was set back leaves entries later than what was signed: that is for a verifier.
            roll.take(fields, moment(fields.get("time")) or 0, early=_FOREVER)
    except (ProofError, UnfitError) as error:
        raise fail(
            f"the ledger does not say for certain who may review: entry {at}: {error}",
            "somebody has written to it who was not to",
            "sluice ledger verify; to go on: sluice ledger accept-loss",
            exit=Exit.NO,
        ) from None
    return roll


def _signed(connection: sqlite3.Connection, last: int | None) -> Iterator[tuple[int, dict[str, object]]]:
    """The entries that may carry a proof: each has this field, and canonical bytes spell it in one way."""
    end = head(connection).seq if last is None else last
    for seq, body in connection.execute(_ROWS, (end, b'"reviewer":"')):
        fields = read(body)
        if fields.get("kind") in SIGNED:
            yield seq, fields


def _begin(connection: sqlite3.Connection, roll: Roll) -> None:
    """Where entries were pruned, the pruning says what they had come to."""
    at = latest(connection, "pruned")
    if at > 0:
        for _, fields in entries(connection, after=at - 1, last=at):
            roll.restore(fields.get("roll"))
