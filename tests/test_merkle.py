"""The tree over the entries: every size to 100, against the definition of RFC 6962 word for word."""

from __future__ import annotations

import hashlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.merkle import (
    EMPTY,
    Range,
    Tree,
    consistency,
    extension,
    inclusion,
    is_extended,
    is_included,
    node,
    roots,
)

LEAVES = [hashlib.sha256(b"\0%d" % number).digest() for number in range(101)]


def below(size: int) -> int:
    """The largest power of two that is smaller."""
    power = 1
    while power * 2 < size:
        power *= 2
    return power


def mth(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = below(len(leaves))
    return node(mth(leaves[:k]), mth(leaves[k:]))


def path(m: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 6962, section 2.1.1."""
    if len(leaves) == 1:
        return []
    k = below(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    """RFC 6962, section 2.1.2."""
    if m == len(leaves):
        return [] if whole else [mth(leaves)]
    k = below(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


def tree_of(size: int) -> Tree:
    tree = Tree()
    for leaf in LEAVES[:size]:
        tree.add(leaf)
    return tree


def test_the_root_of_every_size_is_the_one_of_the_definition() -> None:
    assert Tree().root() == EMPTY
    tree = Tree()
    for size, leaf in enumerate(LEAVES, 1):
        tree.add(leaf)
        assert tree.root() == mth(LEAVES[:size])
        again = Tree.decode(size, tree.encode())
        assert (again.root(), again.size) == (tree.root(), size)


@pytest.mark.parametrize("size", range(1, 101))
def test_every_leaf_of_every_size_is_proven_and_no_other(size: int) -> None:
    root = mth(LEAVES[:size])
    for index in range(size):
        proof = roots(inclusion(index, size), LEAVES)
        assert proof == path(index, LEAVES[:size])
        assert is_included(LEAVES[index], index, size, proof, root)
        assert not is_included(LEAVES[index - 1] if size > 1 else EMPTY, index, size, proof, root)
        assert not is_included(LEAVES[index], index, size, [*proof, EMPTY], root)
        if proof:
            assert not is_included(LEAVES[index], index, size, proof[:-1], root)
            assert not is_included(LEAVES[index], index ^ 1, size, proof, root)


@pytest.mark.parametrize("size", [*range(1, 33), 57, 64, 100])
def test_what_comes_after_a_frontier_is_proven_without_what_came_before(size: int) -> None:
    for gone in range(size):
        before = tree_of(gone)
        for index in range(gone, size):
            proof = roots(inclusion(index, size), LEAVES[gone:size], before)
            assert proof == path(index, LEAVES[:size])
        for old in range(max(gone, 1), size + 1):
            proof = roots(consistency(old, size), LEAVES[gone:size], before)
            assert proof == subproof(old, LEAVES[:size], True)
    if size > 2:
        with pytest.raises(ValueError, match="gone"):
            roots(inclusion(0, size), LEAVES[2:size], tree_of(2))


@pytest.mark.parametrize("size", range(1, 101))
def test_every_size_is_proven_to_go_on_from_every_smaller_one(size: int) -> None:
    root = mth(LEAVES[:size])
    for old in range(1, size + 1):
        before = mth(LEAVES[:old])
        proof = roots(consistency(old, size), LEAVES)
        assert proof == subproof(old, LEAVES[:size], True)
        assert extension(tree_of(old), size, LEAVES[old:]) == proof
        assert is_extended(old, size, proof, before, root)
        assert not is_extended(old, size, [*proof, EMPTY], before, root)
        assert not is_extended(old, size, proof, EMPTY, root)
        assert old == size or not is_extended(old, size, proof, before, EMPTY)
        if proof:
            assert not is_extended(old, size, proof[1:], before, root)
            assert not is_extended(old, size, [*proof[:-1], EMPTY], before, root)


def test_an_empty_tree_proves_nothing() -> None:
    for size in (0, 1, 5):
        assert not is_extended(0, size, [], EMPTY, mth(LEAVES[:size]))
        with pytest.raises(ValueError, match="nothing proves"):
            consistency(0, size)
    assert not is_included(LEAVES[0], 0, 0, [], EMPTY)
    with pytest.raises(ValueError, match="no leaf"):
        inclusion(5, 5)
    with pytest.raises(ValueError, match="no leaf"):
        inclusion(-1, 5)


def test_a_frontier_that_does_not_belong_to_its_size_is_refused() -> None:
    for size, frontier in (
        (0, bytes(32)),
        (1, b""),
        (3, bytes(32)),
        (4, bytes(33)),
        (-1, b""),
        (2, bytes(31)),
    ):
        with pytest.raises(ValueError, match="no tree"):
            Tree.decode(size, frontier)


def test_leaves_that_are_missing_are_an_error_not_another_proof() -> None:
    with pytest.raises(ValueError, match="fewer leaves"):
        roots(inclusion(3, 10), LEAVES[:9])
    with pytest.raises(ValueError, match="fewer leaves"):
        extension(tree_of(3), 10, LEAVES[3:9])


def test_a_proof_that_is_too_long_or_odd_is_refused_before_it_is_hashed() -> None:
    assert not is_included(LEAVES[0], 0, 2**62, [bytes(32)] * 65, EMPTY)
    assert not is_included(LEAVES[0], 0, 2, [bytes(31)], EMPTY)
    assert not is_included(b"", 0, 1, [], b"")
    assert not is_extended(1, 2, [LEAVES[0]], b"", b"")
    assert not is_extended(2, 2**62, [bytes(32)] * 65, EMPTY, EMPTY)


@given(st.integers(1, 2**62), st.data())
def test_ranges_of_any_size_lie_beside_each_other(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    covered = sorted([*inclusion(index, size), Range(index, index + 1)])
    assert covered[0].start == 0
    assert covered[-1].end == size
    assert all(a.end == b.start for a, b in itertools.pairwise(covered))
    old = data.draw(st.integers(1, size))
    ranges = sorted(consistency(old, size))
    assert all(a.end <= b.start for a, b in itertools.pairwise(ranges))
    assert len(ranges) <= 64


def test_the_roots_of_the_example_of_certificate_transparency_come_out() -> None:
    """The eight leaves and roots that the first implementation of RFC 6962 was tested with."""
    inputs = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ]
    wanted = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ]
    tree = Tree()
    for given_, root in zip(inputs, wanted, strict=True):
        tree.add(hashlib.sha256(b"\0" + bytes.fromhex(given_)).digest())
        assert tree.root().hex() == root
