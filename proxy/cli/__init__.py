"""
The command line: parse, call, print. No logic.

Results go to stdout, talk to stderr behind ``sluice: ``. Exit status: `proxy.errors.Exit`.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
from collections.abc import Sequence
from typing import Final

from proxy.cli.parser import build
from proxy.errors import Exit, SluiceError, fail
from proxy.render import emit, printer, problem_lines

_LONG: Final = frozenset({"up", "run", "demo"})


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    logging.basicConfig(level=logging.WARNING, format="sluice: %(levelname)s: %(message)s", stream=sys.stderr)
    for noisy in ("mitmproxy", "asyncio", "hpack"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # In a locale without a character that is to be shown, its code is shown: no result is lost to it.
        sys.stdout.reconfigure(errors="backslashreplace")
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        arguments = build().parse_args(words)
        return _told(arguments, words)
    except SluiceError as error:
        talk = printer(sys.stderr, os.environ)
        for problem in error.problems:
            emit(talk, list(problem_lines(problem)))
        return int(error.exit)
    except BrokenPipeError:
        # Whoever read our output has seen enough (`| head`).
        _say_no_more()
        return int(Exit.YES)
    except KeyboardInterrupt:
        return 130


def _told(arguments: argparse.Namespace, words: list[str]) -> int:
    """
    Run a verb, which ends with 2 where its result cannot be written: 1 would be an answer.

    What takes long says more than a result, and what goes wrong in it is something else.
    """
    if arguments.verb in _LONG:
        return _run(arguments, words)
    try:
        status = _run(arguments, words)
        sys.stdout.flush()
    except ConnectionError:
        raise
    except OSError as error:
        if error.filename is not None:
            raise
        _say_no_more()
        raise fail(f"the result cannot be written: {error.strerror}", fix="make room for it") from None
    return status


def _say_no_more() -> None:
    """What is still to be written would fail once more at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(arguments: argparse.Namespace, words: list[str]) -> int:
    # Imported where they are needed: `sluice approve` should not wait for a proxy to load.
    match arguments.verb:
        case "up" | "run" | "demo" | "doctor" as verb:
            from proxy.cli import starting

            return starting.VERBS[verb](arguments, words)
        case "policy":
            from proxy.cli import policies

            return policies.VERBS[arguments.action](arguments)
        case "ledger":
            from proxy.cli import ledgers

            return ledgers.VERBS[arguments.action](arguments)
        case "report":
            from proxy.cli import reporting

            return reporting.VERBS[arguments.verb](arguments)
        case "budgets":
            from proxy.cli import budgeting

            return budgeting.VERBS[arguments.verb](arguments)
        case "reviewer":
            from proxy.cli import enrolling

            return enrolling.VERBS[arguments.action](arguments)
        case "approve" | "deny":
            from proxy.cli import answering

            return answering.VERBS[arguments.verb](arguments)
        case "grants" | "revoke" | "extend":
            from proxy.cli import granting

            return granting.VERBS[arguments.verb](arguments)
        case "edit":
            from proxy.cli import editing

            return editing.VERBS[arguments.verb](arguments)
        case "completion":
            import shtab

            print(shtab.complete(build(), arguments.shell))
            return int(Exit.YES)
        case verb:
            from proxy.cli import deciding

            return deciding.VERBS[verb](arguments)
