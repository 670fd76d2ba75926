"""Verbs about the ledger: show, verify, export."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from proxy.cli.parser import folder
from proxy.errors import Exit
from proxy.ledger import export as exports
from proxy.ledger import read
from proxy.ledger.verify import verify
from proxy.render import emit, entry_line, printer, visible

_FOLLOW: Final = 0.25


def _file(arguments: argparse.Namespace) -> Path:
    return arguments.file or folder(arguments) / "ledger.db"


def _show(arguments: argparse.Namespace) -> int:
    def wait() -> bool:
        if not arguments.follow:
            return False
        sys.stdout.flush()
        time.sleep(_FOLLOW)
        return True

    console = printer(sys.stdout, os.environ)
    with read.reading(_file(arguments)) as connection:
        for entry, fields in read.follow(connection, wait):
            if arguments.json:
                sys.stdout.write(entry.body.decode() + "\n")
            else:
                emit(console, [entry_line(fields)])
    return int(Exit.YES)


def _verify(arguments: argparse.Namespace) -> int:
    report = verify(_file(arguments), time.time())
    if arguments.json:
        print(json.dumps(report.as_dict()))
        return int(report.exit)
    if report.ok:
        print(f"{report.entries} entries, {report.first} to {report.last}: nothing was changed")
        print(f"head {report.head}")
        print(f"sluice: {report.limits}", file=sys.stderr)
        return int(report.exit)
    for finding in report.findings:
        where = "the ledger" if finding.seq is None else f"entry {finding.seq}"
        print(visible(f"{where}: {finding.what} ({finding.code})"))
    if report.more:
        print(f"and {report.more} more")
    return int(report.exit)


def _export(arguments: argparse.Namespace) -> int:
    wanted = read.Filter(kinds=frozenset(arguments.kind)) if arguments.kind else read.EVERYTHING
    if arguments.output is None:
        exports.export(_file(arguments), sys.stdout.buffer, arguments.format, wanted)
        sys.stdout.flush()
        return int(Exit.YES)
    count = exports.export_to(_file(arguments), arguments.output, arguments.format, wanted)
    print(f"sluice: {count} entries written to {arguments.output}", file=sys.stderr)
    return int(Exit.YES)


VERBS: Final[dict[str, Callable[[argparse.Namespace], int]]] = {
    "show": _show,
    "verify": _verify,
    "export": _export,
}
