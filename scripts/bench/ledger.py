"""The ledger: how fast it writes, verifies and exports, and what it takes on disk."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.agent import BrokenError
from bench.sides import SCRIPTS
from bench.writing import Written

CALLERS: Final = (1, 32, 256)
RATE: Final = 1_000
SLOWER: Final = 5_000
"""Microseconds more that each flush takes on the slow disk."""
_SLOW: Final = Path(__file__).with_name("slowsync.c")
_OPENSSL: Final = re.compile(r"^\+F:\d+:sha256:([\d.e+]+)$", re.MULTILINE)
_BLOCK: Final = 1_024
_LOOK: Final = 0.1


@dataclass(frozen=True, slots=True)
class Read:
    """What reading a whole ledger took: seconds, bytes of memory at most (all processes), of the file."""

    entries: int
    verified: float
    memory: int
    halfway: int
    exported: float
    size: int
    hashing: float


@dataclass(frozen=True, slots=True)
class Kept:
    """
    Every run of writing, by who wrote: callers, or `RATE` a second (0 callers).

    `slow` is the same with `SLOWER` added to each flush; empty where no compiler is.
    """

    writing: Mapping[int, Sequence[Written]]
    slow: Mapping[int, Sequence[Written]]
    read: Read


def kept(folder: Path, rounds: int, seconds: float, entries: int) -> Kept:
    """Measure everything; `seconds` for each way of writing in each round."""
    shim = _compiled(folder)
    writing: dict[int, list[Written]] = {callers: [] for callers in (*CALLERS, 0)}
    slow: dict[int, list[Written]] = {callers: [] for callers in (*CALLERS, 0)} if shim else {}
    for _ in range(rounds):
        for found, preload in ((writing, None), (slow, shim)):
            for callers, runs in found.items():
                runs.append(_written(folder, callers, seconds, preload))
    return Kept(writing, slow, _read(folder, entries))


def _compiled(folder: Path) -> Path | None:
    """The library that makes a disk slow; None where there is no compiler."""
    compiler, library = shutil.which("cc"), folder / "slowsync.so"
    if compiler is None:
        return None
    command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(_SLOW), "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    return library


def _written(folder: Path, callers: int, seconds: float, preload: Path | None) -> Written:
    place = folder / "writing"
    plan = {"folder": str(place), "callers": callers, "rate": 0 if callers else RATE}
    # By then the log of writes has its size on all but the slowest, and is written from its start again.
    plan |= {"seconds": seconds, "warm": seconds * 0.4}
    slower = {} if preload is None else {"LD_PRELOAD": str(preload), "SLOWSYNC_US": str(SLOWER)}
    try:
        return Written(**json.loads(_run(plan, {**os.environ, **slower})))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _run(plan: Mapping[str, object], env: Mapping[str, str]) -> str:
    command = [sys.executable, "-m", "bench.writing", json.dumps(plan)]
    done = subprocess.run(command, cwd=SCRIPTS, env=env, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise BrokenError(f"the ledger could not be written:\n{done.stderr[-2000:]}")
    return done.stdout


def _read(folder: Path, entries: int) -> Read:
    place, sluice = folder / "reading", str(Path(sys.executable).with_name("sluice"))
    _run({"folder": str(place), "count": entries}, os.environ)
    ledger, out = place / "ledger.db", place / "export.jsonl"
    try:
        verified, samples = _watched([sluice, "ledger", "verify", str(ledger)])
        exported, _ = _watched([sluice, "ledger", "export", "--format", "jsonl", "-o", str(out), str(ledger)])
        with out.open("rb") as file:
            if sum(1 for _ in file) != entries + 1:
                raise BrokenError("the export does not have the entries of the ledger")
        half = max(samples[: max(1, len(samples) // 2)])
        return Read(entries, verified, max(samples), half, exported, ledger.stat().st_size, hashing())
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _watched(command: Sequence[str]) -> tuple[float, list[int]]:
    """Seconds that a command takes, and the memory of it and of all that it starts, again and again."""
    began, samples = time.perf_counter(), [0]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        while started.poll() is None:
            samples.append(_memory(started.pid))
            time.sleep(_LOOK)
        took = time.perf_counter() - began
        assert started.stdout is not None and started.stderr is not None
        if started.returncode:
            raise BrokenError(f"{command!r}: {started.stdout.read()}{started.stderr.read()}")
    return took, samples


def _memory(pid: int) -> int:
    """Bytes that a process and those below it share or have (PSS: what is shared counts once)."""
    total = 0
    with contextlib.suppress(OSError):
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total = int(rollup.partition("\nPss:")[2].split()[0]) * 1024
        for one in Path(f"/proc/{pid}/task").iterdir():
            total += sum(_memory(int(child)) for child in (one / "children").read_text().split())
    return total


def hashing() -> float:
    """Bytes a second that OpenSSL hashes on one core (SHA-256, blocks of 1 KB); 0 where it is not there."""
    openssl = shutil.which("openssl")
    if openssl is None:
        return 0.0
    command = [openssl, "speed", "-mr", "-seconds", "1", "-bytes", str(_BLOCK), "sha256"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    found = _OPENSSL.search(done.stdout)
    return float(found[1]) if found else 0.0
