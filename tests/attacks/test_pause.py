"""Attacks on a busy reviewer: what looks done and is not."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from proxy.admission import Admission
from proxy.approvals import Approvals
from proxy.decode import Facts
from proxy.errors import Exit, SluiceError
from proxy.ledger.sqlite import SqliteLedger
from proxy.policy import load_texts


@pytest.mark.parametrize("name", ["ada", "", "uid:", "uid:a b", "\ud800"])
async def test_a_pause_of_an_agent_that_cannot_be_is_an_error_and_not_silence(
    tmp_path: Path, name: str
) -> None:
    tmp_path.chmod(0o700)
    ledger, _ = await SqliteLedger.open(tmp_path / "ledger.db")
    try:
        gate = Admission(
            load_texts({"policy.yaml": "version: 1\n"}),
            Approvals(time.time),
            ledger,
            facts=Facts(),
            clock=time.time,
            new_id=lambda: "a" * 26,
        )
        with pytest.raises(SluiceError) as refused:
            gate.pause(name, "bob")
        assert refused.value.exit is Exit.NO
        assert gate.paused == set()
        gate.pause("uid:ada", "bob")
        assert gate.paused == {"uid:ada"}
    finally:
        await ledger.close()
