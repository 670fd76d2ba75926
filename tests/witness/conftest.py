"""Fixtures of this folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from heads import head

from proxy.ledger.seal import Seal

sys.path.insert(0, str(Path(__file__).parent.parent / "ledger"))


@pytest.fixture
def heads() -> list[Seal]:
    return [head(size) for size in (1, 2, 5, 9)]
