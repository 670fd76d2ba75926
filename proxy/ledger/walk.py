"""
Once through all entries of a ledger, in order: entry by entry, or by runs that others have read.

Both give the same findings: a run is taken for read only if nothing at all is wrong in it and it
joins what is before; else it is read here, entry by entry.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from proxy.chain import Findings, Head, Links, read
from proxy.ledger import Fields
from proxy.ledger.anchors import Roots
from proxy.ledger.cipher import Cipher
from proxy.ledger.keyline import KeyLine
from proxy.ledger.payload import Payloads
from proxy.ledger.read import rows
from proxy.ledger.removal import Erased, Pruned, pruned_in
from proxy.ledger.reviews import Reviews
from proxy.ledger.span import Span, Task
from proxy.ledger.story import CAP, Story
from proxy.merkle import Range, Tree

type Progress = Callable[[int, int], None]
"""Told how many entries are done, and how many there are."""
type Reader = Callable[[Iterable[Task]], Iterator[tuple[Task, Span | None]]]
"""What each task gave, in order; None where it is no span."""

_TOLD_EVERY: Final = 1_000
_ORPHANS: Final = (
    "SELECT p.seq FROM payload p LEFT JOIN entry e ON e.seq = p.seq "
    "WHERE e.seq IS NULL AND p.seq BETWEEN ? AND ? ORDER BY p.seq"
)
_FIRST: Final = -(2**63)
_LAST: Final = 2**63 - 1


class Walk:
    """
    The way through a ledger up to entry `end`.

    `links` and `roots` are where the chain and the tree are so far, `pruned` how many entries are gone,
    `payloads` what lay beside the others; `cipher` opens it where it is encrypted.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        end: Head,
        links: Links,
        roots: Roots,
        latest: int,
        progress: Progress,
        reviews: Reviews,
        keys: KeyLine,
        cipher: Cipher | None,
    ) -> None:
        self.links = links
        self.roots = roots
        self.pruned = 0
        self._connection = connection
        self._end = end.seq
        self._latest = latest
        self._progress = progress
        self._story = Story(links.findings)
        self._reviews = reviews
        self._keys = keys
        self._whole = Range(0, 0)
        self._erased = Erased()
        self._gone = pruned_in(connection)
        self.payloads = Payloads(links.findings, cipher)

    @property
    def _findings(self) -> Findings:
        return self.links.findings

    def entries(self, after: int | None = None, last: int | None = None) -> None:
        """Read entry by entry, up to `last` or to the end."""
        last = self._end if last is None else last
        for count, (seq, body, stored, salt, data) in enumerate(rows(self._connection, after, last), 1):
            if self._gone is not None and seq and self.links.head.seq == 0:
                self._begin_again(self._gone)
            fields = self.links.entry(body, seq=seq, stored=stored)
            self.roots.add(self.links.head.hash, self.links.last)
            self.payloads.check(seq, fields, salt, data)
            self._tell(seq, fields)
            if count % _TOLD_EVERY == 0:
                self._progress(seq + 1, self._end + 1)
        self._progress(last + 1, self._end + 1)

    def spans(self, read_all: Reader, run: int) -> None:
        """Read by runs of so many entries (a power of two), to the end."""
        first = 0 if self._gone is None else -(-self._gone.before // run) * run
        self.entries(last=min(first - 1, self._end))
        self._whole = Range(first, first)
        for task, span in read_all(self._tasks(first, run)):
            if span is not None and self._follows(span):
                self._take(span)
                self._progress(span.end, self._end + 1)
            else:
                self.entries(task.first - 1, task.end - 1)
                if self.links.head.seq != task.end - 1:
                    # A hole: whoever has made it may have made it longer than all runs could cross.
                    self.entries(task.end - 1)
                    return

    def go_on(self, end: Head) -> None:
        """Read on, entry by entry, up to an end that lies further on."""
        before, self._end = self._end, max(self._end, end.seq)
        self.entries(before)

    def settle(self) -> None:
        """At the end: what lies beside the entries, as they tell of it together."""
        self.payloads.settle(self._connection, self._erased)
        self._orphans()

    def _orphans(self) -> None:
        """
        What lies beside entries that are not there. In runs without a fault none is missing.

        Beyond the end, too: what a proxy writes meanwhile comes in one transaction with its entry.
        """
        for places in ((_FIRST, self._whole.start - 1), (self._whole.end, _LAST)):
            for (seq,) in self._connection.execute(_ORPHANS, places):
                self._findings.add(
                    seq, "payload_orphan", "something is kept beside an entry that is not there"
                )

    def _tasks(self, first: int, run: int) -> Iterator[Task]:
        for start in range(first, self._end + 1, run):
            end = min(start + run, self._end + 1)
            sizes = tuple(size - start for size in self.roots.wanted(start, end) if size < end)
            yield Task(start, end, sizes, self._latest)

    def _follows(self, span: Span) -> bool:
        """Whether a run joins what is before it, and tells of no request that is running there."""
        links, story = self.links, self._story
        back = links.last is not None and span.begins < links.last and not span.set_back
        room = len(story.holds) + len(story.running) + span.end - span.first <= CAP and not story.given_up
        joins = (
            links.head.seq + 1 == self.roots.tree.size == span.first and links.head.hash.hex() == span.prev
        )
        return joins and not back and room and span.quiet.isdisjoint(story.running)

    def _take(self, span: Span) -> None:
        links = self.links
        if span.first == self._whole.end:
            self._whole = Range(self._whole.start, span.end)
        links.head = Head(span.end - 1, bytes.fromhex(span.hash))
        links.first, links.last = links.first or span.begins, span.ends
        self.payloads.encrypted += span.encrypted
        self.payloads.unopened += span.unopened
        self.payloads.gone += span.gone
        self.roots.join([(Tree(size, map(bytes.fromhex, peaks)), time) for size, peaks, time in span.trees])
        for seq in span.loose:
            (body,) = self._connection.execute("SELECT body FROM entry WHERE seq = ?", (seq,)).fetchone()
            self._story.passed(seq - 1)
            self._tell(seq, read(body))
        self._story.passed(span.end - 1)

    def _tell(self, seq: int, fields: Fields) -> None:
        """What an entry means together with others."""
        if fields.get("kind") == "started":
            self._story.partial = False
        self._story.take(seq, fields)
        self._keys.follow(seq, fields, self._findings)
        self._reviews.take(seq, fields)
        self._removal(seq, fields)

    def _begin_again(self, pruned: Pruned) -> None:
        """After the genesis of a pruned ledger: go on behind what is gone."""
        if self.links.head.hash != pruned.genesis:
            what = "this is not the genesis that was there when the ledger was pruned"
            self._findings.add(0, "genesis", what)
        self.links.head = pruned.head
        self.roots.begin(pruned.tree)
        self.pruned = pruned.before - 1
        self._story.partial = True
        self._reviews.restore(pruned.roll)

    def _removal(self, seq: int, fields: Fields) -> None:
        kind = fields.get("kind")
        if kind == "erased" and not self._erased.take(seq, fields):
            self._findings.add(seq, "field", "an erasure that does not say what was erased")
        if kind == "pruned" and ((pruned := Pruned.parse(fields)) is None or pruned.before > seq):
            self._findings.add(seq, "field", "a pruning that does not say what was pruned")
