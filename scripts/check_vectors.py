#!/usr/bin/env python3
"""
Runs public test vectors against the chain: `scripts/check_vectors.py FOLDER`.

FOLDER holds `rfc8785/**/input` with `output` beside it (the vectors of RFC 8785) and
`jsontestsuite/test_parsing` (JSONTestSuite). Within the restricted profile a vector must come
out exactly; outside it must be refused, never written differently. Nothing that is no JSON may
be taken for an entry.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from proxy.chain import UnfitError, canonical, parse


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


def main() -> int:
    """Print what is wrong; 1 if anything is."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(sys.argv[1])
    wrong = canonicalization(folder) + parsing(folder)
    print("\n".join(wrong) or "every vector is as it should be")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
