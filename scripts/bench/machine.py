"""What a table has to say of the machine that it was measured on."""

from __future__ import annotations

import os
import platform
import sqlite3
import ssl
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from bench.sides import cores
from bench.table import number, percentile

_SYNCS = 50


def described(folder: Path) -> list[str]:
    """Lines of Markdown; `folder` is where the ledgers of the bench are."""
    theirs, ours = cores()
    pinned = (
        f"the proxies have core {_names(ours)}, upstream and load {_names(theirs)}"
        if theirs != ours
        else "which proxies, upstream and load share"
    )
    load = ", ".join(f"{one:.2f}" for one in os.getloadavg())
    count = len(os.sched_getaffinity(0))
    return [
        f"- {count} cores ({_model()}), of which {pinned}; load average {load} at the start",
        f"- {platform.system()} {platform.release()}, Python {platform.python_version()},"
        f" mitmproxy {version('mitmproxy')}, SQLite {sqlite3.sqlite_version}",
        f"- load and upstream use {ssl.OPENSSL_VERSION}",
        f"- writing 4 KiB and waiting for the disk takes {number(_sync(folder), 2)} ms at the median",
    ]


def _names(wanted: frozenset[int]) -> str:
    return ", ".join(map(str, sorted(wanted)))


def _model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


def _sync(folder: Path) -> float:
    """Milliseconds of a small write that survives a power cut."""
    took = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(_SYNCS):
            began = time.perf_counter()
            os.write(file.fileno(), bytes(4096))
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - began) * 1e3)
    return percentile(took, 50)
