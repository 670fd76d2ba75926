"""
A run of entries, read by itself: what whoever follows the whole chain needs to know of it.

So the work is split over cores: bytes, hashes, commitments and all that is within one run is
checked where the run is read; that the runs meet is for whoever puts them together, who takes
no end of one for granted: each names the hash that its first entry follows. A run in which
anything at all is wrong is no span. It is read again, entry by entry.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Final

from proxy.chain import Findings, Head, Links, UnfitError, read
from proxy.ledger.cipher import Cipher
from proxy.ledger.payload import Payloads
from proxy.ledger.quiet import Quiet
from proxy.ledger.read import BROKEN
from proxy.merkle import node

_ROWS: Final = (
    "SELECT e.seq, e.body, e.hash, p.salt, p.data FROM entry e NOT INDEXED "
    "LEFT JOIN payload p ON p.seq = e.seq WHERE e.seq >= ? AND e.seq < ? ORDER BY e.seq"
)


@dataclass(frozen=True, slots=True)
class Task:
    """
    Read the entries from `first` up to and without `end`.

    `sizes` are those of the trees to tell of, in entries of the run. `latest` is the latest time
    that can be true (microseconds).
    """

    first: int
    end: int
    sizes: tuple[int, ...]
    latest: int

    def encode(self) -> bytes:
        """One line."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> Task:
        """As `encode` wrote it."""
        told = json.loads(line)
        return cls(**{**told, "sizes": tuple(told["sizes"])})


@dataclass(frozen=True, slots=True)
class Span:
    """
    A run without a fault. Hashes are hex digits.

    `prev` is what its first entry names, `hash` that of its last one; `begins` and `ends` are their
    times, and with `set_back` the first may be earlier than what is before. `trees` are the frontier
    and the time at each of the sizes asked for, and at the end of the run. `loose` are the numbers of
    the entries that tell of more than this run, `quiet` the requests that the others speak of. Of the
    payloads so many are `encrypted`, and so many `unopened`; `gone` is as in `Payloads`.
    """

    first: int
    end: int
    prev: str
    hash: str
    begins: str
    ends: str
    set_back: bool
    trees: tuple[tuple[int, tuple[str, ...], str], ...]
    loose: tuple[int, ...]
    quiet: frozenset[str]
    encrypted: int = 0
    unopened: int = 0
    gone: tuple[tuple[int, int], ...] = ()

    def encode(self) -> bytes:
        """One line."""
        return json.dumps(asdict(self), default=list).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> Span | None:
        """As `encode` wrote it; None for the line ``null``."""
        told = json.loads(line)
        if told is None:
            return None
        trees = tuple((size, tuple(peaks), time) for size, peaks, time in told["trees"])
        told |= {"trees": trees, "loose": tuple(told["loose"]), "quiet": frozenset(told["quiet"])}
        return cls(**{**told, "gone": tuple((first, last) for first, last in told["gone"])})


def read_span(connection: sqlite3.Connection, task: Task, cipher: Cipher | None) -> Span | None:
    """Read a run; None where something is wrong in it, or it is not whole."""
    try:
        return _Reading(task, cipher).read(connection.execute(_ROWS, (task.first, task.end)))
    except (*BROKEN, TypeError, ValueError, OverflowError, UnfitError):
        return None  # whoever reads it entry by entry says what it is


class _Reading:
    def __init__(self, task: Task, cipher: Cipher | None) -> None:
        self._task = task
        self._findings = Findings()
        self._links = Links(self._findings, latest=task.latest)
        self._payloads = Payloads(self._findings, cipher)
        self._quiet = Quiet()

    def read(self, rows: Iterator[tuple[int, object, object, object, object]]) -> Span | None:
        task, links, findings = self._task, self._links, self._findings
        prev, set_back = None, False
        leaves: list[bytes] = []
        times: list[str] = []
        sizes = iter((*task.sizes, -1))
        next_size = next(sizes)
        for seq, body, stored, salt, data in rows:
            if prev is None:
                prev, set_back = _before(body)
                links.head = Head(task.first - 1, bytes.fromhex(prev))
            fields = links.entry(body, seq=seq, stored=stored)
            self._payloads.check(seq, fields, salt, data)
            self._quiet.take(seq, fields)
            leaves.append(links.head.hash)
            if len(leaves) == next_size:
                times.append(links.last or "")
                next_size = next(sizes)
        if prev is None or findings.count or links.head.seq != task.end - 1 or not self._quiet.end():
            return None
        assert links.first is not None and links.last is not None  # else there is a finding
        sized = zip((*task.sizes, len(leaves)), (*times, links.last), strict=True)
        levels = tree_levels(leaves)
        return Span(
            first=task.first,
            end=task.end,
            prev=prev,
            hash=links.head.hash.hex(),
            begins=links.first,
            ends=links.last,
            set_back=set_back,
            trees=tuple((size, tuple(peaks_at(levels, size)), time) for size, time in sized),
            loose=tuple(self._quiet.loose),
            quiet=frozenset(self._quiet.ids),
            encrypted=self._payloads.encrypted,
            unopened=self._payloads.unopened,
            gone=tuple(self._payloads.gone),
        )


def tree_levels(leaves: list[bytes]) -> list[list[bytes]]:
    """The roots of all complete subtrees over the leaves: of one leaf each, of two, of four, and so on."""
    levels = [leaves]
    while len(levels[-1]) > 1:
        below = iter(levels[-1])
        levels.append([node(left, right) for left, right in zip(below, below, strict=False)])
    return levels


def peaks_at(levels: list[list[bytes]], size: int) -> Iterator[str]:
    """The frontier of the tree over the first `size` leaves, in hex."""
    start = 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            yield levels[level][start >> level].hex()
            start += 1 << level


def _before(body: object) -> tuple[str, bool]:
    """What the first entry says that it follows, and whether the clock was set back at it."""
    fields = read(body) if isinstance(body, bytes) else {}
    return str(fields.get("prev")), fields.get("kind") == "clock"
