"""
The Merkle tree over a chain's entries: one hash that stands for all of them.

Pure arithmetic. RFC 6962, section 2.1, and RFC 9162, section 2.1, which writes the same tree
and adds the way to check its proofs. The leaves are the hashes of the entries themselves
(`proxy.chain.digest`), so the chain and the tree speak of the same thing::

    leaf(i)        = SHA-256(0x00 || body(i))
    node(l, r)     = SHA-256(0x01 || l || r)
    root of n      = the last leaf where n = 1, else node(root of the first k, root of the rest),
                     k the largest power of two below n; SHA-256 of nothing where n = 0
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

SIZE: Final = 32
EMPTY: Final = hashlib.sha256(b"").digest()
PROOF: Final = 64
"""Hashes of a proof at most: a tree of 2^63 leaves needs no more."""


def node(left: bytes, right: bytes) -> bytes:
    """The hash over two subtrees."""
    return hashlib.sha256(b"\1" + left + right).digest()


class Range(NamedTuple):
    """The leaves from `start` up to and without `end`: a subtree."""

    start: int
    end: int


class Tree:
    """
    A tree that grows by one leaf at a time and keeps no more than its frontier.

    `peaks` are the roots of the complete subtrees that the size, written in binary, names,
    the largest first: at most one for each bit.
    """

    __slots__ = ("peaks", "size")

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self.size = size
        self.peaks = list(peaks)
        if size < 0 or len(self.peaks) != size.bit_count() or any(len(one) != SIZE for one in self.peaks):
            raise ValueError(f"no tree of {size} leaves has this frontier")

    @classmethod
    def decode(cls, size: int, frontier: bytes) -> Tree:
        """A tree from the bytes of `encode`; ValueError where they are no frontier of this size."""
        return cls(size, (frontier[at : at + SIZE] for at in range(0, len(frontier), SIZE)))

    def encode(self) -> bytes:
        """The frontier: its hashes one after the other."""
        return b"".join(self.peaks)

    def copy(self) -> Tree:
        """Another tree that is the same."""
        return Tree(self.size, self.peaks)

    def complete(self) -> Iterator[tuple[Range, bytes]]:
        """Each peak, and the leaves that it is over."""
        start = 0
        for peak in self.peaks:
            end = start + (1 << (self.size - start).bit_length() - 1)
            yield Range(start, end), peak
            start = end

    def part(self, start: int) -> Tree:
        """The tree over the leaves from `start` on, where a peak begins; ValueError elsewhere."""
        return Tree(self.size - start, (peak for one, peak in self.complete() if one.start >= start))

    def add(self, leaf: bytes) -> None:
        """Grow by the hash of one entry."""
        size, peaks = self.size, self.peaks
        while size & 1:
            leaf = hashlib.sha256(b"\1" + peaks.pop() + leaf).digest()
            size >>= 1
        peaks.append(leaf)
        self.size += 1

    def join(self, after: Tree) -> None:
        """
        Grow by the leaves of another tree, of which the frontier is enough.

        ValueError where its first complete subtree does not begin at a multiple of its own size.
        """
        for one, peak in after.complete():
            width = one.end - one.start
            place, rest = divmod(self.size, width)
            if rest:
                raise ValueError(f"no subtree of {width} leaves begins at leaf {self.size}")
            while place & 1:
                peak = node(self.peaks.pop(), peak)
                place >>= 1
            self.peaks.append(peak)
            self.size += width

    def root(self) -> bytes:
        """The hash that stands for all leaves."""
        if not self.peaks:
            return EMPTY
        *rest, top = self.peaks
        for peak in reversed(rest):
            top = node(peak, top)
        return top


def _split(size: int) -> int:
    """The largest power of two below a size of at least 2."""
    return 1 << (size - 1).bit_length() - 1


def inclusion(index: int, size: int) -> list[Range]:
    """
    The subtrees whose roots prove that leaf `index` is in a tree of `size` (RFC 6962, 2.1.1).

    From the leaf's sibling up to the root's child. ValueError where there is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    path: list[Range] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(Range(middle, end))
            end = middle
        else:
            path.append(Range(start, middle))
            start = middle
    return path[::-1]


def consistency(old: int, size: int) -> list[Range]:
    """
    The subtrees whose roots prove that a tree of `size` goes on from one of `old` (RFC 6962, 2.1.2).

    None where both are the same. ValueError for an empty old tree, which proves nothing.
    """
    if not 0 < old <= size:
        raise ValueError(f"nothing proves that a tree of {size} leaves goes on from one of {old}")
    path: list[Range] = []
    start, end, whole = 0, size, True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(Range(middle, end))
            end = middle
        else:
            path.append(Range(start, middle))
            start, whole = middle, False
    if not whole:
        path.append(Range(start, end))
    return path[::-1]


def roots(ranges: Sequence[Range], leaves: Iterable[bytes], before: Tree | None = None) -> list[bytes]:
    """
    The root of each range, from one pass over the leaves.

    `before` is the tree over all that comes before the first leaf given: of that only the
    frontier is needed, as long as the ranges prove something that comes after it. They do not
    overlap. ValueError where the leaves end before the ranges do, or what is needed is gone.
    """
    before = Tree() if before is None else before
    found = dict(before.complete())
    waiting = sorted(set(ranges) - found.keys(), reverse=True)
    if any(one.end <= before.size for one in waiting):
        raise ValueError("the leaves that the proof needs are gone")
    tree = before.part(waiting[-1].start) if waiting and waiting[-1].start < before.size else Tree()
    given = enumerate(leaves, before.size)
    while waiting:
        at, leaf = next(given, (0, None))
        if leaf is None:
            raise ValueError("there are fewer leaves than the proof speaks of")
        if at < waiting[-1].start:
            continue
        tree.add(leaf)
        if at + 1 == waiting[-1].end:
            found[waiting.pop()] = tree.root()
            tree = Tree()
    return [found[one] for one in ranges]


def extension(old: Tree, size: int, leaves: Iterable[bytes]) -> list[bytes]:
    """The consistency proof from a tree of which only the frontier is kept; `leaves` are those after it."""
    return roots(consistency(old.size, size), leaves, old)


def is_included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether the proof shows the leaf in the tree (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < size or len(proof) > PROOF or len(leaf) != SIZE:
        return False
    at, last, found = index, size - 1, leaf
    for one in proof:
        if last == 0 or len(one) != SIZE:
            return False
        if at & 1 or at == last:
            found = node(one, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node(found, one)
        at, last = at >> 1, last >> 1
    return last == 0 and found == root


def is_extended(old: int, size: int, proof: Sequence[bytes], old_root: bytes, root: bytes) -> bool:
    """Whether the proof shows that the tree of `size` goes on from the one of `old` (RFC 9162, 2.1.4.2)."""
    if not 0 < old <= size or len(proof) > PROOF:
        return False
    if old == size:
        return not proof and old_root == root
    if any(len(one) != SIZE for one in (*proof, old_root, root)):
        return False
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path:
        return False
    at, last = old - 1, size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    before = after = path[0]
    for one in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            before, after = node(one, before), node(one, after)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            after = node(after, one)
        at, last = at >> 1, last >> 1
    return last == 0 and before == old_root and after == root
