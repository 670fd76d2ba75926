"""A ledger and its heads, for witnesses to keep."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from proxy.ledger.seal import Seal, seal
from proxy.merkle import Tree
from proxy.note import Signer

sys.path.insert(0, str(Path(__file__).parent.parent / "ledger"))

LEAVES = [hashlib.sha256(b"\0%d" % number).digest() for number in range(200)]
SIGNER = Signer("sluice/" + "0" * 32, Ed25519PrivateKey.from_private_bytes(bytes(32)))


def head(size: int, signer: Signer = SIGNER) -> Seal:
    tree = Tree()
    for leaf in LEAVES[:size]:
        tree.add(leaf)
    return seal(signer, tree)


@pytest.fixture
def heads() -> list[Seal]:
    return [head(size) for size in (1, 2, 5, 9)]
