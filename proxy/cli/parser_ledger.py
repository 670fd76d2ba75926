"""Flags and verbs about the ledger, with their help texts."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from proxy.decision import Word

_TIME: Final = re.compile(r"(\d{1,9})([smhd])", re.ASCII)
_BEGUN: Final = re.compile(r"\d{4}(-\d\d(-\d\d(T\d\d(:\d\d(:\d\d(\.\d{1,6})?)?)?Z?)?)?)?", re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

type Verb = Callable[[str, str, bool], argparse.ArgumentParser]
"""Makes a verb of `sluice ledger`: its name, its help, and whether it prints JSON."""


def add_to_gate(parser: argparse.ArgumentParser) -> None:
    """The flags of a gate: who is sent the ledger's head, and how long payloads are kept."""
    add = parser.add_argument
    add(
        "--witness",
        action="append",
        default=[],
        metavar="KIND:WHERE",
        help="send the signed head of the ledger there; repeatable: file:PATH, git:PATH, command:COMMAND, "
        "syslog:[ADDRESS], https://…, 'c2sp:URL VKEY'",
    )
    add(
        "--max-unanchored",
        type=_duration,
        default=300.0,
        metavar="TIME",
        help="alarm where a witness has kept no head for so long (default 5m)",
    )
    add(
        "--keep-payloads",
        type=_kept_time,
        metavar="TIME",
        help="erase what was asked once it is older (30d); the entries stay (default: keep all)",
    )
    add(
        "--encrypt-payloads",
        action="store_true",
        help="keep what was asked encrypted, under payloads.key in the state folder (made once)",
    )


def add(verb: Verb) -> None:
    """Every verb of `sluice ledger`."""
    show = verb("show", "the entries, newest last", True)
    show.add_argument("--follow", action="store_true", help="go on as entries come")
    says = "prove that nothing was changed, and say how far that goes: exit 1 names the first bad entry"
    verify = verb("verify", says, True)
    _keys(verify)
    verify.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="PLACE",
        help="compare with checkpoints kept elsewhere: a file, a git repository; repeatable",
    )
    export = verb("export", "write the entries out", False)
    checkpoint = verb("checkpoint", "print the signed head, to be kept elsewhere", False)
    for one in (show, verify, export, checkpoint):
        _file(one)
    export.add_argument(
        "--format",
        choices=("jsonl", "csv", "ocsf", "cef", "html"),
        default="jsonl",
        help="jsonl verifies by itself; csv and html are for reading, ocsf and cef for a SIEM",
    )
    export.add_argument("-o", dest="output", type=Path, metavar="OUT", help="default: standard output")
    for one in (show, export):
        _filters(one)
    review = verb("export-review", "the signed answers to one hold, for ssh-keygen -Y verify", False)
    review.add_argument("hold", metavar="ID", help="any unique prefix of the hold's id")
    review.add_argument("-o", dest="output", type=Path, required=True, metavar="FOLDER", help="a new folder")
    review.add_argument("--ledger", type=Path, metavar="FILE", help="default: the state folder's")
    _proving(verb)
    _keeping(verb)


def add_budgets(budgets: argparse.ArgumentParser) -> None:
    """The flags of `sluice budgets`."""
    _file(budgets)


def add_report(report: argparse.ArgumentParser) -> None:
    """The flags of `sluice report`."""
    _file(report)
    _times(report)
    for name in ("agent", "reviewer", "rule"):
        report.add_argument(f"--{name}", metavar="NAME", help=f"only holds with this {name}")


def _file(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="default: ledger.db in the state folder"
    )


def _keys(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="VKEY",
        help="the log's key (sluice up prints it), or a witness's; repeatable",
    )


def _filters(verb: argparse.ArgumentParser) -> None:
    add = verb.add_argument
    add("--kind", action="append", default=[], metavar="KIND", help="only entries of this kind; repeatable")
    _times(verb)
    for name in ("agent", "reviewer", "rule", "host"):
        add(f"--{name}", metavar="NAME", help=f"only with this {name}")
    add("--hold", metavar="ID", help="only about this hold: its id, or the beginning of it")
    words = [str(word) for word in Word]
    add("--decision", choices=words, metavar="WORD", help=f"only with this decision: {', '.join(words)}")


def _times(verb: argparse.ArgumentParser) -> None:
    add = verb.add_argument
    says = "from then on: 2026-07-25, 2026-07-25T17:20, or 7d for 7 days ago"
    add("--since", type=_moment, metavar="TIME", help=says)
    add("--until", type=_moment, metavar="TIME", help="before then")


def _proving(verb: Verb) -> None:
    prove = verb("prove", "a proof that verifies offline: one entry is in the ledger", False)
    prove.add_argument("seq", nargs="?", type=int, metavar="SEQ", help="the number of the entry")
    prove.add_argument(
        "--since", type=Path, metavar="NOTE", help="prove that it goes on from this checkpoint"
    )
    prove.add_argument("--ledger", dest="file", type=Path, metavar="FILE", help="default: the state folder's")
    prove.add_argument("-o", dest="output", type=Path, metavar="OUT", help="default: standard output")
    check = verb("verify-proof", "verify such a proof: needs no ledger", True)
    check.add_argument("proof", type=Path, metavar="PROOF")
    check.add_argument("--since", type=Path, metavar="NOTE", help="the checkpoint that it goes on from")
    _keys(check)


def _keeping(verb: Verb) -> None:
    erase = verb("erase", "erase what one hold asked for; that it was, and why, stays", False)
    erase.add_argument("--hold", required=True, metavar="ID", help="any unique prefix of the hold's id")
    erase.add_argument("--reason", required=True, metavar="TEXT", help="goes into the ledger")
    prune = verb("prune", "archive the entries before one, then drop them", False)
    prune.add_argument("--before", required=True, type=int, metavar="SEQ", help="the first entry that stays")
    prune.add_argument("--archive", required=True, type=Path, metavar="OUT", help="a jsonl that verifies")
    rotate = verb(
        "rotate-key", "give the ledger another key, which the old one signs, and forget that", False
    )
    loss = verb("accept-loss", "put a ledger that is not whole away, and begin one that says so", False)
    loss.add_argument("--reason", default="", metavar="TEXT", help="goes into the new ledger's first entry")
    loss.add_argument(
        "--against", action="append", default=[], metavar="PLACE", help="where checkpoints are kept"
    )
    for one in (erase, prune, rotate, loss):
        _file(one)


def _moment(text: str) -> str:
    """A time in UTC, or the beginning of one; or how long ago."""
    ago = _TIME.fullmatch(text.removesuffix(" ago").strip())
    if ago is not None:
        then = datetime.now(UTC) - timedelta(seconds=int(ago[1]) * _SECONDS[ago[2]])
        return then.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if _BEGUN.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"'{text}' is no time; write 2026-07-25, 2026-07-25T17:20 or 7d")
    return text


def _duration(text: str) -> float:
    match = _TIME.fullmatch(text.strip())
    if match is None or not int(match[1]):
        raise argparse.ArgumentTypeError(f"'{text}' is no time; write 90s, 15m, 12h or 30d")
    return float(int(match[1]) * _SECONDS[match[2]])


def _kept_time(text: str) -> float:
    seconds = _duration(text)
    if seconds < _SECONDS["h"]:
        raise argparse.ArgumentTypeError("payloads are kept for an hour at least: people still read them")
    return seconds
