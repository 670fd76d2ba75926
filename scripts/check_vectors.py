#!/usr/bin/env python3
"""
Runs public test vectors against the chain and the tree: `scripts/check_vectors.py FOLDER`.

FOLDER holds `rfc8785/**/input` with `output` beside it (the vectors of RFC 8785),
`jsontestsuite/test_parsing` (JSONTestSuite), and `**/inclusion` and `**/consistency` (the proofs of
RFC 6962 of transparency-dev/merkle, most of which must be refused), and `**/sshsig/testdata` (the
signatures of openssh-portable's unit tests); what is not there is left out.
Within the restricted profile a vector must come out exactly; outside it must be refused, never
written differently. Nothing that is no JSON may be taken for an entry.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

from proxy.chain import UnfitError, canonical, parse
from proxy.merkle import is_extended, is_included
from proxy.signing import ProofError, sshsig
from proxy.signing.publickey import PublicKey

# Kinds of signatures of OpenSSH that may not review: they must be refused, not misread.
_NOT_TAKEN = ("ecdsa_sk_webauthn", "mldsa44-ed25519", "dsa")


def canonicalization(folder: Path) -> list[str]:
    """Vectors of RFC 8785 that come out differently."""
    wrong = []
    for given in sorted(folder.rglob("input/*.json")):
        wanted = (given.parent.parent / "output" / given.name).read_bytes()
        try:
            if canonical(json.loads(given.read_bytes())) != wanted:
                wrong.append(f"{given.name}: written differently")
        except UnfitError as error:
            print(f"  {given.name}: outside the profile ({error})")
    return wrong


def parsing(folder: Path) -> list[str]:
    """Files of JSONTestSuite that are taken although they are not what `canonical` writes."""
    wrong = []
    for given in sorted(folder.rglob("test_parsing/*.json")):
        data = given.read_bytes()
        try:
            value = parse(data)
        except UnfitError:
            continue
        if given.name.startswith("n_") or canonical(value) != data:
            wrong.append(f"{given.name}: taken")
    return wrong


def proofs(folder: Path) -> list[str]:
    """Proofs of RFC 6962 that come out differently."""
    wrong, count = [], 0
    for kind, holds in (("inclusion", _included), ("consistency", _extended)):
        for given in sorted(folder.rglob(f"{kind}/**/*.json")):
            vector = json.loads(given.read_bytes())
            count += 1
            if holds(vector) == bool(vector.get("wantErr")):
                wrong.append(f"{kind}/{given.parent.name}/{given.name}: {vector.get('desc', '')}")
    print(f"  {count} proofs of RFC 6962")
    return wrong


def _bytes(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def _included(vector: dict[str, Any]) -> bool:
    proof = [_bytes(one) for one in vector["proof"] or []]
    leaf, root = _bytes(vector["leafHash"]), _bytes(vector["root"])
    return is_included(leaf, vector["leafIdx"], vector["treeSize"], proof, root)


def _extended(vector: dict[str, Any]) -> bool:
    proof = [_bytes(one) for one in vector["proof"] or []]
    roots = _bytes(vector["root1"]), _bytes(vector["root2"])
    return is_extended(vector["size1"], vector["size2"], proof, *roots)


def signatures(folder: Path) -> list[str]:
    """Signatures of OpenSSH that come out differently, or still hold once a byte is another."""
    wrong, count = [], 0
    for given in sorted(folder.rglob("sshsig/testdata/*.sig")):
        message = given.with_name("signed-data").read_bytes()
        namespace = given.with_name("namespace").read_text().strip()
        count += 1
        try:
            key = sshsig.check(given.read_text(), message, namespace)
            if key != PublicKey.of_line(given.with_suffix(".pub").read_text()):
                wrong.append(f"{given.name}: by another key")
        except ProofError as error:
            if given.stem not in _NOT_TAKEN:
                wrong.append(f"{given.name}: {error}")
            continue
        for other in ((message + b" ", namespace), (message, f"{namespace}2")):
            try:
                sshsig.check(given.read_text(), *other)
                wrong.append(f"{given.name}: taken for another message or purpose")
            except ProofError:
                continue
    print(f"  {count} signatures of OpenSSH")
    return wrong


def main() -> int:
    """Print what is wrong; 1 if anything is."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(sys.argv[1])
    wrong = canonicalization(folder) + parsing(folder) + proofs(folder) + signatures(folder)
    print("\n".join(wrong) or "every vector is as it should be")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
