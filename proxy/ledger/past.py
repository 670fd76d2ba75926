"""
What became of the holds of the last day, so that a restart does not forget who said no.

Read from the entries: each names the request that it is about by a salted commitment, so a
request that comes again can be told to be the same, and no other can be guessed from it.
"""

from __future__ import annotations

import hmac
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from proxy.chain import REQUEST_TAG, Entry, commitment, stamp
from proxy.ledger import read

LIMIT: Final = 2_000
"""How many holds are remembered; older ones are asked about again."""

DAY: Final = 86_400
_KINDS: Final = frozenset({"reviewed", "decided", "completed", "failed", "unknown"})
_SENT: Final = frozenset({"approved", "watched"})


@dataclass(frozen=True, slots=True)
class Past:
    """
    One hold that has ended: its decision, by whom and why, when (Unix seconds), and the outcome.

    `reason` is what people gave as theirs for a denial, empty where they gave none, and None where
    their answer is not in the ledger: a denial is enforced also where the disk failed at it.

    `outcome` is the kind of the entry that says what happened upstream, empty where there is none;
    `status` is what was answered there. `again` is the hold that people answered, where that was
    another one for the same request.
    """

    hold: str
    salt: bytes
    request: str
    decision: str
    rules: tuple[str, ...]
    why: str
    reviewers: tuple[str, ...]
    time: float
    outcome: str = ""
    status: int | None = None
    again: str = ""
    reason: str | None = None

    def about(self, digest: bytes) -> bool:
        """Whether it was about the request with this digest (32 bytes)."""
        return hmac.compare_digest(self.request, commitment(REQUEST_TAG, self.salt, digest))


def recent(connection: sqlite3.Connection, now: float) -> tuple[Past, ...]:
    """The holds that were denied or sent within a day of `now` (Unix seconds), newest last."""
    found: dict[str, Past] = {}
    reasons: dict[str, str] = {}
    for entry, fields in _about(connection, stamp(int((now - DAY) * 1_000_000))):
        hold = _name(fields)
        if fields["kind"] == "reviewed":
            if fields.get("answer") == "deny":
                reasons[hold] = str(fields.get("reason") or "")
        elif fields["kind"] == "decided":
            past = _past(connection, entry.seq, fields)
            if past is not None:
                found[hold] = replace(past, reason=reasons.get(past.again or hold))
        elif hold in found:
            status = fields.get("status")
            answered = status if isinstance(status, int) else None
            found[hold] = replace(found[hold], outcome=str(fields["kind"]), status=answered)
    ended = sorted((past for past in found.values() if past.outcome != "failed"), key=lambda past: past.time)
    return tuple(ended[-LIMIT:])


def _about(connection: sqlite3.Connection, since: str) -> Iterator[tuple[Entry, Mapping[str, object]]]:
    """What was decided on holds and by grants, and what became of it."""
    wanted = read.Filter(kinds=_KINDS, since=since, held=True)
    yield from read.entries(connection, wanted)
    for entry, fields in read.naming(connection, "grant"):
        if fields.get("kind") in _KINDS and str(fields["time"]) >= since and not fields.get("hold"):
            yield entry, fields


def _name(fields: Mapping[str, object]) -> str:
    """The hold, or what a grant let through without one."""
    return str(fields.get("hold") or fields["id"])


def _past(connection: sqlite3.Connection, seq: int, fields: Mapping[str, object]) -> Past | None:
    decision, request = fields.get("decision"), fields.get("request")
    if decision != "denied" and decision not in _SENT:
        return None
    row = connection.execute("SELECT salt FROM payload WHERE seq = ?", (seq,)).fetchone()
    if row is None or not isinstance(row[0], bytes) or not isinstance(request, str):
        return None  # erased: nobody can say any more what it was about
    return Past(
        hold=_name(fields),
        salt=row[0],
        request=request,
        decision=str(decision),
        rules=_texts(fields.get("rules")),
        why=str(fields.get("why", "")),
        reviewers=_texts(fields.get("reviewers")),
        time=datetime.fromisoformat(str(fields["time"])).timestamp(),
        again=str(fields.get("again") or ""),
    )


def _texts(values: object) -> tuple[str, ...]:
    return tuple(str(one) for one in values) if isinstance(values, list) else ()
