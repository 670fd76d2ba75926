"""What several tests of reviewers' keys begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.ledger.seal import KEY


@pytest.fixture
def ledger(kept: Path, tmp_path: Path) -> Path:
    """A copy that a test may do anything to."""
    tmp_path.chmod(0o700)
    for name in ("ledger.db", KEY):
        (tmp_path / name).write_bytes((kept / name).read_bytes())
        (tmp_path / name).chmod(0o600)
    return tmp_path / "ledger.db"
