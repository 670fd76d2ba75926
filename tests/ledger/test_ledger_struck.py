"""The disk fails, or the process is killed, at each single write and flush."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ledgers import NOW, Clock, said

from proxy.ledger.sqlite import SqliteLedger
from proxy.ledger.verify import verify
from proxy.ledger.workers import Cores

HERE = Path(__file__).parent
CALLS = 48
"""Six stories are more calls than that: each of them is struck once."""


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("a disk that fails needs a compiler")
    library = tmp_path_factory.mktemp("disk") / "faulty.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(HERE / "faulty.c")], check=True)
    return library


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where that can be: what fails is put there, and the real disk has nothing to show."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        yield Path(name)


def strike(disk: Path, folder: Path, error: int, count: int) -> None:
    env = {**os.environ, "LD_PRELOAD": str(disk), "PYTHONPATH": str(HERE)}
    command = [sys.executable, str(HERE / "struck.py"), str(folder), str(error), str(count), str(CALLS)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("error", "count"),
    [
        pytest.param(0, 1, id="killed"),
        pytest.param(errno.EIO, 1, id="EIO"),
        pytest.param(errno.ENOSPC, 1, id="ENOSPC"),
        pytest.param(errno.EROFS, 3, id="EROFS thrice"),
    ],
)
async def test_at_whichever_call_nothing_that_was_acknowledged_is_lost(
    disk: Path, folder: Path, error: int, count: int
) -> None:
    strike(disk, folder, error, count)

    kept = 0
    for number in range(CALLS):
        path = folder / str(number) / "ledger.db"
        ledger, _ = await SqliteLedger.open(path, clock=Clock(NOW + 600))  # as the next start does
        await ledger.close()
        report = verify(path, NOW + 3600, cores=Cores(1))
        assert report.ok, (number, report.findings)
        entries = said(path)
        for line in (path.parent / "told").read_text().splitlines():
            seq, id = line.split()
            assert entries[int(seq)].get("hold", entries[int(seq)].get("id")) == id, (number, line)
            kept += 1
        held = {str(entry["hold"]) for entry in entries if entry["kind"] == "held"}
        ended = [
            entry["hold"] for entry in entries if entry["kind"] == "decided" and entry.get("hold") in held
        ]
        assert sorted(ended) == sorted(held), number  # each hold has ended, once
    assert kept > CALLS
