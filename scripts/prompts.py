#!/usr/bin/env python
"""
How often people are asked: prompts an hour and in a hundred requests, from a ledger.

    scripts/prompts.py LEDGER              of a ledger that a gate has written
    scripts/prompts.py --record SECONDS    of the demo's agent, run again and again in shadow

A ledger written with `--shadow` counts what would have been held.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime
from pathlib import Path

from proxy.childenv import child_environment, write_bundle
from proxy.childgate import start_gate
from proxy.demo.authority import Authority
from proxy.demo.fakes import fakes
from proxy.ledger.read import Filter, entries, reading


def record(seconds: float, folder: Path) -> tuple[Path, int]:
    """Run the demo's agent in a loop behind a gate in shadow; the ledger, and how many loops."""
    state, authority = folder / "state", Authority.make()
    (folder / "ca.pem").write_bytes(authority.certificate)
    with fakes(authority) as apis:
        flags = ["--shadow", "--listen=127.0.0.1:0", f"--upstream-ca={folder / 'ca.pem'}"]
        flags += apis.resolve_flags()
        with start_gate(state, flags, environment=os.environ) as gate:
            apis.serve()
            bundle = write_bundle(state, gate.ready.ca)
            environment = child_environment(
                os.environ, proxy=gate.ready.proxy, ca=gate.ready.ca, bundle=bundle
            )
            loops, end = 0, time.monotonic() + seconds
            while time.monotonic() < end:
                command = [sys.executable, "-m", "proxy.demo.agent"]
                subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=60)
                loops += 1
    return state / "ledger.db", loops


def report(ledger: Path) -> None:
    """Print the table."""
    decided: list[dict[str, object]] = []
    with reading(ledger) as connection:
        decided += [fields for _, fields in entries(connection, Filter(kinds=frozenset({"decided"})))]
    if not decided:
        sys.exit("no decision is in this ledger")
    first, last = (datetime.fromisoformat(str(decided[at]["time"])) for at in (0, -1))
    hours = max((last - first).total_seconds(), 1.0) / 3600
    asked = Counter(str(one["rule"]) for one in decided if one.get("effect") == "hold")
    total = sum(asked.values())
    print(f"{len(decided)} requests in {hours:.3f} h, {total} prompts")
    print(
        f"{total / len(decided) * 100:.1f} prompts in 100 requests, {total / hours:.0f} an hour at this pace"
    )
    for rule, count in asked.most_common():
        print(f"  {count:6}  {rule}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("ledger", nargs="?", type=Path)
    what.add_argument("--record", type=float, metavar="SECONDS")
    arguments = parser.parse_args()
    if arguments.ledger:
        report(arguments.ledger)
        return
    with tempfile.TemporaryDirectory() as folder:
        ledger, loops = record(arguments.record, Path(folder))
        print(f"the demo's agent ran {loops} times")
        report(ledger)


if __name__ == "__main__":
    main()
