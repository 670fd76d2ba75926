"""`sluice report`: how people have decided."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from proxy.cli.parser import folder
from proxy.errors import Exit
from proxy.ledger import read
from proxy.ledger.counted import KIND
from proxy.ledger.removal import pruned_in
from proxy.render import emit, printer, report_lines
from proxy.report import KINDS, Report, Wanted


def _report(arguments: argparse.Namespace) -> int:
    path: Path = arguments.file or folder(arguments) / "ledger.db"
    report = Report(
        Wanted(arguments.since, arguments.until, arguments.agent, arguments.reviewer, arguments.rule)
    )
    with read.reading(path) as connection:
        pruned = pruned_in(connection)
        for wanted in (read.Filter(kinds=KINDS, held=True), read.Filter(kinds=frozenset({KIND}))):
            for _, fields in read.entries(connection, wanted):
                report.take(fields)
    if pruned is not None:
        print(
            f"sluice: entries before {pruned.before} were pruned: what they say is not in here",
            file=sys.stderr,
        )
    if arguments.json:
        for line in report.as_dicts():
            print(json.dumps(line))
    else:
        emit(printer(sys.stdout, os.environ), list(report_lines(report)))
    return int(Exit.YES)


VERBS: Final[dict[str, Callable[[argparse.Namespace], int]]] = {"report": _report}
