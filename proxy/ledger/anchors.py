"""
Comparing a ledger with checkpoints that were kept elsewhere.

Nothing inside a file shows that its newest entries were cut off, that an older copy was put
back, or that somebody with the key has written all of it anew. A checkpoint that lies where
that person cannot write does: the ledger must be at least as long, and the root over its first
entries the same. Size and root are compared, of every checkpoint, not only of the newest: after
a fork the newest ones agree.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple, Protocol

from proxy.chain import Findings
from proxy.errors import fail
from proxy.merkle import SIZE, Tree
from proxy.note import SIGNED, Checkpoint, Key, NoteError, open_note, text_of

LIMIT: Final = 4_000_000
"""Checkpoints of one place that are compared at once (160 MB)."""
_EVIDENCE: Final = 20


class Kept(NamedTuple):
    """A note as a place keeps it (None: something else), and when it came there if the place says so."""

    note: bytes | None
    time: int | None = None


class Place(Protocol):
    """Somewhere that checkpoints were sent to and can be read from."""

    @property
    def name(self) -> str:
        """As a person calls it."""
        ...

    def read(self) -> Iterator[Kept]:
        """All that is kept there, oldest first. SluiceError where it cannot be read."""
        ...


@dataclass(frozen=True, slots=True)
class Compared:
    """
    What one place says of a ledger.

    `checkpoints` of this ledger are kept there, and the newest that agrees covers `size`
    entries, the last one of `entry_time`. `time` is when a witness has signed it or the place
    has taken it (Unix seconds, None: nobody says). `unreadable` things there are no checkpoints,
    `others` are of other ledgers: origin and size.
    """

    name: str
    checkpoints: int
    size: int
    entry_time: str | None
    time: int | None
    unreadable: int
    others: tuple[tuple[str, int], ...]

    def as_dict(self) -> dict[str, object]:
        """For `ledger verify --json`."""
        return {
            "place": self.name,
            "checkpoints": self.checkpoints,
            "size": self.size,
            "entry_time": self.entry_time,
            "time": self.time,
            "unreadable": self.unreadable,
            "others": [{"origin": origin, "size": size} for origin, size in self.others],
        }


class Shelf:
    """The checkpoints of one place that are of one ledger: sizes and roots, smallest first."""

    def __init__(self, place: Place, origin: str) -> None:
        self.place = place
        self.sizes = array("Q")
        self.roots = bytearray()
        self.unreadable = 0
        self.others: dict[str, tuple[int, bytes]] = {}
        self.at = 0
        self.matched = 0
        self.matched_time: str | None = None
        self.wrong: list[tuple[int, int]] = []
        self.wrong_count = 0
        self._load(origin)

    def _load(self, origin: str) -> None:
        for kept in self.place.read():
            checkpoint = _checkpoint(kept.note)
            if checkpoint is None:
                self.unreadable += 1
            elif checkpoint.origin != origin:
                self._other(checkpoint, kept.note or b"")
            elif not self._is_last(checkpoint):
                self.sizes.append(checkpoint.size)
                self.roots += checkpoint.root
        if len(self.sizes) > LIMIT:
            raise fail(f"'{self.place.name}' keeps more than {LIMIT} checkpoints", fix="give a part of them")
        self._sort()

    def _other(self, checkpoint: Checkpoint, note: bytes) -> None:
        size, _ = self.others.get(checkpoint.origin, (0, b""))
        if checkpoint.size >= size and (size or len(self.others) < _EVIDENCE):
            self.others[checkpoint.origin] = checkpoint.size, note

    def _is_last(self, checkpoint: Checkpoint) -> bool:
        return (
            bool(self.sizes) and self.sizes[-1] == checkpoint.size and self.roots[-SIZE:] == checkpoint.root
        )

    def _sort(self) -> None:
        if any(one > two for one, two in pairwise(self.sizes)):
            order = sorted(range(len(self.sizes)), key=self.sizes.__getitem__)
            self.roots = bytearray(b"".join(self.root(at) for at in order))
            self.sizes = array("Q", (self.sizes[at] for at in order))

    def root(self, at: int) -> bytes:
        """The root that a checkpoint names."""
        return bytes(self.roots[at * SIZE : (at + 1) * SIZE])

    @property
    def next(self) -> int:
        """The size of the next one to compare; beyond every ledger where there is none."""
        return self.sizes[self.at] if self.at < len(self.sizes) else 2**64

    def compare(self, size: int, root: bytes, time: str | None) -> None:
        """Compare all checkpoints of this size."""
        while self.next == size:
            if self.root(self.at) == root:
                self.matched, self.matched_time = size, time
            else:
                self.wrong_count += 1
                if len(self.wrong) < _EVIDENCE:
                    self.wrong.append((self.matched, size))
            self.at += 1

    def skip(self, size: int) -> None:
        """Leave out what is smaller: of that nothing is there any more."""
        while self.next < size:
            self.at += 1


class Roots:
    """Follows the entries of a ledger, and compares with each shelf at the sizes that it names."""

    def __init__(self, shelves: Sequence[Shelf] = ()) -> None:
        self.tree = Tree()
        self.shelves = shelves
        self._next = self._soonest()

    def _soonest(self) -> int:
        return min((shelf.next for shelf in self.shelves), default=2**64)

    def begin(self, tree: Tree) -> None:
        """Go on from a tree over entries that are gone."""
        self.tree = tree
        for shelf in self.shelves:
            shelf.skip(tree.size)
        self._next = self._soonest()
        self._compare(None)

    def add(self, leaf: bytes, time: str | None = None) -> None:
        """Go on by the hash of one entry; `time` is the one it names."""
        self.tree.add(leaf)
        if self.tree.size == self._next:
            self._compare(time)

    def wanted(self, start: int, end: int) -> Iterator[int]:
        """The sizes to compare at that are beyond `start` and no more than `end`, smallest first."""
        named = {
            size
            for shelf in self.shelves
            for size in shelf.sizes[bisect_right(shelf.sizes, start) : bisect_right(shelf.sizes, end)]
        }
        return iter(sorted(named))

    def join(self, parts: Iterable[tuple[Tree, str | None]]) -> None:
        """
        Go on by a run of entries: the trees over its beginnings at the sizes `wanted`, the last over all.

        Each with the time that the last of its entries names. ValueError where `Tree.join` raises it.
        """
        before = self.tree
        for part, time in parts:
            self.tree = before.copy()
            self.tree.join(part)
            if self.tree.size == self._next:
                self._compare(time)

    def _compare(self, time: str | None) -> None:
        if self.tree.size < self._next:
            return
        root = self.tree.root()
        for shelf in self.shelves:
            shelf.compare(self.tree.size, root, time)
        self._next = self._soonest()


def judge(shelf: Shelf, entries: int, keys: Sequence[Key], findings: Findings) -> Compared:
    """What a place says of a ledger of so many entries, once all of them were compared."""
    name, total = shelf.place.name, len(shelf.sizes)
    if not total:
        also = f"; there are some of {', '.join(shelf.others)}" if shelf.others else ""
        findings.add(None, "anchor_none", f"'{name}' keeps no checkpoint of this ledger{also}")
    if total and shelf.sizes[-1] > entries:
        last = shelf.sizes[-1] - 1
        missing = f"entry {last} is" if last == entries else f"entries {entries} to {last} are"
        findings.add(
            entries,
            "anchor_cut",
            f"'{name}' has seen {last + 1} entries, and {entries} are there: {missing} cut off, "
            "or an older copy was put back",
        )
    elif total and not (shelf.matched or shelf.wrong):
        findings.add(
            None,
            "anchor_none",
            f"'{name}' has seen {shelf.sizes[-1]} entries, and all of these are said to have been pruned: "
            "nothing that is there can be compared with it",
        )
    if shelf.wrong:
        _fork(shelf, keys, findings)
    size, time = _newest(shelf, keys, findings)
    others = tuple(sorted((origin, size) for origin, (size, _) in shelf.others.items()))
    entry_time = shelf.matched_time if size else None
    return Compared(name, total, size, entry_time, time, shelf.unreadable, others)


def _fork(shelf: Shelf, keys: Sequence[Key], findings: Findings) -> None:
    good, size = shelf.wrong[0]
    signed = _opened(shelf, {size for _, size in shelf.wrong}, keys)
    proof = "; its key has signed both, so keep them: they are the evidence" if signed else ""
    more = f" ({shelf.wrong_count} checkpoints)" if shelf.wrong_count > 1 else ""
    findings.add(
        good,
        "anchor_root",
        f"entries {good} to {size - 1} are not those that '{shelf.place.name}' has seen{more}: history was "
        f"written anew, or goes another way from there{proof}",
    )


def _newest(shelf: Shelf, keys: Sequence[Key], findings: Findings) -> tuple[int, int | None]:
    """Size and time of the newest checkpoint that agrees, if a key of ours has signed it."""
    if not shelf.matched:
        return 0, None
    signed = _opened(shelf, {shelf.matched}, keys)
    if not signed:
        findings.add(
            None,
            "anchor_signature",
            f"the newest checkpoint in '{shelf.place.name}' has no signature that holds",
        )
        return 0, None
    return shelf.matched, max((time for time in signed if time is not None), default=None)


def _opened(shelf: Shelf, sizes: set[int], keys: Sequence[Key]) -> list[int | None]:
    """The times of those checkpoints of these sizes that one of the log's keys has signed."""
    logs = {key for key in keys if key.kind == SIGNED}
    times = []
    for kept in shelf.place.read():
        checkpoint = _checkpoint(kept.note)
        if checkpoint is None or checkpoint.size not in sizes or not logs:
            continue
        try:
            opened = open_note(kept.note or b"", keys)
        except NoteError:
            continue
        if any(one.key in logs and one.key.name == checkpoint.origin for one in opened.signatures):
            times.append(opened.time if opened.time is not None else kept.time)
    return times


def _checkpoint(note: bytes | None) -> Checkpoint | None:
    if note is None:
        return None
    try:
        return Checkpoint.parse(text_of(note))
    except NoteError:
        return None


def shelves(places: Iterable[Place], origin: str) -> list[Shelf]:
    """Everything that places keep of one ledger."""
    return [Shelf(place, origin) for place in places]


def signed_elsewhere(shelf: Shelf, public: bytes) -> dict[str, int]:
    """Other ledgers whose heads the same key has signed: how many entries each had at least."""
    found = {}
    for origin, (size, note) in shelf.others.items():
        try:
            open_note(note, [Key(origin, SIGNED, public)])
        except NoteError:
            continue
        found[origin] = size
    return found
