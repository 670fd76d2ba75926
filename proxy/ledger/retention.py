"""
What is kept for how long: payloads go when their time is over, entries when they are archived.

An entry says so each time, in the transaction that removes, and the chain verifies on.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from proxy.budget import counts_until
from proxy.chain import Head, cut, moment, stamp
from proxy.decision import Word
from proxy.errors import Exit, fail
from proxy.ledger import Draft, Ledger, UnavailableError
from proxy.ledger.cipher import PAYLOADS_KEY
from proxy.ledger.enrolled import roll_in, roll_of
from proxy.ledger.export import archive
from proxy.ledger.keyline import KIND
from proxy.ledger.paused import KINDS as PAUSES
from proxy.ledger.paused import standing
from proxy.ledger.read import Filter, entries, hashes, head, naming, reading
from proxy.ledger.removal import Pruned, erasures, pruned_in
from proxy.ledger.reviews import REASON
from proxy.ledger.sqlite import SqliteLedger
from proxy.ledger.verify import verify
from proxy.merkle import Tree

SLICE: Final = 2_000
"""Payloads that one transaction removes: requests wait behind it."""
_EVERY: Final = 60.0
_ABOUT: Final = Filter(kinds=frozenset({"held", "edited", "reviewed", "decided"}))
"""The entries of a hold beside which something lies."""


async def expire(
    path: Path,
    ledger: Ledger,
    keep: Callable[[], float | None],
    *,
    clock: Callable[[], float],
    every: float = _EVERY,
) -> None:
    """Erase payloads older than `keep` seconds (None: none), again and again, until cancelled."""
    while True:
        with contextlib.suppress(UnavailableError):  # then later: nothing is lost by keeping it longer
            while (kept := keep()) is not None:
                draft = await asyncio.to_thread(_next, path, clock() - kept, kept)
                if draft is None:
                    break
                await ledger.queue(draft)
        await asyncio.sleep(every)


def _next(path: Path, until: float, keep: float) -> Draft | None:
    """The entry that erases the next slice of what is older; None where nothing is."""
    with reading(path) as connection:
        end = _first_since(connection, stamp(max(0, int(until * 1_000_000))))
        found = connection.execute(
            "SELECT seq FROM payload WHERE seq > 0 AND seq < ? ORDER BY seq LIMIT ?", (end, SLICE)
        ).fetchall()
    if not found:
        return None
    before = found[-1][0] + 1
    return Draft("erased", {"before": before, "reason": f"kept for {int(keep)} s", "by": "retention"})


def _first_since(connection: sqlite3.Connection, time: str) -> int:
    """
    The first entry that is not older, found by halving: times go back at a `clock` entry alone.

    Where a clock was set back, payloads are kept longer than asked, never shorter than the
    entries around them say.
    """
    row = connection.execute("SELECT seq FROM entry WHERE seq > 0 ORDER BY seq LIMIT 1").fetchone()
    low, high = (1 if row is None else row[0]), head(connection).seq
    while low < high:
        middle = (low + high) // 2
        _, fields = next(entries(connection, after=middle - 1, last=middle))
        if str(fields.get("time", "")) < time:
            low = middle + 1
        else:
            high = middle
    return low


async def erase(
    path: Path, key: Path, hold: str, reason: str, by: str, *, clock: Callable[[], float]
) -> tuple[str, int]:
    """
    Erase what lies beside the entries of one hold; its whole id and how many were erased.

    `hold` is any unique prefix of its id. Raises SluiceError where there is none, or a gate has
    the ledger open, or reviewers are enrolled: then one of them signs it, and the gate takes it.
    """
    if (await asyncio.to_thread(roll_of, path)).required:
        raise fail(
            "reviewers are enrolled, so an erasure is signed by one, and no gate is running to take it",
            "whoever has the files could erase otherwise",
            "start the gate: sluice up; then erase again",
            exit=Exit.NO,
        )
    ledger, _ = await SqliteLedger.open(path, key=key, started={"for": "erase"}, clock=clock)
    try:
        return await erase_in(path, ledger, hold, reason, by)
    finally:
        await ledger.close("erased")


async def erase_in(path: Path, ledger: Ledger, hold: str, reason: str, by: str) -> tuple[str, int]:
    """As `erase`, in a ledger that is open already."""
    id, seqs = await asyncio.to_thread(_of_hold, path, hold)
    if not seqs:
        raise fail(f"of hold '{id}' nothing is kept any more", fix="sluice ledger show", exit=Exit.NO)
    for draft in erasures(seqs, reason=cut(reason, REASON), by=cut(by, 200), hold=id):
        await ledger.queue(draft)
    return id, len(seqs)


def _of_hold(path: Path, prefix: str) -> tuple[str, list[int]]:
    found: dict[str, list[int]] = {}
    open: set[str] = set()
    with reading(path) as connection:
        for entry, fields in entries(connection, _ABOUT):
            hold = fields.get("hold")
            if type(hold) is str and hold.startswith(prefix):
                found.setdefault(hold, []).append(entry.seq)
                if fields.get("kind") == "held":
                    open.add(hold)
                if fields.get("kind") == "decided" and fields.get("decision") != Word.PENDING:
                    open.discard(hold)
        if not found or not prefix:
            raise fail(f"there is no hold '{prefix}' in the ledger", fix="sluice ledger show", exit=Exit.NO)
        if len(found) > 1:
            raise fail(f"{len(found)} holds begin with '{prefix}'", fix="give more of the id", exit=Exit.NO)
        id, seqs = found.popitem()
        if id in open:
            why = "its answer will be written under the same salt, so what was asked could still be guessed"
            raise fail(f"hold '{id}' is still open", why, f"sluice deny {id}; then erase", exit=Exit.NO)
        kept = [
            seq
            for seq in seqs
            if connection.execute("SELECT 1 FROM payload WHERE seq = ?", (seq,)).fetchone() is not None
        ]
    return id, kept


async def prune(path: Path, before: int, target: Path, *, key: Path, clock: Callable[[], float]) -> bytes:
    """
    Archive the entries below a number, then drop them; the archive's SHA-256.

    The genesis stays. The ledger must verify. Raises SluiceError.
    """
    report = await asyncio.to_thread(verify, path, clock(), payloads_key=key.with_name(PAYLOADS_KEY))
    if not report.ok:
        raise fail(
            f"'{path}' does not verify", "what is broken is not pruned", "sluice ledger verify", exit=Exit.NO
        )
    pruned = await asyncio.to_thread(_pruning, path, before)
    await asyncio.to_thread(_refuse_forgetting, path, before, int(clock() * 1_000_000))
    digest = await asyncio.to_thread(archive, path, target, before)
    checked = await asyncio.to_thread(verify, target, clock())
    if not checked.ok or checked.head != pruned.head.hash.hex():
        raise fail(f"the archive '{target}' does not verify", "nothing was pruned", exit=Exit.NO)
    ledger, _ = await SqliteLedger.open(path, key=key, started={"for": "prune"}, clock=clock)
    try:
        fields = {**pruned.fields, "archive": digest.hex(), "name": cut(target.name, 300)}
        if pruned.roll is not None:
            fields["roll"] = pruned.roll
        await ledger.queue(Draft("pruned", fields))
    finally:
        await ledger.close("pruned")
    return digest


def _refuse_forgetting(path: Path, before: int, now: int) -> None:
    """What still counts may not be pruned: nobody gave back what a budget let go, or ended a pause."""
    with reading(path) as connection:
        for entry, fields in naming(connection, "budgets"):
            until = counts_until(fields, moment(fields.get("time")) or 0)
            if entry.seq < before and until > now:
                raise fail(
                    f"entry {entry.seq} still counts against a budget",
                    "what is pruned is forgotten, and there would be room again",
                    f"prune before {entry.seq}, or after {stamp(until)}",
                    exit=Exit.NO,
                )
        pauses = standing(fields for _, fields in entries(connection, Filter(kinds=PAUSES)))
        first = min(pauses.values(), default=before)
        if first < before:
            raise fail(
                f"entry {first} pauses what is still paused",
                "what is pruned is forgotten, and the next start would let it through",
                f"sluice resume; or prune before {first}",
                exit=Exit.NO,
            )


def _pruning(path: Path, before: int) -> Pruned:
    with reading(path) as connection:
        earlier, end = pruned_in(connection), head(connection)
        low = 1 if earlier is None else earlier.before
        if not low < before <= end.seq:
            raise fail(
                f"entry {before} is no place to begin again: from {low + 1} to {end.seq} is", exit=Exit.NO
            )
        changes = entries(connection, Filter(kinds=frozenset({KIND})), after=low - 1, last=before - 1)
        if (changed := next(changes, None)) is not None:
            raise fail(
                f"at entry {changed[0].seq} the ledger got another key",
                "without that entry nobody could follow from the first key to the one that signs now",
                f"prune no further than --before {changed[0].seq}",
                exit=Exit.NO,
            )
        tree = Tree() if earlier is None else earlier.tree
        last = b""
        for last in hashes(connection, before - 1, tree.size - 1):
            tree.add(last)
        (genesis,) = connection.execute("SELECT hash FROM entry WHERE seq = 0").fetchone()
        roll = roll_in(connection, before)
        said = roll.said if roll.required else None
        return Pruned(before, Head(before - 1, last), genesis, tuple(tree.peaks), said)
