"""
The fault suite: every state and transition of a hold, under every fault, and the books closed after it.

    make faults                                  10,000 runs
    .venv/bin/python scripts/faults.py --seed 17 --runs 1          batch 17 again
    .venv/bin/python scripts/faults.py --plant no-disconnect-watch    must fail

Gates in processes of their own, real sockets, TLS, HTTP/2 and SQLite; see docs/faults.md. Ends with
status 1 where anything is wrong. Talk goes to stderr, the table to stdout.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from faults.batch import played
from faults.batches import Batch, batches
from faults.books import findings
from faults.cases import Fault
from faults.findings import Finding
from faults.gate import SCRIPTS
from faults.journal import Found
from faults.plants import PLANTS
from faults.run import ACTS
from faults.table import Tally, page, put, summary
from faults.ways import Way, ways

from proxy.hold import TRANSITIONS

ROOT = Path(__file__).resolve().parent.parent
SIZE = 72
"""Runs in a batch."""
SHORT = 32
"""Runs in each batch of the short version, which has one for each fault."""


@contextmanager
def upstream(folder: Path) -> Iterator[dict[str, int]]:
    """The counting upstream, for as long as the block runs; its ports."""
    environment = {**os.environ, "PYTHONPATH": f"{SCRIPTS.parent}:{SCRIPTS}"}
    process = subprocess.Popen(
        [sys.executable, "-m", "faults.upstream", str(folder)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.communicate(timeout=20)


def play(batch: Batch, folder: Path, ports: dict[str, int], plant: str) -> tuple[Found, list[Finding]]:
    """One batch, in a process that does nothing else meanwhile."""
    found = asyncio.run(played(batch, folder, ports, plant))
    return found, findings(found)


def run(todo: Iterator[Batch], jobs: int, plant: str, until_found: bool) -> Tally:
    """All batches, so many at once."""
    tally = Tally()
    with (
        tempfile.TemporaryDirectory(prefix="sluice-faults-") as name,
        upstream(Path(name)) as ports,
        ProcessPoolExecutor(jobs) as pool,
    ):
        pending: set[Future[tuple[Found, list[Finding]]]] = set()
        while True:
            for batch in islice(todo, jobs - len(pending)):
                pending.add(pool.submit(play, batch, Path(name), ports, plant))
            if not pending:
                return tally
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for one in done:
                _take(tally, *one.result())
            if until_found and tally.wrong:
                todo = iter(())


def _take(tally: Tally, found: Found, wrong: Sequence[Finding]) -> None:
    tally.add(found, wrong)
    batch = found.batch
    say(
        f"batch {batch.seed} ({batch.fault}): {batch.runs} runs in {found.seconds:.1f} s, "
        f"{len(wrong)} wrong; {tally.runs} runs so far, {len(tally.wrong)} wrong"
    )
    for finding in wrong[:10]:
        say(f"  {finding.wrong}: {finding.mark}: {finding.what}  [--seed {batch.seed} --runs 1]")


def say(what: str) -> None:
    """Talk goes to stderr."""
    print(f"faults: {what}", file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    """What is asked on the command line."""
    parser = argparse.ArgumentParser(description="Strike holds with faults, and close the books.")
    parser.add_argument("--seed", type=int, default=1, help="the first batch's (default: 1)")
    parser.add_argument("--runs", type=int, default=10_000, help="how many (default: 10,000)")
    parser.add_argument("--short", action="store_true", help=f"{SHORT} runs with each fault")
    parser.add_argument("--jobs", type=int, default=2 * (os.cpu_count() or 1), help="batches at once")
    parser.add_argument("--size", type=int, help=f"runs in a batch (default: {SIZE}, {SHORT} with --short)")
    parser.add_argument("--fault", action="append", choices=[str(one) for one in Fault], help="only this one")
    parser.add_argument("--plant", choices=PLANTS, default="-", help="put this bug in: the suite must fail")
    parser.add_argument("--until-found", action="store_true", help="end at the first thing that is wrong")
    parser.add_argument("--write", action="store_true", help="write docs/faults.md and README's table anew")
    return parser.parse_args()


def write(tally: Tally, known: Sequence[Way], took: str) -> None:
    """The page, and the table in README."""
    when = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    system = f"Linux {platform.release()}, Python {platform.python_version()}"
    machine = f"{when}, {took}, {os.cpu_count()} cores, {system}."
    (ROOT / "docs" / "faults.md").write_text(page(tally, known, machine))
    readme = ROOT / "README.md"
    readme.write_text(put(readme.read_text(), summary(tally)))


def main() -> int:
    """See the module's words."""
    asked = arguments()
    known = ways(TRANSITIONS, ACTS)
    faults = [Fault(one) for one in asked.fault or Fault]
    size = asked.size or (SHORT if asked.short else SIZE)
    runs = len(faults) * size if asked.short else asked.runs
    say(f"{len(known)} transitions, {len(faults)} faults, seeds from {asked.seed}")
    began = time.monotonic()
    tally = run(batches(asked.seed, runs, size, known, faults), asked.jobs, asked.plant, asked.until_found)
    print(summary(tally))
    missed = [] if asked.plant != "-" else tally.missed(known)
    for way in missed:
        say(f"error: never brought about, though nothing went wrong: {way}")
    seconds = time.monotonic() - began
    say(f"{tally.runs} runs, {len(tally.wrong)} wrong, {seconds:.0f} s")
    if asked.write:
        write(tally, known, f"{seconds / 60:.0f} minutes, seeds from {asked.seed}")
    return 1 if tally.wrong or missed else 0


if __name__ == "__main__":
    sys.exit(main())
